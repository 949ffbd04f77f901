"""Comparison reports, made from recorded runs alone: records to frames, frames to figures, both to a page."""
