"""A batch is extracted once, whatever happens on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from frames_pipeline import (
    ConfigError,
    FrameExtractionSignature,
    FrameStore,
    StoreAccessError,
    TransientError,
)
from frames_pipeline.clipping import FixedStride
from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import Decoded, PyavDecoder, Tally
from frames_pipeline.pipeline import Workspace, cut_clips, discover, extract_batch
from frames_pipeline.sources.batches import Batching
from frames_pipeline.workers.local import Workers
from tests.pipeline.conftest import BATCH, ONE
from tests.videos import X264, make_video, numbers_in
from tests.waiting import processor_seconds, wait_for

FOUR = FrameExtractionSignature(target_fps=4, target_res=(24, 32))
LAST = FrameExtractionSignature(policy="last")


@dataclass(frozen=True, slots=True)
class Trap(PyavDecoder):
    """A decoder that does something terrible at one row of one video."""

    video: str = ""
    row: int = 0
    deed: str = "crash"

    def decode(self, media: Media, rows: Sequence[int], tally: Tally) -> Iterator[Decoded]:
        if media.name == self.video and self.row <= max(rows):
            match self.deed:
                case "crash":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "segfault":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "eat memory":
                    hoard = [bytearray(1 << 20) for _ in range(2000)]
                    raise AssertionError(len(hoard))
                case "burn":
                    while True:
                        pass
                case _:
                    time.sleep(600)
        yield from PyavDecoder().decode(media, rows, tally)


class Unreachable(FrameStore):
    """A store that cannot be reached when a certain video's clips are written."""

    def __init__(self, url: str, video: str, error: type[Exception]) -> None:
        super().__init__(url)
        self.video, self.error = video, error

    def write_clip(self, batch, clip, frames, **kwargs):
        if clip.clip_id.startswith(self.video):
            message = "no answer"
            raise self.error(message)
        return super().write_clip(batch, clip, frames, **kwargs)


def statuses(workspace: Workspace, signature: FrameExtractionSignature) -> dict[str, str]:
    rows = workspace.rows("outcomes", BATCH, part=signature.key)
    return {row["clip_id"]: row["reason"] or row["status"] for row in rows}


def test_every_clip_of_every_video_is_stored(cut: Workspace) -> None:
    reports = extract_batch(BATCH, [FOUR, LAST], cut, workers=ONE)

    assert [report.extracted for report in reports.values()] == [8, 8]
    assert sorted(reports[FOUR].manifest.clips) == sorted(statuses(cut, FOUR))
    second = cut.store.read(BATCH, FOUR, "b.mp4#12800-25600")
    assert numbers_in(second.frames) == [125, 131, 137, 144, 149]
    assert numbers_in(cut.store.read(BATCH, LAST, "b.mp4#0-12800").frames) == [124]


def test_nothing_is_decoded_twice(cut: Workspace) -> None:
    first = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    again = extract_batch(BATCH, [FOUR, LAST], cut, workers=ONE)

    assert again[FOUR].extracted == 0
    assert again[FOUR].manifest == first.manifest
    assert again[LAST].extracted == 8


def test_outcomes_of_a_version_with_other_columns_are_written_anew(cut: Workspace) -> None:
    first = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    older = cut.tables.read("outcomes", BATCH, part=FOUR.key).drop_columns(["device"])
    cut.tables.write("outcomes", BATCH, older, part=FOUR.key)
    again = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]

    assert again.extracted == 0
    assert again.manifest == first.manifest
    assert again.outcomes.schema.equals(first.outcomes.schema)


def test_progress_is_told(cut: Workspace) -> None:
    told: list[tuple[int, int]] = []
    extract_batch(BATCH, [FOUR], cut, workers=ONE, progress=lambda *done: told.append(done))
    assert told[-1] == (8, 8)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("crash", "crashed"),
        ("segfault", "crashed"),
        pytest.param("hang", "timed_out", marks=pytest.mark.live),
        ("burn", "timed_out"),
        ("eat memory", "out_of_memory"),
    ],
)
def test_what_took_its_worker_along_is_quarantined_until_asked_for(
    cut: Workspace, deed: str, reason: str
) -> None:
    """The other clip of the same video, which was in the same task, is stored all the same."""
    trap = Trap(video="b.mp4", row=40, deed=deed)
    limits = {"hang": Workers(2, timeout_s=60), "burn": Workers(2, cpu_s=1)}
    workers = limits.get(deed, Workers(2, memory_bytes=512 << 20))
    extract_batch(BATCH, [FOUR], cut, workers=workers, decoder=trap)

    found = statuses(cut, FOUR)
    assert found.pop("b.mp4#12800-25600") == reason
    assert set(found.values()) == {"ok"}
    assert extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR].extracted == 0
    assert reason in statuses(cut, FOUR).values()
    report = extract_batch(BATCH, [FOUR], cut, workers=ONE, retry_failed=True)[FOUR]
    assert report.extracted == 1
    assert set(statuses(cut, FOUR).values()) == {"ok"}


@pytest.mark.parametrize("error", [TransientError, StoreAccessError])
def test_a_store_that_fails_ends_the_run_and_keeps_what_is_done(
    cut: Workspace, error: type[Exception]
) -> None:
    store = Unreachable(cut.store.objects.url, "d.mp4", error)
    broken = Workspace(cut.source, store, cut.tables, cut.batches)
    with pytest.raises(error, match="no answer"):
        extract_batch(BATCH, [FOUR], broken, workers=ONE)
    done = len(cut.store.clips(BATCH, FOUR))

    report = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    assert 0 < done <= 6
    assert report.extracted == 8 - done
    assert set(statuses(cut, FOUR).values()) == {"ok"}


def test_a_video_that_changes_under_the_decoder_is_not_committed(cut: Workspace) -> None:
    path = Path(cut.source.url) / "a.mp4"
    make_video(path, frames=50, options=X264, first=900)
    extract_batch(BATCH, [FOUR], cut, workers=ONE)

    found = statuses(cut, FOUR)
    assert found["a.mp4#0-12800"] == found["a.mp4#12800-25600"] == "changed"
    assert set(cut.store.clips(BATCH, FOUR)) == {c for c in found if not c.startswith("a.mp4")}


def test_a_video_that_is_gone_loses_nothing_that_was_made(cut: Workspace) -> None:
    extract_batch(BATCH, [FOUR], cut, workers=ONE)
    (Path(cut.source.url) / "a.mp4").unlink()
    report = extract_batch(BATCH, [FOUR, LAST], cut, workers=ONE)

    assert len(report[FOUR].manifest.clips) == 8
    assert len(report[LAST].manifest.clips) == 6
    assert statuses(cut, LAST)["a.mp4#0-12800"] == "not_found"


@pytest.mark.live
def test_a_killed_run_resumes_where_it_was(cut: Workspace) -> None:
    """Kill -9 of the whole process group in the middle; the next run does the rest."""
    script = textwrap.dedent(
        f"""
        import time
        from frames_pipeline import FrameExtractionSignature
        from frames_pipeline.pipeline import Workspace, cut_clips, discover, extract_batch
        from frames_pipeline.workers.local import Workers

        if __name__ == "__main__":
            workspace = Workspace.at({cut.source.url!r}, {cut.store.objects.url!r})
            extract_batch({BATCH!r}, [FrameExtractionSignature(target_fps=4, target_res=(24, 32))],
                          workspace, workers=Workers(1), progress=lambda *_: time.sleep(0.5))
        """
    )
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    wait_for(
        lambda: cut.store.clips(BATCH, FOUR),
        name="a committed clip",
        progress=processor_seconds(process),
    )
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    committed = cut.store.clips(BATCH, FOUR)

    report = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    assert committed
    assert report.extracted == 8 - len(committed)
    assert len(report.manifest.clips) == 8
    for clip_id, commit in committed.items():
        assert report.manifest.clips[clip_id] == commit
    first = cut.store.read(BATCH, FOUR, "a.mp4#0-12800")
    assert numbers_in(first.frames) == [0, 6, 12, 19, 24]


def test_a_flipped_bit_is_repaired(cut: Workspace) -> None:
    first = extract_batch(BATCH, [FOUR], cut, workers=ONE)[FOUR]
    commit = first.manifest.clips["c.mp4#0-12800"]
    key = f"frames/{BATCH}/{FOUR.key}/{commit.path}/frames/c/0/0/0/0"
    data = bytearray(cut.store.objects.get(key))
    data[100] ^= 1
    cut.store.objects.put(key, bytes(data))

    again = extract_batch(BATCH, [FOUR], cut, workers=ONE, repair=True)[FOUR]
    assert again.extracted == 1
    assert again.manifest.digest == first.manifest.digest
    assert cut.store.verify(BATCH, FOUR, deep=True).ok


def test_wrong_requests_fail_before_anything_is_decoded(cut: Workspace) -> None:
    with pytest.raises(ConfigError, match="no signature given"):
        extract_batch(BATCH, [], cut)
    with pytest.raises(ConfigError, match="no decoder 'cud'"):
        extract_batch(BATCH, [FOUR], cut, decoder="cud")


KEYS = FrameExtractionSignature(policy="keyframes")


@pytest.mark.parametrize("others", [[], [LAST]])
def test_a_clip_without_a_key_frame_is_skipped_whatever_else_is_asked(
    workspace: Workspace, others: list[FrameExtractionSignature]
) -> None:
    """Key frames are 12 frames apart, and clips are 8 frames long."""
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, FixedStride("0.32", "0.32", "0.1"), workers=ONE)
    reports = extract_batch(batch, [KEYS, *others], workspace, workers=ONE)
    rows = reports[KEYS].outcomes.to_pylist()
    skipped = [row for row in rows if row["status"] == "skipped"]
    assert {row["reason"] for row in skipped} == {"no_key_frame"}
    assert {row["detail"] for row in skipped} == {"none of the 8 frames of the clip is a key frame"}
    assert len(skipped) + len(reports[KEYS].manifest.clips) == len(rows)
    assert 0 < len(skipped) < len(rows)
    for other in others:
        assert set(statuses(workspace, other).values()) == {"ok"}
    again = extract_batch(batch, [KEYS, *others], workspace, workers=ONE)
    assert again[KEYS].extracted == 0
    assert again[KEYS].outcomes.to_pylist() == rows
