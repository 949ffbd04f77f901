"""The orders that define "best": for single trainings, for variants, and for the variants that a report recommends.

Each function returns a sort key. The best comes first.
"""

from __future__ import annotations


def training_order(errors: int, epochs: int, loss: float) -> tuple[float, ...]:
    """Order single trainings: the fewest errors after the last epoch, then the fewest epochs, then the lowest loss."""
    return errors, epochs, loss


def variant_order(at_zero: int, n: int, epochs: int, mean_loss: float) -> tuple[float, ...]:
    """Order variants whose best run becomes a model.

    The largest share of runs with zero errors comes first, then the fewest epochs, then the lowest mean loss.
    """
    return -at_zero / n, epochs, mean_loss


def recommended_order(lowest_share: float, epochs: int) -> tuple[float, ...]:
    """Order the variants of a report: the largest lower bound of the share at zero, then the fewest epochs.

    The bound makes 31 of 32 seeds better than 1 of 1.
    """
    return -lowest_share, epochs
