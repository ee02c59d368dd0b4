"""Quality: measures of each frame, and their means per clip in the catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import ConfigError
from frames_pipeline.models.quality import (
    FrameQuality,
    QualityProvider,
    open_quality_provider,
    quality_class,
)
from frames_pipeline.pipeline.kinds.base import (
    AssetInfo,
    CatalogPart,
    DerivedKind,
    DerivedReport,
    maker_of,
)
from frames_pipeline.tables import FrameRow, QualityRow, Row, frame_columns

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from frames_pipeline.frames import FrameBatch
    from frames_pipeline.pipeline.workspace import Workspace
    from frames_pipeline.tables import FrameRef
else:
    pa, pc = lazy_module("pyarrow"), lazy_module("pyarrow.compute")

MEANS: Final = {
    "sharpness": "sharpness",
    "exposure": "exposure",
    "colourfulness": "colourfulness",
    "motion": "motion",
    "black": "black_share",
    "duplicate": "duplicate_share",
    "aesthetic": "aesthetic",
}
"""Measures of frames, and the column of the catalog with their mean over a clip."""


def quality_rows(ref: FrameRef, quality: FrameQuality, provider: QualityProvider) -> pa.Table:
    """Return one row per frame, for the table of quality measures.

    Raises:
        ConfigError: The measures are not one per frame.
    """
    if len(quality) != len(ref.positions):
        message = f"{provider.name} measured {len(quality)} frames, not {len(ref.positions)}"
        raise ConfigError(message)
    shared = {column.name for column in FrameRow.columns()}
    measures = [column.name for column in QualityRow.columns() if column.name not in shared]
    nothing: dict[str, Any] = {name: [None] * len(quality) for name in measures}
    columns = frame_columns(ref, maker_of(provider)) | nothing | quality.columns()
    return pa.Table.from_pydict(columns, schema=QualityRow.schema())


@dataclass(frozen=True, slots=True)
class CatalogQuality(Row):
    """Means of the measures of a clip's frames, in the catalog."""

    sharpness: Annotated[float | None, "Mean over the clip's frames."] = None
    exposure: Annotated[float | None, "Mean over the clip's frames."] = None
    colourfulness: Annotated[float | None, "Mean over the clip's frames."] = None
    motion: Annotated[float | None, "Mean over the clip's frames."] = None
    black_share: Annotated[float | None, "Share of frames that count as black."] = None
    duplicate_share: Annotated[float | None, "Share of frames that repeat the previous one."] = None
    aesthetic: Annotated[float | None, "Mean over the clip's frames."] = None


def _catalog(
    batch: str, names: Sequence[str], workspace: Workspace
) -> Callable[[str], CatalogQuality]:
    """Read the means of a batch for the first definition, since the columns are not lists."""
    table = workspace.table(QualityRow.TABLE, batch, part=names[0]) if names else None
    means = {} if table is None else _means(table)
    unmeasured = CatalogQuality()
    return lambda clip_id: means.get(clip_id, unmeasured)


def _means(quality: pa.Table) -> dict[str, CatalogQuality]:
    """Return the means over the frames of each clip."""
    columns = {name: pc.cast(quality[name], pa.float64()) for name in MEANS}
    table = pa.table({"clip_id": quality["clip_id"], **columns})
    means = table.group_by("clip_id").aggregate([(name, "mean") for name in MEANS])
    renamed = pa.table({column: means[f"{name}_mean"] for name, column in MEANS.items()})
    clips = means["clip_id"].to_pylist()
    return dict(zip(clips, CatalogQuality.from_table(renamed), strict=True))


def _ask(provider: QualityProvider, clip: FrameBatch) -> FrameQuality:
    return provider.measure(clip.frames)


def _facts(report: DerivedReport, provider: QualityProvider) -> dict[str, object]:
    rows = report.rows
    means = {
        f"mean_{name}": float(pc.mean(rows[name]).as_py())
        for name in ("sharpness", "exposure", "motion")
        if rows.num_rows
    }
    return means | {
        f"{name}_frames": pc.sum(rows[name], min_count=0).as_py() for name in ("black", "duplicate")
    }


KIND: Final[DerivedKind[QualityProvider, FrameQuality]] = DerivedKind(
    name="quality",
    row=QualityRow,
    open=open_quality_provider,
    provider_class=quality_class,
    ask=_ask,
    rows=quality_rows,
    asset=AssetInfo(
        key="frame_quality",
        description="Sharpness, exposure, contrast, colourfulness, black and duplicate frames, "
        "and motion. Every row names its frame.",
        facts=_facts,
    ),
    catalog=CatalogPart(
        row=CatalogQuality,
        read=_catalog,
        sources={column: name for name, column in MEANS.items()},
        is_judged=True,
    ),
)
"""Quality measures of frames."""
