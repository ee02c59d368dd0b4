"""Totals of the comparisons in the corpus tests."""

from __future__ import annotations

from collections.abc import Callable

Count = Callable[[str, int], None]
"""Adds to a total: its name, and the number."""
