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
from frames_pipeline.tables import CatalogRow, DecisionRow, FormatRow, Row

__all__ = [
    "DEFAULT",
    "KINDS",
    "AssetInfo",
    "CatalogPart",
    "DerivedKind",
    "DerivedReport",
    "PooledKind",
    "catalog_parts",
    "catalog_rows",
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
        ConfigError: There is no such kind.
    """
    if name not in KINDS:
        message = f"no kind of derived table {name!r}; choose one of {', '.join(KINDS)}"
        raise ConfigError(message)
    return KINDS[name]


def derived_tables() -> tuple[str, ...]:
    """Return the names of tables with rows made from frames."""
    return tuple(
        table
        for kind in KINDS.values()
        for table in (kind.table, *([kind.pooled.table] if kind.pooled else []))
    )


def catalog_parts() -> dict[str, CatalogPart]:
    """Return what kinds add to the catalog, by kind."""
    return {name: kind.catalog for name, kind in KINDS.items() if kind.catalog is not None}


def catalog_rows() -> list[type[Row]]:
    """Return the parts of the catalog's rows; the decision follows the first part it judges."""
    parts: list[type[Row]] = [CatalogRow, FormatRow]
    for part in catalog_parts().values():
        parts.append(part.row)
        if part.is_judged and DecisionRow not in parts:
            parts.append(DecisionRow)
    return parts
