"""The classes that users configure, and their settings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from dagster_defs import FramesComponent
from dagster_defs.resources import DecoderResource, ExtractionResource, WorkspaceResource
from frames_pipeline.models.aesthetics import AestheticQuality
from frames_pipeline.models.endpoint_captioning import OpenAIVisionProvider
from frames_pipeline.models.local_captioning import TransformersCaptioner
from frames_pipeline.models.quality import TechnicalQuality
from frames_pipeline.models.selection import Selection
from frames_pipeline.models.vision import VisionTower


def models_in(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model, and every model that its fields are made of."""
    yield kind
    waiting = [field.annotation for field in kind.model_fields.values()]
    for annotation in waiting:
        waiting += get_args(annotation)
        if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
            yield from models_in(annotation)


def settings(kind: type) -> dict[str, Any]:
    """The settings of a model or provider by name, with their defaults."""
    if dataclasses.is_dataclass(kind):
        return {field.name: field.default for field in dataclasses.fields(kind)}
    assert issubclass(kind, BaseModel)
    return {name: field.default for name, field in kind.model_fields.items()}


CONFIGURED: list[type] = [
    *dict.fromkeys(models_in(FramesComponent)),
    *models_in(DecoderResource),
    ExtractionResource,
    WorkspaceResource,
    VisionTower,
    AestheticQuality,
    OpenAIVisionProvider,
    TransformersCaptioner,
    TechnicalQuality,
    Selection,
]
