"""Find the commits and the manifest of a batch and signature."""

from __future__ import annotations

from collections.abc import Iterable

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.io.objects import Objects
from frames_pipeline.store.commits import ClipCommit, Document, Manifest, parse
from frames_pipeline.store.layout import SignatureFolder, clip_key, is_document_of


def read_commits(objects: Objects, folder: SignatureFolder) -> dict[str, ClipCommit]:
    """Return every clip's current commit, by clip id."""
    commits = [
        parse_commit(folder, key, data)
        for key, data in objects.get_many(commit_keys(objects, folder)).items()
    ]
    return {commit.clip_id: commit for commit in commits}


def commit_keys(objects: Objects, folder: SignatureFolder) -> list[str]:
    """Return the keys of the commits; unfinished ones have another suffix."""
    return [key for key in objects.list(folder.commits) if key.endswith(".json")]


def find_commit(objects: Objects, folder: SignatureFolder, clip: str) -> ClipCommit:
    """Return a clip's current commit.

    Raises:
        CommitNotFoundError: The clip has no commit.
    """
    return find_commits(objects, folder, [clip])[clip]


def find_commits(
    objects: Objects, folder: SignatureFolder, clips: Iterable[str]
) -> dict[str, ClipCommit]:
    """Return the current commits of clips, by clip id.

    Raises:
        CommitNotFoundError: A clip has none.
    """
    keys = {clip: folder.commit(clip_key(clip)) for clip in clips}
    found = objects.get_many(keys.values())
    missing = [clip for clip, key in keys.items() if key not in found]
    if missing:
        more = f" (nor are {len(missing) - 1} more)" if len(missing) > 1 else ""
        message = f"clip {missing[0]!r} is not committed in {folder.path}{more}; extract it first"
        raise CommitNotFoundError(message)
    return {clip: parse_commit(folder, key, found[key]) for clip, key in keys.items()}


def parse_commit(folder: SignatureFolder, key: str, data: bytes) -> ClipCommit:
    """Return the commit in the object `key`, after checking that its clip and signature fit."""

    def make(document: Document) -> ClipCommit:
        commit = ClipCommit.from_document(document)
        own_key = folder.commit(clip_key(commit.clip_id))
        if (own_key, folder.signature_key) != (key, commit.signature_key):
            message = (
                f"it belongs to clip {commit.clip_id!r} and signature {commit.signature_key!r}"
            )
            raise ValueError(message)
        return commit

    return parse(data, make, name=key)


def find_manifest(objects: Objects, folder: SignatureFolder) -> Manifest:
    """Return the batch's current manifest.

    Raises:
        CommitNotFoundError: The batch has no manifest.
    """
    try:
        data = objects.get(folder.manifest)
    except FileNotFoundError as error:
        message = f"{folder.path} has no manifest; commit the batch first"
        raise CommitNotFoundError(message) from error
    return parse_manifest(folder, data)


def signature_damage(objects: Objects, folder: SignatureFolder) -> str:
    """Describe the damage of a signature's document; empty if it is sound."""
    try:
        data = objects.get(folder.signature)
    except FileNotFoundError:
        return "is missing"
    if is_document_of(folder.signature_key, data):
        return ""
    return f"is not the document of {folder.signature_key}"


def document_damage(error: IntegrityError) -> str:
    """Describe the damage of a commit or manifest by the error of reading it."""
    return f"cannot be read ({error.__cause__!r})"


def parse_manifest(folder: SignatureFolder, data: bytes) -> Manifest:
    """Return the manifest in some bytes, after checking that batch and signature fit."""

    def make(document: Document) -> Manifest:
        manifest = Manifest.from_document(document)
        if SignatureFolder(manifest.batch_key, manifest.signature_key) != folder:
            message = f"it belongs to batch {manifest.batch_key!r}, {manifest.signature_key!r}"
            raise ValueError(message)
        return manifest

    return parse(data, make, name=folder.manifest)
