from __future__ import annotations

import numpy as np

from harness.engines.adam import adam
from harness.network.variant import Variant


def test_tensorflow_rounds_before_it_subtracts_and_keras_after() -> None:
    of_tensorflow, of_keras = (adam(Variant(adam=kind)) for kind in ("tensorflow", "keras"))
    assert f"{of_tensorflow.rest_1:.8f}" == "0.10000002"
    assert of_keras.rest_1 == np.float32(0.1)
    assert f"{of_tensorflow.rest_2:.8f}" == "0.00099999"
    assert of_keras.rest_2 == np.float32(0.001)
    assert of_tensorflow[:3] == of_keras[:3] == (np.float32(0.001), np.float32(0.9), np.float32(0.999))
    assert {value.dtype for value in (*of_tensorflow, *of_keras)} == {np.dtype(np.float32)}
