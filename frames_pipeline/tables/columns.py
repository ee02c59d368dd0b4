"""Rows of tables as frozen dataclasses: one declaration gives the schema and both conversions.

    @dataclass(frozen=True, slots=True)
    class VideoRow(Row):
        video_key: Annotated[str, "Path of the video."]     ──▶  video_key  string  not null
        size: Annotated[int | None, "Bytes."]               ──▶  size       int64   null

A field is a column: its name, its type and its description.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Final,
    Self,
    TypeAlias,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Vector: TypeAlias = NDArray[np.float32]
    """A vector of one frame or clip. Shape (dimensions,)."""
else:
    np, pa = lazy_module("numpy"), lazy_module("pyarrow")

    class Vector:
        """Stands for the type in annotations of columns."""


T = TypeVar("T")


_SCALARS: Final[Mapping[object, str]] = {
    str: "string",
    int: "int64",
    float: "double",
    bool: "bool",
}
"""Arrow's name of each type of value."""


@dataclass(frozen=True, slots=True)
class Row:
    """Base of row dataclasses: their fields are the columns of a table, or of a part of one."""

    TABLE: ClassVar[str] = ""
    """Name of the table; empty for a part of one."""

    @classmethod
    def columns(cls) -> tuple[Column, ...]:
        """Return the columns in order, without Arrow."""
        return _columns(cls)

    @classmethod
    def schema(cls, *, dimensions: int = -1) -> pa.Schema:
        """Return the columns in order, with their descriptions.

        Args:
            dimensions: Length of the vectors; -1 for any.
        """
        if (cls, dimensions) not in _SCHEMAS:
            columns = [column.field(dimensions) for column in _columns(cls)]
            _SCHEMAS[cls, dimensions] = pa.schema(columns)
        return _SCHEMAS[cls, dimensions]

    @classmethod
    def from_table(cls, table: pa.Table) -> list[Self]:
        """Return the rows of a table.

        A column missing from the table, as in tables of version 0.1, reads as the field's default,
        or as `None` without one. Columns unknown to the class are left out.
        """
        # Column by column: a call of the constructor per row takes three times as long.
        rows = [cls.__new__(cls) for _ in range(table.num_rows)]
        for column in _columns(cls) if rows else ():
            _fill(rows, column.name, _read(column, table))
        return rows

    @classmethod
    def to_table(cls, rows: Iterable[Self], *, dimensions: int = -1) -> pa.Table:
        """Return a table of these rows.

        Args:
            rows: The rows, in order.
            dimensions: Length of the vectors, if the rows have one.

        Raises:
            ConfigError: A value does not fit its column.
        """
        rows = list(rows)
        schema = cls.schema(dimensions=dimensions)
        return columnar(
            {name: [getattr(row, name) for row in rows] for name in schema.names}, schema
        )


def present(value: T | None, column: str) -> T:
    """Return a value that must not be null.

    Raises:
        IntegrityError: The column is null.
    """
    if value is None:
        message = f"column {column!r} of a clip is null; run its step again"
        raise IntegrityError(message)
    return value


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return a table of these rows, with exactly the columns of the schema.

    Text that is not Unicode, as file names can be, is stored with the odd bytes as escapes.

    Raises:
        ConfigError: A row lacks a column, has one too many, or has a value of another type.
    """
    rows = list(rows)
    for row in rows:
        if odd := set(row) ^ set(schema.names):
            message = f"row and schema differ in {', '.join(sorted(odd))}; give each column once"
            raise ConfigError(message)
    return columnar({name: [row[name] for row in rows] for name in schema.names}, schema)


def columnar(columns: Mapping[str, Sequence[object]], schema: pa.Schema) -> pa.Table:
    """Return a table of these columns.

    Raises:
        ConfigError: A value does not fit its column.
    """
    try:
        arrays = [_array(columns[field.name], field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        message = f"rows do not fit their schema: {error}"
        raise ConfigError(message) from error
    return _without_nulls_where_forbidden(pa.Table.from_arrays(arrays, schema=schema))


def storable(value: object) -> object:
    """Return text with non-Unicode bytes as escapes, and any other value unchanged."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _array(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, kind)
    except UnicodeEncodeError:
        return pa.array([storable(value) for value in values], kind)


def _without_nulls_where_forbidden(rows: pa.Table) -> pa.Table:
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if column.null_count and not field.nullable:
            message = f"column {field.name!r} has {column.null_count} nulls; give every row a value"
            raise ConfigError(message)
    return rows


@dataclass(frozen=True, slots=True)
class Column:
    """A field of a row class, as a column."""

    name: str
    kind: object
    """The field's type: without its description, and without `None`."""
    nullable: bool
    description: str
    default: object
    """Value for tables that lack the column."""

    @property
    def type_name(self) -> str:
        """Arrow's name of the type, as `int64` or `list<double>`; vectors have any length."""
        if self.kind is Vector:
            return "list<float>"
        if get_origin(self.kind) is tuple:
            return f"list<{_SCALARS[get_args(self.kind)[0]]}>"
        return _SCALARS[self.kind]

    def field(self, dimensions: int) -> pa.Field:
        metadata = {"description": self.description}
        kind = _arrow_type(self.kind, dimensions)
        return pa.field(self.name, kind, nullable=self.nullable, metadata=metadata)


_COLUMNS: Final[dict[type[Row], tuple[Column, ...]]] = {}
"""Cache of columns, by row class."""
_SCHEMAS: Final[dict[tuple[type[Row], int], pa.Schema]] = {}
"""Cache of schemas, by row class and length of vectors."""


def _columns(cls: type[Row]) -> tuple[Column, ...]:
    if cls not in _COLUMNS:
        hints = get_type_hints(cls, include_extras=True)
        _COLUMNS[cls] = tuple(
            _column(one.name, hints[one.name], None if one.default is MISSING else one.default)
            for one in fields(cls)
        )
    return _COLUMNS[cls]


def _column(name: str, hint: object, default: object) -> Column:
    kind, description = get_args(hint) if get_origin(hint) is Annotated else (hint, "")
    nullable = get_origin(kind) is types.UnionType
    if nullable:
        (kind,) = (one for one in get_args(kind) if one is not types.NoneType)
    return Column(name, kind, nullable, description, default)


def _arrow_type(kind: object, dimensions: int) -> pa.DataType:
    if kind in _SCALARS:
        return pa.type_for_alias(_SCALARS[kind])
    if get_origin(kind) is tuple:
        return pa.list_(
            pa.field("element", _arrow_type(get_args(kind)[0], dimensions), nullable=False)
        )
    if kind is Vector:
        return pa.list_(pa.field("element", pa.float32(), nullable=False), dimensions)
    message = f"{kind} cannot be a column; use str, int, float, bool, a tuple of one, or Vector"
    raise TypeError(message)


def _read(column: Column, table: pa.Table) -> Sequence[object]:
    """Return the values of a column, lists as tuples and vectors as arrays."""
    if column.name not in table.column_names:
        return [column.default] * table.num_rows
    found = table[column.name]
    if column.kind is Vector:
        return list(vectors(found))
    values: list[Any] = found.to_pylist()
    if get_origin(column.kind) is tuple:
        return [None if value is None else tuple(value) for value in values]
    return values


def _fill(rows: Sequence[Row], name: str, values: Sequence[object]) -> None:
    """Set a field of all new rows."""
    setter = getattr(type(rows[0]), name).__set__  # the slot, since the class is frozen
    deque(map(setter, rows, values), maxlen=0)


def vectors(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return vectors of one length as an array. Shape (rows, dimensions)."""
    whole = column.combine_chunks()
    return np.asarray(whole.flatten(), np.float32).reshape(len(column), whole.type.list_size)
