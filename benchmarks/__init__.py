"""Benchmarks of this project against the alternatives of a user, and measurements of the gate's power."""
