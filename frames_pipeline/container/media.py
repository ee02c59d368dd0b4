"""Open media files: the only way in, and a hardened one.

Files are untrusted. FFmpeg by itself would follow a playlist to other files or the network, or
decode a 16000x16000 picture while probing. So formats come from an allow-list, one protocol is
enabled, only regular files are opened, and probing and decoding have limits.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import BinaryIO, Final, NoReturn, cast

import av
from av.codec.codec import Properties
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import ArgumentError, FFmpegError
from av.format import Flags
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from frames_pipeline.bitstream import Codec, HeaderReader, PictureNumbers, codec_named
from frames_pipeline.container.byte_reader import ByteReader
from frames_pipeline.container.declared_crop import matroska_crop, mp4_crop
from frames_pipeline.container.declared_dolby_vision import (
    matroska_dolby_vision,
    mp4_dolby_vision,
)
from frames_pipeline.container.declared_sizes import Allowed, check_declared, most_referred
from frames_pipeline.container.index import PacketIndex, StreamFacts, build_index
from frames_pipeline.container.limits import Limits
from frames_pipeline.container.packets import DemuxedPackets, Packets, sampled_packets
from frames_pipeline.container.picture_format import stream_format
from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    LimitExceededError,
    NoVideoStreamError,
    SourceChangedError,
    StoreError,
    TransientError,
    UnsupportedSourceError,
    typed,
)
from frames_pipeline.frames import Crop, PictureFormat
from frames_pipeline.io.fetch import check_size, staged_url
from frames_pipeline.io.file_objects import CallersFile
from frames_pipeline.io.local import open_regular, status_of

Connect = Callable[[HWAccel | None], InputContainer]
"""Opens the container, with hardware acceleration if given."""
Source = str | os.PathLike[str] | bytes | BinaryIO
"""A local path, an fsspec URL, the bytes of a file, or a binary file object."""

FORMATS: Final = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mxf,gif,apng,ivf,obu,"
    "h264,hevc,m4v,mpegvideo"
)
"""FFmpeg's names of the allowed container formats. None of them refers to other files."""

_GENERATE_PTS: Final = 1  # AVFMT_FLAG_GENPTS: PyAV sets it, and it invents missing timestamps
_RATE_OF_RAW_STREAMS: Final = Fraction(25)
"""FFmpeg's assumed rate of a stream without one."""
_PROBE: Final = {"probesize": "5000000", "analyzeduration": "5000000", "max_streams": "64"}
_PROBED_IN_VAIN: Final = ("vp9", "vp8")
"""Decoders that decode whole frames while FFmpeg probes, even with `skip_frame`. The container
gives the same facts."""
_TIMEOUT: Final = (10.0, 30.0)
"""Timeouts in seconds of opening and of reading one packet."""
_HEIF_BRANDS: Final = frozenset({
    "mif1", "msf1", "miaf", "avif", "avis",
    "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs",
})  # fmt: skip
"""Brands of image files (ISO/IEC 23008-12)."""
_DOLBY_VISION: Final = ("h264", "hevc", "vvc", "av1")
"""Codecs that Dolby Vision is defined for."""
_MAY_REORDER: Final = cast(int, Properties.REORDER.value)
_CLOCK_MAY_JUMP: Final = cast(int, Flags.ts_discont.value)
_IDENTITY: Final = ("st_dev", "st_ino", "st_size", "st_mtime_ns")
"""Fields of a file's status that change when its bytes are written."""
_UNREADABLE: Final = (FFmpegError, ValueError, OverflowError, MemoryError)
"""Errors that PyAV raises for invalid bytes."""


class Media:
    """An open media file and its video stream.

    The stream is the first moving one, as FFmpeg's `0:V:0`. Cover images and the still of an
    animated AVIF are skipped.
    """

    def __init__(self, connect: Connect, file: ByteReader, *, name: str, limits: Limits) -> None:
        """Open the container. Use `open_media` instead."""
        self.name = name
        self._file = file
        self.limits = limits
        self._connect = connect
        self._container = connect(None)
        self._second: InputContainer | None = None
        self._renewed: InputContainer | None = None
        self.stream = self._first_video()
        context = self.stream.codec_context
        if context.width * context.height > limits.max_pixels:
            size = f"{context.width}x{context.height}"
            message = f"{name} has frames of {size}, and the limit is {limits.max_pixels} pixels"
            raise LimitExceededError(message)
        context.options = _decoder_options(context, limits)

    def close(self) -> None:
        """Release the file."""
        if "packets" in self.__dict__:
            self.packets.close()
        for container in (self._second, self._renewed, self._container):
            if container is not None:
                container.close()

    @property
    def is_damaged(self) -> bool:
        """Whether the index or the decoder found lost or changed bytes."""
        return self._renewed is not None or bool(self.index.corrupt.any())

    def check_unchanged(self) -> None:
        """Check that a local file was not written since it was opened.

        Raises:
            SourceChangedError: The file was written.
        """
        if isinstance(self._file, _LocalFile):
            self._file.check_unchanged()

    def renew_decoders(self) -> None:
        """Replace the decoders after damage, since a flush does not clear all of its effects."""
        number = self.stream.index  # of a container that may be closed below
        if self._renewed is not None:
            self._renewed.close()
        if self._second is not None:
            self._second.close()
            self._second = None
        self._renewed = self._connect(None)
        self.stream = cast(VideoStream, self._renewed.streams[number])
        context = self.stream.codec_context
        context.options = _decoder_options(context, self.limits)

    def accelerated(self, hwaccel: HWAccel) -> VideoCodecContext:
        """Return a decoder of the stream on other hardware, made once.

        It comes from a second container, which provides the same facts as the first: parameter
        sets, colour tags and the display matrix.
        """
        if self._second is None:
            self._second = self._connect(hwaccel)
        context = cast(VideoStream, self._second.streams[self.stream.index]).codec_context
        if not context.is_open:
            context.options = _decoder_options(context, self.limits)
        return context

    @cached_property
    def packets(self) -> Packets:
        """The packets of the stream: from its sample table if possible, else demuxed."""
        found = sampled_packets(
            self.stream,
            self._file,
            self._header_reader(),
            max_packets=self.limits.max_packets,
            name=self.name,
        )
        return found or DemuxedPackets(
            self._container,
            self.stream,
            reader=self._header_reader(),
            reopen=lambda: self._connect(None),
            memory=self.limits.packet_memory,
            max_packets=self.limits.max_packets,
            max_bytes=most_referred(self._file.size, self.limits.max_reuse),
            file_size=self._file.size,
            name=self.name,
        )

    @cached_property
    def index(self) -> PacketIndex:
        """One row per coded frame, from packets and their headers alone.

        Raises:
            LimitExceededError: More packets than the limits allow.
            UnsupportedSourceError: The stream is encrypted, or its frames cannot be ordered.
        """
        packets, context = self.packets, self.stream.codec_context
        codec = context.codec
        facts = StreamFacts(
            codec=codec.canonical_name,
            width=context.width,
            height=context.height,
            time_base=self.stream.time_base or Fraction(1, 1000),
            average_rate=_rate(self.stream),
            reorders=bool(codec.properties & _MAY_REORDER),
            clock_may_jump=bool(self._container.format.flags & _CLOCK_MAY_JUMP),
            pixel_format=context.pix_fmt or "",
            container_crop=self.container_crop,
            picture=self.picture,
        )
        extradata, flags = context.extradata or b"", packets.columns.flags

        def output_order() -> list[int] | None:
            ranks = facts.codec_facts.output_ranks
            if packets.in_output_order or ranks is None:
                return list(range(len(flags)))
            return ranks(extradata, packets.headers(), flags.tolist())

        try:
            return build_index(facts, packets.columns, output_order)
        except UnsupportedSourceError as error:
            message = f"{self.name}: {error}"
            raise UnsupportedSourceError(message) from error

    @cached_property
    def container_crop(self) -> Crop | None:
        """Crop of the coded picture in the container; `None` if there is none."""
        names = self._container.format.name.split(",")
        if "mp4" in names:
            return mp4_crop(self._file.read, file_size=self._file.size, track=self.stream.id)
        if "matroska" in names:
            return matroska_crop(self._file.read, file_size=self._file.size)
        return None

    @cached_property
    def picture(self) -> PictureFormat:
        """Format of the pictures, by the container and the parameter sets; nothing is decoded.

        Parameters that FFmpeg reads only from frames are unspecified: VP9's and ProRes's depth and
        chroma, and mastering metadata.
        """
        found = stream_format(self.stream)
        return replace(found, dolby_vision=self._dolby_vision())

    def _dolby_vision(self) -> int | None:
        names = self._container.format.name.split(",")
        if self.stream.codec_context.codec.canonical_name not in _DOLBY_VISION:
            return None
        if "mp4" in names:
            read, size = self._file.read, self._file.size
            return mp4_dolby_vision(read, file_size=size, track=self.stream.id)
        if "matroska" in names:
            return matroska_dolby_vision(self._file.read, file_size=self._file.size)
        return None

    @cached_property
    def picture_numbers(self) -> PictureNumbers | None:
        """Detector of pictures lost between packets, for codecs that number pictures."""
        context = self.stream.codec_context
        opened = _codec_of(context).picture_numbers
        return None if opened is None else opened(context.extradata or b"")

    def _header_reader(self) -> HeaderReader:
        context = self.stream.codec_context
        return _codec_of(context).open_reader(
            context.extradata or b"", width=context.width, height=context.height
        )

    def _first_video(self) -> VideoStream:
        videos = [s for s in self._container.streams.video if not _is_cover(s)]
        if _is_heif(self._container):
            videos = _moving_or_primary(videos, self.name)
        if not videos:
            found = "a cover image" if self._container.streams.video else "no video"
            message = f"{self.name} has {found} among its {len(self._container.streams)} streams"
            raise NoVideoStreamError(message)
        context: VideoCodecContext | None = videos[0].codec_context
        if context is None:
            message = f"{self.name}: there is no decoder for its video stream"
            raise UnsupportedSourceError(message)
        return videos[0]


@contextlib.contextmanager
def open_media(source: Source, limits: Limits | None = None) -> Iterator[Media]:
    """Open a media file for a `with` block.

    Raises:
        SourceNotFoundError: The file does not exist, or is a folder, a pipe or a device.
        SourceUnreadableError: This user may not read it.
        SourceChangedError: The file was written during the read, so the bytes are inconsistent.
        UnsupportedSourceError: The bytes are not a video, or the format is not allowed.
        NoVideoStreamError: The file has only audio, or a cover image.
        LimitExceededError: The file or its frames are larger than the limits allow.
    """
    limits = limits or Limits()
    with contextlib.ExitStack() as stack:
        if isinstance(source, str) and "://" in source:
            source = stack.enter_context(staged_url(source, max_bytes=limits.max_file_bytes))
        target: str | CallersFile
        file: ByteReader
        if isinstance(source, str | os.PathLike):
            path = _checked_file(Path(source), limits)
            target, name, protocols = f"file:{path}", Path(source).name, "file"
            file = _LocalFile(path)
            stack.callback(file.close)
            stack.enter_context(_blamed_on_writers(file))
        else:
            (target, name), protocols = _as_file(source), "none"
            file = _OpenFile(target)
            stack.enter_context(_whole_reads(target))

        def connect(hwaccel: HWAccel | None) -> InputContainer:
            return _open(target, name, protocols, limits, hwaccel)

        check_declared(file.read, file_size=file.size, name=name, allowed=_allowed(limits))
        media = Media(connect, file, name=name, limits=limits)
        stack.callback(media.close)
        yield media


@contextlib.contextmanager
def open_once(source: Source, limits: Limits | None = None) -> Iterator[Media]:
    """Open a media file for one call of the library, which reads it to the end of the block.

    Raises:
        SourceError: As `open_media`, or it was written until the end of the block.
        LimitExceededError: Memory ran out.
        InternalError: A bug of this library, with the original error.
    """
    try:
        with open_media(source, limits) as media, _enough_memory(media):
            yield media
            media.check_unchanged()
    except FramesPipelineError:
        raise
    except Exception as error:
        raise typed(error) from error


@contextlib.contextmanager
def _enough_memory(media: Media) -> Iterator[None]:
    """Raise `LimitExceededError` if memory runs out: the source is too large for this machine."""
    try:
        yield
    except MemoryError as error:
        message = f"{media.name}: there is not enough memory to decode it"
        raise LimitExceededError(message) from error


@contextlib.contextmanager
def _blamed_on_writers(file: _LocalFile) -> Iterator[None]:
    """Raise `SourceChangedError` in place of other faults if the file was written meanwhile."""
    try:
        yield
    except (ConfigError, StoreError, TransientError):
        raise
    except Exception:
        file.check_unchanged()
        raise


def _allowed(limits: Limits) -> Allowed:
    """Return the limits on the numbers that a file's boxes declare."""
    return Allowed(
        samples=limits.max_samples,
        edits=limits.max_edits,
        fragments=limits.max_fragments,
        reuse=limits.max_reuse,
    )


def _checked_file(path: Path, limits: Limits) -> Path:
    """Return the real path of a regular file after checking its size."""
    info = status_of(path)
    if info.st_size == 0:
        message = f"{path.name} is empty (0 bytes)"
        raise UnsupportedSourceError(message)
    check_size(info.st_size, limits.max_file_bytes, key=path.name)
    return Path(os.path.realpath(path))


def _as_file(source: bytes | BinaryIO) -> tuple[CallersFile, str]:
    """Return a nameless file, so that FFmpeg cannot take its name for a playlist's."""
    if isinstance(source, bytes | bytearray | memoryview):
        name = f"<{len(source)} bytes>"
        return CallersFile(io.BytesIO(source), name=name), name
    if not callable(getattr(source, "read", None)):
        message = f"cannot read a video from {source!r}; give a path, a URL, bytes or a binary file"
        raise ConfigError(message)
    name = f"<{type(source).__name__}>"
    return CallersFile(source, name=name), name


@contextlib.contextmanager
def _whole_reads(file: CallersFile) -> Iterator[None]:
    """Raise the first fault of a file object at the end of a `with` block.

    libavformat treats a failed read as the end of the file.
    """
    try:
        yield
    except Exception as error:
        if file.fault is not None and error is not file.fault:
            raise file.fault from file.fault.__cause__
        raise
    if file.fault is not None:
        raise file.fault from file.fault.__cause__


class _LocalFile:
    """Reads a local file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = open_regular(path)
        self._status = os.fstat(self._descriptor)
        self.size = self._status.st_size

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def read_each(self, offsets: list[int], size: int) -> list[bytes]:
        descriptor, pread = self._descriptor, os.pread
        return [pread(descriptor, size, offset) for offset in offsets]

    def check_unchanged(self) -> None:
        """Check that the path still has the opened file and that it was not written since.

        Raises:
            SourceChangedError: The file was replaced or written. A deleted file passes: its bytes
                were complete.
        """
        try:
            now = self._path.stat()
        except FileNotFoundError:
            now = os.fstat(self._descriptor)
        if any(getattr(now, name) != getattr(self._status, name) for name in _IDENTITY):
            message = f"{self._path.name} was written while it was read; try it again after that"
            raise SourceChangedError(message)

    def close(self) -> None:
        os.close(self._descriptor)


class _OpenFile:
    """Reads a file object, and restores libavformat's position."""

    def __init__(self, file: CallersFile) -> None:
        self._file = file
        self.size = file.size

    def read(self, offset: int, size: int) -> bytes:
        left_at = self._file.tell()
        try:
            self._file.seek(offset)
            return self._file.read_fully(size)
        finally:
            self._file.seek(left_at)

    def read_each(self, offsets: list[int], size: int) -> list[bytes]:
        return [self.read(offset, size) for offset in offsets]


def _open(
    target: str | CallersFile, name: str, protocols: str, limits: Limits, hwaccel: HWAccel | None
) -> InputContainer:
    """Open a container without decoding frames while probing; raise a typed error if that fails."""
    if not isinstance(target, str):
        target.seek(0)
    try:
        container = av.open(
            target,
            mode="r",
            container_options=_PROBE
            | {
                "protocol_whitelist": protocols,
                "format_whitelist": FORMATS,
                "codec_whitelist": _probing_decoders(),
            },
            options={"skip_frame": "all", "max_pixels": str(limits.max_pixels)},
            metadata_errors="replace",
            timeout=_TIMEOUT,
            hwaccel=hwaccel,
        )
    except _UNREADABLE as error:
        _refuse(name, error)
    container.flags &= ~_GENERATE_PTS
    return container


@cache
def _probing_decoders() -> str:
    return ",".join(sorted(av.codecs_available.difference(_PROBED_IN_VAIN)))


def _refuse(name: str, error: Exception) -> NoReturn:
    if isinstance(error, MemoryError):
        message = f"{name} needs more memory than there is"
        raise LimitExceededError(message) from error
    if isinstance(error, ArgumentError):
        message = f"{name} is in a format that may not be opened; allowed are {FORMATS}"
        raise UnsupportedSourceError(message) from error
    what = getattr(error, "strerror", None) or error
    message = f"{name} is not a video that can be read: {what}"
    raise UnsupportedSourceError(message) from error


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _is_heif(container: InputContainer) -> bool:
    """Return whether the file may hold pictures beside tracks: AVIF, HEIC and their relatives."""
    brands = container.metadata.get("major_brand", "") + container.metadata.get(
        "compatible_brands", ""
    )
    return any(brands[at : at + 4] in _HEIF_BRANDS for at in range(0, len(brands), 4))


def _moving_or_primary(videos: list[VideoStream], name: str) -> list[VideoStream]:
    """Return the tracks; if there are none, the file's primary picture.

    FFmpeg makes a stream for each picture, before the tracks, but none for a picture composed of
    others, such as a grid.
    """
    tracks = [stream for stream in videos if not _is_picture(stream)]
    if tracks or not videos:
        return tracks
    primary = [stream for stream in videos if stream.disposition & Disposition.default]
    if len(primary) != 1:
        message = f"{name} is a picture put together from {len(videos)} parts (a grid or an overlay"
        raise UnsupportedSourceError(f"{message}), which is not supported; convert it to one part")
    return primary


def _is_picture(stream: VideoStream) -> bool:
    """Return whether a stream of a HEIF file is a picture: it has neither clock nor duration."""
    return stream.time_base == 1 and stream.frames == 1 and stream.duration is None


def _decoder_options(context: VideoCodecContext, limits: Limits) -> dict[str, str]:
    """Return the options of a decoder.

    Intra-only decoders output a broken picture without any mark, filled with another picture's
    pixels from the buffer, so they must refuse it (`explode`). HEVC's decoder does the same, even
    with options to report errors or a missing reference, so it must refuse them, too. Other codecs
    mark a broken frame, which is worth keeping.

    `bitexact` avoids arithmetic that differs between processors (docs/adr/0014).
    """
    options = {"max_pixels": str(limits.max_pixels), "flags": "+bitexact"}
    if context.codec.intra_only:
        return options | {"err_detect": "crccheck+explode"}
    if _codec_of(context).returns_broken:
        return options | {"err_detect": "explode"}
    return options


def _codec_of(context: VideoCodecContext) -> Codec:
    return codec_named(context.codec.canonical_name, intra_only=context.codec.intra_only)


def _rate(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate:
            return rate
    return _RATE_OF_RAW_STREAMS
