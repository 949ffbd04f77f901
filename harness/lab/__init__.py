"""Runs the lab, and compares its numbers with the published numbers."""
