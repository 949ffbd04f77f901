"""A module that cannot be loaded."""

msg = "the licence has run out"
raise RuntimeError(msg)
