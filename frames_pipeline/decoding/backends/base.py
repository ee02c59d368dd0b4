"""The protocol of a decoder backend: packets of a plan in, frames with their rows out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from frames_pipeline.container.media import Media

MIN_MEGAPIXELS: Final = 50.0
"""A guess, until `python -m benchmarks.gpu` has measured it on a GPU: 54 frames of 1280x720."""


class Decoded(NamedTuple):
    """Result of a packet: a frame or an error."""

    row: int
    """Row of the packet."""
    frame: VideoFrame | None
    """The frame; `None` after an error."""
    error: str = ""
    """The decoder's error message."""
    is_gap: bool = False
    """Whether the packet is intact but an earlier packet with a reference frame is lost."""


@dataclass(slots=True)
class Tally:
    """Work done so far, with the decoder and device that did it. Decoders update it."""

    decoder: str = ""
    """Name of the decoder that ran last, which may differ from the requested one."""
    device: str = ""
    """Its device: `cpu`, or a GPU by name."""
    choice: str = ""
    """Reason for this decoder; empty if it was requested by name."""
    packets_fed: int = 0
    """Packets fed to a decoder."""
    frames_decoded: int = 0
    """Frames that it returned, wanted or not."""


class Decoder(Protocol):
    """A backend. Pixels that differ from the CPU's need a separate value of `signature.pixels`."""

    @property
    def name(self) -> str:
        """The name users choose it by."""

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        """Feed the packets of some rows, drain the decoder, and leave it ready for other rows.

        Yields every frame, wanted or not, and every error: the caller traces damage through the
        frames that others are predicted from.

        Raises:
            DecoderUnsupportedError: The backend lacks the stream's codec or pixel format.
            MemoryError: Memory ran out.
        """


@dataclass(frozen=True, slots=True)
class Setting:
    """A numeric setting of a backend."""

    name: str
    """Name of the parameter."""
    default: int | float
    """Default value; its type is the setting's type."""
    meaning: str
    """One sentence for help and docs."""
    minimum: int | float = 0
    """Least value."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A registry entry: a backend that users choose by name."""

    name: str
    """The name users choose it by."""
    summary: str
    """One sentence for help and docs."""
    opens: str
    """The function that opens a decoder, as `module:name`: imported when a decoder is opened. It
    takes the settings by name, and raises `DecoderUnavailableError` if it cannot run here."""
    settings: tuple[Setting, ...] = ()
    """The settings that `open` takes."""
    uses_gpu: bool = False
    """Whether it runs on the GPU of its setting `gpu`."""

    @property
    def open(self) -> Callable[..., Decoder]:
        """The function that `opens` names."""
        module, _, name = self.opens.partition(":")
        found: Callable[..., Decoder] = getattr(importlib.import_module(module), name)
        return found

    def __call__(self, **settings: float) -> Decoder:
        """Open a decoder."""
        return self.open(**settings)
