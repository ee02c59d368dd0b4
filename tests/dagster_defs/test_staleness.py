"""What goes stale when something changes, and what a run then does: one row per change."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_defs.attributes import Definition, Signature, Stride
from frames_pipeline.pipeline import Workspace, recompress_store
from frames_pipeline.workers.local import Workers
from tests.dagster_defs.conftest import Project, make_videos, project_of
from tests.libraries import need_compression
from tests.suites import live_from
from tests.videos import X264, make_video

BOTH = {
    "embeddings": Signature(target_fps=2, target_res=[24, 32]),
    "aesthetics": Signature(target_fps=1),
}
NOTHING: frozenset[str] = frozenset()


def touch(project: Project) -> None:
    for path in project.videos.rglob("*.*"):
        path.touch()


def replace(project: Project) -> None:
    make_video(project.videos / "a.mp4", frames=48, options=X264, first=2000)


def remove(project: Project) -> None:
    (project.videos / "a.mp4").unlink()


def lose(project: Project) -> None:
    """Lose the frames of a clip, so that they are extracted again, from the same bytes."""
    for path in project.root.glob("frames/*/sequence-2fps*/clips/a-*/*/frames/c/0/0/0/0"):
        path.unlink()


def recompress(project: Project, to: str) -> None:
    need_compression(to)
    workspace = Workspace.at("/nowhere", str(project.root))
    assert recompress_store(workspace, to=to, workers=Workers(1)).moved == 10


@dataclass(frozen=True)
class Case:
    """A change, and what follows from it."""

    name: str
    change: Callable[[Project], None] = lambda project: None
    attributes: dict[str, Any] = field(default_factory=dict)
    """What `defs.yaml` says from now on."""
    repair: bool = False
    stale: frozenset[str] = NOTHING
    """Assets that the UI calls stale once the videos are looked at."""
    decoded: tuple[int, int] = (0, 0)
    """Clips that a run decodes for `embeddings` and for `aesthetics`."""
    made: tuple[int, int] = (0, 0)
    """Clips whose rows it makes for `frame_embeddings` and `frame_quality`."""
    changed: frozenset[str] = NOTHING
    """Assets whose data version the run changes."""


CASES = [
    Case("nothing"),
    Case("a file is touched", touch),
    Case(
        "a file has other bytes",
        replace,
        stale=frozenset({"clips"}),
        decoded=(1, 1),
        made=(1, 1),
        changed=frozenset(
            {
                "videos",
                "clips",
                "clip_frames/embeddings",
                "clip_frames/aesthetics",
                "frame_embeddings",
                "frame_quality",
                "clip_catalog",
            }
        ),
    ),
    Case("a file is gone", remove, stale=frozenset({"clips"}), changed=frozenset({"videos"})),
    Case(
        "frames are extracted again from the same bytes",
        lose,
        repair=True,
        decoded=(1, 0),
        changed=frozenset({"clip_catalog"}),  # which says where they lie
    ),
    *(
        Case(
            f"frames are moved to the compression {to}",
            partial(recompress, to=to),
            changed=frozenset({"clip_catalog"}),  # which says where they lie
        )
        for to in ("none", "jpegxl")
    ),
    Case(
        "a signature has other parameters",
        attributes={"signatures": BOTH | {"aesthetics": Signature(target_fps=3)}},
        stale=frozenset({"clip_frames/aesthetics", "frame_quality"}),
        decoded=(0, 5),
        made=(0, 5),
        changed=frozenset({"clip_frames/aesthetics", "frame_quality", "clip_catalog"}),
    ),
    Case(
        "a signature is added",
        attributes={"signatures": BOTH | {"first": Signature(policy="first")}},
        stale=frozenset({"clip_catalog"}),
        changed=frozenset({"clip_catalog"}),
    ),
    Case(
        "a model has other parameters",
        attributes={
            "quality": {
                "default": Definition(
                    signature="aesthetics", provider="technical", parameters={"black_level": 20}
                )
            }
        },
        stale=frozenset({"frame_quality"}),
        made=(0, 5),
        changed=frozenset({"frame_quality"}),
    ),
    Case(
        "a model reads another signature",
        attributes={
            "quality": {"default": Definition(signature="embeddings", provider="technical")}
        },
        stale=frozenset({"frame_quality"}),
        made=(0, 5),
        changed=frozenset({"frame_quality", "clip_catalog"}),
    ),
    Case(
        "videos are cut in another way, into the same clips",
        attributes={"clipping": Stride(kind="fixed_stride", min_clip_length_s=0.9)},
        stale=frozenset({"clips"}),
    ),
]


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Project]:
    """The project in a folder, with the instance that is in it, too."""
    (folder / "home").mkdir(exist_ok=True)
    with dg.instance_for_test(temp_dir=str(folder / "home")) as instance:
        yield project_of(folder / "videos", folder / "root", instance)


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, video: Path, video_25s: Path
) -> tuple[Path, dict[str, str]]:
    """The folder of a project whose batch was run once, with its data versions."""
    folder = tmp_path_factory.mktemp("done")
    make_videos(folder / "project" / "videos", video, video_25s)
    with opened(folder / "project") as project:
        project.seal()
        before = project.run()
        assert before.success
        assert project.stale() == set()
    shutil.copytree(folder / "project", folder / "as it was")
    return folder, data_versions(before)


@pytest.mark.parametrize("case", live_from(2, CASES), ids=lambda case: case.name)
def test_what_a_change_makes_stale_and_what_a_run_does(
    done: tuple[Path, dict[str, str]], case: Case
) -> None:
    folder, versions = done
    shutil.rmtree(folder / "project")
    shutil.copytree(folder / "as it was", folder / "project")
    with opened(folder / "project") as project:
        _check(case, project, versions)


def _check(case: Case, project: Project, versions: dict[str, str]) -> None:
    case.change(project)
    project.observe()
    assert project.stale(**case.attributes) == case.stale

    config = {"extraction": {"config": {"processes": 1, "repair": case.repair}}}
    after = project.run(config={"resources": config}, **case.attributes)
    assert after.success
    assert project.stale(**case.attributes) == set()
    frames = [f"clip_frames/{name}" for name in ("embeddings", "aesthetics")]
    assert tuple(count(after, name, "clips_decoded_now") for name in frames) == case.decoded
    rows = ("frame_embeddings", "frame_quality")
    assert tuple(count(after, name, "clips_made_now") for name in rows) == case.made
    now = data_versions(after)
    assert {name for name in versions if versions[name] != now[name]} == case.changed


def count(result: dg.ExecuteInProcessResult, asset: str, name: str) -> object:
    return {
        event.asset_key.to_user_string(): event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }[asset][name].value


def data_versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {
        event.asset_key.to_user_string(): (event.materialization.tags or {})["dagster/data_version"]
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
