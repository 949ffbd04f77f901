"""The entry point of the command. It starts the fork server first, because TensorFlow takes longest to load."""

from __future__ import annotations

import sys

from harness import provenance
from harness.workers import server

# Commands that train in workers.
_TRAINING = (["study", "run"], ["gate", "run"], ["gate", "record"])
# With one of these words, the workers of this machine are not needed, or it is not known yet.
_NOT_HERE = frozenset({"--cluster", "--help", "-h"})


def main() -> None:
    """Run the command."""
    words = sys.argv[1:]
    # Settings of TensorFlow are checked first: it ends a process that has a wrong one.
    if words[:2] in _TRAINING and not _NOT_HERE.intersection(words) and not provenance.computing_settings():
        server.start()
    from harness.commands.main import main as run

    run()
