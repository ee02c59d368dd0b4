"""Resources: options of a run, turned into library objects."""

import os
from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, TypeVar, Union

import dagster as dg
from pydantic import BaseModel, Field, create_model

from dagster_defs.names import Names
from frames_pipeline import ConfigError, Decoder, Limits, pipeline
from frames_pipeline.decoding.backends import DECODERS
from frames_pipeline.decoding.backends.base import Backend
from frames_pipeline.sources.suffixes import SUFFIXES
from frames_pipeline.workers.local import Workers
from frames_pipeline.workers.ray import RayWorkers

Compression = Literal["zstd", "jpegxl", "none"]
"""Names in `COMPRESSIONS`."""

R = TypeVar("R", bound=dg.ConfigurableResource[Any])


class HasResources(Protocol):
    """A Dagster context of an asset, a check, an op or a sensor."""

    @property
    def resources(self) -> Any:  # noqa: ANN401
        """The resources of the step or tick, as attributes."""


class WorkspaceFields(BaseModel):
    """Where videos are read, and where frames and tables are written."""

    source: str = Field(description="Folder or fsspec URL of your videos.")
    root: str = Field(description="Folder or fsspec URL for your batches, frames and tables.")
    source_options: dict[str, Any] = Field(
        default={},
        description="fsspec options for the source, such as `endpoint_url` or `profile`. The UI "
        "shows them, so keep secrets out.",
    )
    root_options: dict[str, Any] = Field(
        default={},
        description="fsspec options for the root. The UI shows them, so keep secrets out.",
    )
    source_secrets: dict[str, str] = Field(
        default={},
        description="fsspec options for the source, read from the environment when a step runs: "
        "`{option: VARIABLE}`.",
    )
    root_secrets: dict[str, str] = Field(
        default={},
        description="fsspec options for the root, read from the environment when a step runs: "
        "`{option: VARIABLE}`.",
    )
    suffixes: list[str] = Field(
        default=list(SUFFIXES),
        description="Suffixes of video files, in upper or lower case.",
    )
    follow_links: bool = Field(
        default=False, description="Follow links that lead out of a local source."
    )
    compression: Compression = Field(
        default="zstd",
        description="Lossless compression of new frames: `zstd`; `jpegxl`, with about half the "
        "bytes, slower to read, which needs the extra `encodings`; or `none`. The frames and their "
        "data version are the same (docs/reference/store.md#compression).",
    )


class WorkspaceResource(WorkspaceFields, dg.ConfigurableResource[Any]):
    """Source of the videos, and root of frames and tables."""

    def open(self) -> "pipeline.Workspace":
        """Return the workspace; read nothing yet."""
        return pipeline.Workspace.at(
            self.source,
            self.root,
            source_options=self.reach_source(),
            root_options=self.reach_root(),
            suffixes=self.suffixes,
            follow_links=self.follow_links,
            compression=self.compression,
        )

    def reach_source(self) -> dict[str, Any]:
        """Return the fsspec options of the source, with secrets."""
        return self.source_options | _secrets(self.source_secrets)

    def reach_root(self) -> dict[str, Any]:
        """Return the fsspec options of the root, with secrets."""
        return self.root_options | _secrets(self.root_secrets)


def _config_of(backend: Backend) -> type[dg.Config]:
    """Return the run config of a backend: its `kind` and its settings."""
    fields: dict[str, Any] = {"kind": (Literal[backend.name], backend.name)}
    for one in backend.settings:
        field = Field(default=one.default, ge=one.minimum, description=one.meaning)
        fields[one.name] = (type(one.default), field)
    return create_model(
        backend.name.capitalize(), __base__=dg.Config, __doc__=backend.summary, **fields
    )


BACKENDS: Mapping[str, type[dg.Config]] = {
    name: _config_of(backend) for name, backend in DECODERS.items()
}
"""Run configs of the backends, by name."""
if TYPE_CHECKING:
    AnyBackend = dg.Config
else:
    AnyBackend = Annotated[Union[tuple(BACKENDS.values())], Field(discriminator="kind")]  # noqa: UP007 - their number may change


class DecoderResource(dg.ConfigurableResource[Any]):
    """The decoder. The metadata of every materialization name the one that ran."""

    backend: AnyBackend = Field(
        default=BACKENDS["pyav"](),
        description=f"One of {', '.join(f'`{name}`' for name in DECODERS)}, with its settings.",
    )

    def open(self) -> Decoder:
        """Return the decoder.

        Raises:
            DecoderUnavailableError: It cannot run on this machine.
        """
        settings = self.backend.model_dump()
        return DECODERS[settings.pop("kind")](**settings)


class ExtractionResource(dg.ConfigurableResource[Any]):
    """Processes and resource limits of an extraction."""

    provider: Literal["node", "ray"] = Field(
        default="node",
        description="Where worker processes run: on the `node` of the run, or with `ray` on all "
        "nodes of its Ray cluster "
        "(docs/operations/distributed.md#spread-one-batch-over-several-nodes).",
    )
    processes: int = Field(
        default=0,
        ge=0,
        description="Number of worker processes; 0: one per core that the run may use.",
    )
    clip_timeout_s: float = Field(
        default=Workers().timeout_s,
        gt=0,
        description="Wall-clock limit for a clip, in seconds.",
    )
    clip_cpu_s: float = Field(
        default=Workers().cpu_s,
        ge=1,
        description="Processor-time limit for a clip over all its threads, in seconds.",
    )
    worker_memory_bytes: int = Field(
        default=Workers().memory_bytes,
        ge=0,
        description="Bytes that a worker process may write to; 0: no limit "
        "(docs/operations/security.md).",
    )
    copies_bytes: int = Field(
        default=Workers().copies_bytes,
        ge=0,
        description="Bytes of remote videos to keep on a node until the run ends, so that each is "
        "fetched once; 0: none. Never more than half of the free space in `TMPDIR`. "
        "Files that are being read come on top.",
    )
    retry_failed: bool = Field(
        default=False, description="Try clips and videos again that failed with the same bytes."
    )
    repair: bool = Field(
        default=False,
        description="Mend documents and tables of the batch (docs/reference/store.md#repairing), "
        "read every stored object, and extract clips again if a commit or object is "
        "missing, cut short or changed.",
    )
    max_file_bytes: int = Field(
        default=Limits().max_file_bytes, gt=0, description="Maximum size of a source file."
    )
    max_pixels: int = Field(
        default=Limits().max_pixels,
        gt=0,
        description="Maximum width times height of a frame: 8192 x 8192 by default.",
    )
    max_frames: int = Field(
        default=Limits().max_frames,
        gt=0,
        description="Maximum number of frames that one signature may ask of a clip.",
    )
    max_clip_bytes: int = Field(
        default=Limits().max_clip_bytes,
        gt=0,
        description="Maximum bytes of those frames. By default this leaves a worker 1 GiB to "
        "decode with.",
    )

    max_packets: int = Field(
        default=Limits().max_packets,
        gt=0,
        description="Maximum number of coded frames in one stream. The default is 46 hours at 30 "
        "frames per second.",
    )
    max_samples: int = Field(
        default=Limits().max_samples,
        gt=0,
        description="Maximum number of samples in all tracks of an MP4 or MOV, counting repeats "
        "by edits. The default is 46 hours of video with two tracks of sound.",
    )
    max_edits: int = Field(
        default=Limits().max_edits, gt=0, description="Maximum number of edits in an MP4 or MOV."
    )
    max_fragments: int = Field(
        default=Limits().max_fragments,
        gt=0,
        description="Maximum number of movie fragments in an MP4. The default is 46 hours at "
        "three per second.",
    )
    max_reuse: int = Field(
        default=Limits().max_reuse,
        gt=0,
        description="Maximum bytes that samples refer to, as a multiple of the file's size "
        "(docs/operations/security.md#declared-sizes).",
    )
    packet_memory: int = Field(
        default=Limits().packet_memory,
        ge=0,
        description="Bytes of packets to hold in memory. Packets of a larger stream are read "
        "again.",
    )

    @property
    def workers(self) -> Workers:
        """Return the worker processes."""
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
        """Return the limits of one source and one clip of it."""
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


KEYS: Mapping[type[dg.ConfigurableResource[Any]], str] = {
    WorkspaceResource: "workspace",
    DecoderResource: "decoder",
    ExtractionResource: "extraction",
}
"""Keys of the resources of a component without a name."""


def keys_of(names: Names, *kinds: type[dg.ConfigurableResource[Any]]) -> set[str]:
    """Return the keys of a component's resources, for `required_resource_keys`."""
    return {names.of(KEYS[kind]) for kind in kinds}


def resource_of(context: HasResources, names: Names, kind: type[R]) -> R:
    """Return a component's resource from the context of a step or tick.

    A parameter with a resource's type would take its key from the parameter's name, which all
    components of a code location would share.
    """
    found: R = getattr(context.resources, names.of(KEYS[kind]))
    return found


def with_defaults(resource: type[R], values: Mapping[str, Any]) -> R:
    """Return a resource with these defaults, of which a run can override single fields.

    Dagster treats the values of a resource as one: a run that overrides a field must give all
    required ones, and gets the class's defaults for the others.

    Raises:
        ConfigError: A field is unknown, or a value is not allowed.
    """
    unknown = sorted(set(values) - set(resource.model_fields))
    if unknown:
        message = f"no such setting: {', '.join(unknown)}; there are "
        raise ConfigError(message + ", ".join(sorted(resource.model_fields)))
    if not values:
        return resource()
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
