"""The entry point of ``harness``. It starts the fork server first, because importing TensorFlow takes the longest."""

from __future__ import annotations

import sys

from harness import provenance
from harness.workers import server

# Commands that train in worker processes.
_TRAINING = (["study", "run"], ["gate", "run"], ["gate", "record"])
# With these arguments, no fork server starts: a cluster trains, or the command only prints its help.
_NOT_HERE = frozenset({"--cluster", "--help", "-h"})


def main() -> None:
    """Run ``harness``. For commands that train, start the fork server first."""
    words = sys.argv[1:]
    # If the environment has settings for TensorFlow, the server does not start here. A wrong setting ends any process
    # that imports TensorFlow, so the command checks the settings first.
    if words[:2] in _TRAINING and not _NOT_HERE.intersection(words) and not provenance.computing_settings():
        server.start()
    from harness.commands.main import main as run

    run()
