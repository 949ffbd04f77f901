"""Trains, tracks and compares the 400-25-15-10 network that learns 5000 handwritten digits."""

import os

# Read when MLflow is imported, wherever that is first: nothing about a user's runs leaves the machine, no advice for
# agents is printed, and neither a bar for each small artifact nor a line for each run.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_DISABLE_AGENT_HINT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# Whoever waits for a server says so: that is not for MLflow to do silently.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
