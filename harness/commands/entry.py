"""The entry point of ``harness``. It first starts the fork server, which imports TensorFlow in the background.

This import takes longer than all other imports of the command.
"""

from __future__ import annotations

import sys

from harness import provenance
from harness.errors import ExitStatus, first_line
from harness.workers import server

# Commands that train in worker processes.
_TRAINING = (["study", "run"], ["gate", "run"], ["gate", "record"])
# With these arguments, no fork server starts: a cluster trains, or the command only prints its help.
_NOT_HERE = frozenset({"--cluster", "--help", "-h"})


def main() -> None:
    """Run ``harness``. If the command trains in worker processes, first start the server that forks them."""
    words = sys.argv[1:]
    # If the environment has settings for TensorFlow, the server does not start here. A wrong setting ends any process
    # that imports TensorFlow, so the command checks the settings first.
    if words[:2] in _TRAINING and not _NOT_HERE.intersection(words) and not provenance.computing_settings():
        server.start()
    try:
        from harness.commands.main import main as run
    except Exception as error:  # noqa: BLE001 - a broken package may raise any exception
        sys.stderr.write(
            f"error: a package cannot be imported ({type(error).__name__}: {first_line(error)})\n"
            "  Install the packages again: python -m pip install --force-reinstall zero-errors\n"
        )
        sys.exit(ExitStatus.ENVIRONMENT)
    run()
