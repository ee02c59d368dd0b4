"""Derived tables in Dagster: a mapping per kind, whatever kinds are in the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.dagster_defs.conftest import Project

TECHNICAL = {"signature": "aesthetics", "provider": "technical"}
PERCEPTUAL = {"signature": "embeddings", "provider": "perceptual"}
CAPTIONS = {
    "signature": "aesthetics",
    "provider": "openai",
    "parameters": {"base_url": "http://localhost:8000/v1", "model": "m"},
}
PLAIN: dict[str, Any] = {"embeddings": {}, "quality": {}, "captions": {}}
TOY = """
import dataclasses
import sys
from frames_pipeline.pipeline.kinds import KINDS, quality

toy = dataclasses.replace(
    quality.KIND, name="toys", asset=dataclasses.replace(quality.KIND.asset, key="frame_toys")
)
KINDS["toys"] = toy

from dagster_defs import FramesComponent

definitions = FramesComponent.model_validate({
    "source": sys.argv[1], "root": sys.argv[1], "signatures": {"a": {"policy": "first"}},
    "toys": {"default": {"signature": "a", "provider": "technical"},
             "dark": {"signature": "a", "provider": "technical"}},
}).definitions()
keys = definitions.resolve_asset_graph().get_all_asset_keys()
print(*sorted(key.to_user_string() for key in keys))
"""


def keys_of(definitions: dg.Definitions) -> set[str]:
    return {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}


def test_each_definition_is_an_asset_with_rows_of_its_own(project: Project) -> None:
    dark = TECHNICAL | {"parameters": {"dark_level": 20}}
    attributes = PLAIN | {"quality": {"default": TECHNICAL, "dark": dark}}
    project.seal()
    assert project.run(**attributes).success
    named = {key for key in keys_of(project.definitions(**attributes)) if "quality" in key}
    assert named == {"frame_quality", "frame_quality/dark"}
    tables = project.workspace.tables
    first, second = (tables.read("quality", "batch-000001", part=part) for part in ("", "dark"))
    assert first["clip_id"] == second["clip_id"]
    assert first["provider_parameters"][0] != second["provider_parameters"][0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"embedding": PERCEPTUAL}, {"embeddings": {"default": PERCEPTUAL}}),
        (
            {"embedding": PERCEPTUAL, "embeddings": {"more": PERCEPTUAL}},
            {"embeddings": {"default": PERCEPTUAL, "more": PERCEPTUAL}},
        ),
        ({"quality": TECHNICAL}, {"quality": {"default": TECHNICAL}}),
        ({"captioning": CAPTIONS}, {"captions": {"default": CAPTIONS}}),
    ],
)
def test_old_spellings_make_the_same_assets_for_one_release(
    project: Project, old: dict[str, Any], new: dict[str, Any]
) -> None:
    with pytest.warns(DeprecationWarning, match=r"in defs\.yaml is .* now, and goes with 0\.3"):
        before = project.definitions(**(PLAIN | old)).resolve_asset_graph()
    after = project.definitions(**(PLAIN | new)).resolve_asset_graph()
    assert before.get_all_asset_keys() == after.get_all_asset_keys()
    for key in after.get_all_asset_keys():
        assert before.get(key).code_version == after.get(key).code_version
        assert before.get(key).parent_keys == after.get(key).parent_keys


@pytest.mark.filterwarnings("ignore:.*in defs.yaml is:DeprecationWarning")
@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        (
            {"embedding": PERCEPTUAL, "embeddings": {"default": PERCEPTUAL}},
            "embeddings.default is given twice",
        ),
        (
            {"quality": {"default": TECHNICAL | {"pool": "mean"}}},
            "quality.default.pool: rows of quality cannot be pooled; leave it out",
        ),
        (
            {"embeddings": {"default": PERCEPTUAL | {"api_key_variable": "KEY"}}},
            "embeddings.default.api_key_variable: embeddings take no key; leave it out",
        ),
        (
            {"quality": {"default": TECHNICAL | {"provider": "tecnical"}}},
            "no quality provider 'tecnical'; choose one of aesthetic, technical",
        ),
    ],
)
def test_wrong_definitions_are_refused(
    project: Project, attributes: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        project.definitions(**(PLAIN | attributes))


def test_a_kind_that_is_registered_has_its_mapping_and_assets(tmp_path: Path) -> None:
    """Nothing of the Dagster side is touched."""
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TOY, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == [
        "clip_catalog", "clip_frames/a", "clips", "frame_toys", "frame_toys/dark", "videos",
    ]  # fmt: skip
