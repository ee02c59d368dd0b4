"""Take batches out of use."""

from __future__ import annotations

from frames_pipeline._renamed import old_parameters
from frames_pipeline.pipeline.workspace import Workspace


@old_parameters(places="workspace")
def retire_batch(batch: str, workspace: Workspace, *, withdraw: bool = False) -> int:
    """Take a batch out of use: it is no longer observed or processed. Its videos stay sealed in it.

    `workspace.batches.restore(batch)` undoes this. Withdrawn frames and tables must then be made
    again.

    Args:
        batch: Key of a sealed batch.
        workspace: Workspace of the batch.
        withdraw: Also withdraw its frames and delete its tables. `collect_garbage` of the store
            then frees the space, after its grace period. A concurrent run of the batch fails when
            it publishes. Without `withdraw` everything stays readable.

    Returns:
        Number of stored clips withdrawn, counted once per signature.

    Raises:
        CommitNotFoundError: There is no such batch.
    """
    workspace.batches.retire(batch)
    if not withdraw:
        return 0
    workspace.batches.mark_withdrawn(batch)  # first, so that a concurrent run fails to publish
    clips = workspace.store.withdraw(batch)
    workspace.tables.delete_batch(batch)
    return clips
