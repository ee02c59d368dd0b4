"""Move committed frames to another lossless compression, batch by batch, without any video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from frames_pipeline.clips import Progress
from frames_pipeline.errors import (
    ConfigError,
    FramesPipelineError,
    IntegrityError,
    InternalError,
    WorkerError,
)
from frames_pipeline.io.objects import Objects
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.sources import withdrawal
from frames_pipeline.store import ClipCommit, Fault, FrameStore
from frames_pipeline.store.chunk_codecs import COMPRESSIONS, ChunkCodec, compression_named
from frames_pipeline.store.layout import SignatureFolder
from frames_pipeline.store.lookup import commit_keys
from frames_pipeline.store.recompression import codecs_of, recompress_clip, republish
from frames_pipeline.workers.local import Workers, preload

preload(__name__)

_OF_ONE_CLIP: Final = (IntegrityError, WorkerError, InternalError)
"""Errors after which the other clips go on."""


@dataclass(frozen=True, slots=True)
class RecompressReport:
    """Result of `recompress_store`. Clips are counted once per signature."""

    moved: int = 0
    """Clips written again."""
    passed_over: int = 0
    """Clips left as they are: they have the compression already, or a codec unknown here."""
    outrun: int = 0
    """Clips that a run extracted again, or withdrew, meanwhile: its commit stays."""
    bytes_before: int = 0
    """Bytes of the moved clips before."""
    bytes_after: int = 0
    """Bytes of the moved clips now. Garbage collection frees the former ones."""
    faults: tuple[Fault, ...] = ()
    """Clips and documents that cannot be read: they stay as they are."""

    @property
    def clips(self) -> int:
        """Number of clips looked at, without damaged ones."""
        return self.moved + self.passed_over + self.outrun

    def __add__(self, other: RecompressReport) -> RecompressReport:
        """Return the sum of two reports."""
        return RecompressReport(
            moved=self.moved + other.moved,
            passed_over=self.passed_over + other.passed_over,
            outrun=self.outrun + other.outrun,
            bytes_before=self.bytes_before + other.bytes_before,
            bytes_after=self.bytes_after + other.bytes_after,
            faults=self.faults + other.faults,
        )


def recompress_store(
    workspace: Workspace,
    batches: Iterable[str] = (),
    *,
    to: str,
    signatures: Iterable[str] = (),
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> RecompressReport:
    """Write committed frames again with another lossless compression, and publish them.

    Pixels, digests and data versions stay the same, so nothing downstream becomes stale. Clips that
    have the compression are passed over: after an interruption, call it again. Runs may extract
    meanwhile; the newer commit of a clip stays.

    Args:
        workspace: Workspace of the batches. The source is not read.
        batches: Keys of batches; default: all.
        to: The compression, one of `COMPRESSIONS`.
        signatures: Keys of signatures; default: all.
        workers: Number of processes.
        progress: Called whenever clips are done.

    Raises:
        CodecUnavailableError: A compression is not installed here.
        ConfigError: There is no such compression, batch or signature.
        ConflictError: A batch was withdrawn meanwhile.
        TransientError: The store could not be reached. Moved clips stay moved.
    """
    codec = compression_named(to)
    codec.require()
    store = workspace.store
    folders = _folders(store, list(batches), list(signatures))
    total = sum(len(commit_keys(store.objects, folder)) for folder in folders)
    work = _Work(store, codec)
    for task, moved in (workers or Workers()).map(_recompress, work.tasks(folders)):
        work.finish(task, moved)
        if progress is not None:
            progress(min(work.report.clips + len(work.report.faults), total), total)
    return work.report


def _folders(
    store: FrameStore, batches: Sequence[str], signatures: Sequence[str]
) -> list[SignatureFolder]:
    """Return the folders of batches and signatures, all of them unless some are named."""
    stored = store.batches()
    found = {batch: store.signatures(batch) for batch in batches or stored if batch in stored}
    known = {key for keys in found.values() for key in keys}
    for kind, missing in (
        ("batch", sorted(set(batches) - found.keys())),
        ("signature", sorted(set(signatures) - known)),
    ):
        if missing:
            message = f"no frames of {kind} {missing[0]!r} under {store.objects.url}; "
            raise ConfigError(f"{message}`frames-pipeline ls` lists the keys")
    return [
        SignatureFolder(batch, key)
        for batch, keys in found.items()
        for key in keys
        if not signatures or key in signatures
    ]


@dataclass(frozen=True, slots=True)
class _Task:
    """A clip to move, in a worker process."""

    objects: Objects
    folder: SignatureFolder
    commit: ClipCommit
    compression: str


@dataclass(slots=True)
class _Work:
    """The clips of all folders: one pool of processes serves them."""

    store: FrameStore
    codec: ChunkCodec
    """Codec to move to."""
    report: RecompressReport = field(default_factory=RecompressReport)
    """Result so far."""
    left: dict[SignatureFolder, int] = field(default_factory=dict)
    """Number of clips of each folder that are still to be moved."""

    def tasks(self, folders: Iterable[SignatureFolder]) -> Iterator[_Task]:
        """Yield the clips to move; publish folders that have none."""
        for folder in folders:
            tasks = list(self._tasks_of(folder))
            self.left[folder] = len(tasks)
            yield from tasks
            if not tasks:
                self.report += _publish(self.store, folder)

    def finish(self, task: _Task, moved: ClipCommit | FramesPipelineError | None) -> None:
        """Count a clip; after the last one of its folder, publish them."""
        self.report += _result(task, moved)
        self.left[task.folder] -= 1
        if not self.left[task.folder]:
            self.report += _publish(self.store, task.folder)

    def _tasks_of(self, folder: SignatureFolder) -> Iterator[_Task]:
        objects = self.store.objects
        state = self.store.inspect(folder.batch_key, folder.signature_key)
        for key, found in state.commit_damage.items():
            self.report += RecompressReport(faults=(Fault(key, found),))
        for clip_id, former in codecs_of(objects, folder, state.commits.values()).items():
            commit = state.commits[clip_id]
            if isinstance(former, IntegrityError):
                self.report += _damaged(folder, commit, former)
            elif former in (None, self.codec) or former not in COMPRESSIONS.values():
                self.report += RecompressReport(passed_over=1)
            else:
                yield _Task(objects, folder, commit, self.codec.name)


def _recompress(task: _Task) -> ClipCommit | None:
    codec = compression_named(task.compression)
    return recompress_clip(task.objects, task.folder, task.commit, codec)


def _result(task: _Task, moved: ClipCommit | FramesPipelineError | None) -> RecompressReport:
    """Return the report of one clip.

    Raises:
        FramesPipelineError: An error that concerns all clips.
    """
    if isinstance(moved, _OF_ONE_CLIP):
        return _damaged(task.folder, task.commit, moved)
    if isinstance(moved, FramesPipelineError):
        raise moved
    if moved is None:
        return RecompressReport(outrun=1)
    return RecompressReport(moved=1, bytes_before=task.commit.bytes, bytes_after=moved.bytes)


def _damaged(
    folder: SignatureFolder, commit: ClipCommit, error: FramesPipelineError
) -> RecompressReport:
    path = f"{folder.path}/{commit.path}"
    return RecompressReport(faults=(Fault(path, str(error), clip_id=commit.clip_id),))


def _publish(store: FrameStore, folder: SignatureFolder) -> RecompressReport:
    """Publish the moved clips of a batch that is published.

    Raises:
        ConflictError: The batch was withdrawn. Commits made since are deleted, too.
    """
    state = store.inspect(folder.batch_key, folder.signature_key)
    if state.manifest_damage:
        return RecompressReport(faults=(Fault(folder.manifest, state.manifest_damage),))
    republish(store.objects, folder, state.commits)
    if withdrawal.is_withdrawn(store.objects, folder.batch_key):
        store.withdraw(folder.batch_key)
        raise withdrawal.error(folder.batch_key)
    return RecompressReport()
