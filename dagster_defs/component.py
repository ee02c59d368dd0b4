"""FramesComponent: assets, checks, a sensor and jobs from the attributes of a `defs.yaml`.

The attributes define the identity of assets: sources, clipping, signatures, models. Choices of a
run (decoder, limits, workers) are defaults of resources, which you can override in the launchpad.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from dagster_defs.assets.catalog import build_catalog
from dagster_defs.assets.clips import build_clips
from dagster_defs.assets.derived import Derivation, build_derived
from dagster_defs.assets.duplicates import build_near_duplicates
from dagster_defs.assets.frames import build_frames
from dagster_defs.assets.videos import build_videos
from dagster_defs.attributes import ComponentAttributes, check_together
from dagster_defs.automation import build_backfill_sensor, build_duplicates_schedule
from dagster_defs.checks import build_checks
from dagster_defs.garbage import build_garbage_job, build_garbage_schedule
from dagster_defs.jobs import (
    AssetJob,
    build_batch_job,
    build_observe_job,
    build_retire_job,
    build_uris_job,
)
from dagster_defs.names import Names
from dagster_defs.resources import (
    KEYS,
    DecoderResource,
    ExtractionResource,
    WorkspaceResource,
    with_defaults,
)
from dagster_defs.scaffolding import FramesScaffolder
from dagster_defs.sensors import build_batch_sensor
from dagster_defs.traces import build_trace_job
from frames_pipeline import FrameExtractionSignature
from frames_pipeline._renamed import old_names
from frames_pipeline.io.urls import check_location
from frames_pipeline.models.selection import Selection
from frames_pipeline.pipeline.kinds import KINDS


@dg.scaffold_with(FramesScaffolder)
class FramesComponent(dg.Component, ComponentAttributes):
    """Videos in a folder or bucket become exact frames in Zarr, with rows made from them.

    Assets, partitioned by `video_batch`: `videos`, `clips`, `clip_frames/<name>` for every
    signature, `frame_embeddings/<name>`, `frame_quality/<name>` and `clip_captions/<name>` for
    every definition, and `clip_catalog`. On request, `clip_embeddings/<name>`, and over all
    batches `near_duplicates`. With them come blocking checks, the
    sensor `video_batches` and the job `process_batch`.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the definitions of this component.

        Raises:
            ConfigError: Another component of the code location has its name or root, or an
                attribute cannot be used.
        """
        if context.path != context.defs_module_path:  # outside a project there are no others
            check_together(context.component_tree.get_all_components(FramesComponent))
        return self.definitions()

    def definitions(self) -> dg.Definitions:
        """Build the same definitions without a project, for tests and scripts.

        Raises:
            ConfigError: `source` or `root` carries credentials or a signature.
        """
        check_location(self.source)
        check_location(self.root)
        names = Names(self.name or "")
        signatures = {name: value.signature() for name, value in self.signatures.items()}
        derived = list(self._derivations(signatures))
        ready = [made for made in derived if not made.lacks]  # nothing waits for the others
        rows = [*map(names.frames, signatures), *(made.key(names) for made in ready)]
        pooled = [key for made in ready if (key := made.pooled_key(names))]
        assets = [names.videos, names.clips, *rows, *pooled, names.catalog]
        jobs = [build_batch_job(names, assets, tags=self.run_tags), build_observe_job(names)]
        collector = build_garbage_job(names)
        pool = self.decoder.pool_of(names)
        return dg.Definitions(
            assets=dg.map_asset_specs(
                self._belonging,
                [
                    build_videos(names),
                    build_clips(names, self.clipping.clipping()),
                    build_frames(names, signatures, pool=pool),
                    *(asset for made in derived for asset in build_derived(names, made)),
                    build_catalog(
                        names,
                        signatures,
                        rows,
                        selection=Selection(**self.selection),
                        derived=derived,
                    ),
                    *self._over_batches(names, derived),
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
                build_uris_job(names, pool=pool, tags=self.run_tags),
            ],
            schedules=list(self._schedules(names, collector)),
            sensors=list(self._sensors(names, jobs, assets)),
            resources=self._resources(names),
            executor=dg.in_process_executor,
        )

    def _derivations(
        self, signatures: Mapping[str, FrameExtractionSignature]
    ) -> Iterator[Derivation]:
        """Yield every definition of every kind of derived table."""
        for kind, definitions in self.derived().items():
            for name, one in definitions.items():
                yield Derivation(KINDS[kind], name, one, signatures[one.signature])

    def _belonging(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """Return an asset with the owners and tags of the component."""
        spec = spec.replace_attributes(owners=self.owners, tags={**spec.tags, **self.tags})
        if self.freshness is not None and spec.key != Names(self.name or "").videos:
            spec = spec.replace_attributes(freshness_policy=self.freshness.policy())
        return spec

    def _resources(self, names: Names) -> dict[str, Any]:
        """Return the resources, with the attributes as their defaults."""
        workspace = {name: getattr(self, name) for name in WorkspaceResource.model_fields}
        return {
            names.of(KEYS[WorkspaceResource]): with_defaults(WorkspaceResource, workspace),
            names.of(KEYS[DecoderResource]): self.decoder.resource(),
            names.of(KEYS[ExtractionResource]): with_defaults(ExtractionResource, self.extraction),
        }

    def _sensors(
        self, names: Names, jobs: Sequence[AssetJob], assets: Sequence[dg.AssetKey]
    ) -> Iterator[dg.SensorDefinition]:
        """Return the sensor that finds videos and, if configured, the one for backfills."""
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
        """Return the schedules: garbage collection and near-duplicates."""
        if self.near_duplicates is not None and self.near_duplicates.cron is not None:
            yield build_duplicates_schedule(names, cron=self.near_duplicates.cron)
        if (rule := self.garbage_collection) is not None:
            yield build_garbage_schedule(
                names, collector, cron=rule.cron, grace_hours=rule.grace_hours
            )

    def _over_batches(
        self, names: Names, derived: Sequence[Derivation]
    ) -> Iterator[dg.AssetsDefinition]:
        """Return the assets made from all batches together."""
        if (rule := self.near_duplicates) is None:
            return
        for made in derived:
            key = made.pooled_key(names)
            if key is not None and (made.kind.name, made.name) == ("embeddings", self.compared):
                yield build_near_duplicates(
                    names, key, name=made.part, min_similarity=rule.min_similarity
                )


def _with_attributes(component: type[FramesComponent]) -> str:
    """Return the docstring of the component with all attributes, for the UI."""
    attributes = "\n".join(
        f"- `{name}`: {field.description}" for name, field in component.model_fields.items()
    )
    return f"{inspect.getdoc(component)}\n\n{attributes}"


FramesComponent.__doc__ = _with_attributes(FramesComponent)

__getattr__ = old_names(
    __name__,
    {
        name: f"dagster_defs.attributes:{name}"
        for name in (
            "PRESETS", "Backfill", "BatchingAttributes", "ByShots", "Decoding", "Freshness",
            "GarbageCollection", "NearDuplicates", "Signature", "Stride", "Whole",
        )
    }
    | dict.fromkeys(("Model", "Embedding", "Captioning"), "dagster_defs.attributes:Definition"),
)  # fmt: skip
