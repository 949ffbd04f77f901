"""Benchmarks of this project against other libraries, and measurements of the gate's statistical power."""
