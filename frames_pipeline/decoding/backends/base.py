"""The contract of a decoder backend: packets of a plan in, frames with their rows out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from av.video.frame import VideoFrame

from frames_pipeline.container.media import Media


class Decoded(NamedTuple):
    """What became of a packet."""

    row: int
    """Row of the packet that the frame is of, or that could not be decoded."""
    frame: VideoFrame | None
    """The frame, or `None` where the decoder reported an error instead."""
    error: str = ""
    """What it reported."""
    is_gap: bool = False
    """Nothing is wrong with the packet: one before it is lost, of a frame that others refer to."""


@dataclass(slots=True)
class Tally:
    """What was done so far, and by whom: a decoder signs for its work."""

    decoder: str = ""
    """Name of the decoder that ran last, whatever was asked for."""
    device: str = ""
    """Where it ran: `cpu`, or a GPU by name."""
    choice: str = ""
    """Why it was this one; empty if it was asked for by name."""
    packets_fed: int = 0
    """Packets that were fed to a decoder."""
    frames_decoded: int = 0
    """Frames that came out of it, wanted or not."""


class Decoder(Protocol):
    """A backend. One that cannot give the CPU's pixels to the bit has a signature of its own."""

    @property
    def name(self) -> str:
        """The name users choose it by."""

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        """Feed the packets of some rows, drain the decoder, and leave it ready for other rows.

        Every frame that comes out is passed on, wanted or not, and so is every error: whoever
        reads them needs to know what a frame may have been predicted from.

        Raises:
            DecoderUnsupportedError: It lacks the stream's codec or pixel format.
            MemoryError: There is not enough.
        """


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that users may choose for a backend."""

    name: str
    """Name of the parameter."""
    default: int | float
    """Value if it is not given; its type is the setting's."""
    meaning: str
    """One sentence for help and docs."""
    minimum: int | float = 0
    """Least value."""


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend as users choose it: an entry of the registry."""

    name: str
    """The name users choose it by."""
    summary: str
    """One sentence for help and docs."""
    open: Callable[..., Decoder]
    """Return a decoder with settings given by name; `DecoderUnavailableError` if it cannot run."""
    settings: tuple[Setting, ...] = ()
    """The settings that `open` takes."""
    uses_gpu: bool = False
    """Whether it runs on the GPU of its setting `gpu`."""

    def __call__(self, **settings: float) -> Decoder:
        """Open a decoder."""
        return self.open(**settings)
