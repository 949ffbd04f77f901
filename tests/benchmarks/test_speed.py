from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from benchmarks import speed
from harness.data.digits import Digits
from harness.errors import UsageError
from harness.network.random_streams import batch_orders, initial_weights
from harness.network.variant import Variant

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("work") / "work.npz"
    speed.save_work(digits, path)
    return path


def test_the_work_is_the_weights_and_orders_of_the_widest_calls_seeds(work: Path, digits: Digits) -> None:
    variant = Variant(seed=31, epochs=speed.EPOCHS)
    with np.load(work) as file:
        assert (file["orders"][31] == np.concatenate(list(batch_orders(variant)))).all()
        assert (file["weights_2"][31] == initial_weights(variant)[2]).all()
        assert (file["features"] == digits.features).all()


def test_a_contender_answers_with_its_time_and_one_that_is_not_installed_is_told(work: Path) -> None:
    with speed._child(sys.executable, work) as child:
        product_s, graph_s, sklearn_s = (child.measure(name) for name in ("sgemm", "graph", "sklearn"))
        for taken_s in (product_s, graph_s, sklearn_s):
            assert taken_s is not None
            assert taken_s > 0
        for rival in ("jax", "torch"):
            assert (child.measure(rival) is None) == (find_spec(rival) is None) == (rival in child.missing)


def test_a_python_that_cannot_measure_is_one_clear_error(work: Path) -> None:
    with speed._child("/bin/true", work) as child, pytest.raises(UsageError, match="/bin/true cannot measure jax"):
        child.measure("jax")


def test_a_speed_is_a_median_and_its_ratio_is_taken_within_each_round() -> None:
    found = speed._speed("xla 8", 8, [8.0, 16.0, 4.0], [100.0, 400.0, 10.0])
    assert found.variant_s == 8.0 / 8
    assert found.step_us == pytest.approx(8.0 / (8 * 40 * 157) * 1e6)
    assert found.least_us == pytest.approx(4.0 / (8 * 40 * 157) * 1e6)
    assert found.times_fit == 100.0  # of 100, 200 and 20
