"""Runs studies. A grid or Optuna provides trials, workers train them, and MLflow records them."""
