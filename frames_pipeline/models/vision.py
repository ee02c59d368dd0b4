"""Embeddings from the vision towers of CLIP, SigLIP and DINO of the Hugging Face hub.

torch and transformers belong to the extra `models` and are imported when frames are embedded.
Loading a code location that only names a provider needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.models import check_choice, check_frames, check_whole
from frames_pipeline.models.pretrained import (
    Device,
    Precision,
    Pretrained,
    check_precision,
    device_name,
    device_of,
    import_models,
)

if TYPE_CHECKING:
    import torch

TOWERS: Final[Mapping[str, tuple[str, str]]] = {
    "clip": ("CLIPVisionModelWithProjection", "image_embeds"),
    "clip_vision_model": ("CLIPVisionModelWithProjection", "image_embeds"),
    "siglip": ("SiglipVisionModel", "pooler_output"),
    "siglip_vision_model": ("SiglipVisionModel", "pooler_output"),
    "siglip2": ("Siglip2VisionModel", "pooler_output"),
    "siglip2_vision_model": ("Siglip2VisionModel", "pooler_output"),
    "dinov2": ("Dinov2Model", "pooler_output"),
    "dinov2_with_registers": ("Dinov2WithRegistersModel", "pooler_output"),
    "dinov3_vit": ("DINOv3ViTModel", "pooler_output"),
}
"""Class and output of the embedding, by kind of model: for CLIP and SigLIP the output that is
compared with texts, for DINO the class token."""


@dataclass(frozen=True, slots=True)
class VisionTower:
    """A vision tower. Its vectors are scaled to unit length.

    Frames go through the model's own image processor, which resizes and crops frames of another
    size. With a signature of the model's size (preset `clip`), it changes only the range of values.
    The processor is always the one that needs only Pillow.

    A frame's vector may differ in its last bits with the other frames of its batch, the number of
    threads and the device, as matrix products do.
    """

    name: ClassVar[str] = "transformers"
    revision: ClassVar[int] = 1

    model: str
    """Id on the hub, such as `openai/clip-vit-base-patch32`, or the path of a folder."""
    model_revision: str | None = None
    """Commit on the hub, 40 hex digits; `None` for a folder, which is identified by its bytes."""
    dtype: Precision = "float32"
    """Precision of weights and computation; `float16` needs a GPU."""
    device: Device = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU if torch finds one."""
    batch_size: int = 32
    """Frames per forward pass."""

    def __post_init__(self) -> None:
        """Check every parameter without loading the model."""
        check_whole("batch_size", self.batch_size, smallest=1)
        check_choice("dtype", self.dtype, get_args(Precision))
        check_choice("device", self.device, get_args(Device))
        check_precision(self.dtype, self.device)
        self._pretrained()

    @property
    def dimensions(self) -> int:
        """Number of dimensions of the vectors; loads the model."""
        return self._load().dimensions

    @property
    def device_name(self) -> str:
        """Name of the device; loads the model."""
        return device_name(self._load().device)

    def parameters(self) -> dict[str, Any]:
        """Return name, revision, weights and precision. Device and batch size are left out."""
        weights = self._pretrained().identity()
        return {"name": self.name, "revision": self.revision, **weights, "dtype": self.dtype}

    def embed(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return one unit vector per frame.

        Raises:
            ConfigError: The model cannot be loaded, or its values overflow in this precision.
            TransientError: The hub does not answer.
        """
        check_frames(frames)
        loaded = self._load()
        vectors = np.empty((len(frames), loaded.dimensions), np.float32)
        for start in range(0, len(frames), self.batch_size):
            part = slice(start, start + self.batch_size)
            vectors[part] = self._unit(loaded.forward(frames[part]))
        return vectors

    def _unit(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        lengths: NDArray[np.float64] = np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
        if not np.isfinite(lengths).all() or not lengths.all():
            message = f"{self.model} gives no finite vectors in {self.dtype}; choose float32"
            raise ConfigError(message)
        return vectors / lengths

    def _pretrained(self) -> Pretrained:
        return Pretrained(self.model, self.model_revision)

    def _load(self) -> _Loaded:
        model = self._pretrained()
        identity = tuple(model.identity().items())
        return _loaded(model, identity, self.dtype, device_of(self.device))


@dataclass(frozen=True, eq=False)
class _Loaded:
    """A loaded model."""

    processor: Any
    tower: torch.nn.Module
    output: str
    dtype: torch.dtype
    device: Literal["cpu", "cuda"]

    @cached_property
    def dimensions(self) -> int:
        """Length of the vectors, from a blank frame."""
        blank = np.zeros((1, 224, 224, 3), np.uint8)
        return int(self.forward(blank).shape[1])

    def forward(self, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the output for each frame. Shape (n, dimensions)."""
        torch = import_models("torch")
        inputs = self.processor(
            images=list(frames), return_tensors="pt", input_data_format="channels_last"
        )
        with torch.inference_mode():
            found = self.tower(**inputs.to(self.device, self.dtype))
        vectors: NDArray[np.float64] = getattr(found, self.output).double().cpu().numpy()
        return vectors


@lru_cache(maxsize=2)
def _loaded(
    pretrained: Pretrained,
    _identity: tuple[tuple[str, str], ...],
    dtype: Precision,
    device: Literal["cpu", "cuda"],
) -> _Loaded:
    """Load a model, once per process while its files stay the same.

    Raises:
        ConfigError: It is not a supported vision tower, or lacks weights.
    """
    torch, transformers = import_models("torch"), import_models("transformers")
    check_precision(dtype, device)
    kind = pretrained.load(transformers.AutoConfig).model_type
    if kind not in TOWERS:
        message = (
            f"{pretrained.model} is a {kind!r}, which is not a supported vision tower; choose "
        )
        message += (
            f"one of {', '.join(sorted(TOWERS))}, or write a provider (docs/guides/own-models.md)"
        )
        raise ConfigError(message)
    architecture, output = TOWERS[kind]
    tower = pretrained.load_weights(
        getattr(transformers, architecture), dtype=getattr(torch, dtype)
    )
    return _Loaded(
        pretrained.load(transformers.AutoImageProcessor, backend="pil"),
        tower.eval().to(device),
        output,
        getattr(torch, dtype),
        device,
    )
