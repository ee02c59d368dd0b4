"""Attributes of a `defs.yaml`: tables that providers make from frames."""

import os
from typing import Any, Literal

import dagster as dg
from pydantic import Field, field_validator

from dagster_defs.attributes.schedules import checked_cron
from frames_pipeline import ConfigError
from frames_pipeline.models import Provider
from frames_pipeline.models.samples import DEFAULT_SAMPLES, check_samples
from frames_pipeline.pipeline.kinds import DerivedKind


class Definition(dg.Model, dg.Resolvable):
    """A provider, and the signature of its input frames."""

    signature: str = Field(description="Name of one of the signatures.")
    provider: str = Field(description="Name of the provider, or `module:Class` for your own.")
    parameters: dict[str, Any] = Field(default={}, description="The provider's parameters.")
    pool: Literal["mean"] | None = Field(
        default=None,
        description="Way to make one row per clip from the rows of its frames. For `embeddings`.",
    )
    api_key_variable: str | None = Field(
        default=None,
        description="Environment variable that holds the endpoint's key. For `captions`.",
    )

    def check(self, kind: DerivedKind[Any, Any], name: str, *, samples: str) -> None:
        """Check the definition for a kind.

        Args:
            kind: The kind.
            name: Name of the definition.
            samples: Samples of its signature.

        Raises:
            ConfigError: It has an attribute that the kind lacks, or its provider cannot be opened
                or takes other samples.
        """
        place = f"{kind.name}.{name}"
        if self.pool is not None and kind.pooled is None:
            message = f"{place}.pool: rows of {kind.name} cannot be pooled; leave it out"
            raise ConfigError(message)
        if self.api_key_variable is not None and not kind.asset.secret:
            message = f"{place}.api_key_variable: {kind.name} take no key; leave it out"
            raise ConfigError(message)
        self._check_samples(kind, place, samples)
        is_ours = ":" not in self.provider
        if is_ours and not kind.lacks(self.provider, self.parameters):
            self.open(kind, name)

    def _check_samples(self, kind: DerivedKind[Any, Any], place: str, samples: str) -> None:
        """Check that the provider takes the samples, without opening it.

        The library's providers take the default ones. Modules of the others are imported only where
        need be: loading stays quick, and captioners that run elsewhere need not be installed here.
        """
        is_opened_here = ":" in self.provider and kind.identifying is None
        if kind.provider_class is None or (samples in DEFAULT_SAMPLES and not is_opened_here):
            return
        found = kind.provider_class(self.provider)
        check_samples(place, found, name=self.provider, signature=self.signature, samples=samples)

    def open(self, kind: DerivedKind[Any, Any], name: str) -> Provider:
        """Return the provider, with its secret.

        Raises:
            ConfigError: It lacks a setting, or cannot be opened with these parameters.
        """
        if lacks := kind.lacks(self.provider, self.parameters):
            message = f"provider {self.provider!r} cannot run; set {kind.name}.{name}.{lacks}"
            raise ConfigError(message)
        secrets = {}
        if self.api_key_variable is not None:
            secrets[kind.asset.secret] = os.environ.get(self.api_key_variable)
        provider: Provider = kind.open(self.provider, **self.parameters, **secrets)
        return provider


class NearDuplicates(dg.Model, dg.Resolvable):
    """Near-duplicate clips of all batches."""

    embedding: str | None = Field(
        default=None,
        description="Name of the embeddings to compare; the only ones with a `pool` if you "
        "leave it out.",
    )
    min_similarity: float = Field(
        default=0.95, gt=0, le=1, description="Minimum cosine similarity of near-duplicates."
    )
    cron: str | None = Field(
        default=None,
        description="Run the schedule `find_near_duplicates` at these times, in UTC: '0 5 * * *' "
        "is every night at five.",
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str | None) -> str | None:
        return cron and checked_cron(cron)
