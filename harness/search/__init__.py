"""Running a study: Optuna proposes trials, workers train them, MLflow records them."""
