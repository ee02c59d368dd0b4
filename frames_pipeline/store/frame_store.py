"""FrameStore: frames of batches in Zarr, under any path or URL."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from frames_pipeline._renamed import old_attribute, old_parameters
from frames_pipeline.errors import CommitNotFoundError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources import withdrawal
from frames_pipeline.store import gc, inspect, lookup, reader, verify, writer
from frames_pipeline.store.chunk_codecs import ChunkCodec, codec_for, compression_named
from frames_pipeline.store.commits import ClipCommit, Manifest
from frames_pipeline.store.layout import (
    GRACE_SECONDS,
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

    Any number of processes may write, read and collect garbage at the same time. An instance may be
    pickled to another process or inherited by a fork.
    """

    objects: Objects
    """The objects under the store's root."""
    compression: str
    """Compression of new frames. It is recorded, and does not affect signatures or digests."""
    codec = old_attribute("codec", "compression")

    @old_parameters(codec="compression")
    def __init__(
        self,
        url: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        compression: str = "zstd",
        durable: bool = True,
    ) -> None:
        """Set the root. Opens no connection.

        Args:
            url: A path or an fsspec URL, without credentials.
            storage_options: fsspec options: keys, endpoint, profile.
            compression: Lossless compression of new frames: `zstd`; `jpegxl`, with half the bytes,
                slower to read, which needs the extra `encodings`; or `none`. A store may hold
                frames of each.
            durable: Sync local files before they become visible, so that commits survive a power
                failure.

        Raises:
            ConfigError: The URL or the compression is invalid.
        """
        self.objects = Objects(url, storage_options, durable=durable)
        self.compression = compression_named(compression).name
        self._claimed: set[str] = set()
        """Signature folders with a checked signature document."""

    def __repr__(self) -> str:
        """Return the URL and the compression."""
        return f"FrameStore({self.objects.url!r}, compression={self.compression!r})"

    def url(self, batch: Batch, signature: Signature) -> str:
        """Return the path or URL of a batch's folder, for people."""
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
        """Store a clip's frames by signature, and commit each when complete.

        A new commit replaces the earlier one. Readers that hold the earlier commit can still read
        it. Frames of a signature with a lossy encoding are encoded here, unless they are images.

        Args:
            batch: The batch.
            clip: The clip.
            frames: The frames for each signature; at least one frame each.
            fingerprint: Fingerprint of the source's bytes, to tell later whether the clip is up to
                date.
            provenance: JSON values to keep with the frames, such as library versions.

        Raises:
            ConfigError: There are no frames, a name is invalid, or the compression or encoding is
                not installed. Nothing was written.
            ConflictError: Another signature has this one's key.
        """
        writes = {
            signature_folder(batch, signature): writer.ClipWrite(
                clip_id=clip_id(clip),
                signature=signature,
                frames=pixels,
                codec=self._codec(signature),
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
        """Write the signature's document, once for all clips that follow.

        `write_clip` does this by itself if needed. An instance that has done it remembers it, also
        when pickled to another process, and checks only once.

        Raises:
            CodecUnavailableError: The compression or encoding is not installed here.
            ConflictError: Another signature has this one's key.
        """
        self._codec(signature).require()
        self._claim(signature_folder(batch, signature), signature)

    def _claim(self, folder: SignatureFolder, signature: FrameExtractionSignature) -> None:
        if signature.image_encoding is None:  # images are stored as they are, without their codec
            compression_named(self.compression).require()
        writer.claim(self.objects, folder, signature)
        self._claimed.add(folder.path)

    def _codec(self, signature: FrameExtractionSignature) -> ChunkCodec:
        """Return the codec of new frames of a signature."""
        return codec_for(signature.image_encoding, self.compression)

    def clips(self, batch: Batch, signature: Signature) -> dict[str, ClipCommit]:
        """Return every clip's current commit, by clip id: one listing, and one request per clip."""
        return lookup.read_commits(self.objects, signature_folder(batch, signature))

    def commit(self, batch: Batch, signature: Signature, clip: Clip) -> ClipCommit:
        """Return a clip's current commit.

        Raises:
            CommitNotFoundError: The clip is not committed.
        """
        return lookup.find_commit(self.objects, signature_folder(batch, signature), clip_id(clip))

    def read(self, batch: Batch, signature: Signature, clip: Clip) -> FrameBatch:
        """Return a clip's frames, as given to `write_clip`.

        Raises:
            CommitNotFoundError: The clip is not committed.
            IntegrityError: An object is missing, or differs from the commit.
        """
        folder = signature_folder(batch, signature)
        commit = lookup.find_commit(self.objects, folder, clip_id(clip))
        return reader.read_clip(self.objects, folder, commit)

    def read_commit(
        self,
        batch: Batch,
        signature: Signature,
        commit: ClipCommit,
        *,
        start: int = 0,
        stop: int | None = None,
        decode: bool = True,
    ) -> FrameBatch:
        """Return the frames of a given commit, even if a newer one has replaced it.

        Args:
            batch: The batch.
            signature: The signature.
            commit: The commit.
            start: Index of the first frame, among the stored ones.
            stop: Index after the last frame; by default all.
            decode: Decode images of a lossy encoding now, or else when `frames` is first read.

        Raises:
            IntegrityError: An object is missing, or differs from the commit.
        """
        folder = signature_folder(batch, signature)
        return reader.read_clip(self.objects, folder, commit, start, stop, decode=decode)

    def open_commit(
        self, batch: Batch, signature: Signature, commit: ClipCommit
    ) -> reader.StoredClip:
        """Open a given commit for indexing, even if a newer one has replaced it.

        Raises:
            IntegrityError: An object is missing, or its size differs from the commit.
        """
        return reader.open_clip(self.objects, signature_folder(batch, signature), commit)

    def describe(self, manifest: Manifest) -> dict[str, reader.ClipDescription]:
        """Return descriptions of a batch's frames, by clip id.

        Reads one small object per clip, no pixels.

        Raises:
            IntegrityError: An object is missing, or differs from the commit.
        """
        folder = SignatureFolder(manifest.batch_key, manifest.signature_key)
        return reader.describe_clips(self.objects, folder, manifest.clips.values())

    def open(self, batch: Batch, signature: Signature, clip: Clip) -> reader.StoredClip:
        """Open a clip for indexing.

        Checks that every object exists in its size; pixels are read lazily.

        Raises:
            CommitNotFoundError: The clip is not committed.
            IntegrityError: An object is missing, or its size differs from the commit.
        """
        folder = signature_folder(batch, signature)
        commit = lookup.find_commit(self.objects, folder, clip_id(clip))
        return reader.open_clip(self.objects, folder, commit)

    def commit_batch(
        self,
        batch: Batch,
        signature: FrameExtractionSignature,
        clips: Iterable[Clip] | None = None,
    ) -> Manifest:
        """Publish a batch: the clips committed so far, or only the named ones.

        Given commits are published as they are; a clip or its id takes one request.

        Raises:
            CommitNotFoundError: A named clip is not committed.
            ConflictError: The batch was withdrawn. Commits made since are deleted, too.
        """
        folder = signature_folder(batch, signature)
        named = None if clips is None else list(map(_commit_or_id, clips))
        manifest = writer.commit_batch(self.objects, folder, signature, clips=named)
        if withdrawal.is_withdrawn(self.objects, folder.batch_key):
            self.withdraw(batch)
            raise withdrawal.error(folder.batch_key)
        return manifest

    def manifest(self, batch: Batch, signature: Signature) -> Manifest:
        """Return the batch as last published: a snapshot to read clips from.

        Raises:
            CommitNotFoundError: The batch was never published.
        """
        return lookup.find_manifest(self.objects, signature_folder(batch, signature))

    def published(self, batch: Batch, signature: Signature) -> Mapping[str, ClipCommit]:
        """Return the commits of the batch as last published, by clip id; none if it never was."""
        try:
            return self.manifest(batch, signature).clips
        except CommitNotFoundError:
            return {}

    def verify_manifest(self, manifest: Manifest) -> verify.VerifyReport:
        """Compare the objects of a manifest with a listing, by size. Reads no commit."""
        return verify.verify_manifest(self.objects, manifest)

    def verify(
        self, batch: Batch, signature: Signature | None = None, *, deep: bool = False
    ) -> verify.VerifyReport:
        """Compare the stored objects of a batch with their commits.

        Args:
            batch: The batch.
            signature: One signature; by default all.
            deep: Read every object, compare its hash, decode the frames and compare their digest.
                Otherwise only sizes are compared, with a listing.
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
        """Write a given commit again, to replace a damaged one."""
        writer.put_commit(self.objects, signature_folder(batch, commit.signature_key), commit)

    def put_manifest(self, manifest: Manifest) -> None:
        """Write a rebuilt manifest, to replace a damaged one."""
        folder = SignatureFolder(manifest.batch_key, manifest.signature_key)
        writer.put_manifest(self.objects, folder, manifest)

    def withdraw(self, batch: Batch) -> int:
        """Delete every commit and manifest of a batch.

        `collect_garbage` then deletes the frames. Until then, readers that hold a commit can read
        them.

        Returns:
            Number of deleted commits, over all signatures.
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
        grace_seconds: float = GRACE_SECONDS,
        dry_run: bool = True,
    ) -> gc.GarbageReport:
        """Find, and without `dry_run` delete, objects that no commit or manifest references.

        Safe while writers and readers work: attempts written or replaced within the grace period
        stay. Without a batch, unfinished writes anywhere under the root are included.

        Args:
            batch: One batch; by default all.
            grace_seconds: Keep anything touched within this time. Longer than writing a clip takes,
                and than a reader holds a manifest.
            dry_run: Only report.
        """
        batches = self.objects.folders(ROOT) if batch is None else [batch_key(batch)]
        found = gc.collect_garbage(
            self.objects, batches, grace_seconds=grace_seconds, dry_run=dry_run
        )
        if batch is None:
            found += self.collect_unfinished(grace_seconds=grace_seconds, dry_run=dry_run)
        return found

    def collect_unfinished(
        self, *, grace_seconds: float = GRACE_SECONDS, dry_run: bool = True
    ) -> gc.GarbageReport:
        """Find, and without `dry_run` delete, unfinished writes outside the frames of batches.

        Args:
            grace_seconds: Keep anything touched within this time. Longer than writing one object
                takes.
            dry_run: Only report.
        """
        return gc.collect_unfinished(self.objects, grace_seconds=grace_seconds, dry_run=dry_run)

    def batches(self) -> list[str]:
        """Return the keys of batches with frames, sorted: one listing."""
        return sorted(self.objects.folders(ROOT))

    def signatures(self, batch: Batch) -> list[str]:
        """Return the keys of a batch's signatures, sorted: one listing."""
        names = self.objects.folders(f"{ROOT}/{batch_key(batch)}")
        return [name for name in names if is_signature_key(name)]


def _commit_or_id(clip: Clip) -> ClipCommit | str:
    return clip if isinstance(clip, ClipCommit) else clip_id(clip)
