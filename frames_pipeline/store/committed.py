"""The objects that a commit references, each compared with the commit when it is read."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from zarr.errors import UnknownCodecError

from frames_pipeline.errors import CodecUnavailableError, FramesPipelineError, IntegrityError
from frames_pipeline.io.objects import ObjectInfo, Objects
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.store.commits import ClipCommit
from frames_pipeline.store.layout import SignatureFolder


@dataclass(frozen=True, slots=True)
class Fault:
    """One object that differs from its commit."""

    key: str
    """Key of the object, relative to the store."""
    found: str
    """The difference."""
    clip_id: str = ""
    """Its clip; empty if it belongs to none."""

    def __str__(self) -> str:
        """The object and the difference."""
        return f"{self.key} {self.found}"

    def error(self) -> IntegrityError:
        """Return the fault as an error."""
        return IntegrityError(f"{self}; extract clip {self.clip_id!r} again, or restore the object")


@dataclass(frozen=True, slots=True)
class CommittedObjects:
    """The objects that a commit references, each compared with it when it is read."""

    objects: Objects
    """Objects of the store."""
    folder: SignatureFolder
    """Folder of the commit."""
    commit: ClipCommit
    """The commit."""

    @property
    def path(self) -> str:
        """The attempt's folder, relative to the store."""
        return f"{self.folder.path}/{self.commit.path}"

    def get(self, name: str) -> bytes:
        """Return the bytes of the object `name`, relative to the attempt."""
        return self.get_many([name])[name]

    def get_many(self, names: Iterable[str]) -> Mapping[str, bytes]:
        """Return the bytes of objects by name."""
        keys = {name: f"{self.path}/{name}" for name in names}
        found = self.objects.get_many(keys.values())
        return {name: self.checked(name, found.get(key)) for name, key in keys.items()}

    def has(self, name: str) -> bool:
        """Return whether the commit references an object."""
        return name in self.commit.objects

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Turn errors of Zarr's codecs and stores into this library's.

        Errors about an invalid or out-of-range index pass through to the caller.
        """
        try:
            with self.objects.faults(self.path):
                yield
        except (EOFError, RuntimeError, ValueError, FileNotFoundError) as error:
            raise undecodable(self, error) from error

    def faults(self, listing: Mapping[str, ObjectInfo]) -> Iterator[Fault]:
        """Yield objects that are missing from a listing, or differ from the committed size."""
        for name, stored in self.commit.objects.items():
            info = listing.get(f"{self.path}/{name}")
            if info is None:
                yield self.fault(name, "is missing")
            elif info.size != stored.size:
                yield self.fault(name, f"has {info.size} bytes, not the {stored.size} committed")

    def fault(self, name: str, found: str) -> Fault:
        """Return a fault of one of these objects."""
        return Fault(f"{self.path}/{name}", found, clip_id=self.commit.clip_id)

    def checked(self, name: str, data: bytes | None) -> bytes:
        """Return the bytes of the object `name` after comparing them with the commit."""
        stored = self.commit.objects.get(name)
        if stored is None:
            raise self.fault(name, "is not in the commit").error()
        if data is None:
            raise self.fault(name, "is missing").error()
        if len(data) != stored.size:
            found = f"has {len(data)} bytes, not the {stored.size} committed"
            raise self.fault(name, found).error()
        if hashlib.sha256(data).hexdigest() != stored.sha256:
            raise self.fault(name, "has other bytes than those committed").error()
        return data


@contextlib.contextmanager
def decodable(attempt: CommittedObjects) -> Iterator[None]:
    """Turn errors of decoding committed objects into `IntegrityError`."""
    try:
        yield
    except (*UNREADABLE, FileNotFoundError) as error:
        raise undecodable(attempt, error) from error


def undecodable(attempt: CommittedObjects, error: Exception) -> FramesPipelineError:
    """Return the error for objects that fit their commit and cannot be decoded."""
    if isinstance(error, CodecUnavailableError):
        return error
    if isinstance(error, UnknownCodecError):
        message = f"{attempt.path} has a codec that is not installed here ({error}); install "
        return CodecUnavailableError(f"{message}frames-pipeline[encodings], or a newer version")
    found = f"cannot be decoded ({error!r})"
    return Fault(attempt.path, found, clip_id=attempt.commit.clip_id).error()
