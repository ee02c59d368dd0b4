"""Attributes of a `defs.yaml`: the default decoder."""

from typing import Literal

import dagster as dg
from pydantic import Field

from dagster_defs.names import POOL, Names
from dagster_defs.resources import Auto, DecoderResource, Nvdec, Pyav
from frames_pipeline.decoding.backends import MIN_MEGAPIXELS


class Decoding(dg.Model, dg.Resolvable):
    """The default decoder of runs."""

    kind: Literal["pyav", "nvdec", "auto"] = Field(
        default="pyav", description="Decode on the CPU, on a GPU, or on a GPU if there is one."
    )
    gpu: int = Field(default=0, ge=0, description="Index of the GPU, as CUDA counts them.")
    threads: int = Field(
        default=1, ge=1, description="Maximum number of decoder threads per video, on the CPU."
    )
    min_megapixels: float = Field(
        default=MIN_MEGAPIXELS,
        ge=0,
        description="`auto` uses the CPU if fewer megapixels than this are to be decoded in a row "
        "(docs/operations/gpu.md).",
    )

    pool: str | None = Field(
        default=None,
        min_length=1,
        description="Dagster pool of the steps that decode. Default: `decode` on the CPU, `gpu_0` "
        "for GPU 0, after the component's name. Give several components one pool to limit them "
        "together.",
    )

    def pool_of(self, names: Names) -> str:
        """Return the Dagster pool of the steps that decode: one for the CPU, one per GPU."""
        return self.pool or names.of(POOL if self.kind == "pyav" else f"gpu_{self.gpu}")

    def resource(self) -> DecoderResource:
        """Return the decoder resource with these defaults."""
        match self.kind:
            case "pyav":
                return DecoderResource(backend=Pyav(threads=self.threads))
            case "nvdec":
                return DecoderResource(backend=Nvdec(gpu=self.gpu))
            case "auto":
                return DecoderResource(
                    backend=Auto(
                        gpu=self.gpu, threads=self.threads, min_megapixels=self.min_megapixels
                    )
                )
