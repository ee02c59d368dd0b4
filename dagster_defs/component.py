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
    clip_len_s: float = Field(default=10, description="Seconds of a clip.")
    clip_stride_s: float = Field(default=10, description="Seconds from one start to the next.")
    min_clip_length_s: float = Field(
        default=2, description="Seconds below which the last, shorter clips are left out."
    )
    limit_clips: int = Field(default=0, description="The most clips per video; 0: all.")

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
        description="For `transnetv2` the probability above which a frame is a transition (0.4); "
        "for `pyscenedetect` how many times the change around it a cut must be (3).",
    )
    refine: bool = Field(
        default=True,
        description="For `transnetv2`: what it is unsure of is settled by its second output, by "
        "colours and by black frames. `false`: the threshold alone decides.",
    )
    min_length_s: float = Field(
        default=2, description="Seconds below which a clip is left out, once cropped; 0: none is."
    )
    max_length_s: float = Field(
        default=10, description="Seconds above which a shot is cut; 0: it never is."
    )
    max_length_mode: Literal["stride", "truncate"] = Field(
        default="stride",
        description="A longer shot becomes one clip after the other, or one: its start.",
    )
    crop_s: float = Field(
        default=0.5, description="Seconds that are taken off at both ends of every clip."
    )
    entire_scene_as_clip: bool = Field(
        default=True,
        description="Whether a video without a transition is a shot, or gives no clip.",
    )
    limit_clips: int = Field(default=0, description="The most clips per video; 0: all.")

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
        description="Values for what is not said here: see docs/reference/configuration.md.",
    )
    policy: Literal["first", "middle", "last", "sequence", "uniform", "keyframes"] = Field(
        default="sequence", description="How frames are chosen."
    )
    target_fps: int | float | str | None = Field(
        default=None, description="Frames per second of a sequence: 2, 0.5 or '30000/1001'."
    )
    num_frames: int | None = Field(default=None, description="How many, for `uniform`.")
    target_res: list[int] | None = Field(
        default=None, description="[height, width]; -1 on one side keeps the aspect."
    )
    resize_mode: Literal["stretch", "fit", "pad", "crop"] = Field(
        default="stretch", description="What happens to the aspect."
    )
    interpolation: Literal["bicubic", "bilinear", "area", "lanczos"] = Field(
        default="bicubic", description="How pixels are resampled."
    )
    colour: Literal["ffmpeg", "accurate"] = Field(
        default="ffmpeg", description="How frames that keep their size become RGB."
    )
    pixels: Literal["swscale", "cuda"] = Field(
        default="swscale", description="Who converts and resizes: the CPU, or the GPU that decodes."
    )
    rotation: Literal["apply", "ignore"] = Field(
        default="apply", description="Whether the display matrix counts."
    )
    crop: Literal["coded", "container"] = Field(
        default="coded",
        description="The whole coded picture, or the part that the container says to show.",
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

    batch_size: int = Field(default=32, description="Videos in a full batch.")
    min_batch_size: int = Field(default=1, description="Videos below which nothing is sealed.")
    max_wait_s: float = Field(
        default=60, description="Seconds without change after which a smaller batch is sealed."
    )
    interval_s: int = Field(default=30, description="Seconds between two looks at the source.")
    max_batches: int = Field(
        default=100, ge=1, description="Batches per look that are sealed and started."
    )
    look_at: int = Field(
        default=200,
        ge=0,
        description="Sealed batches per look that are checked for files that changed, in turn.",
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

    cron: str = Field(description="When, in UTC: '0 3 * * *' is every night at three.")
    max_partitions: int = Field(
        default=1000, ge=1, description="Batches per tick; the rest waits for the next."
    )
    stale: bool = Field(
        default=False, description="Whether batches whose sources or code changed are done, too."
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        return _checked_cron(cron)


class GarbageCollection(dg.Model, dg.Resolvable):
    """Deletes what nobody names any more, at every cron tick."""

    cron: str = Field(description="When, in UTC: '0 6 * * 0' is every Sunday at six.")
    grace_hours: float = Field(
        default=GRACE_HOURS,
        gt=0,
        description="Hours for which nobody must have named it: longer than a clip takes to write, "
        "and than readers hold on to what they opened.",
    )

    @field_validator("cron")
    @classmethod
    def _check(cls, cron: str) -> str:
        return _checked_cron(cron)


class Freshness(dg.Model, dg.Resolvable):
    """How old the newest batch may be."""

    fail_after_hours: float = Field(gt=0, description="Hours after which the assets are overdue.")
    warn_after_hours: float | None = Field(
        default=None, gt=0, description="Hours after which there is a warning, before that."
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
        default="pyav", description="On the CPU, on a GPU, or on a GPU where there is one."
    )
    gpu: int = Field(default=0, ge=0, description="Which GPU, as CUDA counts them.")
    threads: int = Field(default=1, ge=1, description="Decoder threads per video, on the CPU.")
    min_megapixels: float = Field(
        default=MIN_MEGAPIXELS,
        ge=0,
        description="Megapixels to decode in a row below which `auto` takes the CPU.",
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
        return cron and _checked_cron(cron)


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
        description="Put before the names of assets, partitions, jobs and sensors, so that several "
        "components can share an instance.",
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
