"""The checks of images, engine, softmax and trace. Each reports what it expected, what it saw, and where to look."""

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

# The largest difference between two correct float32 softmaxes, of which one subtracts the largest logit first. That one
# rounds differences of up to 87.3 by half a unit in the last place, which moves the result by up to 87.3 ULPs. (Larger
# differences give probabilities that are not normal numbers.) The exponentials (2.5 and 2 ULPs), the sums of ten (5
# each) and the divisions (0.5 each) raise the bound to 104 at most.
SOFTMAX_ULPS = 104
ROW_SUM_ERROR = 1e-6  # Ten roundings of float32, each of at most 2**-24.

# The largest difference where at least one side is not a normal number. Such numbers are below 2**-126.
SMALL_ABS_DIFF = 2.0**-125


def data(digits: Digits, reference: Reference) -> Check:
    """Check by SHA-256 that the images are those of the reference."""
    expected = reference.dataset
    is_same = (digits.sha256_x, digits.sha256_y) == (expected["sha256_x"], expected["sha256_y"])
    return Check(
        "data",
        Verdict.PASS if is_same else Verdict.FAIL,
        f"{expected['name']}, sha256 {expected['sha256_x'][:12]}",
        f"{digits.name}, sha256 {digits.sha256_x[:12]}",
        "the hash covers all bytes",
        "select the images of the reference (--data), or a reference of these images (--reference)",
        answer="" if is_same else f"the images are not those of the reference ({expected['name']})",
    )


def own_data(trainings: Sequence[Training], reference: Reference) -> Check:
    """Check that a training function uses the same data of its own as in the reference."""
    expected = reference.dataset.get("sha256_own", "")
    seen = sorted({training.data for training in trainings} - {expected})
    return Check(
        "own data",
        Verdict.FAIL if seen else Verdict.PASS,
        f"sha256 {expected[:12]}" if expected else "no data of its own",
        f"sha256 {', '.join(one[:12] or 'none' for one in seen or [expected])}",
        "the hash is that which the function returns",
        "the data of the training function",
        answer="the training function uses other data than in the reference" if seen else "",
    )


def conformance(engine: str, broken: Mapping[str, str]) -> Check:
    """Check that the engine follows every rule of the engine contract.

    Args:
        engine: Name of the engine.
        broken: How the engine breaks each rule, by rule. Empty for a rule that it follows.
    """
    found = [f"{rule}: {how}" for rule, how in broken.items() if how]
    return Check(
        f"conformance {engine}",
        Verdict.FAIL if found else Verdict.PASS,
        f"the engine follows all {len(broken)} rules of the contract",
        f"broken rules: {len(found)}. {'. '.join(found)}" if found else "it follows all rules",
        "compared with the same training in NumPy's float64",
        "harness.engines.conformance, harness.engines.contract",
        answer=f"the engine {engine} breaks a rule of the engine contract: {found[0]}" if found else "",
        details={"rules": dict(broken)},
    )


def softmax(training: Training) -> Check:
    """Check that ``my_softmax`` agrees with TensorFlow's softmax, on the trained logits and on the lab's vectors."""
    looks = training.softmax.values()
    # An implementation that overflows in every compared row has no figures. Its difference counts as infinite.
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
        f"at most {SOFTMAX_ULPS} ULPs from TensorFlow's softmax, the same argmax, rows that sum to 1",
        f"{ulps} ULPs, {differ} different argmaxes, row sums off by {off:.1e}, {overflow} rows with avoidable overflow",
        f"three implementations on {N_IMAGES} rows of trained logits and on the lab's vectors",
        "harness.network.softmax and tf.nn.softmax",
        answer="" if is_good else "my_softmax differs from TensorFlow's softmax",
        details={name: asdict(look) for name, look in training.softmax.items()},
    )


def trace(engine: str, own: Training, early: Sequence[Training], reference: Reference) -> Check:
    """Check that the baseline trains as recorded.

    In the environment where the reference was recorded, the comparison is exact, epoch by epoch. In any other
    environment, it compares the first losses of several seeds within a tolerance.

    Args:
        engine: Name of the engine that trained.
        own: Training of the baseline's own seed, to its last epoch.
        early: Trainings of the reference's early seeds for a few epochs. All of these seeds, or the first of them.
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
            f"the recorded weights, equal to the last bit, after each of {len(recorded.losses)} epochs",
            found.seen + log,
            "recorded with the same processor, libraries and settings",
            _WHAT_CHANGED,
            answer=f"training with {engine} differs from the recorded one: {found.seen}" if is_wrong else "",
            figure=TRACE,
            details={**details, "exact": True, "first_different_epoch": found.epoch},
        )
    recorded_early = _early_of(reference)
    losses = recorded_early.losses[early[0].variant.adam]
    votes = traces.votes(early, losses[: len(early)], traces.leaves(recorded_early))
    where = ", ".join(traces.elsewhere(recorded)) if recorded else "engine"
    return Check(
        f"trace {engine}",
        Verdict.FAIL if votes.is_wrong else Verdict.PASS,
        f"the recorded losses of {len(early)} seeds, within {traces.TOLERANCE:g} for {traces.EARLY_EPOCHS} epochs",
        _votes(votes),
        f"later epochs are not compared, because the recording differs in: {where}; p = {votes.chance:.1g}",
        _WHAT_CHANGED,
        answer=_diverged(engine, votes) if votes.is_wrong else "",
        figure=TRACE,
        details={**details, "exact": False, "left": dict(votes.left), "seeds": votes.n, "chance": votes.chance},
    )


def _early_of(reference: Reference) -> Early:
    if reference.early is None:
        raise ValueError("a reference of a training function has no early losses")
    return reference.early


_WHAT_CHANGED = (
    "if epoch 1 differs, initial weights and batch order (harness.network.random_streams); otherwise the training step "
    "(harness.engines)"
)


def _votes(votes: traces.Votes) -> str:
    n_kept = votes.n - len(votes.left)
    how = f" within {votes.worst:.1e}" if votes.worst else " exactly" if n_kept else ""
    kept = f"{n_kept} of {votes.n} seeds match{how}"
    first = f"; the earliest divergence is at epoch {min(votes.left.values())}" if votes.left else ""
    return kept + first


def _diverged(engine: str, votes: traces.Votes) -> str:
    return (
        f"training with {engine} differs from the recorded one: {len(votes.left)} of {votes.n} seeds have other "
        f"losses, from epoch {min(votes.left.values())} on"
    )


def _log(own: Training, reference: Reference) -> str:
    """How many losses of the lab's log match, as text. Empty unless images and Adam are those of the lab's log."""
    if reference.dataset["name"] != LAB_NAME or own.variant.adam != "tensorflow":
        return ""
    wrong = traces.of_the_lab(own)
    which = f", not at epoch {', '.join(map(str, wrong))}" if wrong else ""
    return f"; {len(LAB_LOG) - len(wrong)} of {len(LAB_LOG)} losses of the lab's log match{which}"
