"""FrameStore: frames of batches in Zarr, under any path or URL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources import withdrawal
from frames_pipeline.store import gc, inspect, reader, verify, writer
from frames_pipeline.store.codecs import checked_codec
from frames_pipeline.store.commits import ClipCommit, Manifest
from frames_pipeline.store.layout import (
    ROOT,
    HasClipId,
    HasKey,
    SignatureFolder,
    batch_key,
    clip_id,
    is_signature_key,
    signature_folder,
)

Batch = str | HasKey
"""A batch, or its key."""

Clip = str | HasClipId
"""A clip, or its id."""

Signature = FrameExtractionSignature | str
"""A signature, or its key."""


class FrameStore:
    """Frames by batch, signature and clip.

    >>> store = FrameStore("memory://frames-store-example")
    >>> store.clips("2024-05", "sequence-2fps-224x224-ec4308a3cf5f1e07")
    {}

    Any number of processes may write, read and collect garbage at the same time; an instance may
    be pickled to them, or inherited by a fork.
    """

    objects: Objects
    """Where everything is kept."""
    codec: str
    """What new frames go through. It is recorded, and no part of what identifies them."""

    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        codec: str = "zstd",
        durable: bool = True,
    ) -> None:
        """Name the store; nothing is touched yet.

        Args:
            url: A path or an fsspec URL, without credentials.
            storage_options: What fsspec needs to reach it: keys, endpoint, profile.
            codec: `zstd`, or `none` for no compression.
            durable: Sync local files before they become visible, so that what is committed
                outlives a power failure.

        Raises:
            ConfigError: The URL or the codec cannot be used.
        """
        self.objects = Objects(url, storage_options, durable=durable)
        self.codec = checked_codec(codec)
        self._claimed: set[str] = set()
        """Folders that were seen to be of the signatures that have their keys."""

    def __repr__(self) -> str:
        """The URL and the codec."""
        return f"FrameStore({self.objects.url!r}, codec={self.codec!r})"

    def url(self, batch: Batch, signature: Signature) -> str:
        """Path or URL of the folder in which a batch's frames are, for people."""
        return f"{self.objects.url}/{signature_folder(batch, signature).path}"

    def write_clip(
        self,
        batch: Batch,
        clip: Clip,
        frames: Mapping[FrameExtractionSignature, FrameBatch],
        *,
        fingerprint: str = "",
        provenance: Mapping[str, Any] | None = None,
    ) -> dict[FrameExtractionSignature, ClipCommit]:
        """Store a clip's frames by signature, and commit each when it is whole.

        What was committed before is replaced for those who look from now on; whoever holds the
        old commit can still read it.

        Args:
            batch: The batch.
            clip: The clip.
            frames: The frames for each signature; none of them empty.
            fingerprint: What the source's bytes were, for those who ask whether it is done.
            provenance: JSON values to keep with the frames, such as library versions.

        Raises:
            ConfigError: There are no frames, or a name cannot be used. Nothing was written.
            ConflictError: Another signature has this one's key.
        """
        writes = {
            signature_folder(batch, signature): writer.ClipWrite(
                clip_id=clip_id(clip),
                signature=signature,
                frames=pixels,
                codec=self.codec,
                fingerprint=fingerprint,
                provenance=provenance or {},
            )
            for signature, pixels in frames.items()
        }
        for folder, write in writes.items():
            if folder.path not in self._claimed:
                self._claim(folder, write.signature)
        return {
            write.signature: writer.write_clip(self.objects, folder, write)
            for folder, write in writes.items()
        }

    def claim(self, batch: Batch, signature: FrameExtractionSignature) -> None:
        """Say what the signature's key stands for, once for all clips that are written from now on.

        `write_clip` does so by itself where it has to. An instance that has done it takes it along
        to the processes that it is pickled to, which then need not look.

        Raises:
            ConflictError: Another signature has this one's key.
        """
        self._claim(signature_folder(batch, signature), signature)

    def _claim(self, folder: SignatureFolder, signature: FrameExtractionSignature) -> None:
        writer.claim(self.objects, folder, signature)
        self._claimed.add(folder.path)

    def clips(self, batch: Batch, signature: Signature) -> dict[str, ClipCommit]:
        """Every clip's current commit, by clip id: one listing, and one request per clip."""
        return reader.read_commits(self.objects, signature_folder(batch, signature))

    def commit(self, batch: Batch, signature: Signature, clip: Clip) -> ClipCommit:
        """A clip's current commit.

        Raises:
            CommitNotFoundError: The clip is not committed.
        """
        return reader.find_commit(self.objects, signature_folder(batch, signature), clip_id(clip))

    def read(self, batch: Batch, signature: Signature, clip: Clip) -> FrameBatch:
        """A clip's frames, as they were given to `write_clip`.

        Raises:
            CommitNotFoundError: The clip is not committed.
            IntegrityError: An object is missing, or is not the one committed.
        """
        folder = signature_folder(batch, signature)
        commit = reader.find_commit(self.objects, folder, clip_id(clip))
        return reader.read_clip(self.objects, folder, commit)

    def read_commit(
        self,
        batch: Batch,
        signature: Signature,
        commit: ClipCommit,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> FrameBatch:
        """The frames of a commit that the caller holds, whatever was committed since.

        Args:
            batch: The batch.
            signature: The signature.
            commit: The commit.
            start: Number of the first frame that is wanted, among those stored.
            stop: Number of the first that is not; all from `start` on if it is left out.

        Raises:
            IntegrityError: An object is missing, or is not the one committed.
        """
        folder = signature_folder(batch, signature)
        return reader.read_clip(self.objects, folder, commit, start, stop)

    def open_commit(
        self, batch: Batch, signature: Signature, commit: ClipCommit
    ) -> reader.StoredClip:
        """A commit that the caller holds, to be indexed, whatever was committed since.

        Raises:
            IntegrityError: An object is missing, or has not the size committed.
        """
        return reader.open_clip(self.objects, signature_folder(batch, signature), commit)

    def describe(self, manifest: Manifest) -> dict[str, reader.ClipDescription]:
        """What a batch's clips say of their frames, by clip id: a small object each, no pixels.

        Raises:
            IntegrityError: An object is missing, or is not the one committed.
        """
        folder = SignatureFolder(manifest.batch_key, manifest.signature_key)
        return reader.describe_clips(self.objects, folder, manifest.clips.values())

    def open(self, batch: Batch, signature: Signature, clip: Clip) -> reader.StoredClip:
        """A clip to be indexed: every object is there in its size; pixels are read lazily.

        Raises:
            CommitNotFoundError: The clip is not committed.
            IntegrityError: An object is missing, or has not the size committed.
        """
        folder = signature_folder(batch, signature)
        commit = reader.find_commit(self.objects, folder, clip_id(clip))
        return reader.open_clip(self.objects, folder, commit)

    def commit_batch(
        self,
        batch: Batch,
        signature: FrameExtractionSignature,
        clips: Iterable[Clip] | None = None,
    ) -> Manifest:
        """Publish the clips committed so far, or just those named, as the batch.

        Commits that the caller holds are published as they are; a clip or its id is one request.

        Raises:
            CommitNotFoundError: A named clip is not committed.
            ConflictError: The batch was withdrawn; commits made since are taken back, too.
        """
        folder = signature_folder(batch, signature)
        named = None if clips is None else list(map(_commit_or_id, clips))
        manifest = writer.commit_batch(self.objects, folder, signature, clips=named)
        if withdrawal.is_withdrawn(self.objects, folder.batch_key):
            self.withdraw(batch)
            raise withdrawal.error(folder.batch_key)
        return manifest

    def manifest(self, batch: Batch, signature: Signature) -> Manifest:
        """The batch as it was last published: a snapshot to read clips from.

        Raises:
            CommitNotFoundError: It was never published.
        """
        return reader.find_manifest(self.objects, signature_folder(batch, signature))

    def published(self, batch: Batch, signature: Signature) -> Mapping[str, ClipCommit]:
        """Return the commits of the batch as last published, by clip id; none if it never was."""
        try:
            return self.manifest(batch, signature).clips
        except CommitNotFoundError:
            return {}

    def verify_manifest(self, manifest: Manifest) -> verify.VerifyReport:
        """Compare the objects that a manifest names with a listing, by size; no commit is read."""
        return verify.verify_manifest(self.objects, manifest)

    def verify(
        self, batch: Batch, signature: Signature | None = None, *, deep: bool = False
    ) -> verify.VerifyReport:
        """Compare what is stored for a batch with what was committed.

        Args:
            batch: The batch.
            signature: One signature of it; every one if it is left out.
            deep: Read every object, compare its hash, and decode the frames and compare theirs.
                Otherwise sizes are compared, from a listing.
        """
        key = batch_key(batch)
        if signature is None:
            folders = [SignatureFolder(key, name) for name in self.signatures(key)]
        else:
            folders = [signature_folder(key, signature)]
        return verify.verify(self.objects, folders, deep=deep)

    def inspect(self, batch: Batch, signature: Signature) -> inspect.FolderState:
        """Return the readable documents of a batch, and the faults of the others."""
        return inspect.inspect_folder(self.objects, signature_folder(batch, signature))

    def put_commit(self, batch: Batch, commit: ClipCommit) -> None:
        """Put a commit again that the caller holds, in place of one that cannot be read."""
        writer.put_commit(self.objects, signature_folder(batch, commit.signature_key), commit)

    def put_manifest(self, manifest: Manifest) -> None:
        """Put a manifest that was rebuilt, in place of one that cannot be read."""
        folder = SignatureFolder(manifest.batch_key, manifest.signature_key)
        writer.put_manifest(self.objects, folder, manifest)

    def withdraw(self, batch: Batch) -> int:
        """Take back every commit and manifest of a batch: its frames are then nobody's.

        `collect_garbage` deletes them; until it does, whoever holds a commit can read them.

        Returns:
            How many clips were committed, counted once per signature.
        """
        key = batch_key(batch)
        return sum(
            writer.withdraw_folder(self.objects, SignatureFolder(key, name))
            for name in self.signatures(key)
        )

    def collect_garbage(
        self,
        batch: Batch | None = None,
        *,
        grace_seconds: float = gc.GRACE_SECONDS,
        dry_run: bool = True,
    ) -> gc.GarbageReport:
        """Find, and unless it is a dry run delete, what no commit and no manifest names.

        Writers and readers may be at work: attempts written or replaced within the grace period
        stay. Without a batch, unfinished writes anywhere under the root count as well.

        Args:
            batch: One batch; every one if it is left out.
            grace_seconds: Longer than a clip takes to write, and than a reader holds a manifest.
            dry_run: Only say what would be deleted.
        """
        batches = self.objects.folders(ROOT) if batch is None else [batch_key(batch)]
        found = gc.collect_garbage(
            self.objects, batches, grace_seconds=grace_seconds, dry_run=dry_run
        )
        if batch is None:
            found += self.collect_unfinished(grace_seconds=grace_seconds, dry_run=dry_run)
        return found

    def collect_unfinished(
        self, *, grace_seconds: float = gc.GRACE_SECONDS, dry_run: bool = True
    ) -> gc.GarbageReport:
        """Find, and unless it is a dry run delete, unfinished writes beside the frames of batches.

        Args:
            grace_seconds: Longer than one object takes to write.
            dry_run: Only report.
        """
        return gc.collect_unfinished(self.objects, grace_seconds=grace_seconds, dry_run=dry_run)

    def batches(self) -> list[str]:
        """Keys of the batches that have frames, sorted: one listing."""
        return sorted(self.objects.folders(ROOT))

    def signatures(self, batch: Batch) -> list[str]:
        """Keys of the signatures that a batch has anything of, sorted: one listing."""
        names = self.objects.folders(f"{ROOT}/{batch_key(batch)}")
        return [name for name in names if is_signature_key(name)]


def _commit_or_id(clip: Clip) -> ClipCommit | str:
    return clip if isinstance(clip, ClipCommit) else clip_id(clip)
