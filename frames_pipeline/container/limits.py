"""Resource limits for one source and one clip of it."""

from __future__ import annotations

from dataclasses import dataclass

from frames_pipeline.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one source and on one clip. Exceeding any is a `LimitExceededError`."""

    max_file_bytes: int = 64 << 30
    """Bytes of a source file."""
    max_pixels: int = 8192 * 8192
    """Width times height of a stored frame."""
    max_packets: int = 5_000_000
    """Coded frames of one stream: 46 hours at 30 frames per second."""
    max_samples: int = 20_000_000
    """Samples that all tracks of an MP4 or MOV declare together, counted once per edit that repeats
    them: 46 hours of video with two tracks of sound."""
    max_edits: int = 10_000
    """Edits of an MP4 or MOV."""
    max_fragments: int = 500_000
    """Movie fragments of an MP4: 46 hours of them, three in a second."""
    max_reuse: int = 8
    """Average number of times that samples may refer to each byte of a file."""
    max_frames: int = 100_000
    """Frames of one signature and clip."""
    max_clip_bytes: int = 3 << 30
    """Bytes of the frames of one signature and clip. With the default memory limit of a worker
    process, 1 GiB remains for decoding."""
    packet_memory: int = 16 << 20
    """Bytes of packets to hold in memory. Packets of a larger stream are read again; with a plain
    sample table, packets are never held."""

    def __post_init__(self) -> None:
        """Check that no limit is below zero."""
        for name in self.__slots__:
            if getattr(self, name) < 0:
                message = f"limit {name}={getattr(self, name)} is below zero"
                raise ConfigError(message)
