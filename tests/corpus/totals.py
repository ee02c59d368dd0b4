"""What the tests of the corpus compared, in all."""

from __future__ import annotations

from collections.abc import Callable

Count = Callable[[str, int], None]
"""Adds to a total: what of, and how many."""
