"""The flags of a packet, as plain integers for speed: there are millions of packets."""

from __future__ import annotations

from typing import Final

SHOWN: Final = 1
"""The packet shows a frame."""
ENTRY: Final = 2
"""Decoding may start here: frames from this one on, in output order, are exact."""
DISPOSABLE: Final = 4
"""No other frame is predicted from this one (within its temporal layer)."""
BETWEEN: Final = 8
"""The frame is shown before a frame that is decoded before it (a B picture)."""
SETS: Final = 16
"""The packet changes the decoder's state for later ones (see `state`), and is always fed."""
COMPLETES: Final = 32
"""The packet holds the second field of the frame that an earlier packet began."""
OPEN: Final = 64
"""An entry point with unmarked leading pictures: a decoder that starts there outputs no picture
shown before it."""
LAYER_SHIFT: Final = 8
"""Bit position of the temporal layer."""
