"""MLflow, the record of every study: opening its store, reading and writing runs, models and pages."""
