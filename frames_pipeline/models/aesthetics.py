"""Technical quality with an aesthetic score from a head on a vision tower.

A head is a chain of linear layers from a frame's embedding to a score, like LAION's aesthetic
predictors. The library contains no head. Use a head with the tower that it was trained on.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.models import check_choice
from frames_pipeline.models.pretrained import Device, Precision, import_models
from frames_pipeline.models.technical import FrameQuality, TechnicalQuality
from frames_pipeline.models.vision import VisionTower

Layer = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Weight and bias. Shapes (outputs, inputs), (outputs,)."""


@dataclass(frozen=True, slots=True)
class AestheticQuality:
    """The measures of `technical`, and the score of a head on a vision tower.

    The head gets embeddings of unit length, as LAION's do. Compare scores only between frames
    judged by the same head and tower.
    """

    name: ClassVar[str] = "aesthetic"
    revision: ClassVar[int] = 1

    model: str
    """The tower: an id on the hub, such as `openai/clip-vit-large-patch14`, or the path of a
    folder."""
    head: str
    """File with the head's weights: `.safetensors`, or a torch state dict, `.pth`."""
    model_revision: str | None = None
    """Commit on the hub, 40 hex digits; `None` for a folder."""
    activation: Literal["none", "relu"] = "none"
    """Activation between the layers of the head; LAION's have none."""
    dtype: Precision = "float32"
    """Precision of the tower; the head is computed in double precision."""
    device: Device = "auto"
    """Device of the tower."""
    batch_size: int = 32
    """Frames per forward pass of the tower."""
    technical: Mapping[str, Any] | None = None
    """Parameters of the technical measures."""

    def __post_init__(self) -> None:
        """Check the parameters without loading the tower or the head."""
        check_choice("activation", self.activation, tuple(_ACTIVATIONS))
        _digest(self.head)
        self._tower()
        self._technical()

    @property
    def device_name(self) -> str:
        """Name of the tower's device; loads the tower."""
        return self._tower().device_name

    def parameters(self) -> dict[str, Any]:
        """Return name, revision, tower, the hash of the head, and every threshold."""
        return {
            "name": self.name,
            "revision": self.revision,
            "tower": self._tower().parameters(),
            "head_sha256": _digest(self.head),
            "activation": self.activation,
            "technical": self._technical().parameters(),
        }

    def measure(self, frames: NDArray[np.uint8]) -> FrameQuality:
        """Return the measures of one clip's frames, with their scores.

        Raises:
            ConfigError: The tower or the head cannot be loaded, or they do not match.
            TransientError: The hub does not answer.
        """
        measures = self._technical().measure(frames)
        layers = _layers(self.head, _digest(self.head))
        tower = self._tower()
        if tower.dimensions != layers[0][0].shape[1]:
            message = f"{self.head} takes {layers[0][0].shape[1]} inputs, and {self.model} gives "
            raise ConfigError(
                f"{message}{tower.dimensions}; use the tower that the head was trained on"
            )
        return replace(measures, aesthetic=self._score(tower.embed(frames), layers))

    def _score(
        self, vectors: NDArray[np.float32], layers: tuple[Layer, ...]
    ) -> NDArray[np.float64]:
        values = vectors.astype(np.float64)
        for number, (weight, bias) in enumerate(layers):
            values = values @ weight.T + bias
            if number < len(layers) - 1:
                values = _ACTIVATIONS[self.activation](values)
        scores: NDArray[np.float64] = values[:, 0]
        return scores

    def _tower(self) -> VisionTower:
        return VisionTower(
            self.model,
            self.model_revision,
            dtype=self.dtype,
            device=self.device,
            batch_size=self.batch_size,
        )

    def _technical(self) -> TechnicalQuality:
        try:
            return TechnicalQuality(**(self.technical or {}))
        except TypeError as error:
            known = ", ".join(asdict(TechnicalQuality()))
            message = f"technical={self.technical!r}: {error}; the parameters are {known}"
            raise ConfigError(message) from error


def _identity(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


def _relu(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(values, 0)


_ACTIVATIONS: Final = {"none": _identity, "relu": _relu}


def _digest(head: str) -> str:
    """Return the SHA-256 of the file.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return hashlib.sha256(Path(head).expanduser().read_bytes()).hexdigest()
    except OSError as error:
        message = f"cannot read the aesthetic head {head!r}: {error}; name a file of weights"
        raise ConfigError(message) from error


@lru_cache(maxsize=2)
def _layers(head: str, _bytes: str) -> tuple[Layer, ...]:
    """Return the head's layers, in order.

    Raises:
        ConfigError: The head is not a chain of linear layers with one output.
    """
    weights = _read(Path(head).expanduser())
    names = sorted(
        (name.removesuffix(".weight") for name in weights if name.endswith("weight")), key=_numbered
    )
    layers = tuple((_of(weights, name, "weight"), _of(weights, name, "bias")) for name in names)
    sizes = [weight.shape for weight, _ in layers if weight.ndim == 2]
    follows = all(one[0] == other[1] for one, other in pairwise(sizes))
    fits = all(bias.shape == weight.shape[:1] for weight, bias in layers)
    if not sizes or len(sizes) < len(layers) or not follows or not fits or sizes[-1][0] != 1:
        message = (
            f"{head} is not a chain of linear layers with one output; its weights have shapes "
        )
        shapes = ", ".join(f"{name} {value.shape}" for name, value in sorted(weights.items()))
        raise ConfigError(message + shapes)
    return layers


def _of(weights: Mapping[str, NDArray[np.float64]], name: str, kind: str) -> NDArray[np.float64]:
    """Return weight or bias of a layer; zeros for a missing bias."""
    prefix = "" if name == "weight" else f"{name}."
    if kind == "bias" and f"{prefix}bias" not in weights:
        return np.zeros(weights[f"{prefix}weight"].shape[0])
    return weights[f"{prefix}{kind}"]


def _numbered(name: str) -> list[int | str]:
    """Return a sort key that puts `layers.10` after `layers.9`."""
    return [int(part) if part.isdigit() else part for part in name.split(".")]


def _read(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read the arrays in a file without running any code in it.

    Raises:
        ConfigError: The file has no weights.
    """
    torch = import_models("torch")
    try:
        if path.suffix == ".safetensors":
            found = importlib.import_module("safetensors.torch").load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        return {name: value.double().numpy() for name, value in found.items()}
    except Exception as error:  # raised by torch, pickle or safetensors
        message = f"cannot read weights from {path} ({type(error).__name__}: {error})"
        raise ConfigError(message) from error
