"""The network of the lab, in Keras."""

from __future__ import annotations

import keras

from harness.variant import BASELINE, N_FEATURES


def build(layers: tuple[int, ...] = BASELINE.layers) -> keras.Sequential:
    """Build the lab's model: named dense layers with ReLU, a linear last one, softmax left to the loss.

    Args:
        layers: units of each layer; 25, 15 and 10 make 10,575 parameters.

    Returns:
        the model, ``(batch, 400) float32`` to logits ``(batch, 10) float32``; its weights are Keras' own draw.
    """
    dense = [
        keras.layers.Dense(units, activation="linear" if number == len(layers) else "relu", name=f"L{number}")
        for number, units in enumerate(layers, start=1)
    ]
    return keras.Sequential([keras.Input(shape=(N_FEATURES,)), *dense], name="my_model")
