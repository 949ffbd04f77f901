"""The lab's network as a Keras model."""

from __future__ import annotations

from types import ModuleType

import keras

from harness.network.variant import BASELINE, N_FEATURES, SoftmaxPlace


def _reset() -> None:
    """Reset Keras' settings to their defaults.

    The user's file ``keras.json`` or the environment variables ``KERAS_MAX_*`` may have changed the settings.
    """
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


_reset()


def build(
    layers: tuple[int, ...] = BASELINE.layers, softmax: SoftmaxPlace = BASELINE.softmax, kind: ModuleType = keras
) -> keras.Sequential:
    """Build the lab's model.

    The model has named dense layers with ReLU, a linear last dense layer, and optionally a softmax layer.

    Args:
        layers: Number of units of each dense layer. The default, 25, 15 and 10 units, has 10,575 parameters.
        softmax: Where the softmax is applied. With ``logits``, the model returns logits, and the loss applies the
            softmax. With ``output``, a softmax layer follows the last dense layer.
        kind: Keras module: ``keras``, or ``tf_keras`` for legacy Keras.

    Returns:
        The model. Its input is ``(batch, 400) float32``. Its output, logits or probabilities, is
        ``(batch, 10) float32``. Keras initializes the weights.
    """
    dense = [
        kind.layers.Dense(units, activation="linear" if number == len(layers) else "relu", name=f"L{number}")
        for number, units in enumerate(layers, start=1)
    ]
    output = [kind.layers.Softmax(name="softmax")] if softmax == "output" else []
    return kind.Sequential([kind.Input(shape=(N_FEATURES,)), *dense, *output], name="my_model")


def summary() -> str:
    """Return Keras' summary of the lab's model, as text that is 80 columns wide."""
    lines: list[str] = []
    build().summary(line_length=80, print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)
