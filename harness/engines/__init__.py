"""The engines, which train variants. All engines implement the same interface, the engine contract."""
