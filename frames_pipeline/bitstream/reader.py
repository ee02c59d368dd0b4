"""Readers of packet headers: the base class, and readers of codecs with little to read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.bitstream.flags import DISPOSABLE, ENTRY, SHOWN
from frames_pipeline.bitstream.heads import Heads, PacketBytes

Shows = Callable[[memoryview, int, int], bool]
"""Returns whether a packet holds a picture of some width and height."""


class HeaderReader(ABC):
    """Reads the packets of one stream in decode order.

    A reader overrides the facts that the headers of its codec contain.
    """

    references: Sequence[tuple[int, ...]] | None = None
    """Packets that each packet so far is predicted from; `None` if headers lack this."""
    refuted: Sequence[int] = ()
    """Packets that claim to be entry points, and are refuted by later ones."""

    @abstractmethod
    def read(self, data: memoryview, *, key: bool) -> int:
        """Return the flags of one packet, with its temporal layer above `LAYER_SHIFT`.

        Args:
            data: The packet's bytes.
            key: Whether the container marks it as a key frame.
        """

    def read_heads(
        self,
        heads: Heads,
        lengths: NDArray[np.int64],
        *,
        key: NDArray[np.bool_],
        read: PacketBytes,
    ) -> NDArray[np.int64] | None:
        """Return the flags of all packets of a stream at once, as `read` gives them one by one.

        `None` if the reader cannot do so, if a packet holds more than one picture with its
        parameter sets and SEI, or if the container's key flags contradict the headers.

        Args:
            heads: The first bytes of each packet. Shape (packets, bytes).
            lengths: Bytes of each packet. Shape (packets,).
            key: Whether the container calls it a key frame. Shape (packets,).
            read: Reads more of a packet.
        """
        return None

    def renew(self, extradata: bytes) -> None:  # noqa: B027 - most readers take no extradata
        """Take the extradata that comes with the next packet."""

    @property
    def state_varies(self) -> bool:
        """Whether packets so far change decoder state other than pictures (see `state`)."""
        return False

    def state_before(self, row: int) -> bytes | None:
        """Return the bytes that put a decoder into the state of a linear decode before a packet.

        `None` if no bytes can: decoding must not begin at that packet.
        """
        return b""

    @property
    def in_output_order(self) -> bool:
        """Whether the headers so far declare that output order is decode order."""
        return False

    @property
    def discarded(self) -> Sequence[int]:
        """Packets of pictures that a decoder drops before output."""
        return ()

    @property
    def damaged(self) -> Sequence[int]:
        """Packets so far that fail their own checksums."""
        return ()

    @property
    def may_have_palettes(self) -> bool:
        """Whether palettes in side data apply: to intra-only codecs without a parser."""
        return False


class TheoraReader(HeaderReader):
    """Entry points are intra frames, by the first byte of a packet (Theora, 7.1)."""

    def __init__(self, extradata: bytes) -> None:
        """Take the three headers that a decoder is opened with."""

    def read(self, data: memoryview, *, key: bool) -> int:
        if not data or data[0] & 0x80:
            return 0  # a header, or nothing
        return SHOWN if data[0] & 0x40 else SHOWN | ENTRY


class IntraReader(HeaderReader):
    """A codec in which every frame stands alone."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""

    def read(self, data: memoryview, *, key: bool) -> int:
        return SHOWN | ENTRY | DISPOSABLE

    @property
    def may_have_palettes(self) -> bool:
        return True


class OpaqueReader(HeaderReader):
    """An unknown codec: its frames show, and decoding starts at the first."""

    def __init__(self, extradata: bytes) -> None:
        """Take the codec's extradata, which is not needed."""
        self._flags = SHOWN | ENTRY

    def read(self, data: memoryview, *, key: bool) -> int:
        flags, self._flags = self._flags, SHOWN
        return flags


class PictureReader(HeaderReader):
    """An opaque codec with a known test for packets that hold a picture."""

    def __init__(self, shows: Shows, width: int, height: int) -> None:
        """Take the test for a picture, and the size of frames."""
        self._shows, self._width, self._height = shows, width, height
        self._entry = ENTRY

    def read(self, data: memoryview, *, key: bool) -> int:
        entry, self._entry = self._entry, 0
        return entry | (SHOWN if self._shows(data, self._width, self._height) else 0)
