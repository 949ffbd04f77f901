"""How fast the project is, against what a user would do instead."""
