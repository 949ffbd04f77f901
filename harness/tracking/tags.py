"""The names of the tags that runs have in MLflow, and the roles of runs."""

from __future__ import annotations


class Role:
    """What a run is: the value of :attr:`Tag.ROLE`."""

    STUDY = "study"
    TRIAL = "trial"  # of several trainings, the parent of their runs
    TRAINING = "training"
    GATE = "gate"


class Tag:
    """Names of tags."""

    # Of every run.
    STUDY = "harness.study"
    STUDY_KEY = "harness.study_key"  # differs between two studies of one name
    ROLE = "harness.role"
    DATASET = "harness.dataset"
    ENGINE = "harness.engine"
    TRACE = "harness.trace"
    CPU = "harness.cpu"
    VERSIONS = "harness.versions"
    COMMIT = "harness.commit"
    DIRTY = "harness.dirty"

    # Of trials and trainings.
    TRIAL = "harness.trial"
    VARIANT = "harness.variant"
    FAILURE = "harness.failure"
    DIVERGED = "harness.diverged"

    # Of a study's own run.
    DESCRIPTION = "harness.description"
    SIGNATURE = "harness.meaning"
    TOTAL = "harness.trials"  # the number of trials when the study is complete
    DONE = "harness.trials_done"
    TIMES_RUN = "harness.times_run"
    LAST_RUN = "harness.last_run_ms"
    OWNER = "harness.runner"
    HEARTBEAT = "harness.heartbeat_s"
    REQUEST = "harness.asking."  # and an id: of a process that requests the ownership of the study
    ARCHIVED = "harness.archived"

    # Of a gate.
    VERDICT = "harness.verdict"

    # MLflow's own.
    NAME = "mlflow.runName"
    NOTE = "mlflow.note.content"
    PARENT = "mlflow.parentRunId"
