"""A job that traces lineage: enter a video, a clip or a frame, and look at its output."""

import dagster as dg
from pydantic import Field

from dagster_defs.metadata import Metadata, records
from dagster_defs.names import Names
from dagster_defs.resources import WorkspaceResource, keys_of, resource_of
from dagster_defs.retries import retrying_transients
from frames_pipeline import ConfigError, pipeline
from frames_pipeline.pipeline.kinds import derived_tables

TRACE_LINEAGE = "trace_lineage"


class Trace(dg.Config):
    """A video; or a batch, and in it a clip, a frame, a table."""

    video: str = Field(
        default="", description="Key of a video. Lists everything made from it, in any batch."
    )
    batch: str = Field(
        default="", description="Key of a batch. Also give a clip, a table, or both."
    )
    clip: str = Field(default="", description="Id of a clip of the batch.")
    position: int | None = Field(
        default=None, description="Frame of the clip: index among the stream's shown frames."
    )
    table: str = Field(
        default="", description=f"Table with rows to trace: {', '.join(derived_tables())}."
    )

    def find(self, workspace: "pipeline.Workspace") -> "pipeline.Uses":
        """Return the frames and rows found.

        Raises:
            ConfigError: The fields given do not make a question.
            CommitNotFoundError: There is no such video.
        """
        match bool(self.video), bool(self.batch), bool(self.clip), bool(self.table):
            case True, False, False, False:
                return pipeline.uses_of_video(self.video, workspace)
            case False, True, True, False if self.position is not None:
                return pipeline.uses_of_frame(self.batch, self.clip, self.position, workspace)
            case False, True, _, True:
                return pipeline.Uses((), self._rows(self.table, workspace))
            case False, True, True, False:
                return pipeline.Uses(
                    (),
                    tuple(row for name in derived_tables() for row in self._rows(name, workspace)),
                )
        message = "give a video; or a batch and a clip, a table, or a clip and a position"
        raise ConfigError(message)

    def _rows(
        self, table: str, workspace: "pipeline.Workspace"
    ) -> "tuple[pipeline.RowOrigin, ...]":
        return tuple(
            pipeline.origins_of_rows(
                table, self.batch, workspace, clip_id=self.clip or None, position=self.position
            )
        )


def build_trace_job(names: Names) -> dg.JobDefinition:
    """Return the job for forward and backward lineage in the UI."""

    @dg.op(
        name=names.of("trace"),
        description="Traces lineage by stored records, and changes nothing.",
        required_resource_keys=keys_of(names, WorkspaceResource),
    )
    def trace(context: dg.OpExecutionContext, config: Trace) -> None:
        workspace = resource_of(context, names, WorkspaceResource)
        with retrying_transients():
            found = config.find(workspace.open())
        context.add_output_metadata(_metadata(found))

    @dg.job(
        name=names.of(TRACE_LINEAGE),
        description="Traces a video or a frame to rows, and rows to their frames. Enter it, "
        "launch, and look at the metadata of the run's output.",
    )
    def trace_one() -> None:
        trace()

    return trace_one


def _metadata(found: "pipeline.Uses") -> Metadata:
    return {
        "frames": records(map(_of_frames, found.frames), _FRAMES),
        "rows": records(map(_of_row, found.rows), _ROWS),
        "stored_frames": len(found.frames),
        "rows_made": len(found.rows),
    }


_FRAMES = ("clip", "signature", "video", "fingerprint", "is_current", "path", "digest")
_ROWS = (
    "table", "clip", "signature", "positions", "seconds", "video", "provider", "parameters",
    "made_from_these_frames", "frames_path", "says",
)  # fmt: skip


def _of_frames(one: "pipeline.FramesOrigin") -> dict[str, object]:
    return {
        "clip": one.clip_id,
        "signature": one.signature,
        "video": one.uri or one.video_key,
        "fingerprint": one.fingerprint,
        "is_current": one.is_current,
        "path": one.path,
        "digest": one.digest,
    }


def _of_row(one: "pipeline.RowOrigin") -> dict[str, object]:
    return {
        "table": f"{one.table}/{one.name}" if one.name else one.table,
        "clip": one.frames.clip_id,
        "signature": one.frames.signature,
        "positions": " ".join(map(str, one.positions)),
        "seconds": " ".join(f"{seconds:.3f}" for seconds in one.seconds),
        "video": one.frames.uri or one.frames.video_key,
        "provider": one.provider,
        "parameters": one.provider_parameters,
        "made_from_these_frames": one.made_from_them,
        "frames_path": one.frames.path,
        "says": str(one.says.get("text", "")),
    }
