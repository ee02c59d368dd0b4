"""All attributes of a component in a `defs.yaml`, checked together."""

import dataclasses
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, Self

import dagster as dg
from pydantic import Field, field_validator, model_validator

from dagster_defs.attributes.batching import BatchingAttributes
from dagster_defs.attributes.clipping import ByShots, Stride, Whole
from dagster_defs.attributes.decoding import Decoding
from dagster_defs.attributes.models import Captioning, Embedding, Model, NearDuplicates
from dagster_defs.attributes.schedules import Backfill, Freshness, GarbageCollection
from dagster_defs.attributes.signatures import Signature
from dagster_defs.resources import ExtractionResource, with_defaults
from frames_pipeline import ConfigError
from frames_pipeline.models.selection import Selection
from frames_pipeline.sources.videos import SUFFIXES, checked_suffixes
from frames_pipeline.text.addresses import without_secrets


def check_together(components: Sequence["ComponentAttributes"]) -> None:
    """Check that no two components of a code location share a name or a root.

    Raises:
        ConfigError: Two do.
    """
    for one, other in itertools.combinations(components, 2):
        sources = f"the sources {without_secrets(one.source)} and {without_secrets(other.source)}"
        if one.name == other.name:
            found = f"have the name {one.name!r}" if one.name else "have no `name`"
            message = f"two components, with {sources}, {found}; give one of them another `name` "
            raise ConfigError(message + "in its defs.yaml")
        if one.root.rstrip("/") == other.root.rstrip("/"):
            message = f"two components, with {sources}, have the root {without_secrets(one.root)}; "
            raise ConfigError(message + "give one of them another `root` in its defs.yaml")


class ComponentAttributes(dg.Model, dg.Resolvable):
    """What a `defs.yaml` may say of a component."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Put before the names of assets, groups, partitions, jobs, sensors, schedules, "
        "resources and pools. Give each component its own, to have several in a code location or "
        "an instance.",
    )
    source: str = Field(description="Folder or fsspec URL of the videos.")
    root: str = Field(description="Folder or fsspec URL of batches, frames and tables.")
    source_options: dict[str, Any] = Field(
        default={}, description="What fsspec needs to reach the source, without secrets."
    )
    root_options: dict[str, Any] = Field(
        default={}, description="What fsspec needs to reach the root, without secrets."
    )
    source_secrets: dict[str, str] = Field(
        default={}, description="Further options, by the environment variable that has them."
    )
    root_secrets: dict[str, str] = Field(
        default={}, description="Further options, by the environment variable that has them."
    )
    suffixes: list[str] = Field(
        default=list(SUFFIXES),
        description="Suffixes of video files, in upper or lower case.",
    )
    follow_links: bool = Field(
        default=False, description="Follow symlinks that lead out of a local source."
    )
    batching: BatchingAttributes = Field(
        default=BatchingAttributes(), description="When found videos become a batch."
    )
    clipping: Whole | Stride | ByShots = Field(
        default=Stride(kind="fixed_stride"), description="How videos are cut into clips."
    )
    signatures: dict[str, Signature] = Field(
        description="Named signatures: each is an asset `clip_frames/<name>`."
    )
    embedding: Embedding | None = Field(default=None, description="What makes `frame_embeddings`.")
    embeddings: dict[str, Embedding] = Field(
        default={}, description="Further ones by name: each is an asset `frame_embeddings/<name>`."
    )
    near_duplicates: NearDuplicates | None = Field(
        default=None, description="What makes `near_duplicates`, out of clips' vectors."
    )
    quality: Model | None = Field(default=None, description="What makes `frame_quality`.")
    captioning: Captioning | None = Field(default=None, description="What makes `clip_captions`.")
    captions: dict[str, Captioning] = Field(
        default={}, description="Further ones by name: each is an asset `clip_captions/<name>`."
    )
    selection: dict[str, float | None] = Field(
        default={},
        description="Which clips the catalog says to keep: bounds of what `quality` measured.",
    )
    backfill: Backfill | None = Field(
        default=None, description="When what is missing or failed is made by itself."
    )
    garbage_collection: GarbageCollection | None = Field(
        default=None, description="When what nobody names any more is deleted by itself."
    )
    decoder: Decoding = Field(
        default=Decoding(), description="What decodes, unless a run says otherwise."
    )
    extraction: dict[str, Any] = Field(
        default={},
        description="Processes, limits and the like, unless a run says otherwise: settings of "
        "the resource `extraction`.",
    )
    max_failed_share: float = Field(
        default=0.5, ge=0, le=1, description="Share of clips that may fail before a batch does."
    )

    freshness: Freshness | None = Field(
        default=None, description="How old the newest materialization of an asset may be."
    )
    owners: list[str] = Field(
        default=[], description="Of all assets: mail addresses, or `team:name`."
    )
    tags: dict[str, str] = Field(default={}, description="Of all assets, by name.")
    run_tags: dict[str, Any] = Field(
        default={},
        description="Of every run that decodes, by name: what the instance's run launcher reads, "
        "as `dagster-ray/config` or `dagster-k8s/config`.",
    )

    @field_validator("selection")
    @classmethod
    def _check_selection(cls, bounds: dict[str, float | None]) -> dict[str, float | None]:
        known = [field.name for field in dataclasses.fields(Selection)]
        if unknown := sorted(set(bounds) - set(known)):
            message = f"no such bound: {', '.join(unknown)}; there are {', '.join(known)}"
            raise ValueError(message)
        Selection(**bounds)
        return bounds

    @field_validator("suffixes")
    @classmethod
    def _check_suffixes(cls, suffixes: list[str]) -> list[str]:
        return list(checked_suffixes(suffixes))

    @field_validator("embeddings", "captions")
    @classmethod
    def _check_names(cls, models: dict[str, Model]) -> dict[str, Model]:
        for name in models:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                message = f"{name!r} cannot name an asset and a file; use a-z, 0-9 and _"
                raise ValueError(message)
        return models

    @field_validator("extraction")
    @classmethod
    def _check_extraction(cls, settings: dict[str, Any]) -> dict[str, Any]:
        with_defaults(ExtractionResource, settings)
        return settings

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, model in self.models():
            if model.signature not in self.signatures:
                message = f"{field}.signature: no signature {model.signature!r}; there are "
                raise ValueError(message + ", ".join(self.signatures))
        if self.near_duplicates is not None:
            named = self.near_duplicates.embedding or ""
            pooled = [
                name for name, model in self.all_embeddings().items() if model.pool is not None
            ]
            if named not in pooled:
                message = f"near_duplicates.embedding: no embedding {named!r} has a pool; set "
                raise ValueError(message + "pool: mean where it is defined")
        return self

    def all_embeddings(self) -> dict[str, Embedding]:
        """Embeddings by name; that without a name has an empty one."""
        return {**({"": self.embedding} if self.embedding else {}), **self.embeddings}

    def all_captions(self) -> dict[str, Captioning]:
        """Captions by name; that without a name has an empty one."""
        return {**({"": self.captioning} if self.captioning else {}), **self.captions}

    def models(self) -> Iterator[tuple[str, Model]]:
        """Whatever is made from frames, with what it is called in a `defs.yaml`."""
        yield from (
            (f"embeddings.{n}" if n else "embedding", m) for n, m in self.all_embeddings().items()
        )
        yield from (
            (f"captions.{n}" if n else "captioning", m) for n, m in self.all_captions().items()
        )
        if self.quality is not None:
            yield "quality", self.quality
