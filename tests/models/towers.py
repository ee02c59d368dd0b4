"""Generated vision towers of a few thousand random weights, without downloads."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

_VISION = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}
_TEXT = {**_VISION, "vocab_size": 99}
_SQUARE = {"height": 32, "width": 32}
DIMENSIONS = {"clip": 16, "siglip": 32, "dinov2": 32}
"""Kinds of towers, and the length of their vectors."""


def make_tower(kind: str, folder: Path) -> Any:
    """Save a model of that kind in the layout of the hub; return the whole model."""
    torch = importlib.import_module("torch")
    transformers = importlib.import_module("transformers")
    torch.manual_seed(7)
    match kind:
        case "clip":
            config = transformers.CLIPConfig(
                text_config=_TEXT,
                vision_config={**_VISION, "projection_dim": 16},
                projection_dim=16,
            )
            model = transformers.CLIPModel(config)
            processor = transformers.CLIPImageProcessorPil(
                size={"shortest_edge": 32}, crop_size=_SQUARE
            )
        case "siglip":
            config = transformers.SiglipConfig(text_config=_TEXT, vision_config=_VISION)
            model = transformers.SiglipModel(config)
            processor = transformers.SiglipImageProcessorPil(size=_SQUARE)
        case "dinov2":
            sizes = {name: size for name, size in _VISION.items() if name != "intermediate_size"}
            model = transformers.Dinov2Model(transformers.Dinov2Config(**sizes, mlp_ratio=2))
            processor = transformers.BitImageProcessorPil(
                size={"shortest_edge": 32}, crop_size=_SQUARE
            )
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return model
