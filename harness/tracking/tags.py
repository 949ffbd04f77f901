"""The names of the MLflow tags of runs, and the roles of runs."""

from __future__ import annotations


class Role:
    """The role of a run, which is the value of :attr:`Tag.ROLE`."""

    STUDY = "study"
    TRIAL = "trial"  # a trial of a sampled design; the parent of its training runs
    TRAINING = "training"
    GATE = "gate"


class Tag:
    """The names of the MLflow tags that this project uses."""

    # Tags of every run.
    STUDY = "harness.study"
    STUDY_KEY = "harness.study_key"  # distinguishes studies with the same name
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
    LONGEST = "harness.longest"  # "true" for the run with the most epochs of each training, which the saved view shows
    POINT = "harness.point"  # values of the varied parameters as JSON, in a sampled design
    SEEDS = "harness.seeds"  # seeds of the trial as JSON, in a sampled design
    SAME_AS = "harness.same_as"  # number of the earlier trial with the same values, in a sampled design
    FAILURE = "harness.failure"
    DIVERGED = "harness.diverged"

    # Tags of the parent run of a study.
    TOTAL = "harness.trials"  # the number of trials when the study is complete
    DONE = "harness.trials_done"
    BOOKKEEPING = "harness.bookkeeping"  # the parts below as JSON, with `CPU` and `VERSIONS`
    OWNER = "harness.runner"
    HEARTBEAT = "harness.heartbeat_s"
    REQUEST = "harness.asking."  # prefix of the tag by which a process requests the ownership of the study
    ARCHIVED = "harness.archived"

    # Parts of the bookkeeping of a study. Earlier versions wrote a tag for each; see `harness.tracking.bookkeeping`.
    DESCRIPTION = "harness.description"
    SIGNATURE = "harness.meaning"
    TIMES_RUN = "harness.times_run"
    LAST_RUN = "harness.last_run_ms"
    COMMAND = "harness.command"  # the command that resumes the study

    # Tags of gate runs.
    VERDICT = "harness.verdict"

    # Tags that MLflow defines.
    NAME = "mlflow.runName"
    NOTE = "mlflow.note.content"
    PARENT = "mlflow.parentRunId"
