"""Runs studies: a grid or Optuna provides trials, workers train them, MLflow records them."""
