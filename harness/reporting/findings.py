"""Computes findings and their uncertainty from data frames. Each training counts once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness import statistics
from harness.reporting import frames
from harness.selection import recommended_order
from harness.statistics import Estimate
from harness.tracking.run_record import RunRecord, StudyRecord

N_DIGITS = 10


@dataclass(frozen=True)
class Reach:
    """How often and when the trainings of a group reach zero errors.

    Attributes:
        rate: Label of the group.
        n: Number of trainings.
        epochs: Number of epochs of the shortest and of the longest training.
        reached: Number of trainings that reached zero errors.
        share: Proportion of trainings that reached zero; None if the trainings differ in more than seeds and epochs.
        median: Median first zero epoch, infinite if fewer than half reached zero; None if `share` is None.
        mean: Mean first zero epoch. A training that never reached zero counts with its last epoch. None if `share` is
            None, or if the trainings have different numbers of epochs.
        at_zero: Number of trainings with zero errors after the last epoch.
        came_back: Number of trainings in which errors returned after the first zero epoch.
    """

    rate: str
    n: int
    epochs: tuple[int, int]
    reached: int
    share: Estimate | None
    median: Estimate | None
    mean: Estimate | None
    at_zero: int
    came_back: int


def reach(trainings: pd.DataFrame, curves: pd.DataFrame) -> list[Reach]:
    """How often and when the trainings of each group reach zero errors.

    Args:
        trainings: Trainings from :func:`harness.reporting.frames.trainings`.
        curves: Curves from :func:`harness.reporting.frames.curves`.
    """
    back = came_back(curves)
    found = []
    for rate, group in trainings.groupby("rate", observed=True):
        epochs, reached = observed(group)
        shortest, longest = int(group["epochs"].min()), int(group["epochs"].max())
        infers = frames.one_configuration(group)
        returned = int((back.reindex(group["run_id"]).fillna(0) > 0).sum())
        found.append(
            Reach(
                rate=str(rate),
                n=len(group),
                epochs=(shortest, longest),
                reached=int(reached.sum()),
                share=statistics.wilson(int(reached.sum()), len(group)) if infers else None,
                median=statistics.median_epoch(epochs, reached) if infers else None,
                mean=statistics.restricted_mean(epochs, reached, longest) if infers and shortest == longest else None,
                at_zero=int((group["final_errors"] == 0).sum()),
                came_back=returned,
            )
        )
    return found


def observed(trainings: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The first zero epochs, or the last epochs of trainings that never reached zero; and whether each reached zero."""
    reached = trainings["first_zero_epoch"].notna().to_numpy(bool)
    epochs = trainings["first_zero_epoch"].fillna(trainings["epochs"]).to_numpy(float)
    return epochs, reached


def came_back(curves: pd.DataFrame) -> pd.Series[int]:
    """The number of epochs with errors after the first zero epoch, by run."""
    if curves.empty:
        return pd.Series(dtype=int)
    zero_so_far = (curves["errors"] == 0).groupby(curves["run_id"]).cummax()
    return (zero_so_far & (curves["errors"] > 0)).groupby(curves["run_id"]).sum().astype(int)


@dataclass(frozen=True)
class HeldOutErrors:
    """The numbers of errors on held-out images.

    Attributes:
        at_zero: Held-out errors of the runs with zero training errors after their last epoch, one per run.
        with_errors: Held-out errors of all other runs, one per run.
        epochs: Smallest and largest number of epochs of the baseline's group.
        more_epochs: Change in held-out errors from the smallest to the largest number of epochs, paired by seed; None
            if the baseline's group has one number of epochs, or no held-out errors.
    """

    at_zero: NDArray[np.float64]
    with_errors: NDArray[np.float64]
    epochs: tuple[int, int]
    more_epochs: Estimate | None


def held_out_errors(frame: pd.DataFrame) -> HeldOutErrors | None:
    """The held-out errors of all runs that have them; None if no run has them."""
    done = frames.once(frame).dropna(subset="held_out_errors")
    if done.empty:
        return None
    is_zero = done["final_errors"] == 0
    like = done[frames.is_like_baseline(done)]
    few, many = (0, 0) if like.empty else (int(like["epochs"].min()), int(like["epochs"].max()))
    more_epochs = None
    if few < many:
        first, last = (like[like["epochs"] == epochs].set_index("seed")["held_out_errors"] for epochs in (few, many))
        pairs = pd.concat([first, last], axis=1, join="inner").to_numpy(float)
        more_epochs = statistics.paired_difference(pairs[:, 0], pairs[:, 1]) if len(pairs) else None
    errors = done["held_out_errors"].to_numpy(float)
    return HeldOutErrors(errors[is_zero], errors[~is_zero], (few, many), more_epochs)


@dataclass(frozen=True)
class Difference:
    """The difference in errors between a group and the baseline's group after equally many epochs, paired by seed."""

    rate: str
    group: int  # The position of the group among the study's groups.
    epochs: int
    errors: Estimate


def against_baseline(frame: pd.DataFrame) -> list[Difference]:
    """The difference of each group and number of epochs from the baseline's group.

    Empty if the study does not have the baseline's group, or if a group has several learning rates.
    """
    done = frames.once(frame)
    rates = done.groupby("rate", observed=True)["learning_rate"]
    if (rates.min() < rates.max()).any():
        return []
    base = done[frames.is_like_baseline(done)]
    found = []
    groups = list(done["rate"].cat.categories)
    for rate, epochs in done[["rate", "epochs"]].drop_duplicates().sort_values(["rate", "epochs"]).to_numpy():
        cell = done[(done["rate"] == rate) & (done["epochs"] == epochs)]
        both = cell.merge(base[base["epochs"] == epochs], on="seed", suffixes=("", "_base"), validate="one_to_one")
        if both.empty or rate == base["rate"].iloc[0]:
            continue
        before, after = both["final_errors_base"].to_numpy(float), both["final_errors"].to_numpy(float)
        found.append(
            Difference(str(rate), groups.index(rate), int(epochs), statistics.paired_difference(before, after))
        )
    return found


@dataclass(frozen=True)
class Recommended:
    """A variant of which at least one run has zero errors after its last epoch.

    Attributes:
        rate: Label of its group.
        epochs: Number of epochs.
        n: Number of seeds, including those whose training failed or diverged.
        at_zero: Number of seeds with zero errors.
        share: Proportion of seeds with zero errors.
        mean_errors: Mean errors after the last epoch, over the seeds with a finite loss.
        worst_errors: Largest number of errors of one of these seeds.
        held_out: Mean held-out errors; NaN if there are none.
    """

    rate: str
    epochs: int
    n: int
    at_zero: int
    share: Estimate
    mean_errors: float
    worst_errors: int
    held_out: float


def recommended(frame: pd.DataFrame) -> list[Recommended]:
    """The variants with a run that ends with zero errors, in the order of :data:`harness.selection.RULE`, best first.

    Seeds whose training failed or diverged count against their variant.
    """
    found = []
    for seeds in frames.by_configuration(frame):
        finite = seeds[np.isfinite(seeds["final_loss"].astype(float)) & seeds["final_errors"].notna()]
        at_zero, n = int((finite["final_errors"] == 0).sum()), len(seeds)
        if at_zero:
            name, epochs = frames.label(frame, seeds), int(seeds["epochs"].iloc[0])
            mean_errors, mean_loss = float(finite["final_errors"].mean()), float(finite["final_loss"].mean())
            worst, held_out = int(finite["final_errors"].max()), float(finite["held_out_errors"].mean())
            share = statistics.wilson(at_zero, n)
            variant = Recommended(name, epochs, n, at_zero, share, mean_errors, worst, held_out)
            found.append((recommended_order(at_zero, n, mean_errors, epochs, mean_loss), variant))
    return [variant for _, variant in sorted(found, key=lambda one: one[0])]


@dataclass(frozen=True)
class Spike:
    """The largest error count of a training after its first zero epoch.

    Attributes:
        rate: Label of its configuration.
        seed: Seed.
        epoch: Epoch of the largest count.
        errors: Largest count.
        first_zero: First zero epoch.
        run_id: Id of the run.
    """

    rate: str
    seed: int
    epoch: int
    errors: int
    first_zero: int
    run_id: str


def spikes(curves: pd.DataFrame, trainings: pd.DataFrame, most: int = 8) -> list[Spike]:
    """The trainings with the largest error counts after their first zero epoch, largest count first."""
    found = []
    for (seed, run_id), own in curves.groupby(["seed", "run_id"], observed=True, sort=False):
        errors = own["errors"].to_numpy(int)
        zeros = np.flatnonzero(errors == 0)
        if len(zeros) and (largest := int(errors[zeros[0] :].max())):
            epoch = int(zeros[0] + errors[zeros[0] :].argmax()) + 1
            found.append((largest, int(str(seed)), epoch, int(zeros[0]) + 1, str(run_id)))
    runs = trainings["run_id"].astype(str)
    return [
        Spike(frames.label(trainings, trainings[runs == run_id]), seed, epoch, largest, first_zero, run_id)
        for largest, seed, epoch, first_zero, run_id in sorted(found, key=lambda one: -one[0])[:most]
    ]


@dataclass(frozen=True)
class HardImages:
    """The number of trainings in which each image was wrong.

    Attributes:
        times: Number of trainings in which the image was wrong at the end of a run, ``(5000,)``.
        answers: Number of these trainings by their last wrong prediction, ``(5000, 11)``. The last column counts
            predictions that are no digit.
        n: Number of trainings.
    """

    times: NDArray[np.int64]
    answers: NDArray[np.int64]
    n: int

    def hardest(self, most: int) -> list[int]:
        """The indices of at most ``most`` images that were wrong most often. None of them was never wrong."""
        order = np.argsort(-self.times, kind="stable")[:most]
        return [int(index) for index in order if self.times[index]]

    def usual_answer(self, index: int) -> int:
        """The most frequent wrong prediction for an image; -1 for no digit."""
        answer = int(self.answers[index].argmax())
        return -1 if answer == N_DIGITS else answer


def hard_images(record: StudyRecord, frame: pd.DataFrame) -> HardImages | None:
    """The hard images of all trainings; None without a training, and if the wrong predictions were not recorded."""
    groups: dict[frozenset[tuple[str, str]], list[RunRecord]] = {}
    scored = set(frames.finished(frame)["run_id"])
    for run in record.trainings:
        if run.run_id in scored:
            groups.setdefault(run.training, []).append(run)
    unknown = any(len(run.wrong_answers) != len(run.wrong_images) for runs in groups.values() for run in runs)
    if record.images is None or unknown or not groups:
        return None
    n_images = len(record.images.y)
    times, answers = np.zeros(n_images, np.int64), np.zeros((n_images, N_DIGITS + 1), np.int64)
    for runs in groups.values():
        last = np.full(n_images, -2, np.int64)
        for run in sorted(runs, key=lambda run: int(run.params["epochs"])):
            last[list(run.wrong_images)] = run.wrong_answers
        wrong = last > -2
        times += wrong
        np.add.at(answers, (np.flatnonzero(wrong), last[wrong]), 1)  # -1, no digit, is the last column
    return HardImages(times, answers, len(groups))


def confusion(hard: HardImages, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of wrong images by label and wrong prediction, ``(10, 10)``."""
    counts = np.zeros((N_DIGITS, N_DIGITS), np.int64)
    np.add.at(counts, labels, hard.answers[:, :N_DIGITS])
    return counts


def softmax_by_size(record: StudyRecord) -> pd.DataFrame:
    """The largest difference in ULPs and the overflows of each ``my_softmax``, by size of the logits."""
    rows = [
        {
            "below": sized.below,
            "rows": sized.rows,
            "way": way,
            "max_ulp": np.nan if check.max_ulp is None else float(check.max_ulp),
            "overflow_rows": check.overflow_rows,
        }
        for run in record.trainings
        for sized in run.softmax_by_size
        for way, check in sized.checks.items()
    ]
    if not rows:
        return pd.DataFrame(columns=["below", "way", "rows", "max_ulp", "overflow_rows"])
    totals = {"rows": "sum", "max_ulp": "max", "overflow_rows": "sum"}
    return pd.DataFrame(rows).groupby(["below", "way"], as_index=False).agg(totals)
