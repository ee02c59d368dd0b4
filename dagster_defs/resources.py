"""Resources: what a run may choose, turned into library objects."""

import os
from collections.abc import Mapping
from copy import copy
from typing import Annotated, Any, Literal, TypeVar

import dagster as dg
from pydantic import Field, create_model

from frames_pipeline import ConfigError, Decoder, Limits
from frames_pipeline.decoding.backends import MIN_MEGAPIXELS, PyavDecoder, open_auto, open_nvdec
from frames_pipeline.pipeline import Workspace
from frames_pipeline.sources.videos import SUFFIXES
from frames_pipeline.workers.local import Workers
from frames_pipeline.workers.ray import RayWorkers

R = TypeVar("R", bound=dg.ConfigurableResource[Any])


class WorkspaceResource(dg.ConfigurableResource[Workspace]):
    """Where videos are found, and where frames and tables are kept."""

    source: str = Field(description="Folder or fsspec URL of the videos.")
    root: str = Field(description="Folder or fsspec URL of batches, frames and tables.")
    source_options: dict[str, Any] = Field(
        default={}, description="What fsspec needs to reach the source: endpoint, profile."
    )
    root_options: dict[str, Any] = Field(
        default={}, description="What fsspec needs to reach the root."
    )
    source_secrets: dict[str, str] = Field(
        default={},
        description="Further options of the source, by the environment variable that has them.",
    )
    root_secrets: dict[str, str] = Field(
        default={},
        description="Further options of the root, by the environment variable that has them.",
    )

    suffixes: list[str] = Field(
        default=list(SUFFIXES),
        description="Suffixes of video files, in upper or lower case.",
    )
    follow_links: bool = Field(
        default=False, description="Follow symlinks that lead out of a local source."
    )

    def open(self) -> Workspace:
        """The workspace; nothing is touched yet."""
        return Workspace.at(
            self.source,
            self.root,
            source_options=self.reach_source(),
            root_options=self.reach_root(),
            suffixes=self.suffixes,
            follow_links=self.follow_links,
        )

    def reach_source(self) -> dict[str, Any]:
        """What fsspec needs to reach the source, secrets and all."""
        return self.source_options | _secrets(self.source_secrets)

    def reach_root(self) -> dict[str, Any]:
        """What fsspec needs to reach the root, secrets and all."""
        return self.root_options | _secrets(self.root_secrets)


class Pyav(dg.Config):
    """Decode on the CPU."""

    kind: Literal["pyav"] = "pyav"
    threads: int = Field(
        default=1, ge=1, description="Decoder threads per video; the clips run side by side."
    )


class Nvdec(dg.Config):
    """Decode on an NVIDIA GPU, or fail."""

    kind: Literal["nvdec"] = "nvdec"
    gpu: int = Field(default=0, ge=0, description="Which GPU, as CUDA counts them.")


class Auto(dg.Config):
    """Decode on a GPU what is large enough and can be, else on the CPU; the metadata say which."""

    kind: Literal["auto"] = "auto"
    gpu: int = Field(default=0, ge=0, description="Which GPU, where there is one.")
    threads: int = Field(
        default=1, ge=1, description="Decoder threads per video, where there is none."
    )
    min_megapixels: float = Field(
        default=MIN_MEGAPIXELS,
        ge=0,
        description="Megapixels to decode in a row below which the CPU is taken.",
    )


class DecoderResource(dg.ConfigurableResource[Decoder]):
    """What decodes. The one that really ran is in the metadata of every materialization."""

    backend: Annotated[Pyav | Nvdec | Auto, Field(discriminator="kind")] = Field(
        default=Pyav(), description="pyav, nvdec or auto."
    )

    def open(self) -> Decoder:
        """The decoder.

        Raises:
            DecoderUnavailableError: It cannot run here.
        """
        match self.backend:
            case Pyav(threads=threads):
                return PyavDecoder(threads)
            case Nvdec(gpu=gpu):
                return open_nvdec(gpu)
            case Auto(gpu=gpu, threads=threads, min_megapixels=least):
                return open_auto(gpu, threads=threads, min_megapixels=least)


class ExtractionResource(dg.ConfigurableResource[Workers]):
    """How much of a machine an extraction may take."""

    provider: Literal["node", "ray"] = Field(
        default="node",
        description="Where worker processes are: on the node of the run, or on all nodes of its "
        "Ray cluster, for a batch that is larger than a node.",
    )
    processes: int = Field(
        default=0, ge=0, description="Worker processes; 0: one per core that the run may use."
    )
    clip_timeout_s: float = Field(
        default=Workers().timeout_s,
        gt=0,
        description="Wall-clock seconds after which a clip is given up.",
    )
    clip_cpu_s: float = Field(
        default=Workers().cpu_s, ge=1, description="CPU seconds after which a clip is given up."
    )
    worker_memory_bytes: int = Field(
        default=Workers().memory_bytes,
        ge=0,
        description="Bytes of memory that a worker process may write to; 0: no limit.",
    )
    copies_bytes: int = Field(
        default=Workers().copies_bytes,
        ge=0,
        description="Bytes of remote videos that are kept on a node until its run ends, so that "
        "they are fetched once; 0: none.",
    )
    retry_failed: bool = Field(
        default=False, description="Try clips again that failed with the same bytes."
    )
    repair: bool = Field(
        default=False,
        description="Mend documents and tables of the batch, and extract clips with damaged frames "
        "again.",
    )
    max_file_bytes: int = Field(
        default=Limits().max_file_bytes, gt=0, description="Bytes of a source file."
    )
    max_pixels: int = Field(
        default=Limits().max_pixels, gt=0, description="Width times height of a frame."
    )
    max_frames: int = Field(
        default=Limits().max_frames, gt=0, description="Frames that a clip may give a signature."
    )
    max_clip_bytes: int = Field(
        default=Limits().max_clip_bytes, gt=0, description="Bytes of those frames."
    )

    max_packets: int = Field(
        default=Limits().max_packets, gt=0, description="Coded frames of one stream."
    )
    max_samples: int = Field(
        default=Limits().max_samples,
        gt=0,
        description="Samples of all tracks of an MP4 or MOV, repetitions by edits included.",
    )
    max_edits: int = Field(default=Limits().max_edits, gt=0, description="Edits of an MP4 or MOV.")
    max_fragments: int = Field(
        default=Limits().max_fragments, gt=0, description="Movie fragments of an MP4."
    )
    max_reuse: int = Field(
        default=Limits().max_reuse,
        gt=0,
        description="Bytes that samples refer to, as a multiple of the file's size.",
    )
    packet_memory: int = Field(
        default=Limits().packet_memory,
        ge=0,
        description="Bytes of packets held in memory; those of a larger stream are read again.",
    )

    @property
    def workers(self) -> Workers:
        """The worker processes."""
        kind = RayWorkers if self.provider == "ray" else Workers
        return kind(
            self.processes,
            timeout_s=self.clip_timeout_s,
            cpu_s=self.clip_cpu_s,
            memory_bytes=self.worker_memory_bytes,
            copies_bytes=self.copies_bytes,
        )

    @property
    def limits(self) -> Limits:
        """The limits of one source, and of one clip of it."""
        return Limits(
            max_file_bytes=self.max_file_bytes,
            max_pixels=self.max_pixels,
            max_frames=self.max_frames,
            max_clip_bytes=self.max_clip_bytes,
            max_packets=self.max_packets,
            max_samples=self.max_samples,
            max_edits=self.max_edits,
            max_fragments=self.max_fragments,
            max_reuse=self.max_reuse,
            packet_memory=self.packet_memory,
        )


def with_defaults(resource: type[R], values: Mapping[str, Any]) -> R:
    """A resource whose fields have these defaults, so that a run may override some of them alone.

    Dagster takes what a resource was made with for one value: a run that overrides a field of it
    must give all required ones, and gets the class's defaults for the others.

    Raises:
        ConfigError: There is no such field, or a value is not one of its own.
    """
    unknown = sorted(set(values) - set(resource.model_fields))
    if unknown:
        message = f"no such setting: {', '.join(unknown)}; there are "
        raise ConfigError(message + ", ".join(sorted(resource.model_fields)))
    fields = {}
    for name, value in values.items():
        field = copy(resource.model_fields[name])
        field.default = value
        fields[name] = (field.annotation, field)
    resource(**values)
    made: R = create_model(  # type: ignore[call-overload]
        resource.__name__, __base__=resource, __module__=resource.__module__, **fields
    )()
    return made


def _secrets(names: dict[str, str]) -> dict[str, str]:
    missing = sorted(variable for variable in names.values() if variable not in os.environ)
    if missing:
        message = f"no environment variable {', '.join(missing)}; set it where the run executes"
        raise ConfigError(message)
    return {option: os.environ[variable] for option, variable in names.items()}
