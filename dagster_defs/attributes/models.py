"""Models and measures of frames, as a `defs.yaml` says them."""

import os
from typing import Any, Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

from dagster_defs.attributes.schedules import checked_cron
from frames_pipeline import ConfigError
from frames_pipeline.models.captioning import (
    CAPTION_PROVIDERS,
    CaptionProvider,
    identifying,
    open_caption_provider,
)


class Model(dg.Model, dg.Resolvable):
    """A provider, and the named signature whose frames it is given."""

    signature: str = Field(description="Name of one of the signatures.")
    provider: str = Field(description="Name of the provider, or `module:Class` of your own.")
    parameters: dict[str, Any] = Field(default={}, description="The provider's parameters.")


class Embedding(Model):
    """What makes vectors of frames, and whether of clips, too."""

    pool: Literal["mean"] | None = Field(
        default=None, description="How the vectors of a clip's frames become one, if they do."
    )


class NearDuplicates(dg.Model, dg.Resolvable):
    """Clips that are nearly the same, over all batches."""

    embedding: str | None = Field(
        default=None, description="Name of the embeddings to compare; none: those of `embedding`."
    )
    min_similarity: float = Field(
        default=0.95, gt=0, le=1, description="The least cosine of what is nearly the same."
    )
    cron: str | None = Field(
        default=None, description="When they are looked for by themselves, in UTC: '0 5 * * *'."
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str | None) -> str | None:
        return cron and checked_cron(cron)


class Captioning(Model):
    """A vision model behind an OpenAI-compatible endpoint, a local one, or one of your own."""

    api_key_variable: str | None = Field(
        default=None, description="Environment variable that holds the endpoint's key."
    )

    @property
    def lacks_endpoint(self) -> bool:
        """Whether nobody said yet where the endpoint is."""
        return self.provider == "openai" and not self.parameters.get("base_url")

    def open(self) -> CaptionProvider:
        """The provider, with its secret.

        Raises:
            ConfigError: No endpoint is set.
        """
        parameters = dict(self.parameters)
        if self.lacks_endpoint:
            message = "no captioning endpoint: set captioning.parameters.base_url in defs.yaml, "
            message += "or FRAMES_CAPTION_URL, to the root of an OpenAI-compatible API"
            raise ConfigError(message)
        if self.api_key_variable is not None:
            parameters["api_key"] = os.environ.get(self.api_key_variable)
        return open_caption_provider(self.provider, **parameters)

    @property
    def identifying(self) -> dict[str, Any]:
        """The parameters that decide what is said, whoever says it and however fast."""
        return identifying(self.provider, self.parameters)

    @model_validator(mode="after")
    def _check(self) -> "Captioning":
        if self.provider in CAPTION_PROVIDERS and not self.lacks_endpoint:
            self.open()
        return self
