"""Starts TensorFlow in this process, with one thread and without start-up messages."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from harness import provenance, startup
from harness.engines import compilation_cache
from harness.errors import StoppedError

# Environment variables with flags for XLA, and a program that makes TensorFlow read them. TensorFlow does not start if
# a flag is unknown.
_FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS")
_COMPILE = "import tensorflow as tf; tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))"
_log = logging.getLogger(__name__)


def start(*, with_keras: bool = True) -> None:
    """Import and start TensorFlow with one thread, so that results do not depend on the number of cores.

    The function overwrites the environment variables ``KERAS_BACKEND`` and ``KERAS_NNX_ENABLED``.

    Args:
        with_keras: Whether TensorFlow also imports Keras. Importing Keras and its dependencies takes nearly half of the
            total time.
    """
    load(with_keras=with_keras)
    import tensorflow as tf

    tf.config.list_logical_devices()  # starts TensorFlow, which then reads its flags
    compilation_cache.restore_flags()


def load(*, with_keras: bool) -> None:
    """Import TensorFlow as :func:`start` does, but do not start it. The process can still be forked afterwards."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # ~/.keras/keras.json may name another backend
    os.environ["KERAS_NNX_ENABLED"] = "0"  # NNX needs a package that is not installed
    compilation_cache.use()
    with _quiet_stderr(), nullcontext() if with_keras else _without_keras():
        import tensorflow as tf

    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        # TensorFlow is already running, for example in a notebook. The results are usable, so a warning is enough.
        _log.warning("TensorFlow is already running with its own threads, so the last digits of results may differ")


def check_flags() -> None:
    """Check that TensorFlow accepts the XLA flags of the environment, if any are set.

    The check runs in a subprocess, because an unknown flag ends the process that loads TensorFlow.

    Raises:
        StoppedError: TensorFlow does not start with these flags.
    """
    for name, value in provenance.computing_settings().items():
        _log.warning("%s=%s may change how TensorFlow computes, so the last digits of results may differ", name, value)
    flags = [f"{name}={os.environ[name]}" for name in _FLAGS if os.environ.get(name)]
    if not flags:
        return
    done = subprocess.run([sys.executable, "-P", "-c", _COMPILE], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "flag" in line.lower()]
        reason = f": {lines[-1].strip()[:200]}" if lines else ""
        cause = f"TensorFlow does not start with {' '.join(flags)}{reason}"
        raise StoppedError(cause, f"Correct or unset {' and '.join(flag.partition('=')[0] for flag in flags)}.")


def _without_keras() -> AbstractContextManager[None]:
    """Prevent TensorFlow from importing Keras.

    An environment variable makes TensorFlow use legacy Keras instead. Legacy Keras is usually not installed. TensorFlow
    then imports no Keras.
    """
    return startup.environment_variable("TF_USE_LEGACY_KERAS", "1")


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hide what a ``with`` block writes to standard error, unless the block raises an exception.

    TensorFlow's C++ code writes some messages before it reads its log level.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
