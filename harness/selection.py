"""The rule that recommends a variant. The report, the descriptions in MLflow and the registered models use it."""

from __future__ import annotations

from harness.statistics import wilson

# The rule in words, for readers of a report.
RULE = (
    "The recommended variant has the highest lower 95% confidence bound of the proportion of seeds with zero errors. "
    "If several variants have the same bound, the lowest mean error count decides, then the fewest epochs, then the "
    "lowest mean loss."
)


def recommended_order(
    at_zero: int, n_seeds: int, mean_errors: float, epochs: int, mean_loss: float
) -> tuple[float, ...]:
    """Return the sort key of a variant. The recommended variant has the smallest key.

    Callers leave out variants without any run that has zero errors after its last epoch. The key compares, in this
    order:

    1. the lower 95% confidence bound of the proportion of seeds with zero errors (larger is better),
    2. the mean error count after the last epoch (lower is better),
    3. the number of epochs (fewer is better),
    4. the mean loss (lower is better).

    By the lower bound, 31 of 32 seeds with zero errors are better than 1 of 1.

    Args:
        at_zero: Number of seeds with zero errors and a finite loss after the last epoch.
        n_seeds: Number of seeds, including those whose training failed or diverged.
        mean_errors: Mean error count after the last epoch over the runs with a finite loss.
        epochs: Number of epochs.
        mean_loss: Mean loss of the last epoch over the runs with a finite loss.
    """
    return -wilson(at_zero, n_seeds).low, mean_errors, epochs, mean_loss
