"""Charts: each function takes a data frame and returns one matplotlib figure, without global settings."""
