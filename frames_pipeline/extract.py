"""From a video to the frames that signatures ask for. Read this first.

    open   ->  index    ->  select    ->  plan  ->  decode     ->  convert
    media      packets      sampling      plan      decoders       convert
               index        gather                  decode_pass          gather

The file is opened once and its packets are read once. Every signature, for every clip, says which
positions it wants; one plan covers them all; one pass decodes; a frame is converted once per size
and written straight to where it belongs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from av.video.frame import VideoFrame

from frames_pipeline.clips import Seconds, Span, check_bounds
from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Limits, Media, Source, open_media
from frames_pipeline.decoding.assembly import ClipAssembler, Converted, FramesBySignature
from frames_pipeline.decoding.backends import Decoder, Tally, open_decoder
from frames_pipeline.decoding.convert import Converter, orientation
from frames_pipeline.decoding.decode_pass import (
    DecodedFrame,
    DecodePass,
    GroupDone,
    PlanFailedError,
)
from frames_pipeline.decoding.device import check_available
from frames_pipeline.decoding.plan import DecodePlan, Rows, plan_decode, plan_linear
from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    LimitExceededError,
    SourceError,
    typed,
)
from frames_pipeline.frames import DecodeReport
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
    """The frames that each signature asks of a video, or of a part of it.

    Args:
        source: A path, an fsspec URL, the bytes of a file, or a binary file object.
        signatures: What is wanted. The answer for one never depends on the others.
        start: Seconds from which frames count, on the video's own clock: an int, a float, a
            `Fraction` or a `Decimal`, or one of NumPy's numbers.
        end: Seconds at which the part ends; a frame at that time is outside.
        decoder: A decoder or its name; the CPU's if it is not given.
        limits: What the source may take.

    Returns:
        A batch per signature. Wanted frames that do not decode are missing from it, and are
        listed in its outcome.

    Raises:
        ConfigError: The request cannot be met. Raised before anything is decoded.
        SourceError: The source cannot give it: no such file, not a video, no frames, too large.
        InternalError: A bug of this library, with the error that was met.

    >>> signature = FrameExtractionSignature(target_fps=2, target_res=(224, 224))
    >>> extract_frames("video.mp4", [signature])[signature].frames.shape  # doctest: +SKIP
    (21, 224, 224, 3)
    """
    wanted = _checked(signatures)
    backend = open_decoder(decoder)
    check_bounds(start, end)
    check_pixels(wanted, backend)
    with _bugs_typed(), open_media(source, limits) as media, _enough_memory(media):
        span = Span.between(start, end, media.index.time_base)
        [(_, result)] = extract_spans(media, [span], wanted, decoder=backend)
        media.check_unchanged()
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
    """The frames of several clips of one video, in one pass.

    Args:
        media: The video.
        spans: Its clips.
        signatures: The frames and pixels wanted of each clip.
        decoder: The decoder.
        linear: Reason to decode everything from the start; empty to decode by plan.

    Yields:
        The number of a span, as soon as it is done, with its batches or why there are none.
    """
    clips: dict[int, ClipAssembler] = {}
    for number, span in enumerate(spans):
        try:
            clips[number] = ClipAssembler(media.index, span, signatures, media.limits)
        except SourceError as error:
            yield number, error
    rows = _wanted_rows(media.index, clips)
    plan = (
        plan_linear(media.index, rows, reason=linear)
        if linear
        else plan_decode(media.index, rows, media.packets.references)
    )
    ledger = _Ledger(decoder, plan)
    try:
        yield from _decode(media, plan, clips, decoder, ledger)
    except PlanFailedError:
        media.renew_decoders()
        for clip in clips.values():
            clip.reset()
        rows = _wanted_rows(media.index, clips)
        plan = plan_linear(media.index, rows, reason="damage was met")
        yield from _decode(media, plan, clips, decoder, ledger)


def check_pixels(signatures: Iterable[FrameExtractionSignature], decoder: Decoder) -> None:
    """Make sure that a decoder can give the pixels that signatures ask for.

    Raises:
        ConfigError: `pixels="cuda"` is asked of another decoder than `nvdec`, or without torch.
    """
    for signature in signatures:
        if signature.pixels == "cuda":
            if decoder.name != "nvdec":
                message = f"pixels='cuda' needs decoder 'nvdec', and {decoder.name!r} was chosen; "
                raise ConfigError(message + "choose nvdec, or pixels='swscale'")
            check_available(signature.interpolation)


def probe(source: Source, *, limits: Limits | None = None) -> PacketIndex:
    """What a video holds, told from its packets. One frame is decoded, for its size and rotation.

    Raises:
        SourceError: The source cannot be read: no such file, not a video, too large.
        InternalError: A bug of this library, with the error that was met.
    """
    with _bugs_typed(), open_media(source, limits) as media, _enough_memory(media):
        found = probe_media(media)
        media.check_unchanged()
        return found


def probe_media(media: Media) -> PacketIndex:
    """What an open video holds; where no frame decodes, its size is what the container says."""
    index = media.index
    rows = index.presentation[:1]
    for frame in _frames(media, plan_decode(index, rows)):
        turn = orientation(frame)
        return replace(
            index,
            width=frame.width,
            height=frame.height,
            rotation=turn.degrees,
            pixel_format=frame.format.name,
        )
    return index


@contextlib.contextmanager
def _enough_memory(media: Media) -> Iterator[None]:
    """Where memory runs out, the source is too large for what there is."""
    try:
        yield
    except MemoryError as error:
        message = f"{media.name}: there is not enough memory to decode it"
        raise LimitExceededError(message) from error


@contextlib.contextmanager
def _bugs_typed() -> Iterator[None]:
    """Errors that are not raised on purpose come out as `InternalError`."""
    try:
        yield
    except FramesPipelineError:
        raise
    except Exception as error:
        raise typed(error) from error


def _decode(
    media: Media,
    plan: DecodePlan,
    clips: dict[int, ClipAssembler],
    decoder: Decoder,
    ledger: _Ledger,
) -> Iterator[tuple[int, FramesBySignature | SourceError]]:
    """One pass: every frame goes to the clips that want it; those that are done are taken out."""
    decode_pass, converter = DecodePass(media, plan), Converter(media.name, media.container_crop)
    takers = _takers(media.index, clips)

    def finish(before: int) -> Iterator[tuple[int, FramesBySignature | SourceError]]:
        for number in [number for number, clip in clips.items() if clip.last_row < before]:
            result = clips.pop(number).finish(
                ledger.report(plan, before),
                is_suspect=decode_pass.is_suspect,
                complaint=decode_pass.complaint,
            )
            yield number, result

    for event in decode_pass.frames(decoder, ledger.tally):
        match event:
            case GroupDone(before):
                yield from finish(before)
            case DecodedFrame(row, frame):
                converted = Converted(frame, converter)
                for position, clip in takers.get(row, ()):
                    clip.put(position, converted)
    yield from finish(len(media.index.order))


class _Ledger:
    """What was planned and done, and how much of it is reported already."""

    def __init__(self, decoder: Decoder, plan: DecodePlan) -> None:
        self.tally = Tally()
        self._decoder = decoder
        self._planned_rows = np.concatenate([np.empty(0, np.int64), *plan.runs])
        self._reported = (0, 0, 0)

    def report(self, plan: DecodePlan, before: int) -> DecodeReport:
        """What was planned and done for rows before one, less what was reported."""
        planned = int(np.searchsorted(self._planned_rows, before))
        now = (planned, self.tally.packets_fed, self.tally.frames_decoded)
        packets_planned, packets_fed, frames_decoded = np.subtract(now, self._reported).tolist()
        self._reported = now
        return DecodeReport(
            decoder=self.tally.decoder or self._decoder.name,
            device=self.tally.device or "none",
            choice=self.tally.choice,
            packets_planned=packets_planned,
            packets_fed=packets_fed,
            frames_decoded=frames_decoded,
            fallback=plan.reason,
        )


def _wanted_rows(index: PacketIndex, clips: dict[int, ClipAssembler]) -> Rows:
    positions = [clip.positions for clip in clips.values()]
    return np.unique(index.presentation[np.concatenate([np.empty(0, np.int64), *positions])])


def _takers(
    index: PacketIndex, clips: dict[int, ClipAssembler]
) -> dict[int, list[tuple[int, ClipAssembler]]]:
    """Who wants the frame of a row, and at which position."""
    takers: dict[int, list[tuple[int, ClipAssembler]]] = {}
    for clip in clips.values():
        rows = index.presentation[clip.positions].tolist()
        for row, position in zip(rows, clip.positions.tolist(), strict=True):
            takers.setdefault(row, []).append((position, clip))
    return takers


def _frames(media: Media, plan: DecodePlan) -> Iterator[VideoFrame]:
    """Frames of a plan, whatever they are worth."""
    for run in plan.runs:
        for decoded in open_decoder().decode(media, run.tolist(), Tally()):
            if decoded.frame is not None:
                yield decoded.frame


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
