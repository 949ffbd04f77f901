"""Creates the engine `tf_keras`, which trains with legacy Keras (the package ``tf_keras``)."""

from __future__ import annotations

from harness.data.digits import Digits
from harness.engines import tensorflow_setup
from harness.engines.contract import Engine


def make(digits: Digits) -> Engine:
    """Create the engine `tf_keras`.

    Raises:
        ImportError: The package ``tf_keras`` is not installed.
    """
    tensorflow_setup.start()
    import tf_keras

    from harness.engines.keras import KerasEngine

    return KerasEngine(digits, tf_keras)
