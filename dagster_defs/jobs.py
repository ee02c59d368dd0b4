"""Jobs: process a batch, observe its videos again, retire it; and extract a few videos."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from pydantic import Field

from dagster_defs.metadata import of_frames
from dagster_defs.names import Names
from dagster_defs.progress import Progress
from dagster_defs.resources import (
    DecoderResource,
    ExtractionResource,
    WorkspaceResource,
    keys_of,
    resource_of,
)
from dagster_defs.retries import retrying_transients
from frames_pipeline import ConfigError, FrameExtractionSignature, clipping, pipeline
from frames_pipeline.text.addresses import without_secrets
from frames_pipeline.text.plain import fit_to_show

AssetJob: TypeAlias = UnresolvedAssetJobDefinition
"""Result of `define_asset_job`."""

PROCESS_BATCH = "process_batch"
OBSERVE_VIDEOS = "observe_videos"
EXTRACT_URIS = "extract_uris"
RETIRE_BATCH = "retire_batch"


def build_batch_job(
    names: Names, assets: Iterable[dg.AssetKey], *, tags: Mapping[str, Any] | None = None
) -> AssetJob:
    """Return the job that observes the videos of a batch, and makes everything else from them."""
    return dg.define_asset_job(
        names.of(PROCESS_BATCH),
        selection=dg.AssetSelection.assets(*assets),
        tags=tags,
        description="Makes every asset of one batch, from its videos to the catalog.",
    )


def build_observe_job(names: Names) -> AssetJob:
    """Return the job that only observes the videos of a batch."""
    return dg.define_asset_job(
        names.of(OBSERVE_VIDEOS),
        selection=dg.AssetSelection.assets(names.videos),
        description="Observes the videos of a batch again. Changed ones make its assets stale.",
    )


class Uris(dg.Config):
    """Videos by URI, and the frames to extract."""

    uris: list[str] = Field(
        min_length=1, description="Paths or URLs of video files: /a/b.mp4, s3://c/d.mp4."
    )
    signatures: dict[str, dict[str, Any]] = Field(
        default={"frames": {"target_fps": 2, "target_res": [224, 224]}},
        description="Frames to extract: signatures by name, as in `defs.yaml`.",
    )
    clip_len_s: float = Field(
        default=0, ge=0, description="Length of a clip in seconds; 0: one clip per video."
    )

    def check_uris(self) -> None:
        """Check that no URI is signed: Dagster stores a run's configuration, and shows it.

        Raises:
            ConfigError: A URI is signed.
        """
        for uri in self.uris:
            if "://" in uri and without_secrets(uri) != uri:
                message = f"{uri} is signed, and Dagster stores the run configuration. Give the "
                advice = "URL without the signature, and credentials as `source_secrets`"
                raise ConfigError(message + advice)

    def parsed_signatures(self) -> dict[str, FrameExtractionSignature]:
        """Return the signatures by name.

        Raises:
            ConfigError: A signature has an unknown field or a wrong value.
        """
        return {
            name: FrameExtractionSignature.from_mapping(values)
            for name, values in self.signatures.items()
        }

    def clipping(self) -> "clipping.Clipping":
        """Return the clipping of the videos."""
        if not self.clip_len_s:
            return clipping.WholeVideo()
        return clipping.FixedStride(self.clip_len_s, self.clip_len_s, 0)


def build_uris_job(
    names: Names, *, pool: str, tags: Mapping[str, Any] | None = None
) -> dg.JobDefinition:
    """Build a job for frames of a few videos outside any batch: type their URIs, and launch.

    Args:
        names: Names of the component.
        pool: The Dagster pool of the step.
        tags: Tags of its runs.
    """

    @dg.op(
        name=names.of("extract"),
        description="Extracts frames of these videos under `{root}/adhoc`. Finished work is not "
        "repeated.",
        pool=pool,
        required_resource_keys=keys_of(
            names, WorkspaceResource, DecoderResource, ExtractionResource
        ),
    )
    def extract(
        context: dg.OpExecutionContext,
        config: Uris,
    ) -> None:
        workspace = resource_of(context, names, WorkspaceResource)
        decoder = resource_of(context, names, DecoderResource)
        extraction = resource_of(context, names, ExtractionResource)
        with retrying_transients():
            progress = Progress(context.log)
            metadata = extract_listed(config, workspace, decoder, extraction, progress=progress)
        context.add_output_metadata(metadata)

    @dg.job(
        name=names.of(EXTRACT_URIS),
        tags=tags,
        description="Extracts frames of a few videos by their URIs, to try signatures. Look at the "
        "metadata of the run's output.",
    )
    def extract_some() -> None:
        extract()

    return extract_some


def extract_listed(
    config: Uris,
    workspace: WorkspaceResource,
    decoder: DecoderResource,
    extraction: ExtractionResource,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Extract frames of the listed videos, and return metadata by video and signature.

    Raises:
        ConfigError: A URI or a signature cannot be used.
        TransientError: A video or the store cannot be reached.
    """
    config.check_uris()
    signatures = config.parsed_signatures()
    reports = pipeline.extract_uris(
        config.uris,
        signatures.values(),
        workspace.root,
        clipping=config.clipping(),
        source_options=workspace.reach_source(),
        root_options=workspace.reach_root(),
        decoder=decoder.open(),
        limits=extraction.limits,
        workers=extraction.workers,
        progress=progress,
    )
    return {
        fit_to_show(f"{report.workspace.source.url} {name}: {entry}"): value
        for report in reports
        for name, signature in signatures.items()
        for entry, value in of_frames(report.frames[signature], report.workspace).items()
    }


class Retirement(dg.Config):
    """Handling of a retired batch's frames."""

    withdraw: bool = Field(
        default=False,
        description="Also withdraw its frames and delete its tables; `collect_garbage` then frees "
        "the space. Without this setting, everything stays readable.",
    )


def build_retire_job(names: Names) -> dg.JobDefinition:
    """Return the job that takes a batch out of use: choose its partition, and launch."""

    @dg.op(
        name=names.of("retire"),
        description="Marks the batch as retired, and removes its partition.",
        required_resource_keys=keys_of(names, WorkspaceResource),
    )
    def retire(context: dg.OpExecutionContext, config: Retirement) -> None:
        workspace = resource_of(context, names, WorkspaceResource)
        batch = context.partition_key
        with retrying_transients():
            clips = pipeline.retire_batch(batch, workspace.open(), withdraw=config.withdraw)
        context.instance.delete_dynamic_partition(names.of("video_batch"), batch)
        kept = f"{clips} stored clips withdrawn" if config.withdraw else "its frames are kept"
        context.log.info(f"{batch} is retired; {kept}")

    @dg.job(
        name=names.of(RETIRE_BATCH),
        partitions_def=names.partitions,
        description="Takes a batch out of use: it is no longer observed, and its partition is "
        "removed. Its videos stay sealed in it.",
    )
    def retire_one() -> None:
        retire()

    return retire_one
