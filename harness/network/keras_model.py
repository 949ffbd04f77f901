"""The lab's network as a Keras model."""

from __future__ import annotations

import keras

from harness.network.variant import BASELINE, N_FEATURES, SoftmaxPlace


def _reset() -> None:
    """Set Keras' settings to their defaults, whatever ``keras.json`` and ``KERAS_MAX_*`` variables say."""
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


_reset()


def build(layers: tuple[int, ...] = BASELINE.layers, softmax: SoftmaxPlace = BASELINE.softmax) -> keras.Sequential:
    """Build the lab's model: named dense layers with ReLU, a linear last one, and the softmax where it is wanted.

    Args:
        layers: units of each layer; 25, 15 and 10 make 10,575 parameters.
        softmax: left to the loss, which takes ``logits``, or a layer of its own behind the last one, the ``output``.

    Returns:
        the model, ``(batch, 400) float32`` to logits or probabilities, ``(batch, 10) float32``; its weights are
        Keras' own draw.
    """
    dense = [
        keras.layers.Dense(units, activation="linear" if number == len(layers) else "relu", name=f"L{number}")
        for number, units in enumerate(layers, start=1)
    ]
    output = [keras.layers.Softmax(name="softmax")] if softmax == "output" else []
    return keras.Sequential([keras.Input(shape=(N_FEATURES,)), *dense, *output], name="my_model")


def summary() -> str:
    """Keras' summary of the lab's model, as text of 80 columns."""
    lines: list[str] = []
    build().summary(line_length=80, print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)
