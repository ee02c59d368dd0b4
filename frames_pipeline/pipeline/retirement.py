"""Batches that are no longer wanted."""

from __future__ import annotations

from frames_pipeline._renamed import old_parameters
from frames_pipeline.pipeline.workspace import Workspace


@old_parameters(places="workspace")
def retire_batch(batch: str, workspace: Workspace, *, withdraw: bool = False) -> int:
    """Have a batch no longer looked at or made. Its videos stay sealed in it.

    `workspace.batches.restore(batch)` undoes that. What was withdrawn is to be made again then.

    Args:
        batch: Key of a sealed batch.
        workspace: Where it is.
        withdraw: Take back its frames and delete its tables, too: `collect_garbage` of the store
            then frees the room, after its grace period. A run that is going on it fails when it
            publishes. Otherwise everything stays readable.

    Returns:
        How many stored clips were withdrawn, counted once per signature.

    Raises:
        CommitNotFoundError: There is no such batch.
    """
    workspace.batches.retire(batch)
    if not withdraw:
        return 0
    workspace.batches.mark_withdrawn(batch)  # first: a run that publishes after this finds it
    clips = workspace.store.withdraw(batch)
    workspace.tables.delete_batch(batch)
    return clips
