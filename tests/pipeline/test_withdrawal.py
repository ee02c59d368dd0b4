"""A batch that is withdrawn during a run stays withdrawn, however the two interleave."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.clipping import FixedStride
from frames_pipeline.errors import CommitNotFoundError, ConflictError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.io.objects import Objects
from frames_pipeline.models.quality import FrameQuality, TechnicalQuality
from frames_pipeline.pipeline import (
    Workspace,
    cut_clips,
    extract_batch,
    measure_batch,
    retire_batch,
)
from frames_pipeline.tables import VIDEOS, table_of
from tests.pipeline.conftest import BATCH, ONE
from tests.stored import noise

FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, 32))
MIDDLE = FrameExtractionSignature(policy="middle", target_res=(24, 32))


def left(workspace: Workspace, batch: str = BATCH) -> list[str]:
    """Return the published objects of a batch."""
    keys = [key for key in workspace.store.objects.list() if f"/{batch}/" in key]
    return [key for key in keys if "/clips/" not in key and not key.endswith("signature.json")] + [
        key for key in keys if key.startswith("tables/")
    ]


def test_a_run_that_is_going_publishes_nothing(cut: Workspace) -> None:
    """Clips committed after the withdrawal are removed again, for every signature."""

    def withdraw(done: int, _total: int) -> None:
        if done == 2:
            retire_batch(BATCH, cut, withdraw=True)

    with pytest.raises(
        ConflictError, match=r"withdrawn, so its results are not published; restore it"
    ):
        extract_batch(BATCH, [FOUR, MIDDLE], cut, workers=ONE, progress=withdraw)
    assert left(cut) == []
    with pytest.raises(ConflictError, match="was withdrawn"):
        extract_batch(BATCH, [FOUR], cut, workers=ONE)
    with pytest.raises(CommitNotFoundError):
        cut.store.manifest(BATCH, FOUR)


def test_rows_that_are_being_made_are_not_published(cut: Workspace) -> None:
    extract_batch(BATCH, [FOUR], cut, workers=ONE)

    class Withdrawing(TechnicalQuality):
        def measure(self, frames: NDArray[np.uint8]) -> FrameQuality:
            if not cut.batches.is_withdrawn(BATCH):
                retire_batch(BATCH, cut, withdraw=True)
            return super().measure(frames)

    with pytest.raises(ConflictError, match="was withdrawn"):
        measure_batch(BATCH, FOUR, cut, Withdrawing())
    assert left(cut) == []


def test_what_is_brought_back_is_made_again(cut: Workspace) -> None:
    first = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    retire_batch(BATCH, cut, withdraw=True)
    cut.batches.restore(BATCH)
    cut_clips(cut.batches.read(BATCH), cut, FixedStride(1, 1, 1), workers=ONE)
    again = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    assert again.manifest.digest == first.manifest.digest


Step = Callable[[], object]


class Interleaved(Objects):
    """Objects that run an action before the given requests."""

    def __init__(self, url: str, before: dict[int, Step]) -> None:
        super().__init__(url, durable=False)
        self._before, self._count = before, 0

    def _turn(self) -> None:
        self._count += 1
        step = self._before.pop(self._count, None)
        if step is not None:
            step()

    def get(self, key: str) -> bytes:
        self._turn()
        return super().get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        self._turn()
        return super().get_many(keys)

    def put(self, key: str, data: bytes) -> None:
        self._turn()
        super().put(key, data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(1, 40), clips=st.integers(1, 2))
def test_any_moment_of_a_withdrawal(
    tmp_path_factory: pytest.TempPathFactory, at: int, clips: int
) -> None:
    """Before any request of a writer: the request fails, or its effect is removed again."""
    root = tmp_path_factory.mktemp("root")
    workspace = Workspace.at(str(root), str(root))
    batch = workspace.batches.seal(["a.mp4"])
    assert batch is not None
    writer = Workspace.at(str(root), str(root))
    objects = Interleaved(
        str(root), {at: lambda: retire_batch(batch.key, workspace, withdraw=True)}
    )
    writer.store.objects = objects
    writer.tables._objects = objects
    video = {
        "video_key": "a.mp4", "uri": "a.mp4", "size": 1, "modified": 0.0, "etag": "",
        "fingerprint": "", "status": "ok", "detail": "",
    }  # fmt: skip
    frames: FrameBatch = noise(2, 1)
    try:
        for number in range(clips):
            writer.store.write_clip(batch.key, f"a.mp4#{number}", {FOUR: frames})
        writer.store.commit_batch(batch.key, FOUR)
        writer.tables.write("videos", batch.key, table_of([video], VIDEOS))
    except ConflictError:
        assert workspace.batches.is_withdrawn(batch.key)
    if workspace.batches.is_withdrawn(batch.key):
        assert left(workspace, batch.key) == []
    else:
        assert Path(workspace.tables.url("videos", batch.key)).exists()
