"""All attributes of a component in a `defs.yaml`, checked together."""

import dataclasses
import itertools
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from pydantic import Field, create_model, field_validator, model_validator

from dagster_defs.attributes.batching import BatchingAttributes
from dagster_defs.attributes.clipping import ByShots, Stride, Whole
from dagster_defs.attributes.decoding import Decoding
from dagster_defs.attributes.derived import Definition, NearDuplicates
from dagster_defs.attributes.schedules import Backfill, Freshness, GarbageCollection
from dagster_defs.attributes.signatures import Signature
from dagster_defs.resources import ExtractionResource, WorkspaceFields, with_defaults
from frames_pipeline import ConfigError
from frames_pipeline.models.selection import Selection
from frames_pipeline.pipeline.kinds import DEFAULT, KINDS
from frames_pipeline.sources.suffixes import checked_suffixes
from frames_pipeline.text.addresses import without_secrets


def check_together(components: Sequence["ComponentAttributes"]) -> None:
    """Check that no two components of a code location share a name or a root.

    Raises:
        ConfigError: Two components share a name or a root.
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


def _of_kind(name: str) -> str:
    key = KINDS[name].asset.key
    return (
        f"Definitions by name. Each becomes an asset `{key}/<name>`; `{DEFAULT}` becomes `{key}`."
    )


if TYPE_CHECKING:

    class KindAttributes(dg.Model):
        """The class below as type checkers see it, with the present kinds."""

        embeddings: dict[str, Definition] = Field(default={})
        captions: dict[str, Definition] = Field(default={})

else:  # each kind of the registry gets a mapping
    KindAttributes = create_model(
        "KindAttributes",
        __base__=dg.Model,
        **{
            kind: (dict[str, Definition], Field(default={}, description=_of_kind(kind)))
            for kind in KINDS
        },
    )


class ComponentAttributes(KindAttributes, WorkspaceFields, dg.Resolvable):
    """Attributes of a component in a `defs.yaml`."""

    name: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Prefix for the names of assets, partitions, jobs and sensors: `cars/clips`, "
        "`cars_video_batch`, `cars_process_batch`. Components that share an instance "
        "need different names.",
    )
    batching: BatchingAttributes = Field(
        default=BatchingAttributes(), description="When new videos are sealed into a batch."
    )
    clipping: Whole | Stride | ByShots = Field(
        default=Stride(kind="fixed_stride"), description="How clips are chosen from videos."
    )
    signatures: dict[str, Signature] = Field(
        description="Your named signatures. Each becomes an asset `clip_frames/<name>`."
    )
    quality: dict[str, Definition] | Definition = Field(default={}, description=_of_kind("quality"))
    embedding: Definition | None = Field(
        default=None, description="Deprecated: write `embeddings: {default: …}`."
    )
    captioning: Definition | None = Field(
        default=None, description="Deprecated: write `captions: {default: …}`."
    )
    near_duplicates: NearDuplicates | None = Field(
        default=None, description="Settings for the asset `near_duplicates`, over all batches."
    )
    selection: dict[str, float | None] = Field(
        default={},
        description="Bounds on the quality measures: which clips the catalog marks to keep.",
    )
    backfill: Backfill | None = Field(
        default=None,
        description="Schedule for automatic backfill of missing and failed partitions.",
    )
    garbage_collection: GarbageCollection | None = Field(
        default=None,
        description="Schedule for deleting objects that no commit or manifest references.",
    )
    decoder: Decoding = Field(
        default=Decoding(), description="Default decoder. You can override it for a run."
    )
    extraction: dict[str, Any] = Field(
        default={},
        description="Defaults for the resource `extraction`. You can override them for a run.",
    )
    max_failed_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="Share of a batch's clips that may fail before the check `few_clips_failed` "
        "fails.",
    )

    freshness: Freshness | None = Field(
        default=None, description="Maximum age of the newest materialization of an asset."
    )
    owners: list[str] = Field(
        default=[], description="Owners of all assets: email addresses, or `team:name`."
    )
    tags: dict[str, str] = Field(default={}, description="Tags of all assets.")
    run_tags: dict[str, Any] = Field(
        default={},
        description="Tags of every run that decodes, for your run launcher: the resources in "
        "`dagster-ray/config` or `dagster-k8s/config`, for example "
        "(docs/operations/distributed.md).",
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

    @field_validator("extraction")
    @classmethod
    def _check_extraction(cls, settings: dict[str, Any]) -> dict[str, Any]:
        with_defaults(ExtractionResource, settings)
        return settings

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._warn_of_old_spellings()
        for kind, definitions in self.derived().items():
            for name, definition in definitions.items():
                self._check_definition(kind, name, definition)
        if self.near_duplicates is not None and self.compared is None:
            named = self.near_duplicates.embedding or DEFAULT
            message = f"near_duplicates.embedding: no embeddings {named!r} with a pool; set "
            raise ValueError(message + "pool: mean where they are defined")
        return self

    def _check_definition(self, kind: str, name: str, definition: Definition) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            message = f"{name!r} cannot name an asset and a file; use a-z, 0-9 and _"
            raise ValueError(message)
        if definition.signature not in self.signatures:
            message = f"{kind}.{name}.signature: no signature {definition.signature!r}; there are "
            raise ValueError(message + ", ".join(self.signatures))
        samples = self.signatures[definition.signature].signature().samples
        definition.check(KINDS[kind], name, samples=samples)

    def _warn_of_old_spellings(self) -> None:
        old = {"embedding": "embeddings", "captioning": "captions"}
        found = {name: new for name, new in old.items() if getattr(self, name) is not None}
        if isinstance(self.quality, Definition):
            found["quality"] = "quality"
        for name, new in found.items():
            message = f"`{name}: {{signature: …}}` in defs.yaml is `{new}: {{{DEFAULT}: …}}` now, "
            warnings.warn(message + "and goes with 0.3", DeprecationWarning, stacklevel=2)

    def derived(self) -> dict[str, dict[str, Definition]]:
        """Return the definitions by name, by kind of derived table.

        Raises:
            ConfigError: A definition is given in its old and its new spelling.
        """
        found: dict[str, dict[str, Definition]] = {}
        olds = {"embeddings": self.embedding, "captions": self.captioning}
        for kind in KINDS:
            given, old = getattr(self, kind), olds.get(kind)
            if isinstance(given, Definition):
                given = {DEFAULT: given}
            if old is not None and DEFAULT in given:
                message = f"{kind}.{DEFAULT} is given twice, in its old spelling, too; leave one"
                raise ConfigError(message)
            found[kind] = {**({DEFAULT: old} if old is not None else {}), **given}
        return found

    @property
    def compared(self) -> str | None:
        """Name of the embeddings that `near_duplicates` compares; `None` if there are none."""
        pooled = [name for name, one in self.derived()["embeddings"].items() if one.pool]
        asked = self.near_duplicates.embedding if self.near_duplicates else None
        if asked is None:
            asked = pooled[0] if len(pooled) == 1 else DEFAULT
        return asked if asked in pooled else None
