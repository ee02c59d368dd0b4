"""Aesthetic scores: what torch reckons with the same head on the same vectors."""

from __future__ import annotations

import importlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frames_pipeline.errors import ConfigError
from frames_pipeline.models.aesthetics import AestheticQuality
from frames_pipeline.models.quality import open_quality_provider
from frames_pipeline.models.technical import TechnicalQuality
from frames_pipeline.models.vision import VisionTower
from tests.libraries import need
from tests.models.towers import make_tower

FRAMES = np.random.default_rng(6).integers(0, 256, (4, 40, 40, 3), np.uint8)


@pytest.fixture(scope="module")
def tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("torch", "transformers")
    folder = tmp_path_factory.mktemp("tower")
    make_tower("clip", folder)
    return folder


def head(*sizes: int, activation: bool = False) -> Any:
    """A chain of linear layers in torch, with dropout between them as LAION's have."""
    nn = importlib.import_module("torch").nn
    importlib.import_module("torch").manual_seed(3)
    layers = nn.Sequential()
    for inputs, outputs in pairwise(sizes):
        layers.append(nn.Linear(inputs, outputs))
        layers.append(nn.ReLU() if activation else nn.Dropout(0.2))
    return layers[:-1].double().eval()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_scores_are_those_of_the_head_on_the_towers_vectors(
    tower: Path, tmp_path: Path, suffix: str, activation: str
) -> None:
    torch = importlib.import_module("torch")
    layers, file = head(16, 12, 8, 1, activation=activation == "relu"), tmp_path / f"head{suffix}"
    if suffix == ".pth":
        torch.save(layers.state_dict(), file)
    else:
        importlib.import_module("safetensors.torch").save_file(layers.state_dict(), file)
    provider = open_quality_provider(
        "aesthetic", model=str(tower), head=str(file), activation=activation
    )
    measures = provider.measure(FRAMES)

    vectors = torch.from_numpy(VisionTower(str(tower)).embed(FRAMES)).double()
    expected = layers(vectors)[:, 0].detach().numpy()
    assert measures.aesthetic is not None
    np.testing.assert_allclose(measures.aesthetic, expected, rtol=1e-12)
    technical = TechnicalQuality().measure(FRAMES).columns()
    assert {name: measures.columns()[name] for name in technical} == technical


def test_a_single_layer_without_bias_is_a_head(tower: Path, tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    weight = torch.randn(1, 16).double()
    torch.save({"weight": weight}, tmp_path / "linear.pth")
    measures = AestheticQuality(str(tower), str(tmp_path / "linear.pth")).measure(FRAMES)
    vectors = VisionTower(str(tower)).embed(FRAMES).astype(np.float64)
    assert measures.aesthetic is not None
    np.testing.assert_allclose(measures.aesthetic, vectors @ weight.numpy()[0], rtol=1e-12)


def test_the_bytes_of_the_head_are_part_of_what_identifies_scores(
    tower: Path, tmp_path: Path
) -> None:
    torch = importlib.import_module("torch")
    file = tmp_path / "head.pth"
    torch.save({"weight": torch.zeros(1, 16)}, file)
    one = AestheticQuality(str(tower), str(file))
    before, zeros = one.parameters(), one.measure(FRAMES).aesthetic
    torch.save({"weight": torch.ones(1, 16)}, file)
    assert one.parameters() != before
    assert not np.array_equal(np.asarray(zeros), np.asarray(one.measure(FRAMES).aesthetic))


def test_heads_that_do_not_fit_are_refused(tower: Path, tmp_path: Path) -> None:
    torch = importlib.import_module("torch")
    for name, layers in {"wide": head(17, 1), "two": head(16, 2)}.items():
        torch.save(layers.state_dict(), tmp_path / f"{name}.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name, match in {
        "wide": "takes 17 inputs, and .* gives 16; use the tower",
        "two": r"not a chain of linear layers with one output.*\(2, 16\)",
        "text": "cannot read weights from",
    }.items():
        with pytest.raises(ConfigError, match=match):
            AestheticQuality(str(tower), str(tmp_path / f"{name}.pth")).measure(FRAMES)


def test_a_head_that_is_not_there_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the aesthetic head"):
        AestheticQuality(str(tmp_path), str(tmp_path / "none.pth"))
    with pytest.raises(ConfigError, match="no activation 'tanh'"):
        AestheticQuality(str(tmp_path), __file__, activation="tanh")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"technical=.*'dark'.*dark_level"):
        AestheticQuality(str(tmp_path), __file__, technical={"dark": 3})
