"""FramesComponent: what a `defs.yaml` says, as assets, checks, a sensor and a job.

Declare here what decides an asset's identity: sources, clipping, signatures, models. The choices of
a run (decoder, limits, workers) are the resources' defaults, which the launchpad can override.
"""

import dataclasses
import datetime as dt
import inspect
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import dagster as dg
from pydantic import Field, field_validator, model_validator

from dagster_defs.assets.captions import build_captions
from dagster_defs.assets.catalog import build_catalog
from dagster_defs.assets.clips import build_clips
from dagster_defs.assets.embeddings import (
    build_clip_embeddings,
    build_embeddings,
    build_near_duplicates,
)
from dagster_defs.assets.frames import POOL, build_frames
from dagster_defs.assets.quality import build_quality
from dagster_defs.assets.videos import build_videos
from dagster_defs.automation import build_backfill_sensor, build_duplicates_schedule
from dagster_defs.checks import build_checks
from dagster_defs.garbage import GRACE_HOURS, build_garbage_job, build_garbage_schedule
from dagster_defs.jobs import (
    AssetJob,
    build_batch_job,
    build_observe_job,
    build_retire_job,
    build_uris_job,
)
from dagster_defs.names import Names
from dagster_defs.resources import (
    Auto,
    DecoderResource,
    ExtractionResource,
    Nvdec,
    Pyav,
    WorkspaceResource,
    with_defaults,
)
from dagster_defs.sensors import build_batch_sensor
from dagster_defs.traces import build_trace_job
from frames_pipeline import ConfigError, FrameExtractionSignature
from frames_pipeline.clipping import Clipping, FixedStride, Shots, WholeVideo
from frames_pipeline.clipping.detectors import DETECTORS
from frames_pipeline.clipping.shot_rules import ShotRules
from frames_pipeline.decoding.backends import MIN_MEGAPIXELS
from frames_pipeline.io.objects import check_location
from frames_pipeline.models.captioning import (
    CAPTION_PROVIDERS,
    CaptionProvider,
    identifying,
    open_caption_provider,
)
from frames_pipeline.models.embedding import open_embedding_provider
from frames_pipeline.models.quality import open_quality_provider
from frames_pipeline.models.selection import Selection
from frames_pipeline.sources.batches import Batching
from frames_pipeline.sources.videos import SUFFIXES, checked_suffixes


class Whole(dg.Model, dg.Resolvable):
    """One clip per video."""

    kind: Literal["whole"]

    def clipping(self) -> Clipping:
        """The way of clipping."""
        return WholeVideo()


class Stride(dg.Model, dg.Resolvable):
    """A clip at every stride."""

    kind: Literal["fixed_stride"]
    clip_len_s: float = Field(default=10, description="Length of a clip, in seconds.")
    clip_stride_s: float = Field(
        default=10, description="Seconds from the start of one clip to the start of the next."
    )
    min_clip_length_s: float = Field(
        default=2,
        description="Minimum seconds of the last clips of a video. Shorter ones are dropped.",
    )
    limit_clips: int = Field(default=0, description="Maximum number of clips per video; 0: all.")

    def clipping(self) -> Clipping:
        """The way of clipping."""
        return FixedStride(
            self.clip_len_s, self.clip_stride_s, self.min_clip_length_s, self.limit_clips
        )

    @model_validator(mode="after")
    def _check(self) -> "Stride":
        self.clipping()
        return self


class ByShots(dg.Model, dg.Resolvable):
    """A clip for every shot, or several for a long one. Decodes every frame once."""

    kind: Literal["shots"]
    detector: Literal["transnetv2", "pyscenedetect"] = Field(
        default="transnetv2",
        description="A network that finds cuts, dissolves and fades, or PySceneDetect's adaptive "
        "detector, which finds cuts. Both need the extra `shots`.",
    )
    threshold: float | None = Field(
        default=None,
        description="`transnetv2`: probability above which a frame is a transition; 0.4 if you "
        "leave it out. `pyscenedetect`: ratio of a cut's change to the change around "
        "it; 3 if you leave it out.",
    )
    refine: bool = Field(
        default=True,
        description="`transnetv2`: also use the network's second output, colours and black frames "
        "where the first output is unsure. With `false`, the threshold alone decides.",
    )
    min_length_s: float = Field(
        default=2,
        description="Minimum seconds of a clip after cropping. Shorter ones are dropped; 0: keep "
        "all.",
    )
    max_length_s: float = Field(
        default=10,
        description="Maximum seconds of a clip before cropping; 0: no maximum. `max_length_mode` "
        "says what happens to longer shots.",
    )
    max_length_mode: Literal["stride", "truncate"] = Field(
        default="stride",
        description="Divide a longer shot into consecutive clips, or keep only its start.",
    )
    crop_s: float = Field(
        default=0.5, description="Seconds to take off at both ends of every clip."
    )
    entire_scene_as_clip: bool = Field(
        default=True,
        description="Treat a video without a transition as one shot. With `false` you get no clip "
        "of it.",
    )
    limit_clips: int = Field(default=0, description="Maximum number of clips per video; 0: all.")

    def clipping(self) -> Clipping:
        """The way of clipping."""
        said: dict[str, Any] = {} if self.threshold is None else {"threshold": self.threshold}
        if not self.refine:
            said["refine"] = False
            if self.detector != "transnetv2":
                message = f"refine=False is for transnetv2, not for {self.detector}; leave it out"
                raise ConfigError(message)
        return Shots(
            detector=DETECTORS[self.detector](**said),
            rules=ShotRules(
                self.min_length_s, self.max_length_s, self.max_length_mode, self.crop_s
            ),
            entire_scene_as_clip=self.entire_scene_as_clip,
            limit_clips=self.limit_clips,
        )

    @model_validator(mode="after")
    def _check(self) -> "ByShots":
        self.clipping()
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "clip": {"target_fps": 1, "target_res": [224, 224], "resize_mode": "crop"},
    "vlm": {"policy": "uniform", "num_frames": 8, "target_res": [448, -1]},
    "training": {"target_fps": 8, "target_res": [256, 256], "resize_mode": "crop"},
}
"""Common needs: CLIP and its kin, captions by a vision-language model, dense training clips."""


class Signature(dg.Model, dg.Resolvable):
    """Which frames, and what becomes of their pixels."""

    preset: Literal["clip", "vlm", "training"] | None = Field(
        default=None,
        description="Values for the attributes that you leave out "
        "(docs/reference/configuration.md#signatures).",
    )
    policy: Literal["first", "middle", "last", "sequence", "uniform", "keyframes"] = Field(
        default="sequence", description="How frames are chosen within a clip."
    )
    target_fps: int | float | str | None = Field(
        default=None,
        description="Rate of `sequence`: 2, 0.5 or '30000/1001'; 2 if you leave it out.",
    )
    num_frames: int | None = Field(
        default=None, description="Number of frames for `uniform`, which requires it."
    )
    target_res: list[int] | None = Field(
        default=None,
        description="Height and width of a frame: `[224, 224]`. Write -1 on one side to keep the "
        "aspect ratio. If you leave it out, frames keep the source's size.",
    )
    resize_mode: Literal["stretch", "fit", "pad", "crop"] = Field(
        default="stretch",
        description="Resize to exactly the size; to fit inside it; to fit inside it with black "
        "borders; or to cover it, cropped at the centre.",
    )
    interpolation: Literal["bicubic", "bilinear", "area", "lanczos"] = Field(
        default="bicubic", description="How pixels are resampled."
    )
    colour: Literal["ffmpeg", "accurate"] = Field(
        default="ffmpeg",
        description="How frames in the source's size become RGB: as FFmpeg's default does, or "
        "with full chroma and exact rounding. Resized frames always get full chroma "
        "and exact rounding (docs/design/corpus.md#colours).",
    )
    pixels: Literal["swscale", "cuda"] = Field(
        default="swscale",
        description="Convert and resize on the CPU, or on the GPU that decodes "
        "(docs/operations/gpu.md).",
    )
    rotation: Literal["apply", "ignore"] = Field(
        default="apply",
        description="Apply the display matrix: turn and mirror to the nearest right angle, as "
        "players do.",
    )
    crop: Literal["coded", "container"] = Field(
        default="coded",
        description="Keep the whole coded picture, or the part that the container says to show "
        "(MP4's clean aperture, Matroska's pixel crop), as players do. Cropping comes "
        "before turning and resizing, at whole chroma samples.",
    )

    def signature(self) -> FrameExtractionSignature:
        """The library's signature."""
        said = {name: getattr(self, name) for name in self.model_fields_set - {"preset"}}
        return FrameExtractionSignature.from_mapping({**PRESETS.get(self.preset or "", {}), **said})

    @model_validator(mode="after")
    def _check(self) -> "Signature":
        self.signature()
        return self


class BatchingAttributes(dg.Model, dg.Resolvable):
    """When found videos become a batch."""

    batch_size: int = Field(
        default=32, description="Videos in a full batch. A full batch is sealed at once."
    )
    min_batch_size: int = Field(
        default=1, description="Fewest videos in a batch. Fewer than this keep waiting."
    )
    max_wait_s: float = Field(
        default=60,
        description="Seal a smaller batch when its newest file has been unchanged for this many "
        "seconds.",
    )
    interval_s: int = Field(default=30, description="Minimum seconds between two sensor ticks.")
    max_batches: int = Field(
        default=100, ge=1, description="Maximum number of batches that a tick seals and starts."
    )
    look_at: int = Field(
        default=200,
        ge=0,
        description="Sealed batches that each tick checks for changed files, in turn.",
    )

    def batching(self) -> Batching:
        """The library's rule."""
        return Batching(self.batch_size, self.min_batch_size, self.max_wait_s)

    @model_validator(mode="after")
    def _check(self) -> "BatchingAttributes":
        self.batching()
        return self


def _checked_cron(cron: str) -> str:
    try:
        dg.AutomationCondition.cron_tick_passed(cron)
    except Exception as error:
        message = f"{cron!r} is no cron expression; '0 3 * * *' is every night at three"
        raise ValueError(message) from error
    return cron


class Backfill(dg.Model, dg.Resolvable):
    """A backfill at every cron tick."""

    cron: str = Field(description="When to run, in UTC: '0 3 * * *' is every night at three.")
    max_partitions: int = Field(
        default=1000,
        ge=1,
        description="Maximum number of batches per tick. The rest wait for the next tick.",
    )
    stale: bool = Field(
        default=False, description="Also make batches again after their sources or code changed."
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        return _checked_cron(cron)


class GarbageCollection(dg.Model, dg.Resolvable):
    """Deletes what nobody names any more, at every cron tick."""

    cron: str = Field(description="When to run, in UTC: '0 6 * * 0' is every Sunday at six.")
    grace_hours: float = Field(
        default=GRACE_HOURS,
        gt=0,
        description="Keep anything that was referenced within this many hours. Choose more than a "
        "clip takes to write, and than a reader keeps one open.",
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        return _checked_cron(cron)


class Freshness(dg.Model, dg.Resolvable):
    """How old the newest batch may be."""

    fail_after_hours: float = Field(
        gt=0, description="Hours since the last materialization at which an asset is overdue."
    )
    warn_after_hours: float | None = Field(
        default=None,
        gt=0,
        description="Hours at which you get a warning; less than `fail_after_hours`.",
    )

    def policy(self) -> dg.FreshnessPolicy:
        """Dagster's policy."""
        warn = self.warn_after_hours
        return dg.FreshnessPolicy.time_window(
            fail_window=dt.timedelta(hours=self.fail_after_hours),
            warn_window=None if warn is None else dt.timedelta(hours=warn),
        )

    @model_validator(mode="after")
    def _check(self) -> "Freshness":
        if self.warn_after_hours is not None and self.warn_after_hours >= self.fail_after_hours:
            message = f"warn_after_hours={self.warn_after_hours} must be below fail_after_hours="
            raise ValueError(f"{message}{self.fail_after_hours}")
        return self


class Decoding(dg.Model, dg.Resolvable):
    """What decodes."""

    kind: Literal["pyav", "nvdec", "auto"] = Field(
        default="pyav", description="Decode on the CPU, on a GPU, or on a GPU where there is one."
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

    def pool(self) -> str:
        """The Dagster pool of the steps that decode: one for the CPU, one per GPU."""
        return POOL if self.kind == "pyav" else f"gpu_{self.gpu}"

    def resource(self) -> DecoderResource:
        """The resource that has it for a default."""
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


class Model(dg.Model, dg.Resolvable):
    """A provider, and the named signature whose frames it is given."""

    signature: str = Field(description="The named signature that gives the provider its frames.")
    provider: str = Field(
        description="Name of the provider, or `module:Class` of your own "
        "(docs/guides/own-models.md)."
    )
    parameters: dict[str, Any] = Field(
        default={},
        description="Parameters of the provider (docs/reference/configuration.md#providers).",
    )


class Embedding(Model):
    """What makes vectors of frames, and whether of clips, too."""

    pool: Literal["mean"] | None = Field(
        default=None,
        description="Also make `clip_embeddings`, one vector per clip: the mean over its frames.",
    )


class NearDuplicates(dg.Model, dg.Resolvable):
    """Clips that are nearly the same, over all batches."""

    embedding: str | None = Field(
        default=None,
        description="Name of the embeddings to compare; those of the attribute `embedding` if you "
        "leave it out. They need a `pool`.",
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
        return cron and _checked_cron(cron)


class Captioning(Model):
    """A vision model behind an OpenAI-compatible endpoint, a local one, or one of your own."""

    api_key_variable: str | None = Field(
        default=None, description="Environment variable that holds the API key of the endpoint."
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


class FramesComponent(dg.Component, dg.Model, dg.Resolvable):
    """Videos in a folder or bucket become exact frames in Zarr, with rows made from them.

    Assets, all partitioned by `video_batch`: `videos`, `clips`, `clip_frames/<name>` for every
    signature, `frame_embeddings`, `frame_quality`, `clip_captions`, `clip_catalog`; on request
    `clip_embeddings`, and `near_duplicates` over all batches. With them come blocking checks, the
    sensor `video_batches` and the job `process_batch`.
    """

    name: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Prefix for the names of assets, partitions, jobs and sensors: `cars/clips`, "
        "`cars_video_batch`, `cars_process_batch`. Components that share an instance "
        "need different names.",
    )
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
    batching: BatchingAttributes = Field(
        default=BatchingAttributes(), description="When new videos are sealed into a batch."
    )
    clipping: Whole | Stride | ByShots = Field(
        default=Stride(kind="fixed_stride"), description="How clips are chosen from videos."
    )
    signatures: dict[str, Signature] = Field(
        description="Your named signatures. Each becomes an asset `clip_frames/<name>`."
    )
    embedding: Embedding | None = Field(
        default=None, description="Provider for the asset `frame_embeddings`."
    )
    embeddings: dict[str, Embedding] = Field(
        default={},
        description="More embeddings, by name. Each becomes an asset `frame_embeddings/<name>`.",
    )
    near_duplicates: NearDuplicates | None = Field(
        default=None, description="Settings for the asset `near_duplicates`, over all batches."
    )
    quality: Model | None = Field(
        default=None, description="Provider for the asset `frame_quality`."
    )
    captioning: Captioning | None = Field(
        default=None, description="Provider for the asset `clip_captions`."
    )
    captions: dict[str, Captioning] = Field(
        default={},
        description="More captions, by name. Each becomes an asset `clip_captions/<name>`.",
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
    def _check(self) -> "FramesComponent":
        for field, model in self._models():
            if model.signature not in self.signatures:
                message = f"{field}.signature: no signature {model.signature!r}; there are "
                raise ValueError(message + ", ".join(self.signatures))
        if self.near_duplicates is not None:
            named = self.near_duplicates.embedding or ""
            pooled = [name for name, model in self._embeddings().items() if model.pool is not None]
            if named not in pooled:
                message = f"near_duplicates.embedding: no embedding {named!r} has a pool; set "
                raise ValueError(message + "pool: mean where it is defined")
        return self

    def _embeddings(self) -> dict[str, Embedding]:
        """Embeddings by name; that without a name has an empty one."""
        return {**({"": self.embedding} if self.embedding else {}), **self.embeddings}

    def _captions(self) -> dict[str, Captioning]:
        """Captions by name; that without a name has an empty one."""
        return {**({"": self.captioning} if self.captioning else {}), **self.captions}

    def _models(self) -> Iterator[tuple[str, Model]]:
        """Whatever is made from frames, with what it is called in a `defs.yaml`."""
        yield from (
            (f"embeddings.{n}" if n else "embedding", m) for n, m in self._embeddings().items()
        )
        yield from (
            (f"captions.{n}" if n else "captioning", m) for n, m in self._captions().items()
        )
        if self.quality is not None:
            yield "quality", self.quality

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Everything that the attributes ask for."""
        return self.definitions()

    def definitions(self) -> dg.Definitions:
        """Build the same definitions without a project, for tests and scripts.

        Raises:
            ConfigError: `source` or `root` carries credentials or a signature.
        """
        check_location(self.source)
        check_location(self.root)
        signatures = {name: value.signature() for name, value in self.signatures.items()}
        names = Names(self.name or "")
        downstream = self._downstream(names, signatures)
        sources = [*map(names.frames, signatures), *downstream]
        for name, captioning in self._captions().items():
            if captioning.lacks_endpoint:
                sources.remove(names.captions(name))  # nothing to wait for while none is set
        pooled = {names.clip_embeddings(name) for name in self._embeddings()}
        runnable = [names.videos, names.clips, *sources, names.catalog]
        jobs = [build_batch_job(names, runnable, tags=self.run_tags), build_observe_job(names)]
        collector = build_garbage_job(names)
        return dg.Definitions(
            assets=dg.map_asset_specs(
                self._belonging,
                [
                    build_videos(names),
                    build_clips(names, self.clipping.clipping()),
                    build_frames(names, signatures, pool=self.decoder.pool()),
                    *downstream.values(),
                    build_catalog(
                        names,
                        signatures,
                        [key for key in sources if key not in pooled],
                        selection=Selection(**self.selection),
                        embeddings=list(self._embeddings()),
                        captions=list(self._captions()),
                    ),
                    *self._over_batches(names),
                ],
            ),
            asset_checks=[
                build_checks(names, name, signature, max_failed_share=self.max_failed_share)
                for name, signature in signatures.items()
            ],
            jobs=[
                *jobs,
                build_retire_job(names),
                build_trace_job(names),
                collector,
                build_uris_job(names, pool=self.decoder.pool(), tags=self.run_tags),
            ],
            schedules=list(self._schedules(names, collector)),
            sensors=list(self._sensors(names, jobs, runnable)),
            resources=self._resources(),
            executor=dg.in_process_executor,
        )

    def _belonging(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """What an asset is, with whose it is."""
        spec = spec.replace_attributes(owners=self.owners, tags={**spec.tags, **self.tags})
        if self.freshness is not None and spec.key != Names(self.name or "").videos:
            spec = spec.replace_attributes(freshness_policy=self.freshness.policy())
        return spec

    def _resources(self) -> dict[str, Any]:
        """What runs may set, with the attributes as its defaults."""
        workspace = {name: getattr(self, name) for name in WorkspaceResource.model_fields}
        return {
            "workspace": with_defaults(WorkspaceResource, workspace),
            "decoder": self.decoder.resource(),
            "extraction": with_defaults(ExtractionResource, self.extraction),
        }

    def _sensors(
        self, names: Names, jobs: Sequence[AssetJob], assets: Sequence[dg.AssetKey]
    ) -> Iterator[dg.SensorDefinition]:
        """What finds videos and, where it is asked for, what makes what is missing."""
        yield build_batch_sensor(
            names,
            self.batching.batching(),
            jobs,
            interval_s=self.batching.interval_s,
            max_batches=self.batching.max_batches,
            look_at=self.batching.look_at,
        )
        if (rule := self.backfill) is not None:
            yield build_backfill_sensor(
                names,
                assets,
                cron=rule.cron,
                max_partitions=rule.max_partitions,
                stale=rule.stale,
                run_tags=self.run_tags,
            )

    def _schedules(
        self, names: Names, collector: dg.JobDefinition
    ) -> Iterator[dg.ScheduleDefinition]:
        """What is done by the clock, beside the backfill."""
        if self.near_duplicates is not None and self.near_duplicates.cron is not None:
            yield build_duplicates_schedule(names, cron=self.near_duplicates.cron)
        if (rule := self.garbage_collection) is not None:
            yield build_garbage_schedule(
                names, collector, cron=rule.cron, grace_hours=rule.grace_hours
            )

    def _over_batches(self, names: Names) -> list[dg.AssetsDefinition]:
        """The assets that are made from all batches together."""
        if self.near_duplicates is None:
            return []
        return [
            build_near_duplicates(
                names,
                name=self.near_duplicates.embedding or "",
                min_similarity=self.near_duplicates.min_similarity,
            )
        ]

    def _downstream(
        self, names: Names, signatures: Mapping[str, FrameExtractionSignature]
    ) -> dict[dg.AssetKey, dg.AssetsDefinition]:
        """The assets that are made from frames."""
        assets: dict[dg.AssetKey, dg.AssetsDefinition] = {}
        for name, model in self._embeddings().items():
            embedder = open_embedding_provider(model.provider, **model.parameters)
            assets[names.embeddings(name)] = build_embeddings(
                names, model.signature, signatures[model.signature], embedder, name=name
            )
            if model.pool is not None:
                assets[names.clip_embeddings(name)] = build_clip_embeddings(names, name=name)
        if (quality := self.quality) is not None:
            measurer = open_quality_provider(quality.provider, **quality.parameters)
            signature = signatures[quality.signature]
            assets[names.quality] = build_quality(names, quality.signature, signature, measurer)
        for name, captioning in self._captions().items():
            signature = signatures[captioning.signature]
            assets[names.captions(name)] = build_captions(
                names,
                captioning.signature,
                signature,
                captioning.open,
                version=_caption_version(captioning, signature),
                name=name,
            )
        return assets


def _with_attributes(component: type[FramesComponent]) -> str:
    """What the component is, and every attribute in words: the UI shows a class's docstring."""
    attributes = "\n".join(
        f"- `{name}`: {field.description}" for name, field in component.model_fields.items()
    )
    return f"{inspect.getdoc(component)}\n\n{attributes}"


FramesComponent.__doc__ = _with_attributes(FramesComponent)


def _caption_version(captioning: Captioning, signature: FrameExtractionSignature) -> str:
    """What decides the captions, told without an endpoint or a key."""
    what = sorted(captioning.identifying.items())
    return f"{captioning.provider}-{signature.key}-{what!r}"
