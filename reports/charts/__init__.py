"""Frames to figures: each function draws one figure and returns it; no global setting of matplotlib is touched."""
