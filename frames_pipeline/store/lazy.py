"""Read a clip through Zarr, with every object checked against the commit.

Zarr returns the fill value, black, for a missing chunk. Here a missing chunk is an error, and so is
a document or chunk whose hash differs from the commit. Zarr reads single chunks within a shard; the
codecs check the checksum of each.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import zarr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.buffer.cpu import Buffer
from zarr.core.buffer import Buffer as AnyBuffer
from zarr.core.buffer import BufferPrototype
from zarr.storage import WrapperStore


class Committed(Protocol):
    """The objects of an attempt, as listed in its commit."""

    def has(self, name: str) -> bool:
        """Return whether the commit names that object."""

    def checked(self, name: str, data: bytes | None) -> bytes:
        """Return the data if it is as committed."""

    def reading(self) -> contextlib.AbstractContextManager[None]:
        """Convert errors of Zarr and its codecs to `IntegrityError`."""


class CommittedStore(WrapperStore[Store]):
    """A Zarr store of one attempt that checks objects against the commit."""

    def __init__(self, store: Store, committed: Committed, *, whole: bool = False) -> None:
        """Take a store and the commit of its objects.

        Args:
            store: The store of the attempt's objects.
            committed: The objects as committed.
            whole: Fetch and hash every object whole, for readers that convert errors themselves.
                The last object is kept for the chunks that follow.
        """
        super().__init__(store)
        self._committed = committed
        self._whole = whole
        self._last: tuple[str, Buffer] | None = None

    def _with_store(self, store: Store) -> CommittedStore:
        return CommittedStore(store, self._committed, whole=self._whole)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> AnyBuffer | None:
        """Return an object or a part of it; `None` if the commit does not name it."""
        if not self._committed.has(key):
            return None
        if byte_range is not None and not self._whole:
            part = await self._store.get(key, prototype, byte_range)
            if part is None:
                self._committed.checked(key, None)
            return part
        data = await self._checked(key, prototype)
        return data if byte_range is None else data[_slice(byte_range, len(data))]

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[AnyBuffer | None]:
        """Return several objects or parts."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, AnyBuffer | None], None]:
        for key, prototype, part in requests:
            yield key, await self.get(key, prototype, part)

    async def _checked(self, key: str, prototype: BufferPrototype) -> Buffer:
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        found = await self._store.get(key, prototype)
        data = self._committed.checked(key, None if found is None else found.to_bytes())
        buffer = Buffer.from_bytes(data)
        if self._whole:
            self._last = (key, buffer)
        return buffer


@dataclass
class StoredArray(zarr.Array[Any]):
    """A Zarr array of committed objects: damage is an `IntegrityError`."""

    committed: Committed = field(repr=False, compare=False)
    """The objects to read."""

    def get_basic_selection(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Select as `zarr.Array` does."""
        with self.committed.reading():
            return super().get_basic_selection(*args, **options)

    def get_orthogonal_selection(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Select as `zarr.Array` does."""
        with self.committed.reading():
            return super().get_orthogonal_selection(*args, **options)

    def get_mask_selection(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Select as `zarr.Array` does."""
        with self.committed.reading():
            return super().get_mask_selection(*args, **options)

    def get_coordinate_selection(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Select as `zarr.Array` does."""
        with self.committed.reading():
            return super().get_coordinate_selection(*args, **options)

    def get_block_selection(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Select as `zarr.Array` does."""
        with self.committed.reading():
            return super().get_block_selection(*args, **options)


def _slice(part: ByteRequest, size: int) -> slice:
    """Return the requested part of an object as a slice."""
    match part:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(max(0, size - suffix), None)
