"""Runs ``harness`` as ``python -m harness``."""

from harness.commands.entry import main

if __name__ == "__main__":
    main()
