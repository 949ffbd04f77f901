"""Keras' engine, where its way of training has edges: batches, repeats of one network, and divergence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.data.digits import Digits
from harness.engines import registry
from harness.engines.conformance import reference, same
from harness.engines.contract import Engine, EpochReport
from harness.network.variant import N_IMAGES, Variant
from tests.support import Harness


@pytest.fixture(scope="module")
def keras(digits: Digits) -> Engine:
    return registry.make("keras", digits)


# The last batch is whole, smaller, or the only one; a batch of one image is the smallest there is.
@pytest.mark.parametrize("batch_size", [1, 999, 1000, 4999, N_IMAGES])
def test_every_batch_is_trained_whatever_its_size(batch_size: int, keras: Engine, digits: Digits) -> None:
    variant = Variant(epochs=1, batch_size=batch_size)
    [trained] = keras.train([variant])
    _, losses = reference(variant, digits)
    # float32 against float64. One image a batch is 5000 steps, over which the rounding of each adds up.
    assert trained.losses == pytest.approx(losses, rel=2e-3 if batch_size == 1 else 1e-5)


def test_a_training_does_not_depend_on_those_before_it(keras: Engine, digits: Digits) -> None:
    variant = Variant(epochs=2, seed=7, batch_size=500)
    keras.train([Variant(epochs=3, seed=8, batch_size=500, learning_rate=0.01)])
    [after] = keras.train([variant])
    [alone] = registry.make("keras", digits).train([variant])
    assert same(after, alone)


def test_a_training_that_diverges_leaves_the_next_one_alone(keras: Engine) -> None:
    variant = Variant(epochs=2, batch_size=1000)
    [alone] = keras.train([variant])
    with np.errstate(all="ignore"):
        diverged, after = keras.train([Variant(epochs=2, batch_size=1000, learning_rate=1e30), variant])
    assert not np.isfinite(diverged.losses).all()
    assert diverged.errors.tolist() == [N_IMAGES, N_IMAGES]
    assert same(after, alone)


def test_an_epoch_is_reported_before_the_next_one_is_trained(keras: Engine) -> None:
    class StopError(Exception):
        pass

    seen: list[int] = []

    def stop(report: EpochReport) -> None:
        seen.append(report.epoch)
        if report.epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        keras.train([Variant(epochs=1000, batch_size=1000)], on_epoch=stop)
    assert seen == [1, 2]
    # The same network trains again from the start.
    [again], [other] = (keras.train([Variant(epochs=2, batch_size=1000)]) for _ in range(2))
    assert same(again, other)


@pytest.mark.parametrize(
    "changed",
    [
        {"KERAS_MAX_STEPS_PER_EPOCH": "10"},
        pytest.param({"KERAS_MAX_EPOCHS": "1"}, marks=pytest.mark.slow),
        pytest.param(
            {"KERAS_BACKEND": "torch", "floatx": "float16", "epsilon": "0.1", "image_data_format": "channels_first"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=str,
)
def test_settings_of_keras_change_no_number(changed: dict[str, str], harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "keras").mkdir()
    of_file = {name: float(value) if name == "epsilon" else value for name, value in changed.items() if name.islower()}
    (tmp_path / "keras" / "keras.json").write_text(json.dumps(of_file))
    arguments = ("train", "--engine", "keras", "--epochs", "2", "--data", "optdigits", "--quiet", "--json", "-")
    environment = {name: value for name, value in changed.items() if name.isupper()}
    with_them = json.loads(harness(*arguments, KERAS_HOME=str(tmp_path / "keras"), **environment).stdout)
    without = json.loads(harness(*arguments).stdout)
    assert (with_them["losses"], with_them["errors"]) == (without["losses"], without["errors"])
    assert len(with_them["losses"]) == 2
