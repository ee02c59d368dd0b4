"""The default decoder of runs, as a `defs.yaml` declares it."""

from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field, create_model

from dagster_defs.names import POOL, Names
from dagster_defs.resources import BACKENDS, DecoderResource
from frames_pipeline.decoding.backends import DECODERS

if TYPE_CHECKING:

    class BackendAttributes(dg.Model):
        """The kind of the decoder, and the settings of all backends."""

        kind: str = "pyav"
        gpu: int = 0

else:
    _SETTINGS: dict[str, Any] = {
        one.name: (
            type(one.default),
            Field(default=one.default, ge=one.minimum, description=one.meaning),
        )
        for backend in DECODERS.values()
        for one in backend.settings
    }
    BackendAttributes = create_model(
        "BackendAttributes",
        __base__=dg.Model,
        kind=(
            Literal[tuple(DECODERS)],
            Field(
                default="pyav",
                description="Decode on the CPU, on a GPU, or on a GPU where there is one.",
            ),
        ),
        **_SETTINGS,
    )


class Decoding(BackendAttributes, dg.Resolvable):
    """The default decoder of runs."""

    pool: str | None = Field(
        default=None,
        min_length=1,
        description="Dagster pool of the steps that decode. Default: `decode` on the CPU, `gpu_0` "
        "and so on on a GPU, after the component's name. Give several components one pool to "
        "limit them together.",
    )

    def pool_of(self, names: Names) -> str:
        """Return the Dagster pool of the steps that decode: one for the CPU, one per GPU."""
        uses_gpu = DECODERS[self.kind].uses_gpu
        return self.pool or names.of(f"gpu_{self.gpu}" if uses_gpu else POOL)

    def resource(self) -> DecoderResource:
        """Return the resource with this decoder as its default."""
        settings = {one.name: getattr(self, one.name) for one in DECODERS[self.kind].settings}
        return DecoderResource(backend=BACKENDS[self.kind](**settings))
