"""A family with wrong plans is found, reported, and decoded linearly from then on.

The fault is planted in the index, where every MPEG-4 packet becomes an entry point. Plans then
start at frames with missing references, and the frames are not marked as corrupt.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.in_process import InProcess
from frames_pipeline import CommitNotFoundError, FrameExtractionSignature
from frames_pipeline.clipping import FixedStride, WholeVideo
from frames_pipeline.container import media
from frames_pipeline.container.index import PacketIndex, build_index
from frames_pipeline.frames import DecodeReport
from frames_pipeline.pipeline import (
    RecheckReport,
    Suspect,
    Suspects,
    Workspace,
    catalog_batch,
    cut_clips,
    discover,
    estimate_changes,
    extract_batch,
    recheck_frames,
    repair_store,
)
from frames_pipeline.pipeline.suspects import is_suspect
from frames_pipeline.sources.batches import Batching
from tests.oracle import CORPUS, needs_corpus, plain_decode
from tests.pipeline.conftest import ONE
from tests.videos import X264, make_video, numbers_in

FIVE = FrameExtractionSignature(target_fps=5, target_res=(48, 64))
HERE = InProcess()
WRONG = ("a.mp4", "b.mp4")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return workspace with two MPEG-4 videos and an H.264 one, in no batch yet."""
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video(videos / "a.mp4", codec="mpeg4", options={"g": "25"}, frames=50)
    make_video(videos / "b.mp4", codec="mpeg4", options={"g": "25"}, frames=50, first=500)
    make_video(videos / "c.mp4", options=X264, frames=50, first=1000)
    return Workspace.at(str(videos), str(tmp_path / "root"))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Plant the fault."""
    right = build_index

    def wrong(stream: object, *rest: object) -> PacketIndex:
        index = right(stream, *rest)  # type: ignore[arg-type]
        if index.codec != "mpeg4":
            return index
        return replace(index, entry=np.ones_like(index.entry))

    with monkeypatch.context() as patch:
        patch.setattr(media, "build_index", wrong)
        yield patch


def seal(workspace: Workspace) -> str:
    """Seal the waiting videos and cut them into clips."""
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, WholeVideo(), workers=ONE)
    return batch.key


def numbers(workspace: Workspace, batch: str) -> dict[str, list[int]]:
    """Return the frame numbers in each video's published pictures."""
    commits = workspace.store.manifest(batch, FIVE).clips
    return {
        clip.partition("#")[0]: numbers_in(workspace.store.read_commit(batch, FIVE, commit).frames)
        for clip, commit in commits.items()
    }


def expected(first: int) -> list[int]:
    return [first + number for number in (*range(0, 50, 5), 49)]


def fallbacks(workspace: Workspace, batch: str) -> dict[str, str]:
    commits = workspace.store.manifest(batch, FIVE).clips
    return {
        clip.partition("#")[0]: commit.outcome.decode.fallback for clip, commit in commits.items()
    }


def recheck(workspace: Workspace, batch: str) -> RecheckReport:
    return recheck_frames(batch, FIVE, workspace, frames=1, seed=1, workers=HERE)


@pytest.mark.usefixtures("planted")
def test_from_a_wrong_plan_to_right_frames(workspace: Workspace) -> None:
    batch = seal(workspace)
    first = extract_batch(batch, [FIVE], workspace, workers=HERE)[FIVE]
    assert first.outcomes["status"].to_pylist() == ["ok"] * 3
    assert numbers(workspace, batch)["a.mp4"] != expected(0), "the fault is silent, or no fault"
    assert numbers(workspace, batch)["c.mp4"] == expected(1000)

    found = recheck(workspace, batch)
    (wrong,) = found.wrong_families
    assert not found.ok
    assert wrong.family.startswith("mpeg4-mov-")
    assert wrong.video in WRONG
    assert [clip.partition("#")[0] for clip in wrong.suspect_clips] == list(WRONG)
    assert "pixels differ by" in wrong.found
    assert {one.family.partition("-")[0] for one in found.families} == {"mpeg4", "h264"}
    (suspect,) = Suspects(workspace.store.objects).read()
    assert (suspect.key, suspect.batch, suspect.signature) == (wrong.family, batch, FIVE.key)
    assert suspect.family["codec"] == "mpeg4"
    assert any("stored in" in line for line in suspect.found)
    assert any("asked for alone" in line for line in suspect.found)

    (estimate,) = estimate_changes(batch, [FIVE], workspace)
    assert [clip.partition("#")[0] for clip in estimate.to_do] == list(WRONG)
    table, _ = catalog_batch(batch, {"five": FIVE}, workspace)
    assert table["suspect"].to_pylist() == [["five"], ["five"], []]

    again = extract_batch(batch, [FIVE], workspace, workers=HERE)[FIVE]
    assert again.extracted == 2
    assert numbers(workspace, batch) == {
        "a.mp4": expected(0), "b.mp4": expected(500), "c.mp4": expected(1000)
    }  # fmt: skip
    reason = f"family {wrong.family} was decoded wrongly by plan"
    assert fallbacks(workspace, batch) == {"a.mp4": reason, "b.mp4": reason, "c.mp4": ""}
    assert again.outcomes["fallback"].to_pylist() == [reason, reason, ""]
    assert recheck(workspace, batch).ok
    assert extract_batch(batch, [FIVE], workspace, workers=HERE)[FIVE].extracted == 0


@pytest.mark.usefixtures("planted")
def test_linear_frames_are_those_of_a_plain_decode(workspace: Workspace) -> None:
    batch = seal(workspace)
    extract_batch(batch, [FIVE], workspace, workers=HERE)
    recheck(workspace, batch)
    extract_batch(batch, [FIVE], workspace, workers=HERE)
    for video in WRONG:
        plain = plain_decode(Path(workspace.source.url, video))
        (clip,) = (one for one in workspace.store.clips(batch, FIVE) if one.startswith(video))
        frames = workspace.store.read(batch, FIVE, clip)
        for position, pixels in zip(frames.positions.tolist(), frames.frames, strict=True):
            np.testing.assert_array_equal(pixels, plain[position].rgb(48, 64))


@pytest.mark.usefixtures("planted")
def test_later_batches_of_the_family_are_linear_and_copy_nothing_suspect(
    workspace: Workspace,
) -> None:
    first = seal(workspace)
    extract_batch(first, [FIVE], workspace, workers=HERE)
    recheck(workspace, first)
    folder = Path(workspace.source.url)
    make_video(folder / "d.mp4", codec="mpeg4", options={"g": "25"}, frames=50, first=1500)
    make_video(folder / "e.mp4", options=X264, frames=50, first=2000)
    (folder / "same-as-a.mp4").write_bytes((folder / "a.mp4").read_bytes())
    second = seal(workspace)
    report = extract_batch(second, [FIVE], workspace, workers=HERE)[FIVE]
    assert (report.extracted, report.copied) == (3, 0)
    assert numbers(workspace, second) == {
        "d.mp4": expected(1500), "e.mp4": expected(2000), "same-as-a.mp4": expected(0)
    }  # fmt: skip
    reasons = fallbacks(workspace, second)
    assert "was decoded wrongly by plan" in reasons["d.mp4"]
    assert reasons["e.mp4"] == ""
    assert recheck(workspace, second).ok


def test_a_family_that_is_cleared_is_planned_again(
    workspace: Workspace, planted: pytest.MonkeyPatch
) -> None:
    batch = seal(workspace)
    extract_batch(batch, [FIVE], workspace, workers=HERE)
    (wrong,) = recheck(workspace, batch).wrong_families
    extract_batch(batch, [FIVE], workspace, workers=HERE)
    planted.undo()  # as an upgrade would
    suspects = Suspects(workspace.store.objects)
    suspects.clear(wrong.family)
    assert suspects.keys() == frozenset()
    with pytest.raises(
        CommitNotFoundError, match=r"no suspect family 'mpeg4-mov-.*; there is none"
    ):
        suspects.clear(wrong.family)
    folder = Path(workspace.source.url)
    make_video(folder / "d.mp4", codec="mpeg4", options={"g": "25"}, frames=50, first=1500)
    later = seal(workspace)
    extract_batch(later, [FIVE], workspace, workers=ONE)
    assert (numbers(workspace, later), fallbacks(workspace, later)) == (
        {"d.mp4": expected(1500)},
        {"d.mp4": ""},
    )
    assert extract_batch(batch, [FIVE], workspace, workers=ONE)[FIVE].extracted == 0


def test_frames_that_do_not_say_their_family_are_suspect_with_their_codec(
    workspace: Workspace,
) -> None:
    """Frames of version 0.1 have no family. They get one when they are extracted again."""
    batch = seal(workspace)
    extract_batch(batch, [FIVE], workspace, workers=ONE)
    for clip, commit in workspace.store.clips(batch, FIVE).items():
        frames = workspace.store.read_commit(batch, FIVE, commit)
        old = replace(frames.outcome, decode=replace(frames.outcome.decode, family=""))
        workspace.store.write_clip(
            batch, clip, {FIVE: replace(frames, outcome=old)}, fingerprint=commit.fingerprint
        )
    workspace.store.commit_batch(batch, FIVE)
    found = recheck(workspace, batch)
    assert found.ok
    assert {one.family.partition("-")[0] for one in found.families} == {"mpeg4", "h264"}
    assert extract_batch(batch, [FIVE], workspace, workers=ONE)[FIVE].extracted == 0
    Suspects(workspace.store.objects).mark(Suspect("mpeg4-avi-0123456789abcdef"))
    assert extract_batch(batch, [FIVE], workspace, workers=ONE)[FIVE].extracted == 2
    assert set(fallbacks(workspace, batch).values()) == {""}  # the suspect is another family
    assert extract_batch(batch, [FIVE], workspace, workers=ONE)[FIVE].extracted == 0


def test_a_video_that_cannot_be_judged_gives_way_to_another(workspace: Workspace) -> None:
    batch = seal(workspace)
    extract_batch(batch, [FIVE], workspace, workers=ONE)
    folder = Path(workspace.source.url)
    (folder / "a.mp4").unlink()
    for seed in range(6):
        found = recheck_frames(batch, FIVE, workspace, frames=1, seed=seed, workers=HERE)
        videos = {one.family.partition("-")[0]: one.video for one in found.families}
        assert videos == {"mpeg4": "b.mp4", "h264": "c.mp4"}
    (folder / "b.mp4").unlink()
    found = recheck(workspace, batch)
    (lost,) = (one for one in found.families if one.video in WRONG)
    assert (lost.compared, found.ok) == (0, True)
    assert "b.mp4" in lost.skipped or "a.mp4" in lost.skipped


def test_one_video_may_have_clips_of_two_families(workspace: Workspace) -> None:
    """Happens if another version, with other families, extracts some clips again."""
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, FixedStride(1, 1, 0), workers=ONE)
    extract_batch(batch.key, [FIVE], workspace, workers=HERE)
    for clip, commit in workspace.store.clips(batch.key, FIVE).items():
        if clip.startswith("c.mp4#0-"):
            frames = workspace.store.read_commit(batch.key, FIVE, commit)
            decode = replace(frames.outcome.decode, family="h264-mov-0123456789abcdef")
            other = replace(frames, outcome=replace(frames.outcome, decode=decode))
            workspace.store.write_clip(
                batch.key, clip, {FIVE: other}, fingerprint=commit.fingerprint
            )
    workspace.store.commit_batch(batch.key, FIVE)
    found = recheck(workspace, batch.key)
    assert found.ok
    videos = sorted(one.video for one in found.families)
    assert (len(videos), videos[-2:]) == (3, ["c.mp4", "c.mp4"])


def test_clips_of_one_video_stand_for_each_other(workspace: Workspace) -> None:
    """The plain decode of any clip starts at the first packet of the video."""
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    cut_clips(batch, workspace, FixedStride(0.5, 0.5, 0), workers=ONE)
    extract_batch(batch.key, [FIVE], workspace, workers=ONE)
    report = recheck_frames(batch.key, FIVE, workspace, frames=1, seed=3, workers=HERE)
    assert report.ok
    assert all(one.compared > 8 for one in report.families), "stored ones and those alone"


REPORTED = (
    "flv2_chroma.flv",
    "h263c.avi",
    "h263p.mkv",
    "hevc_pps_once.ts",
    "mj_abbrev.mkv",
    "pal_raw.avi",
    "pps_cavlc.mkv",
    "pps_chroma.ts",
    "stsd2_chroma.mp4",
)
"""Files from bug reports that plans once got wrong: state set only once, wrong key flags."""


@needs_corpus
def test_whatever_plans_make_of_reported_files_the_next_run_is_right(tmp_path: Path) -> None:
    """Frames published after a check are right, even if the plan is wrong."""
    (tmp_path / "videos").mkdir()
    for name in REPORTED:
        shutil.copy(CORPUS / "reports" / name, tmp_path / "videos" / name)
    workspace = Workspace.at(str(tmp_path / "videos"), str(tmp_path / "root"))
    batch = seal(workspace)
    native = FrameExtractionSignature(target_fps=5)
    extract_batch(batch, [native], workspace, workers=HERE)
    report = recheck_frames(batch, native, workspace, frames=1, seed=1, workers=HERE)
    assert sum(one.compared for one in report.families) >= 8 * len(report.families)
    to_do = {clip for one in report.wrong_families for clip in one.suspect_clips}
    again = extract_batch(batch, [native], workspace, workers=HERE)[native]
    assert again.extracted == len(to_do)
    for clip, commit in again.manifest.clips.items():
        frames = workspace.store.read_commit(batch, native, commit)
        plain = plain_decode(tmp_path / "videos" / clip.partition("#")[0])
        for position, pixels in zip(frames.positions.tolist(), frames.frames, strict=True):
            np.testing.assert_array_equal(pixels, plain[position].rgb(*pixels.shape[:2]), clip)


@pytest.mark.parametrize(
    ("report", "codec", "suspect"),
    [
        (DecodeReport("pyav", family="h264-mov-0123456789abcdef"), "h264", True),
        (DecodeReport("pyav", family="h264-mov-0123456789abcdee"), "h264", False),
        (DecodeReport("pyav", family="h264-mov-0123456789abcdef", fallback="linear"), None, False),
        (DecodeReport("pyav"), "h264", True),
        (DecodeReport("pyav"), "hevc", False),
        (DecodeReport("pyav"), None, True),
        (DecodeReport("pyav", fallback="damage was met"), None, False),
    ],
)
def test_what_is_suspect(report: DecodeReport, codec: str | None, *, suspect: bool) -> None:
    assert is_suspect(report, {"h264-mov-0123456789abcdef"}, codec=codec) == suspect
    assert not is_suspect(report, (), codec=codec)


def test_the_name_of_a_document_is_enough(workspace: Workspace) -> None:
    objects = workspace.store.objects
    suspects, key = Suspects(objects), "h264-mov-0123456789abcdef"
    assert suspects.keys() == frozenset()
    assert suspects.mark(Suspect(key, {"codec": "h264", "profile": ""}, found=("x",)))
    assert not suspects.mark(Suspect(key, found=("y",)))
    (suspect,) = suspects.read()
    assert (suspect.found, suspect.description) == (("x",), "codec=h264")
    for data in (b"", b"{", b"[]", b'{"key": 1}', bytes(range(256))):
        objects.put(f"suspects/{key}.json", data)
        assert suspects.keys() == {key}
        (damaged,) = suspects.read()
        assert "the document is damaged" in damaged.found[0]
    assert suspects.damaged().keys() == {f"suspects/{key}.json"}
    (damage,) = repair_store(workspace, dry_run=False).damages
    assert (damage.key, damage.can_mend) == (f"suspects/{key}.json", True)
    assert not suspects.damaged()
    whole = objects.get(f"suspects/{key}.json")
    for bit in range(0, 8 * len(whole), 7):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        objects.put(f"suspects/{key}.json", bytes(flipped))
        assert suspects.damaged(), bit
    objects.put("suspects/notes.json", b"of somebody")
    objects.put("suspects/.h264-mov-0123456789abcdee.json.tmp", b"unfinished")
    assert suspects.keys() == {key}
    suspects.clear(key)
    assert suspects.keys() == frozenset()
