"""A kind of derived table is described once, and everything else follows from its record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from frames_pipeline import ConfigError, FrameBatch, FrameExtractionSignature
from frames_pipeline.cli.dry_runs import dry_run_command
from frames_pipeline.models import provider_parameters
from frames_pipeline.models.captioning import identifying
from frames_pipeline.models.embedding import PerceptualEmbedding
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.pipeline import (
    CATALOG,
    KINDS,
    DerivedKind,
    Workspace,
    catalog_batch,
    derive_batch,
    embed_batch,
    estimate_rows,
    extract_batch,
    kind_of,
    measure_batch,
    open_views,
    origins_of_rows,
    pool_batch,
    uses_of_frame,
)
from frames_pipeline.pipeline.kinds import AssetInfo, CatalogPart, maker_of
from frames_pipeline.tables import FrameRef, FrameRow, Row, frame_columns
from tests.pipeline.conftest import BATCH, ONE

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
CLIP = "a.mp4#0-12800"

# The first of three files: a provider, in models/.


@dataclass(frozen=True)
class Brightness:
    """Mean level of each frame."""

    name: ClassVar[str] = "mean"
    revision: ClassVar[int] = 1
    scale: float = 1.0

    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "revision": self.revision, "scale": self.scale}

    def levels(self, frames: np.ndarray[Any, Any]) -> list[float]:
        return [self.scale * float(frame.mean()) for frame in frames]


def open_brightness(name: str, **parameters: Any) -> Brightness:
    assert name == "mean"
    return Brightness(**parameters)


# The second: its record, in pipeline/kinds/.


@dataclass(frozen=True, slots=True)
class BrightnessRow(FrameRow):
    TABLE: ClassVar[str] = "brightness"

    level: Annotated[float, "Mean level."]


@dataclass(frozen=True, slots=True)
class CatalogBrightness(Row):
    brightness: Annotated[float | None, "Mean level of the clip's frames."]


def rows_of(ref: FrameRef, answer: list[float], provider: Brightness) -> pa.Table:
    columns = frame_columns(ref, maker_of(provider)) | {"level": answer}
    return pa.Table.from_pydict(columns, schema=BrightnessRow.schema())


def read_catalog(
    batch: str, names: Sequence[str], workspace: Workspace
) -> Callable[[str], CatalogBrightness]:
    rows = workspace.read(BrightnessRow, batch, part=names[0])

    def of_clip(clip_id: str) -> CatalogBrightness:
        levels = [row.level for row in rows if row.clip_id == clip_id]
        return CatalogBrightness(float(np.mean(levels)) if levels else None)

    return of_clip


TOY: DerivedKind[Brightness, list[float]] = DerivedKind(
    name="brightness",
    row=BrightnessRow,
    open=open_brightness,
    ask=lambda provider, clip: provider.levels(clip.frames),
    rows=rows_of,
    asset=AssetInfo(
        key="frame_brightness",
        description="Mean level per frame, by `{provider}`.",
        facts=lambda report, provider: {"rows_made": report.new.num_rows},
    ),
    catalog=CatalogPart(row=CatalogBrightness, read=read_catalog, sources={"brightness": "level"}),
)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> DerivedKind[Brightness, list[float]]:
    """The third: a line of the registry."""
    monkeypatch.setitem(KINDS, TOY.name, TOY)
    return TOY


@pytest.fixture
def extracted(cut: Workspace) -> Workspace:
    extract_batch(BATCH, [TWO], cut, workers=ONE)
    return cut


def test_a_new_kind_is_a_provider_a_record_and_a_line(
    extracted: Workspace, toy: DerivedKind[Brightness, list[float]]
) -> None:
    provider = toy.open("mean")
    dry = estimate_rows(BATCH, TWO, extracted, step="brightness", provider=provider)
    assert (dry.step, len(dry.to_do)) == ("brightness", 8)

    report = derive_batch("brightness", BATCH, TWO, extracted, provider)
    again = derive_batch("brightness", BATCH, TWO, extracted, provider)
    assert (report.made, again.made, again.kept) == (8, 0, 8)
    assert toy.asset.facts(report, provider) == {"rows_made": report.info.rows}
    assert estimate_rows(BATCH, TWO, extracted, step="brightness", provider=provider).to_do == ()

    derive_batch("brightness", BATCH, TWO, extracted, Brightness(2.0), name="twice")
    parts = extracted.tables.parts("brightness", BATCH)
    assert parts == ["", "twice"]

    origins = list(origins_of_rows("brightness", BATCH, extracted, clip_id=CLIP, position=0))
    assert [origin.name for origin in origins] == parts
    assert origins[1].says["level"] == 2 * origins[0].says["level"]
    assert {row.table for row in uses_of_frame(BATCH, CLIP, 0, extracted).rows} == {"brightness"}

    views = open_views(extracted)
    assert {"brightness", "brightness_twice"} <= views.keys()
    assert views["brightness_twice"].schema.equals(BrightnessRow.schema())

    catalog, _ = catalog_batch(
        BATCH, {"two": TWO}, extracted, definitions={"brightness": ["twice"]}
    )
    rows = extracted.read(BrightnessRow, BATCH, part="twice")
    levels = [row.level for row in rows if row.clip_id == CLIP]
    assert catalog.schema.names == [*CATALOG.names, "brightness"]
    assert catalog["clip_id"][0].as_py() == CLIP
    assert catalog["brightness"][0].as_py() == pytest.approx(np.mean(levels))


def test_samples_that_a_provider_does_not_take_are_refused_before_anything_is_read(
    tmp_path: Path, toy: DerivedKind[Brightness, list[float]]
) -> None:
    """Nothing is there to be read: the error of a batch without frames would come next."""
    empty = Workspace.at(str(tmp_path), str(tmp_path / "root"))
    depth = replace(TWO, samples="gray16")
    match = (
        rf"{{}}: provider '{{}}' takes rgb8 frames, and signature '{depth.key}' has samples: gray"
    )
    for kind, provider in (("embeddings", PerceptualEmbedding()), ("brightness", toy.open("mean"))):
        with pytest.raises(ConfigError, match=match.format(f"{kind}.default", provider.name)):
            derive_batch(kind, BATCH, depth, empty, provider)
        with pytest.raises(ConfigError, match=match.format(f"{kind}.deep", provider.name)):
            estimate_rows(BATCH, depth, empty, step=kind, provider=provider, name="deep")
    command = dry_run_command(KINDS.values())
    chosen = ["-s", "target_fps=2,samples=gray8", "--embeddings", "provider=perceptual"]
    result = CliRunner().invoke(command, [str(tmp_path / "root"), *chosen])
    assert isinstance(result.exception, ConfigError)
    assert "embeddings.default: provider 'perceptual' takes rgb8 frames" in str(result.exception)


def test_a_provider_gets_the_samples_that_it_takes(extracted: Workspace) -> None:
    """Luma of gray frames is measured as that of the same frames in RGB."""
    gray = replace(TWO, samples="gray8")
    both = replace(TWO, colour="accurate")  # another key
    for clip in extracted.store.clips(BATCH, TWO):
        batch = extracted.store.read(BATCH, TWO, clip)
        frames = np.ascontiguousarray(batch.frames[..., :1])
        extracted.store.write_clip(BATCH, clip, {gray: replace(batch, frames=frames)})
        frames = frames.repeat(3, axis=3)
        extracted.store.write_clip(BATCH, clip, {both: replace(batch, frames=frames)})
    measures = ["sharpness", "exposure", "black_pixels", "motion", "duplicate"]
    found = []
    for signature in (gray, both):
        extracted.store.commit_batch(BATCH, signature)
        report = measure_batch(BATCH, signature, extracted, TechnicalQuality(), name="gray")
        assert report.made == 8
        found.append(report.rows.select(measures))
    assert found[0].equals(found[1])


def test_a_new_kind_has_an_option_of_the_dry_run(
    extracted: Workspace, toy: DerivedKind[Brightness, list[float]]
) -> None:
    command = dry_run_command(KINDS.values())
    chosen = ["-s", "target_fps=2,target_res=24x32", "--brightness", "provider=mean,scale=3"]
    result = CliRunner().invoke(command, [extracted.store.objects.url, *chosen])
    assert result.exit_code == 0, result.output
    assert "brightness" in result.output


def test_definitions_side_by_side_have_rows_and_lineage_of_their_own(extracted: Workspace) -> None:
    embed_batch(BATCH, TWO, extracted, PerceptualEmbedding())
    embed_batch(BATCH, TWO, extracted, PerceptualEmbedding(), name="other")
    pool_batch(BATCH, extracted, name="other")
    measure_batch(BATCH, TWO, extracted, TechnicalQuality())
    strict = TechnicalQuality(black_level=254, black_share=0.01)
    report = measure_batch(BATCH, TWO, extracted, strict, name="strict")
    assert report.made == 8
    assert report.info.path.endswith(f"/tables/quality/{BATCH}/part-strict.parquet")

    made = [(row.table, row.name) for row in uses_of_frame(BATCH, CLIP, 0, extracted).rows]
    assert made == [
        ("embeddings", ""),
        ("embeddings", "other"),
        ("clip_embeddings", "other"),
        ("quality", ""),
        ("quality", "strict"),
    ]
    plain, _ = catalog_batch(BATCH, {"two": TWO}, extracted)
    other, _ = catalog_batch(BATCH, {"two": TWO}, extracted, definitions={"quality": ["strict"]})
    assert plain["black_share"].to_pylist() != other["black_share"].to_pylist()


def test_kinds_and_tables_that_do_not_exist_are_named(extracted: Workspace) -> None:
    with pytest.raises(ConfigError, match="no kind of derived table 'smells'; choose one of embed"):
        kind_of("smells")
    with pytest.raises(ConfigError, match="rows of quality cannot be pooled; choose one of embed"):
        pool_batch(BATCH, extracted, kind="quality")


def test_code_versions_are_those_of_0_1() -> None:
    """Another code version makes every batch of the asset stale."""
    parameters = {"base_url": "http://a/v1", "model": "m", "concurrency": 8}
    decisive = sorted(identifying("openai", parameters).items())
    found = kind_of("captions").code_version("openai", parameters, TWO)
    assert found == f"openai-{TWO.key}-{decisive!r}"

    text = f"{provider_parameters(PerceptualEmbedding())} {TWO.canonical_json()}"
    found = kind_of("embeddings").code_version("perceptual", {}, TWO)
    assert found == f"perceptual-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def test_a_caption_provider_without_an_endpoint_says_what_it_lacks() -> None:
    lacks = kind_of("captions").lacks
    assert "parameters.base_url" in lacks("openai", {"model": "m"})
    assert lacks("openai", {"base_url": "http://a/v1"}) == ""
    assert lacks("transformers", {}) == ""


def test_an_error_stops_a_kind_without_rows_for_failed_clips(extracted: Workspace) -> None:
    class Broken(Brightness):
        def levels(self, frames: np.ndarray[Any, Any]) -> list[float]:
            raise ConfigError("no lamp")

    with pytest.raises(ConfigError, match="no lamp"):
        derive_batch(TOY, BATCH, TWO, extracted, Broken())
    assert not extracted.tables.exists("brightness", BATCH)


def test_ask_is_given_the_frames_of_a_clip(extracted: Workspace) -> None:
    asked: list[FrameBatch] = []

    def ask(clip: FrameBatch) -> object:
        asked.append(clip)
        return TOY.ask(Brightness(), clip)

    estimate = estimate_rows(
        BATCH, TWO, extracted, step="quality", provider=TechnicalQuality(), ask=ask
    )
    assert [len(clip) for clip in asked] == [3, 3]
    assert estimate.cpu_seconds is not None
