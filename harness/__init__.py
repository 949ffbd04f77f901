"""Trains neural networks on 5000 images of handwritten digits, and tracks and compares the trainings."""

import os

# MLflow reads these variables when it is imported, so they are set before any other module imports it. They disable
# telemetry, hints for coding agents, progress bars for artifacts, and the line that MLflow prints for each run.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_DISABLE_AGENT_HINT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# Disable MLflow's retries, which are silent. The harness retries failed calls itself and prints a warning.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
