"""Kinds of derived tables, each described once.

To add a kind, write its provider in `models/`, its record in a module here, and add the record to
`KINDS`. See `docs/guides/own-models.md`.
"""

from __future__ import annotations

from typing import Any, Final

from frames_pipeline.errors import ConfigError
from frames_pipeline.pipeline.kinds import captions, embeddings, quality
from frames_pipeline.pipeline.kinds.base import (
    DEFAULT,
    AssetInfo,
    CatalogPart,
    DerivedKind,
    DerivedReport,
    PooledKind,
    maker_of,
    part_of,
    provider_version,
)

__all__ = [
    "DEFAULT",
    "KINDS",
    "AssetInfo",
    "CatalogPart",
    "DerivedKind",
    "DerivedReport",
    "PooledKind",
    "derived_tables",
    "kind_of",
    "maker_of",
    "part_of",
    "provider_version",
]

KINDS: Final[dict[str, DerivedKind[Any, Any]]] = {
    kind.name: kind for kind in (embeddings.KIND, quality.KIND, captions.KIND)
}
"""Kinds of derived tables by name, in the order of the catalog's columns."""


def kind_of(name: str) -> DerivedKind[Any, Any]:
    """Return the kind of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in KINDS:
        message = f"no kind of derived table {name!r}; choose one of {', '.join(KINDS)}"
        raise ConfigError(message)
    return KINDS[name]


def derived_tables() -> tuple[str, ...]:
    """Return the names of the tables whose rows are made from frames."""
    return tuple(
        table
        for kind in KINDS.values()
        for table in (kind.table, *([kind.pooled.table] if kind.pooled else []))
    )
