from __future__ import annotations

import pytest

from harness.network import keras_model

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_the_model_is_the_labs() -> None:
    built = keras_model.build()
    assert built.name == "my_model"
    assert built.count_params() == 10_575
    assert [layer.name for layer in built.layers] == ["L1", "L2", "L3"]
    assert [layer.activation.__name__ for layer in built.layers] == ["relu", "relu", "linear"]
    assert [weight.shape for weight in built.get_weights()] == [(400, 25), (25,), (25, 15), (15,), (15, 10), (10,)]


@pytest.mark.parametrize(("layers", "count"), [((10,), 4010), ((30, 10), 12_340)])
def test_other_layers_make_other_models(layers: tuple[int, ...], count: int) -> None:
    built = keras_model.build(layers)
    assert built.count_params() == count
    assert built.layers[-1].activation.__name__ == "linear"
