"""From a video to the frames of each signature. Read this module first.

    open    media, packets      read the file's packets once; decode nothing
    index   PacketIndex         which frames the packets show, and when
    select  ClipSet             which of these frames each signature wants of each clip
    decode  RowDecode           plan the fewest packets that give these frames, and decode them
    convert Converter           a frame becomes pixels once per size, in place

One pass over the packets serves every clip and every signature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from frames_pipeline.clips import Seconds, Span, check_bounds
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.limits import Limits
from frames_pipeline.container.media import Media, Source, open_once
from frames_pipeline.decoding.assembly import FramesBySignature
from frames_pipeline.decoding.backends import Decoder, check_pixels, open_decoder
from frames_pipeline.decoding.clip_set import ClipSet
from frames_pipeline.decoding.decode_pass import DecodedFrame, GroupDone
from frames_pipeline.decoding.probe import probe_media
from frames_pipeline.decoding.row_decode import Restarted, RowDecode
from frames_pipeline.errors import ConfigError, SourceError
from frames_pipeline.signature import FrameExtractionSignature


def extract_frames(
    source: Source,
    signatures: Iterable[FrameExtractionSignature],
    *,
    start: Seconds | None = None,
    end: Seconds | None = None,
    decoder: Decoder | str | None = None,
    limits: Limits | None = None,
) -> FramesBySignature:
    """Return the frames of a video, or of a part of it, for each signature.

    Args:
        source: A path, an fsspec URL, the bytes of a file, or a binary file object.
        signatures: Frames and pixels to return. Each result is independent of other signatures.
        start: Seconds from which frames count, on the video's own clock: an int, a float, a
            `Fraction` or a `Decimal`, or one of NumPy's numbers.
        end: Seconds at which the part ends; a frame at that time is outside.
        decoder: A decoder or its name; the CPU's if it is not given.
        limits: Resource limits of the source.

    Returns:
        A batch per signature. Wanted frames that do not decode are missing from it, and are
        listed in its outcome.

    Raises:
        ConfigError: An argument is wrong. Raised before anything is decoded.
        SourceError: The source cannot be decoded: no such file, not a video, no frames, too large.
        InternalError: A bug of this library, with the original error.

    >>> signature = FrameExtractionSignature(target_fps=2, target_res=(224, 224))
    >>> extract_frames("video.mp4", [signature])[signature].frames.shape  # doctest: +SKIP
    (21, 224, 224, 3)
    """
    wanted, backend = _checked(signatures), open_decoder(decoder)
    check_bounds(start, end)
    check_pixels(wanted, backend)
    with open_once(source, limits) as media:
        span = Span.between(start, end, media.index.time_base)
        [(_, result)] = extract_spans(media, [span], wanted, decoder=backend)
    if isinstance(result, SourceError):
        raise type(result)(f"{media.name}: {result}") from result
    return result


def extract_spans(
    media: Media,
    spans: Sequence[Span],
    signatures: Sequence[FrameExtractionSignature],
    *,
    decoder: Decoder,
    linear: str = "",
) -> Iterator[tuple[int, FramesBySignature | SourceError]]:
    """Decode several clips of one video in one pass.

    Args:
        media: The video.
        spans: Its clips.
        signatures: The frames and pixels wanted of each clip.
        decoder: The decoder.
        linear: Reason to decode everything from the start; empty to decode by plan.

    Yields:
        The number of each span as soon as it is done, with its batches or its error.
    """
    clips = ClipSet(media, spans, signatures)
    yield from clips.empty
    decode = RowDecode(media, clips.rows, decoder, linear=linear)
    for event in decode.events():
        match event:
            case DecodedFrame(row, frame):
                clips.put(row, frame)
                if clips.lacks_neighbours:
                    decode.widen(clips.widen())
            case GroupDone(before):
                yield from clips.finish(before, decode)
            case Restarted():
                clips.reset()


def probe(source: Source, *, limits: Limits | None = None) -> PacketIndex:
    """Return the index of a video. One frame is decoded, for its size and rotation.

    Raises:
        SourceError: The source cannot be read: no such file, not a video, too large.
        InternalError: A bug of this library, with the original error.
    """
    with open_once(source, limits) as media:
        return probe_media(media)


def _checked(
    signatures: Iterable[FrameExtractionSignature],
) -> tuple[FrameExtractionSignature, ...]:
    if not isinstance(cast(object, signatures), Iterable):
        message = f"signatures={signatures!r} is one value; give a list of signatures"
        raise ConfigError(message)
    given = list(signatures)
    for item in cast(list[object], given):
        if not isinstance(item, FrameExtractionSignature):
            message = f"{item!r} is not a FrameExtractionSignature"
            raise ConfigError(message)
    if not given:
        message = "no signature given; say which frames are wanted"
        raise ConfigError(message)
    return tuple(dict.fromkeys(given))
