"""Engines train variants: one contract and several implementations."""
