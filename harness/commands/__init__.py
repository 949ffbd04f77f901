"""What can be typed after ``harness``: a module a command, or a few that belong together."""
