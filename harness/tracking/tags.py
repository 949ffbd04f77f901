"""The names of the MLflow tags of runs, and the roles of runs."""

from __future__ import annotations


class Role:
    """The role of a run, which is the value of :attr:`Tag.ROLE`."""

    STUDY = "study"
    TRIAL = "trial"  # A trial of a sampled design. Its run is the parent of the trial's training runs.
    TRAINING = "training"
    GATE = "gate"


class Tag:
    """The names of the MLflow tags that this project uses."""

    # Tags of every run.
    STUDY = "harness.study"
    STUDY_KEY = "harness.study_key"  # Distinguishes studies with the same name.
    ROLE = "harness.role"
    DATASET = "harness.dataset"
    ENGINE = "harness.engine"
    TRACE = "harness.trace"
    CPU = "harness.cpu"
    VERSIONS = "harness.versions"
    COMMIT = "harness.commit"
    DIRTY = "harness.dirty"

    # Tags of trials and trainings.
    TRIAL = "harness.trial"
    VARIANT = "harness.variant"
    # For each training, the run with the most epochs has the value "true". The saved view shows these runs.
    LONGEST = "harness.longest"
    FAILURE = "harness.failure"
    DIVERGED = "harness.diverged"

    # Tags of the trials of a sampled design, in which Optuna chooses the parameter values.
    POINT = "harness.point"  # The values of the varied parameters, as JSON.
    SEEDS = "harness.seeds"  # The seeds of the trial, as JSON.
    SAME_AS = "harness.same_as"  # The number of an earlier trial with the same parameter values and seeds.

    # Tags of the parent run of a study.
    TOTAL = "harness.trials"  # The number of trials that the study has when it is complete.
    DONE = "harness.trials_done"
    BOOKKEEPING = "harness.bookkeeping"  # JSON with the parts that are listed below, `CPU` and `VERSIONS`.
    OWNER = "harness.runner"
    HEARTBEAT = "harness.heartbeat_s"
    REQUEST = "harness.asking."  # Prefix of the tag by which a process requests the ownership of the study.
    ARCHIVED = "harness.archived"

    # Parts of the bookkeeping of a study. Earlier versions of this project wrote each part as a separate tag; see
    # `harness.tracking.bookkeeping`.
    DESCRIPTION = "harness.description"
    SIGNATURE = "harness.meaning"
    TIMES_RUN = "harness.times_run"
    LAST_RUN = "harness.last_run_ms"
    COMMAND = "harness.command"  # The command that resumes the study.

    # Tags of gate runs.
    VERDICT = "harness.verdict"

    # Tags that MLflow defines.
    NAME = "mlflow.runName"
    NOTE = "mlflow.note.content"
    PARENT = "mlflow.parentRunId"
