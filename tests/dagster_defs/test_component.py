"""The component: what defs.yaml may say, and how a wrong value is answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast, get_args, get_origin, get_type_hints

import dagster as dg
import pytest
import yaml

import dagster_defs
from dagster_defs import FramesComponent
from dagster_defs.attributes import PRESETS, Signature
from dagster_defs.names import Names
from dagster_defs.resources import Compression, ExtractionResource, WorkspaceResource
from frames_pipeline import FrameEncoding, FrameExtractionSignature
from frames_pipeline.signature import identity_fields
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from tests.checkout import ROOT
from tests.dagster_defs.conftest import Project
from tests.dagster_defs.test_staleness import data_versions

PYPROJECT = """
[project]
name = "other"
version = "0.1"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "other"
code_location_target_module = "other.definitions"
code_location_name = "other"
"""
DEFINITIONS = """
from pathlib import Path
import dagster as dg

@dg.definitions
def defs():
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
DEFS = """
type: dagster_defs.FramesComponent
attributes:
  source: "{{ env.OTHER_VIDEOS }}"
  root: "{{ project_root }}/data"
  clipping: {kind: whole}
  signatures:
    points: {policy: middle, target_res: [24, -1]}
"""


class Captioner:
    """A captioner of one's own, which says nothing of samples. It is never made."""

    name = "mine"


def other_project(folder: Path, defs: str = DEFS) -> Path:
    """Another Dagster project, which uses the component."""
    package = folder / "other"
    (package / "defs" / "frames").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (package / "__init__.py").touch()
    (package / "definitions.py").write_text(DEFINITIONS)
    (package / "defs" / "frames" / "defs.yaml").write_text(defs)
    return folder


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    monkeypatch.syspath_prepend(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == "other"]:
        monkeypatch.delitem(sys.modules, name)
    from other.definitions import defs  # type: ignore[import-not-found]  # noqa: PLC0415

    return cast("dg.Definitions", defs())


def test_another_project_can_use_it(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_VIDEOS", str(project.videos))
    definitions = loaded(other_project(tmp_path / "other-project"), monkeypatch)
    project.root = tmp_path / "other-project" / "data"
    project.seal()

    result = definitions.resolve_job_def("process_batch").execute_in_process(
        partition_key="batch-000001", instance=project.instance
    )

    assert result.success
    made = {
        e.materialization.asset_key.to_user_string()
        for e in result.get_asset_materialization_events()
    }
    assert made == {"videos", "clips", "clip_frames/points", "clip_catalog"}


def test_dg_can_scaffold_it(tmp_path: Path) -> None:
    folder = other_project(tmp_path / "other-project")
    python_path = f"{folder}{os.pathsep}{ROOT}"
    environment = os.environ | {"OTHER_VIDEOS": str(tmp_path), "PYTHONPATH": python_path}
    command = ["scaffold", "defs", "dagster_defs.FramesComponent", "more"]
    done = subprocess.run(
        [Path(sys.executable).parent / "dg", *command],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    written = yaml.safe_load((folder / "other" / "defs" / "more" / "defs.yaml").read_text())
    assert written["type"] == "dagster_defs.FramesComponent"
    [signature] = FramesComponent.model_validate(written["attributes"]).signatures.values()
    assert_as_shown(signature)


def assert_as_shown(signature: Signature) -> None:
    """Frames of it are as a person sees them."""
    made = signature.signature()
    assert (made.colour, made.deinterlace) == ("sdr", "bwdif")
    assert (made.pixel_aspect, made.crop) == ("square", "container")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("lossless", None),
        ("{codec: jpeg}", FrameEncoding("jpeg", 90, "4:2:0")),
        ("{codec: jpeg, quality: 95, chroma: 4:4:4}", FrameEncoding("jpeg", 95, "4:4:4")),
        ("{codec: avif, chroma: '4:2:0'}", FrameEncoding("avif")),
        ("{codec: webp, chroma: 4:2:0}", FrameEncoding("webp")),
        ("{codec: jpegxl, quality: 80}", FrameEncoding("jpegxl", 80, "4:4:4")),
    ],
)
def test_an_encoding_is_written_as_it_is_in_the_docs(
    text: str, encoding: FrameEncoding | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """YAML reads 4:2:0 without quotes as a number in base 60."""
    monkeypatch.setenv("OTHER_VIDEOS", str(tmp_path))
    said = f"{{policy: middle, encoding: {text}}}"
    defs = DEFS.replace("{policy: middle, target_res: [24, -1]}", said)
    folder = other_project(tmp_path / "other", defs)
    spec = loaded(folder, monkeypatch).resolve_asset_graph().get(Names().frames("points"))
    signature = FrameExtractionSignature(policy="middle", encoding=encoding or "lossless")
    assert spec.metadata["signature"] == signature.key


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_give_frames_as_a_person_sees_them(
    preset: Literal["clip", "vlm", "training"],
) -> None:
    assert_as_shown(Signature(preset=preset))


def test_frames_of_earlier_presets_keep_their_key() -> None:
    """With the values that were the defaults."""
    coded = {"colour": "ffmpeg", "deinterlace": False, "pixel_aspect": "coded", "crop": "coded"}
    found = Signature.model_validate({"preset": "clip", **coded}).signature()
    before = FrameExtractionSignature(target_fps=1, target_res=(224, 224), resize_mode="crop")
    assert found.key == before.key == "sequence-1fps-224x224-b4739bebdeca4688"


def test_signatures_of_this_project_give_frames_as_a_person_sees_them() -> None:
    text = (Path(dagster_defs.__file__).parent / "defs/frames/defs.yaml").read_text()
    for fields in yaml.safe_load(text)["attributes"]["signatures"].values():
        assert_as_shown(Signature(**fields))


class DepthVectors:
    """An embedding of one's own, of depth maps."""

    name = "depth"
    revision = 1
    dimensions = 4
    samples = ("gray16",)

    def parameters(self) -> dict[str, object]:
        return {"name": self.name}

    def embed(self, frames: object) -> object:
        raise NotImplementedError


def test_a_provider_of_one_s_own_gets_the_samples_that_it_declares() -> None:
    """And no others, those of the library's providers included."""
    attributes = {
        "source": "videos",
        "root": "frames",
        "signatures": {"depth": {"samples": "gray16"}, "colour": {}},
        "embeddings": {"deep": {"signature": "depth", "provider": f"{__name__}:DepthVectors"}},
    }
    assert FramesComponent.model_validate(attributes).definitions().assets
    attributes["embeddings"]["deep"]["signature"] = "colour"  # type: ignore[index]
    match = "takes gray16 frames, and signature 'colour' has samples: rgb8; choose a signature"
    with pytest.raises(ValueError, match=match):
        FramesComponent.model_validate(attributes)


def test_the_compression_of_new_frames(project: Project) -> None:
    """It reaches the store of a run, and changes no data version."""
    assert get_args(Compression) == tuple(COMPRESSIONS)
    project.seal()
    former = data_versions(project.run(compression="zstd"))
    project.root.rename(project.root.with_name("former"))
    project.seal()
    fresh = data_versions(project.run(compression="none"))
    frames = ("clip_frames/aesthetics", "clip_frames/embeddings", "frame_quality")
    assert [fresh[name] for name in frames] == [former[name] for name in frames]
    groups = list(project.root.glob("frames/*/*/clips/*/*/zarr.json"))
    assert {json.loads(one.read_text())["attributes"]["codec"] for one in groups} == {"none"}


def test_yaml_s_off_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML reads `off` as false."""
    assert yaml.safe_load("deinterlace: off") == {"deinterlace": False}
    monkeypatch.setenv("OTHER_VIDEOS", str(tmp_path))
    for text in ("off", "false", "'off'"):
        said = f"{{preset: clip, deinterlace: {text}}}"
        folder = other_project(
            tmp_path / text.strip("'") / str(len(text)),
            DEFS.replace("{policy: middle, target_res: [24, -1]}", said),
        )
        spec = loaded(folder, monkeypatch).resolve_asset_graph().get(Names().frames("points"))
        expected = Signature(preset="clip", deinterlace="off").signature()
        assert spec.metadata["signature"] == expected.key


def test_a_preset_with_pixels_of_the_gpu_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is taken with those attributes."""
    with pytest.raises(ValueError, match="set colour: accurate, deinterlace: off, or pixels: swsc"):
        Signature(preset="clip", pixels="cuda")
    monkeypatch.setenv("OTHER_VIDEOS", str(tmp_path))
    said = "{preset: clip, pixels: cuda, colour: accurate, deinterlace: off}"
    folder = other_project(
        tmp_path / "other", DEFS.replace("{policy: middle, target_res: [24, -1]}", said)
    )
    spec = loaded(folder, monkeypatch).resolve_asset_graph().get(Names().frames("points"))
    assert "-1fps-224x224-" in spec.metadata["signature"]


def test_a_defs_yaml_may_say_every_field_that_decides_pixels() -> None:
    """Each field has the same default and the same choices. Users cannot choose the revision."""
    said = Signature.model_fields.keys() - {"preset"}
    fields = {one.name: one for one in identity_fields()}
    assert said == fields.keys() - {"revision"}
    hints = get_type_hints(FrameExtractionSignature)
    for name in said:
        assert Signature.model_fields[name].default == fields[name].default
        if get_origin(hints[name]) is Literal:
            assert get_args(Signature.model_fields[name].annotation) == get_args(hints[name])


@pytest.mark.parametrize(
    ("line", "wrong", "match"),
    [
        ("{kind: whole}", "{kind: halves}", "kind"),
        ("{policy: middle, ", "{policy: middle, crop: clap, ", "'coded' or 'container'"),
        (
            "{kind: whole}",
            "{kind: shots, detector: pyscenedetect, refine: false}",
            "refine=False is for transnetv2, not for pyscenedetect",
        ),
        ("{policy: middle, ", "{policy: center, ", "policy"),
        ("{policy: middle, ", "{policy: middle, target_fps: 2, ", "has no effect with policy"),
        ("[24, -1]", "[24, 0]", "must be a whole number above zero"),
        ("  signatures:", "  max_failed_share: 2\n  signatures:", "less than or equal to 1"),
        ("  signatures:", "  colour: blue\n  signatures:", "colour"),
        (
            "  signatures:",
            "  extraction: {proceses: 2}\n  signatures:",
            "no such setting: proceses",
        ),
        ("  signatures:", "  extraction: {processes: -2}\n  signatures:", "greater than or equal"),
        ("  signatures:", "  decoder: {kind: cuda}\n  signatures:", "'pyav', 'nvdec' or 'auto'"),
        ("{policy: middle, ", "{preset: clips, ", "'clip', 'vlm' or 'training'"),
        ("{policy: middle, ", "{policy: middle, deinterlace: true, ", "'off' or 'bwdif'"),
        ("{policy: middle, ", "{policy: middle, samples: rgb10, ", "'gray8' or 'gray16'"),
        ("{policy: middle, ", "{policy: middle, encoding: jpeg, ", "'lossless'"),
        (
            "{policy: middle, ",
            "{policy: middle, encoding: {codec: png}, ",
            "no codec 'png'; choose one of",
        ),
        (
            "{policy: middle, ",
            "{policy: middle, encoding: {codec: jpeg, chroma: 4:2:2}, ",
            "jpeg has no chroma",
        ),
        (
            "{policy: middle, ",
            "{policy: middle, encoding: {codec: jpeg, quality: 101}, ",
            "quality=101 must be a whole number from 1 to 100",
        ),
        (
            "{policy: middle, ",
            "{policy: middle, samples: gray16, encoding: {codec: jpeg}, ",
            "jpeg cannot hold samples: gray16; choose samples: rgb8 or gray8, or codec jpegxl",
        ),
        (
            "{policy: middle, target_res: [24, -1]}",
            "{preset: clip, pixels: cuda}",
            "pixels: cuda has no colour: sdr, deinterlace: bwdif; set colour: accurate, "
            "deinterlace: off, or pixels: swscale",
        ),
        *(
            (
                "{policy: middle, target_res: [24, -1]}",
                f"{{policy: middle, samples: gray16}}\n  {kind}: {{deep: {{signature: points, "
                f"provider: {provider}}}}}",
                f"{kind}.deep: provider '{provider}' takes {taken} frames, and signature 'points' "
                "has samples: gray16",
            )
            for kind, provider, taken in (
                ("embeddings", "perceptual", "rgb8"),
                ("embeddings", "transformers", "rgb8"),
                ("quality", "technical", "rgb8 or gray8"),
                ("captions", "openai", "rgb8"),
                ("captions", "tests.dagster_defs.test_component:Captioner", "rgb8"),
            )
        ),
        ("  signatures:", "  selection: {max_blur: 1}\n  signatures:", "no such bound: max_blur"),
        ("  signatures:", "  name: Bad Name\n  signatures:", "should match pattern"),
        (
            "  signatures:",
            "  freshness: {fail_after_hours: 2, warn_after_hours: 3}\n  signatures:",
            "must be below fail_after_hours",
        ),
    ],
)
def test_a_wrong_value_fails_at_load_with_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, wrong: str, match: str
) -> None:
    monkeypatch.setenv("OTHER_VIDEOS", str(tmp_path))
    assert line in DEFS
    folder = other_project(tmp_path / "other-project", DEFS.replace(line, wrong))
    with pytest.raises(Exception, match=r"frames") as caught:
        loaded(folder, monkeypatch)
    chain: list[str] = []
    error: BaseException | None = caught.value
    while error is not None:
        chain.append(str(error))
        error = error.__cause__ or error.__context__
    text = "\n".join(chain)
    assert match in text
    assert "defs.yaml" in text


def test_what_the_file_says_of_decoding_holds_unless_a_run_says_otherwise(
    tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_VIDEOS", str(project.videos))
    settings = "  decoder: {threads: 3}\n  extraction: {processes: 1, max_frames: 3}\n  signatures:"
    folder = other_project(tmp_path / "other", DEFS.replace("  signatures:", settings))
    resources = loaded(folder, monkeypatch).get_repository_def().get_top_level_resources()

    def with_config(name: str, config: dict[str, object]) -> object:
        context = dg.build_init_resource_context(config=config)
        make: Callable[..., object] = resources[name].resource_fn
        return make(context)

    assert with_config("decoder", {}).open().threads == 3  # type: ignore[attr-defined]
    extraction = with_config("extraction", {"processes": 2})
    assert isinstance(extraction, ExtractionResource)
    assert (extraction.processes, extraction.max_frames) == (2, 3)
    workspace = with_config("workspace", {"source": "elsewhere"})
    assert isinstance(workspace, WorkspaceResource)
    assert (workspace.source, workspace.root) == ("elsewhere", str(folder / "data"))


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_fill_in_what_is_not_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str
) -> None:
    monkeypatch.setenv("OTHER_VIDEOS", str(tmp_path))
    text = f"{{preset: {preset}, interpolation: area}}"
    folder = other_project(
        tmp_path / "other", DEFS.replace("{policy: middle, target_res: [24, -1]}", text)
    )
    spec = loaded(folder, monkeypatch).resolve_asset_graph().get(Names().frames("points"))
    expected = Signature(**PRESETS[preset], interpolation="area").signature()
    assert spec.metadata["signature"] == expected.key


def test_everything_belongs_to_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_VIDEOS", str(tmp_path))
    said = """\
  owners: ["team:curation", ada@example.com]
  tags: {domain: traffic}
  freshness: {fail_after_hours: 48, warn_after_hours: 30}
  signatures:"""
    folder = other_project(tmp_path / "other", DEFS.replace("  signatures:", said))
    graph = loaded(folder, monkeypatch).resolve_asset_graph()
    for node in graph.asset_nodes:
        assert set(node.owners) == {"team:curation", "ada@example.com"}
        assert node.tags["domain"] == "traffic"
        assert (node.freshness_policy is None) == (node.key == Names().videos)


def test_components_with_names_share_an_instance(project: Project) -> None:
    """As two code locations would: neither sees the batches of the other."""
    project.seal()
    cars = project.definitions(name="cars")
    graph = cars.resolve_asset_graph()
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {"cars"}
    assert {
        node.partitions_def.name  # type: ignore[union-attr]
        for node in graph.asset_nodes
    } == {"cars_video_batch"}
    repository = cars.get_repository_def()
    named = [*repository.job_names, *(sensor.name for sensor in repository.sensor_defs)]
    assert all(name.startswith(("cars_", "__ASSET_JOB")) for name in named)

    project.instance.add_dynamic_partitions("cars_video_batch", ["batch-000001"])
    result = cars.resolve_job_def("cars_process_batch").execute_in_process(
        partition_key="batch-000001",
        instance=project.instance,
        run_config={"resources": {"cars_extraction": {"config": {"processes": 1}}}},
    )
    assert result.success
    made = {
        e.asset_key.to_user_string()
        for e in result.get_asset_materialization_events()
        if e.asset_key
    }
    assert "cars/clip_frames/embeddings" in made
    plain = dg.AssetKey(["clip_frames", "embeddings"])
    assert not project.instance.get_latest_materialization_event(plain)
