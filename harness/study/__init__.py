"""Defines the configuration of a study, reads it from a TOML file, and computes its signature."""
