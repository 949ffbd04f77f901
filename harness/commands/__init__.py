"""The commands of ``harness``: one module for each command or group of related commands."""
