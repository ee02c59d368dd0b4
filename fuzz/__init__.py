"""Mutated videos through the real extraction: `python -m fuzz`."""
