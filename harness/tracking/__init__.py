"""Records studies in MLflow: opens the tracking store, reads and writes runs, registers models, and serves the UI."""
