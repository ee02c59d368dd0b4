"""Copy stored frames into a pack: `pack_frames`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frames_pipeline._renamed import old_parameters
from frames_pipeline.clips import Progress, video_key
from frames_pipeline.errors import ConfigError, ConflictError, IntegrityError
from frames_pipeline.frames import FrameBatch, pixel_bytes
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import with_sum
from frames_pipeline.readers.packs.documents import (
    Part,
    damage_in,
    find_document,
    find_readable_document,
)
from frames_pipeline.readers.packs.layout import (
    FRAMES,
    INDEX,
    INDEX_FILE,
    PACK,
    PACK_FORMAT,
    PART_FILE,
    PART_FORMAT,
    format_of_row,
)
from frames_pipeline.readers.stored_frames import ClipLocation, StoredFrames
from frames_pipeline.store.chunk_codecs import ChunkCodec, codec_for
from frames_pipeline.store.codecs import (
    METADATA,
    encode_stream,
    frames_document,
)
from frames_pipeline.store.commits import Document, dump, outcome_document
from frames_pipeline.store.source_format import (
    COLOR_SPACE,
    colour_space,
    format_document,
    pixel_attributes,
)


@dataclass(frozen=True, slots=True)
class PackReport:
    """Result of `pack_frames`."""

    url: str
    """Path or URL of the pack."""
    clips: int
    """Clips in it."""
    frames: int
    """Frames in it."""
    parts: int
    """Parts of it."""
    parts_written: int
    """Parts that this call wrote."""
    objects: int
    """Objects of it."""
    bytes: int
    """Bytes of the objects."""


@old_parameters(codec="compression")
def pack_frames(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    compression: str = "zstd",
    part_bytes: int = 2**30,
    repair: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> PackReport:
    """Copy the frames of clips into few large objects.

    Each clip to copy is read whole, and compared with its commit and the digest of its frames.
    Clips keep their order. A part with the same clips as before is kept without reading them.

    Args:
        frames: Clips, from `open_frames`.
        to: Path or fsspec URL of the pack, new or existing. A pack has one signature.
        compression: Lossless compression of the chunks: `zstd`, `jpegxl` or `none`. Images of a
            lossy encoding are copied as they are.
        part_bytes: Raw bytes of frames after which no clip is added to a part.
        repair: Read every object of the pack, and write damaged parts and a damaged `pack.json`
            again.
        storage_options: fsspec options of the pack.
        progress: Called with the number of clips done.

    Raises:
        ConfigError: The compression or `part_bytes` cannot be used.
        ConflictError: A pack of another signature is there.
        IntegrityError: An object of the store differs from its commit, or `pack.json` is damaged.
            The pack stays as it was.
    """
    if part_bytes < 1:
        message = f"part_bytes={part_bytes} must be 1 or above"
        raise ConfigError(message)
    codec = codec_for(frames.image_encoding, compression)
    codec.require()
    objects = Objects(to, storage_options)
    before = find_readable_document(objects) if repair else find_document(objects)
    _check_signature(objects, before, frames.signature_key)
    named: Mapping[str, str] = {} if before is None else before["parts"]
    find_part = _find_whole_part if repair else _find_part
    parts, written, done = [], 0, 0
    for clips in _groups(frames.locations, part_bytes, pixel_bytes(frames.samples)):
        key = _part_key(frames.signature_key, clips, codec.name)
        part = find_part(objects, key, sha256=named.get(key))
        if part is None:
            part, written = _write_part(objects, key, frames, clips, codec=codec), written + 1
        parts.append(part)
        done += len(clips)
        if progress is not None:
            progress(done, len(frames))
    document = _document_for(frames, parts)
    if before != document:
        objects.put(PACK, with_sum(dump(document)))
    return _report(objects, frames, parts, written=written)


def _check_signature(objects: Objects, document: Document | None, signature_key: str) -> None:
    """Check that a pack in the same place, if any, has the same signature."""
    if document is not None and document["signature_key"] != signature_key:
        message = f"{objects.url} is a pack of {document['signature_key']}, not of "
        raise ConflictError(f"{message}{signature_key}; choose another place")


def _report(
    objects: Objects, frames: StoredFrames, parts: Sequence[Part], *, written: int
) -> PackReport:
    return PackReport(
        url=objects.url,
        clips=len(frames),
        frames=frames.num_frames,
        parts=len(parts),
        parts_written=written,
        objects=1 + sum(1 + len(part.files) for part in parts),
        bytes=sum(part.bytes for part in parts),
    )


def _groups(
    locations: Mapping[str, ClipLocation], part_bytes: int, bytes_per_pixel: int
) -> Iterator[list[tuple[str, ClipLocation]]]:
    """Yield clips of one frame size, as many as fill a part, in their order."""
    open_groups: dict[tuple[int, int], tuple[int, list[tuple[str, ClipLocation]]]] = {}
    for clip_id, location in locations.items():
        commit = location.commit
        size = (commit.height, commit.width)
        held, clips = open_groups.pop(size, (0, []))
        clips.append((clip_id, location))
        held += bytes_per_pixel * commit.num_frames * commit.height * commit.width
        if held >= part_bytes:
            yield clips
        else:
            open_groups[size] = (held, clips)
    for _, clips in open_groups.values():
        yield clips


def _part_key(signature: str, clips: Iterable[tuple[str, ClipLocation]], codec: str) -> str:
    """Return the name of a part: a hash of its clips, their attempts and frames, and the codec."""
    described = [
        [clip, location.batch, location.commit.path, location.commit.digest]
        for clip, location in clips
    ]
    content = json.dumps([PART_FORMAT, signature, codec, described]).encode()
    return hashlib.sha256(content).hexdigest()[:32]


def _find_part(objects: Objects, key: str, *, sha256: str | None) -> Part | None:
    """Return an existing part.

    A part that `pack.json` does not reference gets a new modification time, so that `prune_pack`
    keeps it.

    Args:
        objects: The pack.
        key: Name of the part.
        sha256: SHA-256 of its document, if `pack.json` references the part.
    """
    try:
        data = objects.get(f"parts/{key}/{PART_FILE}")
        part = Part.from_bytes(key, data)
    except (FileNotFoundError, IntegrityError):  # a damaged part is written again
        return None
    if sha256 is None:
        objects.put(f"parts/{key}/{PART_FILE}", data)
    return part if sha256 in (None, part.sha256) else None


def _find_whole_part(objects: Objects, key: str, *, sha256: str | None) -> Part | None:
    """Return an existing part if all its files are undamaged; read every one."""
    part = _find_part(objects, key, sha256=sha256)
    return None if part is None or damage_in(objects, part) else part


def _write_part(
    objects: Objects,
    key: str,
    frames: StoredFrames,
    clips: Sequence[tuple[str, ClipLocation]],
    *,
    codec: ChunkCodec,
) -> Part:
    """Copy clips into a part; write its document last."""
    commits = [location.commit for _, location in clips]
    total = sum(commit.num_frames for commit in commits)
    shape = (total, commits[0].height, commits[0].width, frames.channels)
    rows: list[dict[str, Any]] = []
    pixels = _stream(frames, clips, rows)
    files: dict[str, tuple[int, str]] = {}

    def put(name: str, data: bytes) -> None:
        objects.put(f"parts/{key}/{name}", data)
        files[name] = (len(data), hashlib.sha256(data).hexdigest())

    dtype = str(frames.dtype)
    for name, data in encode_stream(pixels, shape, dtype=dtype, codec=codec):
        if name != METADATA:
            put(f"{FRAMES}/{name}", data)
    colour = frames.signature_document.get("colour", "ffmpeg")
    described = pixel_attributes(shape[-1]) | {COLOR_SPACE: _common_space(rows, colour)}
    array = frames_document(shape, dtype=dtype, codec=codec, attributes=described)
    put(f"{FRAMES}/{METADATA}", array)  # last: the formats of its clips are known by now
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, INDEX), sink, compression="zstd")
    put(INDEX_FILE, sink.getvalue().to_pybytes())
    document = {
        "format": PART_FORMAT,
        "signature_key": frames.signature_key,
        "shape": shape,
        "clips": len(clips),
        "files": files,
    }
    objects.put(f"parts/{key}/{PART_FILE}", data := with_sum(dump(document)))
    return Part.from_bytes(key, data)


def _stream(
    frames: StoredFrames, clips: Iterable[tuple[str, ClipLocation]], rows: list[dict[str, Any]]
) -> Iterator[NDArray[Any] | bytes]:
    """Yield the frames or images of clips one by one; add a row to `rows` for each clip."""
    start = 0
    for clip_id, location in clips:
        batch = frames.read(clip_id, decode=False)
        if batch.digest() != location.commit.digest:
            message = f"{clip_id} holds frames with digest {batch.digest()}, not "
            raise IntegrityError(f"{message}{location.commit.digest}; extract it again")
        rows.append(_row(clip_id, location, batch, start))
        start += len(batch)
        yield from batch.frames if batch.encoded is None else batch.encoded


def _row(clip_id: str, location: ClipLocation, batch: FrameBatch, start: int) -> dict[str, Any]:
    return {
        "clip_id": clip_id,
        "start": start,
        "stop": start + len(batch),
        "batch": location.batch,
        "video_key": video_key(clip_id),
        "fingerprint": location.commit.fingerprint,
        "commit": location.commit.path,
        "frames_digest": location.commit.digest,
        "time_base_num": batch.time_base.numerator,
        "time_base_den": batch.time_base.denominator,
        "pts": batch.pts.tolist(),
        "positions": batch.positions.tolist(),
        "key_frame": batch.key_frame.tolist(),
        "corrupt": batch.corrupt.tolist(),
        "outcome": dump(outcome_document(batch.outcome)).decode(),
        "source_format": None
        if batch.source is None
        else dump(format_document(batch.source)).decode(),
    }


def _common_space(rows: Iterable[Mapping[str, Any]], colour: str) -> str:
    """Return the colour space of the frames of all clips; `mixed` if they have several."""
    spaces = {colour_space(format_of_row(row), colour) for row in rows}
    return spaces.pop() if len(spaces) == 1 else "mixed"


def _document_for(frames: StoredFrames, parts: Iterable[Part]) -> Document:
    """Return the content of `pack.json`."""
    return {
        "format": PACK_FORMAT,
        "signature": frames.signature_document,
        "signature_key": frames.signature_key,
        "frames_digest": frames.digest,
        "clips": len(frames),
        "frames": frames.num_frames,
        "parts": {part.key: part.sha256 for part in parts},
    }
