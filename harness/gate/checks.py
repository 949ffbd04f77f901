"""The gate's checks of the data, the engine contract, the softmax, and the training epoch by epoch (the trace).

Each check reports the expected result, the observed result, and where to look for the cause of a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from harness.data.digits import LAB_NAME, Digits
from harness.gate import trace as traces
from harness.gate.reference import Early, Reference
from harness.gate.training import Training
from harness.gate.verdict import TRACE, Check, Verdict
from harness.lab.published import LAB_LOG
from harness.network.variant import N_IMAGES

# The largest difference between the probabilities of two correct float32 softmax functions, in ULPs (units in the last
# place). One function subtracts the largest logit from all logits first. The subtraction rounds a difference of up to
# 87.3 by at most half a ULP. This changes the probability by up to 87.3 ULPs. (A larger difference gives a probability
# below float32's normal range.) The exponentials add 2.5 ULPs in one function and 2 in the other. In each function, the
# sum of ten exponentials adds 5 and the division adds 0.5. The total is at most 104.
SOFTMAX_ULPS = 104
# The largest accepted distance of a row's sum from 1. Ten float32 roundings, each of at most 2**-24, stay below this.
ROW_SUM_ERROR = 1e-6

# The largest accepted absolute difference between two probabilities if one is below float32's normal range (2**-126).
SMALL_ABS_DIFF = 2.0**-125


def data(digits: Digits, reference: Reference) -> Check:
    """Check that the SHA-256 hashes of the images and labels equal the hashes in the reference."""
    expected = reference.dataset
    is_same = (digits.sha256_x, digits.sha256_y) == (expected["sha256_x"], expected["sha256_y"])
    return Check(
        "data",
        Verdict.PASS if is_same else Verdict.FAIL,
        f"{expected['name']}, sha256 {expected['sha256_x'][:12]}",
        f"{digits.name}, sha256 {digits.sha256_x[:12]}",
        "the hashes cover all bytes of the images and labels",
        "select the images of the reference with --data, or a matching reference with --reference",
        answer="" if is_same else f"the images differ from the images of the reference ({expected['name']})",
    )


def own_data(trainings: Sequence[Training], reference: Reference) -> Check:
    """Check that a training function of the user uses the same data as when the reference was recorded.

    A training function may train on its own data. It then returns a hash of this data. The check compares this hash
    with the hash in the reference.
    """
    expected = reference.dataset.get("sha256_own", "")
    seen = sorted({training.data for training in trainings} - {expected})
    return Check(
        "own data",
        Verdict.FAIL if seen else Verdict.PASS,
        f"sha256 {expected[:12]}" if expected else "no data of its own",
        f"sha256 {', '.join(one[:12] or 'none' for one in seen or [expected])}",
        "the training function returns this hash of its data",
        "the data of the training function",
        answer="the data of the training function changed since the reference was recorded" if seen else "",
    )


def conformance(engine: str, broken: Mapping[str, str]) -> Check:
    """Check that the engine follows every rule of the engine contract.

    Args:
        engine: Name of the engine.
        broken: Maps each rule to a description of how the engine breaks it. The description is empty if the engine
            follows the rule.
    """
    found = [f"{rule}: {how}" for rule, how in broken.items() if how]
    return Check(
        f"conformance {engine}",
        Verdict.FAIL if found else Verdict.PASS,
        f"the engine follows all {len(broken)} rules of the contract",
        f"broken rules: {len(found)}. {'. '.join(found)}" if found else "the engine follows all rules",
        "the results of the engine are compared with those of the same training in NumPy with float64",
        "harness.engines.conformance, harness.engines.contract",
        answer=f"the engine {engine} breaks a rule of the engine contract: {found[0]}" if found else "",
        details={"rules": dict(broken)},
    )


def softmax(training: Training) -> Check:
    """Check that ``my_softmax`` agrees with TensorFlow's softmax, on the logits after training and on test vectors."""
    looks = training.softmax.values()
    # If an implementation overflows in every row, its ``max_ulp`` and ``row_sum_error`` are None. They then count as
    # infinite.
    found = [check for look in looks for check in look.checks.values() if look.may_overflow < look.rows]
    ulps = max((math.inf if check.max_ulp is None else check.max_ulp for check in found), default=math.inf)
    differ = sum(check.argmax_differs for check in found)
    off = max((math.inf if check.row_sum_error is None else check.row_sum_error for check in found), default=math.inf)
    small = max((look.small_abs_diff for look in looks), default=math.inf)
    overflow = sum(
        max(0, check.overflow_rows - (0 if way == "stable" else look.may_overflow))
        for look in looks
        for way, check in look.checks.items()
    )
    is_close = ulps <= SOFTMAX_ULPS and off <= ROW_SUM_ERROR and small <= SMALL_ABS_DIFF
    is_good = is_close and not differ and not overflow
    return Check(
        "softmax",
        Verdict.PASS if is_good else Verdict.FAIL,
        f"at most {SOFTMAX_ULPS} ULPs from TensorFlow's softmax, the same argmax, and rows that sum to 1",
        f"{ulps} ULPs, {differ} different argmaxes, row sums off by {off:.1e}, avoidable overflow in {overflow} rows",
        f"three implementations of my_softmax, compared on the logits of {N_IMAGES} images after training and on test "
        "vectors",
        "harness.network.softmax and tf.nn.softmax",
        answer="" if is_good else "my_softmax differs from TensorFlow's softmax",
        details={name: asdict(look) for name, look in training.softmax.items()},
    )


def trace(engine: str, own: Training, early: Sequence[Training], reference: Reference) -> Check:
    """Check that the baseline trains as recorded.

    In the environment where the reference was recorded, the comparison is exact: the weights, the loss and the error
    count after each epoch must be equal bit for bit. In any other environment, the check compares the losses of the
    first epochs of several seeds, within a tolerance.

    Args:
        engine: Name of the engine that trained.
        own: Training with the baseline's seed. An exact comparison needs all of its epochs.
        early: Short trainings with the first seeds of ``reference.early``. Empty for an exact comparison.
        reference: Reference to compare with.
    """
    recorded = reference.traces.get(engine)
    details = {
        "losses": own.losses.tolist(),
        "errors": own.errors.tolist(),
        "recorded_losses": (recorded or reference.traces[reference.repeats.engine]).losses,
        "tolerance": traces.TOLERANCE,
        "early_epochs": traces.EARLY_EPOCHS,
    }
    if recorded is not None and traces.is_exact(recorded):
        found, log = traces.exactly(own, recorded), _log(own, reference)
        is_wrong = found.epoch is not None or bool(log and traces.of_the_lab(own))
        return Check(
            f"trace {engine}",
            Verdict.FAIL if is_wrong else Verdict.PASS,
            f"weights that equal the recorded weights bit for bit, after each of {len(recorded.losses)} epochs",
            found.seen + log,
            "the reference was recorded with the same processor, libraries and settings",
            _WHAT_CHANGED,
            answer=f"training with {engine} differs from the recorded one: {found.seen}" if is_wrong else "",
            figure=TRACE,
            details={**details, "exact": True, "first_different_epoch": found.epoch},
        )
    recorded_early = _early_of(reference)
    losses = recorded_early.losses[early[0].variant.adam]
    votes = traces.votes(early, losses[: len(early)], traces.may_diverge(recorded_early))
    where = ", ".join(traces.elsewhere(recorded)) if recorded else "engine"
    return Check(
        f"trace {engine}",
        Verdict.FAIL if votes.is_wrong else Verdict.PASS,
        f"the recorded losses of {len(early)} seeds, within {traces.TOLERANCE:g} in the first "
        f"{traces.EARLY_EPOCHS} epochs",
        _votes(votes),
        f"p = {votes.chance:.1g} for this number of departing seeds or more; later epochs are not compared, because "
        f"this environment differs from the recorded one in: {where}",
        _WHAT_CHANGED,
        answer=_diverged(engine, votes) if votes.is_wrong else "",
        figure=TRACE,
        details={**details, "exact": False, "left": dict(votes.diverged), "seeds": votes.n, "chance": votes.chance},
    )


def _early_of(reference: Reference) -> Early:
    if reference.early is None:
        raise ValueError("the reference of a training function has no recorded losses to compare with")
    return reference.early


_WHAT_CHANGED = (
    "if epoch 1 differs: the initial weights and the batch order (harness.network.random_streams); otherwise: the "
    "training step (harness.engines)"
)


def _votes(votes: traces.Votes) -> str:
    n_kept = votes.n - len(votes.diverged)
    how = f" within {votes.worst:.1e}" if votes.worst else " exactly" if n_kept else ""
    kept = f"{n_kept} of {votes.n} seeds match{how}"
    first = f"; the earliest departure is at epoch {min(votes.diverged.values())}" if votes.diverged else ""
    return kept + first


def _diverged(engine: str, votes: traces.Votes) -> str:
    return (
        f"training with {engine} differs from the recorded one: {len(votes.diverged)} of {votes.n} seeds depart "
        f"from their recorded losses, the first at epoch {min(votes.diverged.values())}"
    )


def _log(own: Training, reference: Reference) -> str:
    """Describe how many losses match the lab's published log.

    The text is empty if the training does not use the lab's images and TensorFlow's Adam, as the lab did.
    """
    if reference.dataset["name"] != LAB_NAME or own.variant.adam != "tensorflow":
        return ""
    wrong = traces.of_the_lab(own)
    which = f", all except at epoch {', '.join(map(str, wrong))}" if wrong else ""
    return f"; {len(LAB_LOG) - len(wrong)} of {len(LAB_LOG)} losses match the lab's log{which}"
