"""The flags of a packet, as plain integers: they are made a million times."""

from __future__ import annotations

from typing import Final

SHOWN: Final = 1
"""The packet shows a frame."""
ENTRY: Final = 2
"""Decoding may start here: frames from this one on, in output order, come out exact."""
DISPOSABLE: Final = 4
"""No other frame is predicted from this one (within its temporal layer)."""
BETWEEN: Final = 8
"""The frame is shown before a frame that is decoded before it (a B picture)."""
SETS: Final = 16
"""The packet sets what later ones are decoded with (see `state`), and is never left out."""
COMPLETES: Final = 32
"""The packet holds the second field of the frame whose first field came before it."""
OPEN: Final = 64
"""An entry point whose leading pictures have no mark: a decoder that starts there keeps back all
that are shown before it."""
LAYER_SHIFT: Final = 8
"""Above this bit stands the temporal layer."""
