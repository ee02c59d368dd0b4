"""FrameBatch: the frames of one clip, with their positions, timestamps and outcome."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.encodings.encoding import FrameEncoding
from frames_pipeline.encodings.images import EncodedFrames, encode_frames
from frames_pipeline.errors import CodecUnavailableError, IntegrityError

Timestamps = Literal["container", "repaired", "counted"]
"""Origin of timestamps. `container`: all from the container. `repaired`: most from the container,
the rest interpolated between neighbours. `counted`: from positions and the average rate."""


_MOST_ASPECT: Final = 16
"""Largest plausible ratio of a pixel's sides."""
_WIDE_GAMUT: Final = ("bt2020", "smpte428", "smpte431", "smpte432", "film", "vgamut")
"""Colour primaries with a gamut larger than that of BT.709."""


class Crop(NamedTuple):
    """Pixels that the container crops at each edge of the coded picture."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class PictureFormat:
    """The meaning of a video's samples, as its container and bitstream declare it.

    Names are FFmpeg's: `bt709`, `smpte2084`, `bt2020nc`, … `unspecified`: neither declares it.
    """

    primaries: str = "unspecified"
    """Colour primaries."""
    transfer: str = "unspecified"
    """Transfer characteristics. `smpte2084` is PQ, `arib-std-b67` is HLG."""
    matrix: str = "unspecified"
    """Matrix coefficients from RGB."""
    range: Literal["limited", "full", "unspecified"] = "unspecified"
    """Range of the samples."""
    bit_depth: int = 0
    """Bits of a sample; 0 if unknown."""
    chroma: str = ""
    """`4:2:0`, `4:2:2`, `4:4:4`, …, `gray` or `rgb`; empty if unknown."""
    pixel_aspect: Fraction | None = None
    """Width of a pixel divided by its height, as declared; `None` if it is not declared."""
    field_order: Literal["progressive", "tff", "bff", "unspecified"] = "unspecified"
    """Interlacing of the stream: the field that is shown first, or `progressive`."""
    peak_luminance: Fraction | None = None
    """Peak of the mastering display in cd/m²; `None` if it is not declared."""
    max_content_light: int | None = None
    """Maximum content light level (MaxCLL) in cd/m²; `None` if it is not declared."""
    dolby_vision: int | None = None
    """Dolby Vision profile; `None` without Dolby Vision."""

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is PQ or HLG."""
        return self.transfer in ("smpte2084", "arib-std-b67")

    @property
    def is_wide_gamut(self) -> bool:
        """Whether the primaries span a gamut larger than that of BT.709."""
        return self.primaries in _WIDE_GAMUT

    @property
    def is_interlaced(self) -> bool:
        """Whether the stream or its first frame is marked as interlaced."""
        return self.field_order in ("tff", "bff")

    @property
    def has_plausible_aspect(self) -> bool:
        """Whether the pixel aspect is within 16:1 and 1:16, or is not declared."""
        aspect = self.pixel_aspect
        return aspect is None or (aspect > 0 and max(aspect, 1 / aspect) <= _MOST_ASPECT)

    @property
    def shown_pixel_aspect(self) -> Fraction:
        """The pixel aspect to show: 1 if it is not declared, or is beyond 16:1 or 1:16."""
        aspect = self.pixel_aspect
        return aspect if aspect is not None and self.has_plausible_aspect else Fraction(1)


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """Decoding work of one clip.

    Clips of one video share one decoding pass. Work that serves several clips is counted for the
    first, so sums over clips are totals.
    """

    decoder: str
    """Name of the decoder that ran, which may differ from the requested one."""
    device: str = "cpu"
    """Device of the decoder: `cpu`, a GPU by name, or `none` if nothing had to be decoded."""
    packets_planned: int = 0
    """Packets that the plan selected."""
    packets_fed: int = 0
    """Packets that the decoder was fed, including a second pass."""
    frames_decoded: int = 0
    """Frames that the decoder returned, selected or not."""
    choice: str = ""
    """Reason for the choice of decoder; empty if it was requested by name."""
    fallback: str = ""
    """Reason for decoding everything from the start; empty if the plan was followed."""
    family: str = ""
    """Key of the video's family (see `pipeline.families`); empty if unknown."""
    copied_from: str = ""
    """Batch and clip that the frames were copied from, so that nothing was decoded; empty if they
    were decoded."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one clip for one signature."""

    decode: DecodeReport
    """Decoding work."""
    candidates: int
    """Number of shown frames in the clip."""
    missing: tuple[int, ...] = ()
    """Selected positions that did not decode, ascending. They stay empty: no neighbour replaces
    them."""
    corrupt: tuple[int, ...] = ()
    """Delivered positions with possibly damaged pixels, ascending."""
    timestamps: Timestamps = "container"
    """`repaired` if some of the container's pts are missing or out of order and were interpolated;
    `counted` if most are, so that position / average rate is used."""
    detail: str = ""
    """The first problem, as text for people."""
    timestamps_detail: str = ""
    """Reason for repairing or replacing the container's pts; empty for `container`."""

    @property
    def status(self) -> Literal["ok", "partial"]:
        """`ok` if every selected frame is present and undamaged."""
        return "partial" if self.missing or self.corrupt else "ok"


@dataclass(frozen=True, slots=True, eq=False)
class FrameBatch:
    """The frames of one clip for one signature, in presentation order.

    A rate above the source's repeats frames, so `positions` may repeat.
    """

    frames: NDArray[Any]
    """Pixels: RGB or gray, uint8 or uint16 over its full range. With `images`, those that decode
    from them. Shape (n, height, width, channels)."""
    pts: NDArray[np.int64]
    """Presentation timestamps in `time_base` units. Shape (n,)."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    positions: NDArray[np.int64]
    """Index among the shown frames of the whole stream, in presentation order. Shape (n,)."""
    key_frame: NDArray[np.bool_]
    """Whether the frame is a key frame. Shape (n,)."""
    corrupt: NDArray[np.bool_]
    """Whether the pixels may be damaged: an error in this frame, or an error in or the lack of a
    frame that it may be predicted from. Shape (n,)."""
    outcome: Outcome = field(repr=False)
    """Outcome of the clip: ok, or partial with the missing frames and the reason."""
    container_crop: Crop | None = None
    """Crop of the coded picture in the container; `None` if there is none. It was applied if the
    signature's `crop` is `container`."""
    source: PictureFormat | None = None
    """Format of the video's pictures; `None` in stores of version 0.1."""
    images: EncodedFrames | None = field(default=None, repr=False)
    """The frames as images of the signature's encoding; `None` if they are lossless."""

    @classmethod
    def of(cls, frames: NDArray[Any] | EncodedFrames, **others: Any) -> FrameBatch:  # noqa: ANN401
        """Return a batch of pixels, or of images that are decoded when `frames` is first read.

        Args:
            frames: The frames.
            others: The other fields.
        """
        images = frames if isinstance(frames, EncodedFrames) else None
        return cls(frames=cast("NDArray[Any]", frames), images=images, **others)

    def __post_init__(self) -> None:
        """Check that all arrays have n entries."""
        if self.frames is cast(object, self.images):
            object.__delattr__(self, "frames")  # see `__getattr__`
        n, shape = len(self), self.shape
        if len(shape) != 4 or shape[3] not in (1, 3) or self.dtype not in (np.uint8, np.uint16):
            message = "frames must be uint8 or uint16 of shape (n, height, width, 3 or 1), not "
            raise ValueError(f"{message}{self.dtype} {shape}")
        for name in ("pts", "positions", "key_frame", "corrupt"):
            shape = getattr(self, name).shape
            if shape != (n,):
                message = f"{name} must have shape ({n},), one per frame, not {shape}"
                raise ValueError(message)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NDArray[Any]:
            """Decode the frames when they are first read.

            Raises:
                CodecUnavailableError: imagecodecs is not installed.
                IntegrityError: An image is damaged.
            """
            if name != "frames" or self.images is None:
                message = f"a FrameBatch has no attribute {name!r}"
                raise AttributeError(message)
            try:
                frames = self.images.decode()
            except CodecUnavailableError:
                raise
            except (RuntimeError, ValueError) as error:
                message = f"{self!r} cannot be decoded: {error}; extract its clip again"
                raise IntegrityError(message) from error
            object.__setattr__(self, "frames", frames)
            return frames

    def __len__(self) -> int:
        """Return the number of frames, with repeats."""
        return self.shape[0]

    def __repr__(self) -> str:
        """Return a summary without pixels."""
        n, height, width, _ = self.shape
        return f"FrameBatch({n} frames, {height}x{width}, {self.outcome.status})"

    @property
    def pts_seconds(self) -> NDArray[np.float64]:
        """Presentation timestamps in seconds, for people. Shape (n,)."""
        return in_seconds(self.pts, self.time_base)

    @property
    def encoded(self) -> tuple[bytes, ...] | None:
        """The image of each frame; `None` if the frames are lossless. Repeats share their bytes."""
        return None if self.images is None else self.images.images

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of `frames`: (n, height, width, channels). Decodes nothing."""
        return self.frames.shape if self.images is None else self.images.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of `frames`. Decodes nothing."""
        return self.frames.dtype if self.images is None else np.dtype(self.images.dtype)

    @property
    def samples(self) -> str:
        """Channels and bits of a pixel: `rgb8`, `rgb16`, `gray8` or `gray16`."""
        return samples_name(self.shape[-1], self.dtype)

    def part(self, start: int, stop: int) -> FrameBatch:
        """Return frames [start, stop) as views. The outcome stays that of the whole clip."""
        start, stop, _ = slice(start, stop).indices(len(self))
        part = slice(start, max(start, stop))
        images = None if self.images is None else self.images.part(part.start, part.stop)
        return self._changed(
            frames=self.frames[part] if self._is_decoded else images,
            images=images,
            pts=self.pts[part],
            positions=self.positions[part],
            key_frame=self.key_frame[part],
            corrupt=self.corrupt[part],
        )

    def with_outcome(self, outcome: Outcome) -> FrameBatch:
        """Return the same frames with another outcome. Decodes nothing."""
        return self._changed(outcome=outcome)

    def with_pixels(self) -> FrameBatch:
        """Return the batch with its images decoded.

        Raises:
            CodecUnavailableError: imagecodecs is not installed.
            RuntimeError, ValueError: An image is damaged.
        """
        if self._is_decoded or self.images is None:
            return self
        return self._changed(frames=self.images.decode())

    def with_encoding(self, encoding: FrameEncoding) -> FrameBatch:
        """Return the frames after they went through an encoding.

        Raises:
            CodecUnavailableError: imagecodecs is not installed.
            UnsupportedSourceError: The encoder fails.
        """
        images = encode_frames(self.frames, encoding)
        return self._changed(frames=images, images=images)

    def digest(self) -> str:
        """Return the SHA-256 of the pixels or images, timestamps, positions and flags.

        Equal digests mean equal frames. The decoder and the decoding work are left out.
        """
        # Digests of uint8 frames stay those of version 0.1, which had no other type.
        deep = "" if self.dtype == np.uint8 else f" {self.dtype}"
        encoded = "" if self.images is None else " encoded"
        sha = hashlib.sha256(f"{self.shape} {self.time_base}{deep}{encoded}".encode())
        if self.images is None:
            sha.update(np.ascontiguousarray(self.frames).data)
        else:
            sha.update(np.array([len(image) for image in self.images.images], "<u8").data)
            for image in self.images.images:
                sha.update(image)
        for array in (self.pts, self.positions, self.key_frame, self.corrupt):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()

    @property
    def _is_decoded(self) -> bool:
        try:
            object.__getattribute__(self, "frames")
        except AttributeError:
            return False
        return True

    def _changed(self, **changes: Any) -> FrameBatch:  # noqa: ANN401 - values of fields
        """Return a batch with other fields. Frames that are not decoded stay so."""
        values = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "frames"}
        frames = self.frames if self._is_decoded else self.images
        return FrameBatch(**({"frames": frames} | values | changes))


def samples_of(frames: NDArray[Any]) -> str:
    """Return the channels and bits of frames, as a signature's `samples` has them.

    >>> samples_of(np.zeros((1, 4, 4, 3), np.uint8)), samples_of(np.zeros((4, 4, 1), np.uint16))
    ('rgb8', 'gray16')
    """
    return samples_name(frames.shape[-1], frames.dtype)


def samples_name(channels: int, dtype: np.dtype[Any]) -> str:
    """Return a signature's `samples` for a number of channels and a type.

    >>> samples_name(1, np.dtype(np.uint16))
    'gray16'
    """
    return f"{'rgb' if channels == 3 else 'gray'}{8 * dtype.itemsize}"


def layout_of(samples: str) -> tuple[int, np.dtype[Any]]:
    """Return the number of channels and the type of a signature's `samples`.

    >>> layout_of("gray16")
    (1, dtype('uint16'))
    """
    dtype = np.dtype(np.uint16 if samples.endswith("16") else np.uint8)
    return (3 if samples.startswith("rgb") else 1), dtype


def pixel_bytes(samples: str) -> int:
    """Return the bytes of a pixel of a signature's `samples`.

    >>> pixel_bytes("rgb8"), pixel_bytes("gray16")
    (3, 2)
    """
    channels, dtype = layout_of(samples)
    return channels * dtype.itemsize


def as_uint8(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """Return samples as uint8, for pictures and measures: uint16 is scaled and rounded to nearest.

    >>> as_uint8(np.array([0, 128, 129, 65535], np.uint16)).tolist()
    [0, 0, 1, 255]
    """
    if frames.dtype == np.uint8:
        return frames
    return ((frames.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257


def in_seconds(pts: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    """Return timestamps in seconds, for people. Shape as `pts`."""
    return pts * time_base.numerator / np.float64(time_base.denominator)
