"""Tar shards for WebDataset: pixels and one JSON document per sample.

{to}/shard-000000.tar …    samples in the order of the clips
{to}/manifest.json         written last
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from frames_pipeline.clips import Progress
from frames_pipeline.errors import ConfigError
from frames_pipeline.export.base import (
    Export,
    ExportFormat,
    ExportTarget,
    as_json,
    check_encoding,
    read_clips,
)
from frames_pipeline.export.encoding import Encoding
from frames_pipeline.readers.stored_frames import StoredFrames
from frames_pipeline.store.layout import clip_key


class _Sample(NamedTuple):
    """A sample of WebDataset."""

    key: str
    lineage: object
    """The `json` of the sample."""
    pictures: Mapping[str, bytes]
    """Encoded frames by extension."""


def export_webdataset(
    frames: StoredFrames,
    to: str | os.PathLike[str],
    *,
    encoding: Encoding,
    sample: Literal["frame", "clip"] = "frame",
    shard_bytes: int = 256 * 2**20,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write tar shards for WebDataset.

    A sample of a frame has `jpg` or `png`, and `json` with its lineage. A sample of a clip has
    `000000.jpg`, `000001.jpg` and so on, and `json` with a list of lineages. The key of a sample is
    batch, clip and, of a frame, its number among the stored frames of the clip.

    Args:
        frames: Clips, from `open_frames`.
        to: An empty target: a path or an fsspec URL.
        encoding: How to encode pixels.
        sample: Write a sample per frame or per clip.
        shard_bytes: Start another shard after this many bytes; a shard is held in memory.
        storage_options: fsspec options of the target.
        progress: Called with the number of clips done.

    Raises:
        ConfigError: WebDataset cannot hold the encoding, the encoding not the signature's samples,
            or there is no such kind of sample.
        ConflictError: The target has objects already.
        IntegrityError: An object of the store differs from its commit. The export gets no manifest.
    """
    check_encoding(frames, encoding)
    suffix = encoding.suffix
    if sample not in _SAMPLES:
        message = f"no sample {sample!r}; choose one of {', '.join(_SAMPLES)}"
        raise ConfigError(message)
    target = ExportTarget.empty(to, storage_options)
    shards = _Shards(target, shard_bytes)
    for clip_id, batch in read_clips(frames, progress, encoding=encoding):
        lineages = frames.lineage(clip_id, batch).to_pylist()
        key = f"{frames.locations[clip_id].batch}/{clip_key(clip_id)}"
        for one in _SAMPLES[sample](key, lineages, encoding.encode_batch(batch), suffix):
            shards.add(one)
    shards.close()
    return target.finish(frames, {"kind": "webdataset", "sample": sample}, encoding)


def _frame_samples(
    key: str, lineages: list[object], pictures: Sequence[bytes], suffix: str
) -> Iterator[_Sample]:
    for number, (lineage, picture) in enumerate(zip(lineages, pictures, strict=True)):
        yield _Sample(f"{key}-{number:06d}", lineage, {suffix: picture})


def _clip_samples(
    key: str, lineages: list[object], pictures: Sequence[bytes], suffix: str
) -> Iterator[_Sample]:
    named = {f"{number:06d}.{suffix}": picture for number, picture in enumerate(pictures)}
    yield _Sample(key, lineages, named)


_SAMPLES: Final[
    Mapping[str, Callable[[str, list[object], Sequence[bytes], str], Iterator[_Sample]]]
] = {
    "frame": _frame_samples,
    "clip": _clip_samples,
}


class _Shards:
    """Shards of a target; one is open, in memory."""

    def __init__(self, target: ExportTarget, shard_bytes: int) -> None:
        self._target = target
        self._shard_bytes = shard_bytes
        self._tar = _Tar()
        self._number = 0

    def add(self, sample: _Sample) -> None:
        if self._tar.bytes >= self._shard_bytes:
            self.close()
        for extension, picture in sample.pictures.items():
            self._tar.add(f"{sample.key}.{extension}", picture)
        self._tar.add(f"{sample.key}.json", as_json(sample.lineage))

    def close(self) -> None:
        """Put the open shard if it has samples, and open the next."""
        if self._tar.bytes:
            self._target.put(f"shard-{self._number:06d}.tar", self._tar.close())
            self._tar, self._number = _Tar(), self._number + 1


class _Tar:
    """A tar archive in memory; its bytes depend on names and contents alone."""

    def __init__(self) -> None:
        self._sink = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._sink, mode="w", format=tarfile.PAX_FORMAT)
        self.bytes = 0

    def add(self, name: str, data: bytes) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o444
        self._tar.addfile(info, io.BytesIO(data))
        self.bytes += len(data)

    def close(self) -> bytes:
        self._tar.close()
        return self._sink.getvalue()


WEBDATASET: Final = ExportFormat(
    "webdataset", "tar shards for WebDataset", export_webdataset, pixels=("jpeg", "png")
)
