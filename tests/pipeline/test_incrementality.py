"""What a re-run does after a change: exactly the rows that are missing, and nothing else.

The batch has 8 clips of 4 videos. Every case starts from everything made, changes one thing, and
makes everything again; what was made then is counted, per step. The dry run says the same before.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from frames_pipeline import FrameBatch, FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.models.captioning import Caption
from frames_pipeline.models.embedding import EmbeddingProvider, PerceptualEmbedding
from frames_pipeline.models.quality import QualityProvider, TechnicalQuality
from frames_pipeline.pipeline import (
    Workspace,
    caption_batch,
    cut_clips,
    embed_batch,
    estimate_changes,
    estimate_rows,
    extract_batch,
    measure_batch,
)
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video, number_in

TWO = FrameExtractionSignature(target_fps=2, target_res=(24, 32))
MIDDLE = FrameExtractionSignature(policy="middle", target_res=(24, 32))
FIRST = FrameExtractionSignature(policy="first")


@dataclass(frozen=True)
class Revised(PerceptualEmbedding):
    """The same provider, a version later."""

    revision: ClassVar[int] = 2

    def parameters(self) -> dict[str, Any]:
        return {**PerceptualEmbedding().parameters(), "revision": 2}


@dataclass(frozen=True)
class Reader:
    """Reads the number of the first frame."""

    name: ClassVar[str] = "reader"
    revision: ClassVar[int] = 1
    model: str = "reader-1"
    prompt: str = "which frame is this?"

    def parameters(self) -> dict[str, Any]:
        return {"name": self.name, "revision": 1, "model": self.model, "prompt": self.prompt}

    def caption(self, clip: FrameBatch) -> Caption:
        number = number_in(clip.frames[0])
        return Caption(f"{self.prompt} {number}", self.model, (int(clip.positions[0]),), (0,))


@dataclass(frozen=True)
class Setup:
    """What is asked for."""

    signatures: tuple[FrameExtractionSignature, ...] = (TWO, MIDDLE)
    embeddings: Mapping[str, EmbeddingProvider] = field(
        default_factory=lambda: {"": PerceptualEmbedding()}
    )
    embedded: FrameExtractionSignature = TWO
    quality: QualityProvider = field(default_factory=TechnicalQuality)
    captioner: Reader = field(default_factory=Reader)


def make_everything(workspace: Workspace, setup: Setup) -> dict[str, int]:
    """Run every step; how many clips each did, those that did none left out."""
    cut_clips(workspace.batches.read(BATCH), workspace, FixedStride(1, 1, 1), workers=ONE)
    done: dict[str, int] = {}
    for signature, frames in extract_batch(BATCH, setup.signatures, workspace, workers=ONE).items():
        done[f"frames {signature.policy}"] = frames.extracted
    for name, provider in setup.embeddings.items():
        report = embed_batch(BATCH, setup.embedded, workspace, provider, name=name)
        done[f"embeddings {name}".strip()] = report.made
    done["quality"] = measure_batch(BATCH, TWO, workspace, setup.quality).made
    done["captions"] = caption_batch(BATCH, MIDDLE, workspace, setup.captioner).made
    return {step: clips for step, clips in done.items() if clips}


def foretell_everything(workspace: Workspace, setup: Setup) -> dict[str, int]:
    """The same by the dry run, once the videos were looked at."""
    cut_clips(workspace.batches.read(BATCH), workspace, FixedStride(1, 1, 1), workers=ONE)
    told = {
        f"frames {signature.policy}": estimate_changes(BATCH, [signature], workspace)[0]
        for signature in setup.signatures
    }
    told |= {
        f"embeddings {name}".strip(): estimate_rows(
            BATCH, setup.embedded, workspace, step="embeddings", provider=provider, name=name
        )
        for name, provider in setup.embeddings.items()
    }
    told["quality"] = estimate_rows(BATCH, TWO, workspace, step="quality", provider=setup.quality)
    told["captions"] = estimate_rows(
        BATCH, MIDDLE, workspace, step="captions", provider=setup.captioner
    )
    return {step: len(estimate.to_do) for step, estimate in told.items() if estimate.to_do}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, footage: list[Path]) -> Path:
    """A folder of videos and everything that is made of them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "videos").mkdir()
    for path in footage:
        shutil.copy2(path, folder / "videos")
    workspace = Workspace.at(str(folder / "videos"), str(folder / "root"))
    workspace.batches.seal([path.name for path in footage], source=workspace.source.url)
    assert make_everything(workspace, Setup()) == {
        "frames sequence": 8,
        "frames middle": 8,
        "embeddings": 8,
        "quality": 8,
        "captions": 8,
    }
    return folder


def damage_one_clip(workspace: Workspace) -> None:
    """Lose an object of a clip's frames: it is extracted again, with the same pixels."""
    commit = workspace.store.manifest(BATCH, TWO).clips["c.mp4#0-12800"]
    folder = Path(workspace.store.url(BATCH, TWO)) / commit.path
    next(path for path in (folder / "frames" / "c").rglob("*") if path.is_file()).unlink()
    again = extract_batch(BATCH, [TWO, MIDDLE], workspace, workers=ONE, repair=True)
    assert (again[TWO].extracted, again[MIDDLE].extracted) == (1, 0)
    assert again[TWO].manifest.clips["c.mp4#0-12800"].path != commit.path


def change_one_video(workspace: Workspace) -> None:
    make_video(Path(workspace.source.url) / "b.mp4", frames=50, options=X264, first=700)


def lose_one_video(workspace: Workspace) -> None:
    (Path(workspace.source.url) / "b.mp4").unlink()


def touch_one_video(workspace: Workspace) -> None:
    """Another time of writing, the same bytes."""
    path = Path(workspace.source.url) / "b.mp4"
    path.write_bytes(path.read_bytes())


def nothing(workspace: Workspace) -> None:
    """Nothing was changed."""


SETUP = Setup()
MATRIX: list[tuple[str, Callable[[Workspace], None], Setup, dict[str, int]]] = [
    ("nothing changed", nothing, SETUP, {}),
    ("a video was touched", touch_one_video, SETUP, {}),
    ("one clip was extracted again", damage_one_clip, SETUP, {}),
    (
        "one video changed",
        change_one_video,
        SETUP,
        {
            "frames sequence": 2,
            "frames middle": 2,
            "embeddings": 2,
            "quality": 2,
            "captions": 2,
        },
    ),
    ("one video is gone", lose_one_video, SETUP, {}),
    (
        "a signature was added",
        nothing,
        replace(SETUP, signatures=(TWO, MIDDLE, FIRST)),
        {"frames first": 8},
    ),
    (
        "a model has another revision",
        nothing,
        replace(SETUP, embeddings={"": Revised()}),
        {"embeddings": 8},
    ),
    (
        "a provider was added",
        nothing,
        replace(SETUP, embeddings={"": PerceptualEmbedding(), "second": Revised()}),
        {"embeddings second": 8},
    ),
    (
        "an embedding is of another signature",
        nothing,
        replace(SETUP, embedded=MIDDLE),
        {"embeddings": 8},
    ),
    (
        "a parameter changed",
        nothing,
        replace(SETUP, quality=TechnicalQuality(black_level=30)),
        {"quality": 8},
    ),
    (
        "another prompt",
        nothing,
        replace(SETUP, captioner=Reader(prompt="what number?")),
        {"captions": 8},
    ),
]


@pytest.mark.parametrize(
    ("change", "setup", "expected"),
    [case[1:] for case in MATRIX],
    ids=[case[0].replace(" ", "-") for case in MATRIX],
)
def test_a_re_run_does_what_is_missing(
    made: Path,
    tmp_path: Path,
    change: Callable[[Workspace], None],
    setup: Setup,
    expected: dict[str, int],
) -> None:
    shutil.copytree(made, tmp_path / "made")
    workspace = Workspace.at(str(tmp_path / "made" / "videos"), str(tmp_path / "made" / "root"))
    change(workspace)
    assert foretell_everything(workspace, setup) == expected
    assert make_everything(workspace, setup) == expected
    assert make_everything(workspace, setup) == {}
