"""Limits of what one source, and one clip of it, may take."""

from __future__ import annotations

from dataclasses import dataclass

from frames_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one source, and one clip of it, may take. Exceeding any is a `LimitExceededError`."""

    max_file_bytes: int = 64 << 30
    """Bytes of a source file."""
    max_pixels: int = 8192 * 8192
    """Width times height of a stored frame."""
    max_packets: int = 5_000_000
    """Coded frames of one stream: 46 hours at 30 frames per second."""
    max_samples: int = 20_000_000
    """Samples that all tracks of an MP4 or MOV declare together, as often as edits repeat them:
    46 hours of video with two tracks of sound."""
    max_edits: int = 10_000
    """Edits of an MP4 or MOV."""
    max_fragments: int = 500_000
    """Movie fragments of an MP4: 46 hours of them, three in a second."""
    max_reuse: int = 8
    """The most times that samples may refer to the bytes of a file, on average."""
    max_frames: int = 100_000
    """Frames that one signature may ask of one clip."""
    max_clip_bytes: int = 3 << 30
    """Bytes of the frames that one signature may ask of one clip. With the default memory of a
    worker process, 1 GiB is left to decode with."""
    packet_memory: int = 16 << 20
    """Bytes of packets that are held in memory; those of a larger stream are read again, or, where
    a sample table says where they are, never held at all."""

    def __post_init__(self) -> None:
        """Refuse a limit below zero."""
        for name in self.__slots__:
            if getattr(self, name) < 0:
                message = f"limit {name}={getattr(self, name)} is below zero"
                raise ConfigError(message)
