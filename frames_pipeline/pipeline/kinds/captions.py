"""Captions: a text per clip, by a vision-language model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from frames_pipeline._lazy import lazy_module
from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.models.captioning import (
    Caption,
    CaptionProvider,
    caption_class,
    concurrency_of,
    identifying,
    open_caption_provider,
)
from frames_pipeline.pipeline.kinds.base import (
    DEFAULT,
    AssetInfo,
    CatalogPart,
    DerivedKind,
    DerivedReport,
    maker_of,
)
from frames_pipeline.tables import CaptionRow, Row, frames_fields

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

    from frames_pipeline.frames import FrameBatch
    from frames_pipeline.pipeline.workspace import Workspace
    from frames_pipeline.tables import FrameRef
else:
    pa, pc = lazy_module("pyarrow"), lazy_module("pyarrow.compute")


def caption_rows(ref: FrameRef, caption: Caption, provider: CaptionProvider) -> pa.Table:
    """Return one row, for the table of captions."""
    used = frames_fields(ref, maker_of(provider), positions=caption.positions, pts=caption.pts)
    row = CaptionRow(
        **used,
        model=caption.model,
        prompt_sha256=_prompt_digest(provider),
        text=caption.text,
        finish_reason=caption.finish_reason,
        prompt_tokens=caption.prompt_tokens,
        completion_tokens=caption.completion_tokens,
        status="ok",
        reason="",
        detail="",
    )
    return CaptionRow.to_table([row])


def failed_caption_rows(
    ref: FrameRef, error: FramesPipelineError, provider: CaptionProvider
) -> pa.Table:
    """Return one row, for the table of captions, with the reason that the clip has none."""
    row = CaptionRow(
        **frames_fields(ref, maker_of(provider)),
        model=provider.model,
        prompt_sha256=_prompt_digest(provider),
        text="",
        finish_reason="",
        prompt_tokens=None,
        completion_tokens=None,
        status="failed",
        reason=error.reason,
        detail=str(error),
    )
    return CaptionRow.to_table([row])


def _prompt_digest(provider: CaptionProvider) -> str:
    return hashlib.sha256(provider.prompt.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CatalogCaptions(Row):
    """The captions of a clip, in the catalog."""

    caption: Annotated[str, "Caption by the first model; empty if there is none."]
    caption_names: Annotated[tuple[str, ...], "Names of the captions, in the order of the lists."]
    captions: Annotated[tuple[str, ...], "Caption by each model."]
    caption_models: Annotated[tuple[str, ...], "Which models."]


def _catalog(
    batch: str, names: Sequence[str], workspace: Workspace
) -> Callable[[str], CatalogCaptions]:
    texts = [
        {row.clip_id: row for row in workspace.read(CaptionRow, batch, part=name)} for name in names
    ]

    def of_clip(clip_id: str) -> CatalogCaptions:
        rows = [by_clip.get(clip_id) for by_clip in texts]
        return CatalogCaptions(
            caption=next((row.text for row in rows if row), ""),
            caption_names=tuple(name or DEFAULT for name in names),
            captions=tuple(row.text if row else "" for row in rows),
            caption_models=tuple(row.model if row else "" for row in rows),
        )

    return of_clip


def _ask(provider: CaptionProvider, clip: FrameBatch) -> Caption:
    return provider.caption(clip)


def _lacks(provider: str, parameters: Mapping[str, Any]) -> str:
    if provider != "openai" or parameters.get("base_url"):
        return ""
    return "parameters.base_url: the root of an OpenAI-compatible API"


def _facts(report: DerivedReport, provider: CaptionProvider) -> dict[str, object]:
    """Return the model, the prompt and the device, and the tokens and cost of new captions."""
    made = report.new.filter(pc.equal(report.new["status"], "ok"))
    counts = [made[name] for name in ("prompt_tokens", "completion_tokens")]
    uncounted = max((column.null_count for column in counts), default=0)
    facts: dict[str, object] = {
        "model": provider.model,
        "prompt": provider.prompt,
        "device": report.device,
        "captions_without_token_counts": uncounted,
    }
    if uncounted < len(made) or not len(made):
        asked, answered = (pc.sum(column, min_count=0).as_py() for column in counts)
        facts |= {"prompt_tokens": asked, "completion_tokens": answered}
        facts |= {} if uncounted else _cost(provider, asked, answered)
    return facts


def _cost(provider: CaptionProvider, asked: int, answered: int) -> dict[str, object]:
    """Return the cost of these tokens; nothing if the provider has no prices."""
    prices: list[float | None] = [
        getattr(provider, f"price_per_million_{kind}_tokens", None)
        for kind in ("prompt", "completion")
    ]
    if prices[0] is None or prices[1] is None:
        return {}
    return {"cost": round((asked * prices[0] + answered * prices[1]) / 1e6, 6)}


KIND: Final[DerivedKind[CaptionProvider, Caption]] = DerivedKind(
    name="captions",
    row=CaptionRow,
    open=open_caption_provider,
    provider_class=caption_class,
    ask=_ask,
    rows=caption_rows,
    failed=failed_caption_rows,
    concurrency=concurrency_of,
    identifying=identifying,
    lacks=_lacks,
    asset=AssetInfo(
        key="clip_captions",
        description="Captions per clip from a vision-language model, with the frames it saw.",
        facts=_facts,
        shown=("clip_id", "status", "text"),
        secret="api_key",
    ),
    catalog=CatalogPart(
        row=CatalogCaptions,
        read=_catalog,
        sources={"caption": "text", "captions": "text", "caption_models": "model"},
    ),
)
"""Captions of clips."""
