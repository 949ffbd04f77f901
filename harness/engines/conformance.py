"""Checks that an engine follows the rules of the engine contract.

Each rule is a function. It runs a short training, and raises ``ContractError`` if the engine violates the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from harness.data.digits import Digits
from harness.engines.contract import Engine, EpochReport
from harness.engines.history import TrainingHistory, wrong_images
from harness.network.forward import forward
from harness.network.random_streams import batch_orders, initial_weights
from harness.network.variant import N_IMAGES, AdamKind, SoftmaxPlace, Variant

Weights = list[NDArray[np.float64]]
Rule = Callable[[Engine, Digits], None]

_CLIP = 1e-7


class ContractError(Exception):
    """An engine violates the contract."""


def _must(holds: bool, otherwise: str) -> None:  # noqa: FBT001 - a condition and the message if it is false
    if not holds:
        raise ContractError(otherwise)


# The reference training in NumPy


def _derivative(
    logits: NDArray[np.float64], labels: NDArray[np.int64], place: SoftmaxPlace
) -> tuple[float, NDArray[np.float64]]:
    """Return the summed loss of a batch, and the derivative of the mean loss with respect to the logits."""
    rows = np.arange(len(labels))
    probabilities = softmax(logits, axis=1)
    taken = np.log(np.clip(probabilities, _CLIP, 1 - _CLIP)) if place == "output" else logits
    loss = -float(log_softmax(taken, axis=1)[rows, labels].sum())
    delta = softmax(taken, axis=1)
    delta[rows, labels] -= 1
    if place == "output":
        inside = (probabilities >= _CLIP) & (probabilities <= 1 - _CLIP)
        delta = np.divide(delta, probabilities, where=inside, out=np.zeros_like(delta))
        delta = probabilities * (delta - (delta * probabilities).sum(axis=1, keepdims=True))
    return loss, delta / len(labels)


@cache  # every engine is compared with the same few reference trainings
def reference(variant: Variant, digits: Digits, *, drop_remainder: bool = False) -> tuple[Weights, list[float]]:
    """Train a variant in NumPy with float64, from the same initial weights and batches as the engines.

    Returns:
        The final weights and the loss of each epoch. The results are cached and shared between calls: do not modify
        them.
    """
    weights: Weights = [weight.astype(np.float64) for weight in initial_weights(variant)]
    means, squares = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    x, y = digits.features.astype(np.float64), digits.labels
    losses, step = [], 0
    for [order] in batch_orders(variant):
        total = 0.0
        for start in range(0, N_IMAGES, variant.batch_size):
            batch = order[start : start + variant.batch_size]
            if drop_remainder and len(batch) < variant.batch_size:
                continue
            activations = forward(weights, x[batch])
            loss, delta = _derivative(activations[-1], y[batch], variant.softmax)
            total += loss
            gradients: Weights = []
            for layer in reversed(range(len(weights) // 2)):
                gradients = [activations[layer].T @ delta, delta.sum(axis=0), *gradients]
                delta = (delta @ weights[2 * layer].T) * (activations[layer] > 0)
            step += 1
            beta_1, beta_2 = variant.beta_1, variant.beta_2
            rate = variant.learning_rate * np.sqrt(1 - beta_2**step) / (1 - beta_1**step)
            for weight, mean, square, gradient in zip(weights, means, squares, gradients, strict=True):
                mean[...] = beta_1 * mean + (1 - beta_1) * gradient
                square[...] = beta_2 * square + (1 - beta_2) * gradient * gradient
                weight[...] = weight - rate * mean / (np.sqrt(square) + variant.epsilon)
        losses.append(total / N_IMAGES)
    return weights, losses


def same(a: TrainingHistory, b: TrainingHistory) -> bool:
    """Return whether two training histories are equal to the last bit, apart from durations."""
    return (
        a.variant == b.variant
        and np.array_equal(a.losses, b.losses, equal_nan=True)
        and np.array_equal(a.errors, b.errors)
        and a.snapshots.keys() == b.snapshots.keys()
        and all(
            np.array_equal(a.snapshots[epoch].logits, b.snapshots[epoch].logits, equal_nan=True)
            and all(
                np.array_equal(mine, theirs, equal_nan=True)
                for mine, theirs in zip(a.snapshots[epoch].weights, b.snapshots[epoch].weights, strict=True)
            )
            for epoch in a.snapshots
        )
    )


# The rules


def _off(trained: TrainingHistory, losses: Sequence[float]) -> float:
    return float(np.abs(trained.losses - losses).max())


def first_steps(engine: Engine, digits: Digits) -> None:
    """The first training steps match a NumPy implementation of Adam with the same initial weights and batches."""
    variant = Variant(epochs=3, batch_size=1000)
    [trained] = engine.train([variant])
    weights, losses = reference(variant, digits)
    # After 15 steps, float32 losses were measured to differ from the float64 reference by up to 5e-6. A learning rate
    # that is wrong by 1% changes the losses by 2e-3. A beta of 0.998 instead of 0.999 changes the losses by 3e-5.
    off = _off(trained, losses)
    _must(off < 2e-5, f"losses {trained.losses.tolist()} differ by up to {off:.1e} from the expected losses {losses}")
    # Adam divides each gradient by its recent size. If the terms of a gradient nearly cancel, float32 rounding decides
    # its sign, and the weight may differ by several steps. So the 10% of the weights that differ most are ignored. The
    # other weights were measured to agree to 1e-5. A learning rate that is wrong by 1%, or a beta of 0.998 instead of
    # 0.999, changes them by more than 2e-4.
    for number, (mine, theirs) in enumerate(zip(trained.final.weights, weights, strict=True)):
        most = float(np.quantile(np.abs(mine - theirs), 0.9))
        cause = f"10% of the entries of weight array {number} differ by {most:.1e} or more from the expected weights"
        _must(most < 5e-5, cause)


_CHANGES: tuple[dict[str, float], ...] = ({"beta_1": 0.8}, {"beta_2": 0.99}, {"epsilon": 1e-3})
_ADAMS: tuple[AdamKind, ...] = ("tensorflow", "keras")


def optimizer(engine: Engine, digits: Digits) -> None:
    """The engine uses the Adam settings of a variant."""
    plain = Variant(epochs=4, batch_size=1000)
    _, usual = reference(plain, digits)
    changed = [plain.model_copy(update={"adam": adam, **changes}) for adam in _ADAMS for changes in _CHANGES]
    _differ(engine, digits, changed, usual)


def softmax_in_output(engine: Engine, digits: Digits) -> None:
    """If the softmax is a layer of the model, the engine clips probabilities as Keras does."""
    # The learning rate is large, so that probabilities come close enough to 0 and 1 to be clipped.
    plain = Variant(epochs=4, batch_size=1000, learning_rate=0.5)
    _, usual = reference(plain, digits)
    changed = [plain.model_copy(update={"adam": adam, "softmax": "output"}) for adam in _ADAMS]
    _differ(engine, digits, changed, usual)


def _differ(engine: Engine, digits: Digits, variants: Sequence[Variant], usual: Sequence[float]) -> None:
    """Check that the engine's losses match the losses of a NumPy training of the same variant.

    Also check that the NumPy losses differ from ``usual``, the losses without the variant's changed settings.
    Otherwise, an engine that ignores these settings would pass.
    """
    for variant, trained in zip(variants, engine.train(variants), strict=True):
        _, losses = reference(variant, digits)
        # After 20 steps, float32 losses (as large as 16) were measured to differ from the float64 reference by up to
        # 4e-6. The changed settings change the losses by about 100 times as much.
        off, from_usual = _off(trained, losses), float(np.abs(np.array(usual) - losses).max())
        is_right = off < 1e-5 and from_usual > 3e-4
        _must(is_right, f"losses {trained.losses.tolist()} differ by up to {off:.1e} from expected {losses}: {variant}")


def last_batch(engine: Engine, digits: Digits) -> None:
    """The engine also trains on the last batch of an epoch, which may be smaller than the others."""
    variant = Variant(epochs=1, batch_size=4992)
    [trained] = engine.train([variant])
    _, losses = reference(variant, digits)
    _, dropped = reference(variant, digits, drop_remainder=True)
    off = _off(trained, losses)
    is_right = off < 2e-5 and abs(losses[0] - dropped[0]) > 1e-4
    _must(is_right, f"the loss differs by {off:.1e} from the expected loss {losses[0]:.6f}")


def scores(engine: Engine, digits: Digits) -> None:
    """The logits and the error count of an epoch match the weights that the engine returns for this epoch."""
    [trained] = engine.train([Variant(epochs=1)])
    logits = forward([weight.astype(np.float64) for weight in trained.final.weights], digits.x)[-1]
    _must(trained.final.logits.shape == logits.shape, f"the logits have the shape {trained.final.logits.shape}")
    # The tolerance allows for float32 rounding. Float32 has seven digits. A logit is a sum of up to 400 products, and
    # each addition is rounded. Logits are as large as 10.
    off = float(np.abs(trained.final.logits - logits).max())
    _must(off < 1e-4, f"the logits differ by up to {off:.1e} from the logits of the returned weights")
    wrong = len(wrong_images(trained.final.logits, digits.labels))
    _must(int(trained.errors[0]) == wrong, f"the engine counts {trained.errors[0]} errors, but its logits give {wrong}")


def repeats(engine: Engine, _digits: Digits) -> None:
    """A variant's result does not depend on the other variants, bit for bit, and results are in list order."""
    variant = Variant(epochs=2, seed=7, batch_size=1000)
    others = [
        Variant(epochs=1, learning_rate=0.01, batch_size=1000),
        Variant(epochs=3, seed=8, batch_size=1000),
        Variant(epochs=1, batch_size=64),
    ]
    asked = [others[0], variant, *others[1:], variant]
    [alone] = engine.train([variant])
    among = engine.train(asked)
    _must([trained.variant for trained in among] == asked, "the results are not in the order of the variants")
    _must(same(among[1], alone), "the result of a variant depends on the other variants in the list")
    _must(same(among[4], alone), "the same variant twice in a list gives two different results")


def prefixes(engine: Engine, _digits: Digits) -> None:
    """The first epochs of a long training equal the epochs of a short training."""
    [long] = engine.train([Variant(epochs=4, batch_size=1000)], snapshots=[2])
    [short] = engine.train([Variant(epochs=2, batch_size=1000)])
    _must(same(long.prefix(2), short), "the first two of four epochs differ from a training of two epochs")


def snapshots(engine: Engine, _digits: Digits) -> None:
    """The engine returns snapshots of the requested epochs and of the last epoch."""
    first, second = engine.train([Variant(epochs=epochs, batch_size=1000) for epochs in (3, 1)], snapshots=[1, 2, 9])
    taken = sorted(first.snapshots), sorted(second.snapshots)
    _must(taken == ([1, 2, 3], [1]), f"there are snapshots of the epochs {taken}, instead of [1, 2, 3] and [1]")
    changed = not np.array_equal(first.snapshots[1].logits, first.snapshots[2].logits)
    _must(changed, "snapshots of two epochs have the same logits")


def divergence(engine: Engine, _digits: Digits) -> None:
    """If a training diverges, the engine returns losses of NaN or infinity, and counts every image as wrong."""
    # With a learning rate of 1e30, the weights overflow float32 in the second step. All later values are NaN or
    # infinity. NumPy's warnings about such values are turned off.
    with np.errstate(invalid="ignore", over="ignore"):
        [diverged] = engine.train([Variant(epochs=2, learning_rate=1e30)])
    _must(
        not np.isfinite(diverged.losses).all(),
        f"losses {diverged.losses.tolist()} are finite, although the learning rate is 1e30",
    )
    _must(
        diverged.errors.tolist() == [N_IMAGES, N_IMAGES],
        f"the error counts are {diverged.errors.tolist()}, although no image has finite logits",
    )


def shapes(engine: Engine, _digits: Digits) -> None:
    """The engine trains variants with other layers and batch sizes than the baseline's."""
    asked = [Variant(epochs=1, layers=(10,)), Variant(epochs=1, layers=(8, 10), batch_size=N_IMAGES)]
    found = [[weight.shape for weight in trained.final.weights] for trained in engine.train(asked)]
    wanted = [[(400, 10), (10,)], [(400, 8), (8,), (8, 10), (10,)]]
    _must(found == wanted, f"the weights have the shapes {found}, not {wanted}")


def reports(engine: Engine, _digits: Digits) -> None:
    """The engine calls ``on_epoch`` at the end of every epoch."""
    reported: list[EpochReport] = []
    variants = [Variant(epochs=2, batch_size=1000), Variant(epochs=1, seed=5, batch_size=1000)]
    for trained in engine.train(variants, on_epoch=reported.append):
        own = [report for report in reported if report.variant == trained.variant]
        epochs = [report.epoch for report in own]
        _must(epochs == list(range(1, trained.variant.epochs + 1)), f"the reported epochs are {epochs}")
        _must([report.loss for report in own] == trained.losses.tolist(), "reported losses differ from the history")
        _must([report.errors for report in own] == trained.errors.tolist(), "reported errors differ from the history")
        together_s = sum(report.duration_s for report in own)
        is_possible = together_s <= trained.duration_s * 1.001
        _must(is_possible, "the durations of the epochs add up to more than the duration of the training")


def nothing(engine: Engine, _digits: Digits) -> None:
    """An empty list of variants gives an empty list of training histories."""
    _must(engine.train([]) == [], "the result for an empty list of variants is not an empty list")


RULES: tuple[Rule, ...] = (
    *(first_steps, optimizer, softmax_in_output, last_batch, scores, repeats, prefixes, snapshots, divergence),
    *(shapes, reports, nothing),
)


def examine(engine: Engine, digits: Digits) -> dict[str, str]:
    """Check an engine against every rule.

    Returns:
        The result for each rule, by the text of the rule: a description of the violation, or an empty string if the
        engine follows the rule. Any exception counts as a violation.
    """
    return {(rule.__doc__ or rule.__name__).rstrip("."): _broken(rule, engine, digits) for rule in RULES}


def _broken(rule: Rule, engine: Engine, digits: Digits) -> str:
    try:
        rule(engine, digits)
    except ContractError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - an engine of another package may raise anything
        return f"{type(error).__name__}: {error}"
    return ""
