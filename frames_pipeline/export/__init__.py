"""Stored frames in formats of other tools."""
