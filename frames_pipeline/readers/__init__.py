"""Stored frames as a mapping, as torch datasets, and as packs."""
