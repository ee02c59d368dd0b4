"""Digests of rows: equal values have equal digests in any encoding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
else:
    np, pa, pc = lazy_module("numpy"), lazy_module("pyarrow"), lazy_module("pyarrow.compute")

_FORMAT: Final = b"frames-table/1\n"


def table_digest(rows: pa.Table) -> str:
    """Return a SHA-256 over names, types and values, independent of encoding, chunking and library.

    The digest ignores descriptions of columns and depends on the order of rows. So sort the rows,
    and drop columns that vary between equal runs: `table_digest(rows.drop_columns(["seconds"]))`.
    """
    sha = hashlib.sha256(_FORMAT)
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        sha.update(f"{name} {_type_name(column.type)} {len(column)}\n".encode())
        for part in _canonical_bytes(column.combine_chunks()):
            sha.update(part)
    return sha.hexdigest()


def _type_name(kind: pa.DataType) -> str:
    """Return the name of a type, equal for all of Arrow's layouts of the same values."""
    if pa.types.is_dictionary(kind):
        return _type_name(kind.value_type)
    if _is_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if _is_text(kind):
        return "string"
    return str(kind)


def _is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _canonical_bytes(array: pa.Array) -> Iterator[bytes]:
    """Return the null flags, then the values; lists and text as lengths, then their contents."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    yield np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes()
    if _is_list(array.type):
        yield _little_endian(pc.list_value_length(array).cast(pa.int64()))
        yield from _canonical_bytes(array.flatten())
    elif _is_text(array.type):
        yield _little_endian(pc.binary_length(array).cast(pa.int64()))
        yield "".join(text for text in array.to_pylist() if text is not None).encode()
    else:
        yield _little_endian(array)


def _little_endian(array: pa.Array) -> bytes:
    """Return numbers as bytes, with nulls as zeros, one NaN, and one zero."""
    kind = array.type
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        message = f"a table column of type {kind} has no digest; use numbers, text or lists of them"
        raise ConfigError(message)
    values = array.fill_null(0).to_numpy(zero_copy_only=False).copy()
    if np.issubdtype(values.dtype, np.floating):
        values[np.isnan(values)] = np.nan
        values[values == 0] = 0
    return bytes(values.astype(values.dtype.newbyteorder("<")).tobytes())
