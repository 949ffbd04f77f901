"""The content of a study's report: everything that its templates show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harness.reporting.figure_files import Picture
from harness.reporting.findings import Difference, Reach, Recommended, Spike
from harness.reporting.summary import Card, Question
from harness.tracking.run_record import RunRecord

# The rows of a data frame, one mapping from column to value for each row.
Rows = list[Mapping[str, Any]]


@dataclass(frozen=True)
class Facts:
    """What was run, on which machine and when.

    Attributes:
        parent: Parent run of the study.
        study: Name of the study.
        dataset: Name of the dataset.
        sha256_x: SHA-256 of the features, or ``not recorded``.
        sha256_y: SHA-256 of the labels, or ``not recorded``.
        engine: Name of the engine.
        commit: Git commit of the checkout, or ``not a checkout``.
        dirty: Whether the checkout had uncommitted changes.
        cpu: Name of the processor.
        versions: Versions of the packages, on one line.
        began: Time of the first start, in UTC.
        took_s: Time from the first start to the end, in seconds; None if the study has not ended.
        command: Command that resumes the study.
        times_run: Number of times the study was started or resumed.
        tracking_uri: Tracking URI without passwords.
    """

    parent: RunRecord
    study: str
    dataset: str
    sha256_x: str
    sha256_y: str
    engine: str
    commit: str
    dirty: bool
    cpu: str
    versions: str
    began: datetime
    took_s: float | None
    command: str
    times_run: int
    tracking_uri: str


@dataclass(frozen=True)
class Findings:
    """The results of the finished runs. The defaults are those of a study without a finished run.

    Attributes:
        n_trainings: Number of trainings. One training can serve several runs.
        training_s: Training time of all workers together, in seconds.
        baseline_said: Sentences about the baseline.
        baseline: Runs of the baseline.
        groups: How often and when each group of variants reaches zero errors.
        first_zero: Trainings with their first zero epochs, one row for each training.
        cells: Errors by learning rate and number of epochs.
        cards: Cards with answers, for the first screen of the report.
        rule: Rule that chose the recommended variant.
        recommended: Best variants with zero errors, best first.
        recommended_said: Sentences about the first recommended variant.
        spikes: Trainings with the largest error counts after their first zero epoch.
        held_out_said: Sentences about held-out errors, or the reason why there are none.
        has_held_out: Whether any run has held-out errors.
        differences: Differences from the baseline.
        never_wrong: Sentence for a study in which no image was wrong; else empty.
        trials: Trials of a search; empty for a grid.
        pictures: Figures by name.
        shared: Data that several figures share, as JSON.
    """

    n_trainings: int = 0
    training_s: float = 0.0
    baseline_said: Sequence[str] = ()
    baseline: Rows = field(default_factory=list)
    groups: Sequence[Reach] = ()
    first_zero: Rows = field(default_factory=list)
    cells: Rows = field(default_factory=list)
    cards: Sequence[Card] = ()
    rule: str = ""
    recommended: Sequence[Recommended] = ()
    recommended_said: str = "No run has finished."
    spikes: Sequence[Spike] = ()
    held_out_said: str = "No run has finished."
    has_held_out: bool = False
    differences: Sequence[Difference] = ()
    never_wrong: str = ""
    trials: Rows = field(default_factory=list)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    shared: str = "{}"


@dataclass(frozen=True)
class ReportContent:
    """Everything that the templates of a report show.

    Attributes:
        facts: What was run.
        question: What the study asked.
        findings: Results.
        baseline_named: Sentence that names the baseline's own training.
        n_runs: Number of runs.
        n_finished: Number of finished runs.
        failed: Failed runs.
        half_written: Runs that a killed process left incomplete.
        damaged: Sentences about damaged runs and files, which were left out.
        runs: All runs.
        varied: Names of the settings, besides learning rate, epochs and seed, that differ between runs.
        run_address: Address of a run in MLflow's UI, without the run id; empty if the store has no such address.
        softmax: Largest difference of each implementation of ``my_softmax`` from TensorFlow's.
    """

    facts: Facts
    question: Question
    findings: Findings
    baseline_named: str
    n_runs: int
    n_finished: int
    failed: Rows
    half_written: Sequence[RunRecord]
    damaged: Sequence[str]
    runs: Rows
    varied: Sequence[str]
    run_address: str
    softmax: Rows

    def variables(self) -> dict[str, Any]:
        """The variables of the templates: the attributes of this object, of its facts and of its findings."""
        return {**vars(self), **vars(self.facts), **vars(self.findings)}
