from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.network.variant import BASELINE, Variant

variants = st.builds(
    Variant,
    epochs=st.integers(1, 1000),
    learning_rate=st.floats(1e-6, 1, allow_nan=False),
    seed=st.integers(0, 2**31 - 1),
    batch_size=st.integers(1, 5000),
    softmax=st.sampled_from(["logits", "output"]),
    adam=st.sampled_from(["tensorflow", "keras"]),
)


def test_the_baseline_is_the_labs_network() -> None:
    assert BASELINE.model_dump() == {
        "epochs": 100,
        "learning_rate": 0.001,
        "seed": 1234,
        "layers": (25, 15, 10),
        "batch_size": 32,
        "softmax": "logits",
        "adam": "tensorflow",
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
    }
    assert BASELINE.steps_per_epoch == 157


def test_a_key_is_the_same_wherever_it_is_computed() -> None:
    assert BASELINE.key == "44136fa355b3678a"


def test_a_field_that_has_the_baselines_value_is_not_in_the_key() -> None:
    """So a field that is added later leaves the keys of old records as they are."""
    text = json.dumps({"batch_size": 64, "seed": 5}).encode()
    assert Variant(seed=5, batch_size=64).key == hashlib.sha256(text).hexdigest()[:16]


@given(variants, variants)
def test_keys_are_equal_just_where_configurations_are(first: Variant, second: Variant) -> None:
    assert (first.key == second.key) == (first == second)


@given(variants, st.integers(1, 1000))
def test_changing_the_epochs_changes_nothing_else(variant: Variant, epochs: int) -> None:
    changed = variant.with_epochs(epochs)
    assert changed.epochs == epochs
    assert changed.with_epochs(variant.epochs) == variant


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("seed", -1),
        ("seed", 2**31),
        ("layers", ()),
        ("layers", (25, 15, 9)),
        ("layers", (0, 10)),
        ("batch_size", 0),
        ("batch_size", 5001),
        ("softmax", "middle"),
        ("adam", "torch"),
        ("beta_1", -0.1),
        ("beta_1", 1.0),
        ("beta_2", 1 - 1e-12),  # 1 in float32
        ("epsilon", 0.0),
        ("epsilon", float("inf")),
        ("momentum", 0.9),
    ],
)
def test_what_cannot_be_trained_is_refused_by_the_name_of_its_field(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=field):
        Variant.create(**{field: value})


@given(st.integers(1, 5000))
def test_every_image_is_in_a_step(batch_size: int) -> None:
    steps = Variant(batch_size=batch_size).steps_per_epoch
    assert (steps - 1) * batch_size < 5000 <= steps * batch_size
