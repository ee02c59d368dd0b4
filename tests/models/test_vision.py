"""Vision towers: the vectors of the model that they are a part of, offline, on tiny weights."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from frames_pipeline.errors import ConfigError
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.models.vision import VisionTower
from tests.libraries import need
from tests.models.towers import DIMENSIONS, make_tower

FRAMES = np.random.default_rng(5).integers(0, 256, (5, 48, 64, 3), np.uint8)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Folders of tiny models, and the models."""
    need("torch", "transformers")
    folders = {kind: tmp_path_factory.mktemp("models") / kind for kind in DIMENSIONS}
    return {kind: (folder, make_tower(kind, folder)) for kind, folder in folders.items()}


def of_the_whole_model(kind: str, folder: Path, model: Any) -> NDArray[np.float64]:
    """Unit vectors by the model's own way to features, from pictures that Pillow holds."""
    torch, transformers = map(importlib.import_module, ("torch", "transformers"))
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    inputs = processor(images=[Image.fromarray(frame) for frame in FRAMES], return_tensors="pt")
    with torch.no_grad():
        if kind == "dinov2":
            found = model(**inputs).last_hidden_state[:, 0]
        else:
            found = model.get_image_features(**inputs)
            found = getattr(found, "pooler_output", found)
    return np.asarray(torch.nn.functional.normalize(found.double()))


@pytest.mark.parametrize("kind", DIMENSIONS)
def test_vectors_are_those_of_the_whole_model(
    kind: str, towers: dict[str, tuple[Path, Any]]
) -> None:
    """CLIP's and SigLIP's image features, DINO's class token, to single precision."""
    folder, model = towers[kind]
    provider = open_embedding_provider("transformers", model=str(folder), batch_size=2)
    vectors = provider.embed(FRAMES)

    assert vectors.dtype == np.float32
    assert vectors.shape == (5, DIMENSIONS[kind])
    assert provider.dimensions == DIMENSIONS[kind]
    np.testing.assert_allclose(vectors, of_the_whole_model(kind, folder, model), atol=1e-5)


def test_no_frames_give_no_vectors(towers: dict[str, tuple[Path, Any]]) -> None:
    provider = VisionTower(str(towers["clip"][0]))
    assert provider.embed(FRAMES[:0]).shape == (0, 16)
    assert provider.device_name in ("cpu", "cuda") or "NVIDIA" in provider.device_name


def test_half_precision_is_near_and_another_identity(
    towers: dict[str, tuple[Path, Any]],
) -> None:
    folder = str(towers["dinov2"][0])
    exact, half = VisionTower(folder), VisionTower(folder, dtype="bfloat16")
    assert np.abs(exact.embed(FRAMES) - half.embed(FRAMES)).max() < 0.02
    assert exact.parameters() != half.parameters()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", DIMENSIONS)
def test_on_a_gpu_vectors_are_much_the_same(kind: str, towers: dict[str, tuple[Path, Any]]) -> None:
    """In single precision to the noise of its sums; in half, near."""
    torch = importlib.import_module("torch")
    if not torch.cuda.is_available():
        pytest.fail("no GPU") if os.environ.get("REQUIRE_GPU") else pytest.skip("no GPU")
    folder = str(towers[kind][0])
    on_gpu, on_cpu = VisionTower(folder, device="auto"), VisionTower(folder, device="cpu")
    assert on_gpu.device_name == torch.cuda.get_device_name()
    exact = on_cpu.embed(FRAMES)
    assert np.abs(on_gpu.embed(FRAMES) - exact).max() < 0.005
    for dtype in ("float16", "bfloat16"):
        half = VisionTower(folder, device="cuda", dtype=dtype)
        assert np.abs(half.embed(FRAMES) - exact).max() < 0.03


def test_what_identifies_vectors_is_the_weights_and_not_how_many_go_at_once(
    towers: dict[str, tuple[Path, Any]],
) -> None:
    folder = str(towers["clip"][0])
    assert VisionTower(folder, batch_size=3).parameters() == VisionTower(folder).parameters()
    assert VisionTower(folder).parameters() != VisionTower(str(towers["siglip"][0])).parameters()


def test_naming_a_model_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code location names its providers, and needs neither library for that."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    provider = VisionTower("openai/clip-vit-base-patch32", COMMIT)
    assert provider.parameters() == {
        "name": "transformers",
        "revision": 1,
        "model": "openai/clip-vit-base-patch32",
        "model_revision": COMMIT,
        "dtype": "float32",
    }
    with pytest.raises(ConfigError, match=r"pip install 'frames-pipeline\[models\]'"):
        provider.embed(FRAMES)


@pytest.mark.parametrize(
    ("parameters", "match"),
    [
        ({"model": "openai/clip"}, "pin its commit"),
        ({"model": "openai/clip", "model_revision": "main"}, "is not a commit"),
        ({"dtype": "int8"}, "no dtype 'int8'; choose one of float32, bfloat16, float16"),
        ({"device": "tpu"}, "no device 'tpu'"),
        ({"dtype": "float16", "device": "cpu"}, "float16' is for GPUs"),
        ({"batch_size": 0}, "batch_size=0 must be"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_loaded(
    parameters: dict[str, Any], match: str
) -> None:
    pinned = {"model": "openai/clip", "model_revision": COMMIT}
    chosen = parameters if "model" in parameters else pinned | parameters
    with pytest.raises(ConfigError, match=match):
        open_embedding_provider("transformers", **chosen)


def test_weights_that_are_missing_are_not_made_up(
    towers: dict[str, tuple[Path, Any]], tmp_path: Path
) -> None:
    """Without weights for a layer, transformers takes random ones and goes on."""
    folder, _ = towers["siglip"]
    torch = importlib.import_module("safetensors.torch")
    weights = torch.load_file(folder / "model.safetensors")
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    lacking = {name: value for name, value in weights.items() if "layers.1.mlp" not in name}
    torch.save_file(lacking, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"no weights for .*layers\.1\.mlp.* and more"):
        VisionTower(str(tmp_path)).embed(FRAMES)


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    need("torch", "transformers")
    importlib.import_module("transformers").BertConfig().save_pretrained(tmp_path)
    with pytest.raises(
        ConfigError, match=r"is a 'bert', which is not a supported vision tower.*choose one of clip"
    ):
        VisionTower(str(tmp_path)).embed(FRAMES)
