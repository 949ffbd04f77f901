"""Trains, tracks and compares the 400-25-15-10 network that learns 5000 handwritten digits."""
