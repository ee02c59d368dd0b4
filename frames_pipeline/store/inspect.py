"""Read one signature's folder, even if parts of it are damaged."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.store.codecs import METADATA
from frames_pipeline.store.commits import ClipCommit, Document, Manifest
from frames_pipeline.store.committed import CommittedObjects
from frames_pipeline.store.layout import SignatureFolder, clip_key, is_document_of
from frames_pipeline.store.lookup import (
    commit_keys,
    document_damage,
    find_manifest,
    parse_commit,
    signature_damage,
)


@dataclass(frozen=True, slots=True)
class FolderState:
    """The readable documents of one batch and signature, and the faults of the others."""

    folder: SignatureFolder
    """The folder."""
    objects: Objects = field(repr=False)
    """The store."""
    signature_damage: str
    """Fault of `signature.json`; empty if it is sound."""
    manifest: Manifest | None
    """The manifest, if it can be read."""
    manifest_damage: str
    """Fault of the manifest; empty if it is sound or missing."""
    commits: Mapping[str, ClipCommit]
    """Commits that can be read, by clip id."""
    commit_damage: Mapping[str, str]
    """Faults of the other commits, by key relative to the store."""

    @property
    def damage(self) -> dict[str, str]:
        """Faults of all documents, by key relative to the store."""
        documents = {
            self.folder.signature: self.signature_damage,
            self.folder.manifest: self.manifest_damage,
            **self.commit_damage,
        }
        return {key: found for key, found in documents.items() if found}

    def published(self, key: str) -> ClipCommit | None:
        """Return the manifest's copy of the commit with that key, if it has one."""
        clips = {} if self.manifest is None else self.manifest.clips
        named = {self.folder.commit(clip_key(clip)): commit for clip, commit in clips.items()}
        return named.get(key)

    def find_signature(self, candidates: Iterable[bytes] = ()) -> bytes | None:
        """Return the signature's document from any copy with the hash of the folder's key.

        Args:
            candidates: Further possible copies.
        """
        for document in (*candidates, *self._documents()):
            if is_document_of(self.folder.signature_key, document):
                return document
        return None

    def _documents(self) -> Iterator[bytes]:
        """Yield copies of the signature's document in this folder."""
        with contextlib.suppress(FileNotFoundError):
            yield self.objects.get(self.folder.signature)
        if self.manifest is not None:
            yield _canonical(self.manifest.signature)
        for commit in self.commits.values():
            with contextlib.suppress(IntegrityError, *UNREADABLE):
                group = CommittedObjects(self.objects, self.folder, commit).get(METADATA)
                yield _canonical(json.loads(group)["attributes"]["signature"])


def inspect_folder(objects: Objects, folder: SignatureFolder) -> FolderState:
    """Read every document of a folder: one listing, and one request per document."""
    commits: dict[str, ClipCommit] = {}
    damage: dict[str, str] = {}
    for key, data in objects.get_many(commit_keys(objects, folder)).items():
        try:
            commit = parse_commit(folder, key, data)
            commits[commit.clip_id] = commit
        except IntegrityError as error:
            damage[key] = document_damage(error)
    manifest, manifest_damage = _manifest(objects, folder)
    for clip in manifest.clips if manifest else ():
        key = folder.commit(clip_key(clip))
        if clip not in commits and key not in damage:
            damage[key] = "is missing"
    return FolderState(
        folder=folder,
        objects=objects,
        signature_damage=signature_damage(objects, folder),
        manifest=manifest,
        manifest_damage=manifest_damage,
        commits=commits,
        commit_damage=damage,
    )


def _manifest(objects: Objects, folder: SignatureFolder) -> tuple[Manifest | None, str]:
    try:
        return find_manifest(objects, folder), ""
    except CommitNotFoundError:
        return None, ""
    except IntegrityError as error:
        return None, document_damage(error)


def _canonical(document: Document) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
