"""A small file costs little, however much it declares; a long file may declare its length."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from random import Random
from typing import Any

import av
import pytest

from frames_pipeline import (
    FrameExtractionSignature,
    FramesPipelineError,
    LimitExceededError,
    Limits,
    extract_frames,
    probe,
)
from frames_pipeline.container.declared_sizes import Allowed, check_declared
from frames_pipeline.workers.local import Workers
from fuzz.costly import COSTLY, box, fragment, full_box, movie, mp4, table, track
from fuzz.mutate import change_a_box, flip_bits, set_number
from tests.container.test_media import memory
from tests.oracle import CORPUS, needs_corpus
from tests.slowness import slowness
from tests.videos import X264, make_video

FIRST = FrameExtractionSignature(policy="first", target_res=(32, 48))
DEFAULT = Limits()
ALLOWED = Allowed(DEFAULT.max_samples, DEFAULT.max_edits, DEFAULT.max_fragments, DEFAULT.max_reuse)
REFUSED = {
    "run.mp4": "trun boxes declare 30000000 samples",
    "runs.mp4": "trun boxes declare 3000000 samples",
    "backwards.mp4": "tfdt boxes declare .* moves of samples",
    "groups.mp4": "sbgp boxes declare 1073741808 samples",
    "hidden.mp4": "stsz boxes declare 30000000 samples",
    "items.avif": "iloc boxes declare 2147483647 items",
    "titles.mp4": "stsz boxes declare 1200000000 bytes of samples",
    "overruns.mp4": "stts boxes declare .* bytes behind their ends",
    "one_size.mp4": "stsz boxes declare 30000000 samples",
    "one_size_1.mp4": "stsz boxes declare 30000000 samples",
    "one_size_still.mp4": "stsz boxes declare 30000000 samples",
    "sound.mov": "stsz boxes declare .* samples",
    "times_over.mp4": "stsz boxes declare 4000000000 bytes of samples",
    "laced.mkv": r"makes more than 31\d+ packets of them: less than 4 bytes each",
    "edits.mp4": "elst boxes declare 1000000 edits; the limit is 10000",
    "edits_of_many.mp4": "elst boxes declare 60000000 samples",
    "compressed.mov": "cmvd boxes declare 12000579 bytes of a compressed header",
}
SECONDS_PER_MB, MEGABYTES_PER_MB = 2, 25
"""Processor seconds and megabytes of memory per megabyte of file, above the base cost."""


def check(data: bytes, allowed: Allowed = ALLOWED) -> None:
    check_declared(
        lambda at, size: data[at : at + size], file_size=len(data), name="x", allowed=allowed
    )


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_declares_too_much_is_refused_by_name(name: str) -> None:
    with pytest.raises(LimitExceededError, match=REFUSED[name]):
        probe(io.BytesIO(COSTLY[name]()))


def costs(task: tuple[str, str]) -> dict[str, Any]:
    """Return the outcome and the costs of reading a file; runs in a worker process."""
    import resource  # noqa: PLC0415 - of the worker

    path, name = task
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, since = memory("VmRSS"), resource.getrusage(resource.RUSAGE_SELF)
    result: str
    try:
        result = extract_frames(path, [FIRST])[FIRST].outcome.status
    except FramesPipelineError as error:
        result = error.reason
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "name": name,
        "result": result,
        "cpu_s": (used.ru_utime - since.ru_utime) / slowness(),
        "more_mb": memory("VmHWM") - before,
    }


def test_a_small_file_costs_little(tmp_path: Path) -> None:
    """Measures processor time, in units that are longer on a slower or busier machine."""
    tasks = []
    for name, make in COSTLY.items():
        (tmp_path / name).write_bytes(make())
        tasks.append((str(tmp_path / name), name))
    for (path, name), cost in Workers(1).map(costs, tasks):
        assert isinstance(cost, dict), f"{name}: {cost}"
        size = Path(path).stat().st_size / (1 << 20)
        assert cost["cpu_s"] <= 1 + SECONDS_PER_MB * size, cost
        assert cost["more_mb"] <= 200 + MEGABYTES_PER_MB * size, cost


def index_entries(data: bytes) -> int:
    """Return the number of samples in libavformat's index of a file."""
    try:
        with av.open(io.BytesIO(data), format="mov", metadata_errors="replace") as container:
            return sum(len(stream.index_entries) for stream in container.streams)
    except (av.FFmpegError, ValueError, OverflowError, MemoryError):
        return 0


SMALL_TABLES = (
    table(b"stts", (40, 40)),
    table(b"stsc", (1, 10, 1)),
    full_box(b"stsz", struct.pack(">II", 4, 40)),
    table(b"stco", *[(36 + 40 * n,) for n in range(4)]),
)
EDITS = box(b"edts", table(b"elst", *[(400, 200 * n, 1 << 16) for n in range(5)]))
SOUND = box(b"raw ", bytes(6), struct.pack(">H8xHHHHI", 1, 1, 8, 0, 0, 8000 << 16))
FRAGMENTED = box(b"mvex", full_box(b"trex", struct.pack(">IIIII", 1, 1, 1, 4, 0)))


def made() -> list[bytes]:
    """Return files with each kind of counted box."""
    sound = track(
        table(b"stts", (4000, 1)),
        *SMALL_TABLES[1:],
        number=2,
        handler=b"soun",
        entry=SOUND,
    )
    return [
        mp4(movie(track(*SMALL_TABLES), sound), samples=4000),
        mp4(movie(track(*SMALL_TABLES, table(b"stss", (1,), (13,), (29,)), edits=EDITS))),
        mp4(movie(track(*SMALL_TABLES, table(b"ctts", (20, 40), (20, 80)), edits=EDITS), sound)),
        mp4(movie(track(*SMALL_TABLES), FRAGMENTED), fragment(9, time=0), fragment(7, 2, time=99)),
    ]


@pytest.mark.parametrize("number", range(4))
def test_libavformat_makes_no_more_samples_than_are_counted(number: int, tmp_path: Path) -> None:
    """libavformat's index is the oracle: a limit of one sample fewer refuses the file."""
    seeds = [made()[number], make_video(tmp_path / "x.mp4", frames=12, options=X264).read_bytes()]
    compared = 0
    for case in range(300):
        random = Random(f"{number}/{case}")
        data = bytearray(seeds[case % 20 == 0])
        for _ in range(random.choice((0, 1, 1, 2, 3))):
            random.choice((change_a_box, change_a_box, flip_bits, set_number))(data, random)
        try:
            check(bytes(data))
        except LimitExceededError:
            continue
        if entries := index_entries(bytes(data)):
            compared += 1
            with pytest.raises(LimitExceededError, match="samples"):
                check(bytes(data), ALLOWED._replace(samples=entries - 1))
    assert compared > 100


@needs_corpus
def test_real_files_declare_no_more_than_they_may() -> None:
    folders = ("bench", "cuts", "hard", "real", "reports")
    files = [p for name in folders for p in (CORPUS / name).rglob("*") if p.suffix != ".tsv"]
    for path in files:
        data = path.read_bytes() if path.is_file() else b""
        if path.name != "stsz_268M_entries.mp4":
            check(data)


class Sparse:
    """A large file of zeros, with real bytes only at its end."""

    def __init__(self, media_bytes: int, boxes: bytes) -> None:
        self._head = struct.pack(">I4sQ", 1, b"mdat", media_bytes)
        self._boxes = boxes
        self._start = media_bytes
        self.size = media_bytes + len(boxes)

    def read(self, offset: int, size: int) -> bytes:
        if offset < self._start:
            return self._head[offset : offset + size]
        return self._boxes[offset - self._start : offset - self._start + size]

    def check(self, allowed: Allowed = ALLOWED) -> None:
        check_declared(self.read, file_size=self.size, name="long.mp4", allowed=allowed)


def test_46_hours_are_allowed() -> None:
    """The file declares 5,000,000 video packets and two audio tracks."""
    n = 5_000_000
    sizes = full_box(b"stsz", struct.pack(">II", 0, n), struct.pack(">I", 4000) * n)
    chunks = (table(b"stsc", (1, n, 1)), table(b"stco", (16,)))
    video = track(table(b"stts", (n, 1)), sizes, *chunks)
    sound = [
        track(
            table(b"stts", (7_000_000, 1024)),
            full_box(b"stsz", struct.pack(">II", 200, 7_000_000)),
            *chunks,
            number=number,
            handler=b"soun",
        )
        for number in (2, 3)
    ]
    Sparse(24_000_000_000, movie(video, *sound)).check()
    with pytest.raises(LimitExceededError, match="stsz boxes declare 19000000 samples"):
        Sparse(24_000_000_000, movie(video, *sound)).check(ALLOWED._replace(samples=18_999_999))


def test_uncompressed_sound_is_counted_as_libavformat_does() -> None:
    """28 hours at 8 kHz are 800,000,000 samples: 26 entries at most for each chunk of 4000."""
    n = 800_000_000 // 4000
    sound = track(
        table(b"stts", (800_000_000, 1)),
        full_box(b"stsz", struct.pack(">II", 1, 800_000_000)),
        table(b"stsc", (1, 4000, 1)),
        table(b"stco", *[(16,)] * n),
        handler=b"soun",
        entry=SOUND,
    )
    Sparse(800_000_000, movie(sound)).check()
    with pytest.raises(LimitExceededError, match="stsz boxes declare 5200000 samples"):
        Sparse(800_000_000, movie(sound)).check(ALLOWED._replace(samples=5_199_999))


def test_bytes_may_be_shared_eight_times_over(tmp_path: Path) -> None:
    chunks = [(36,)] * 4000
    tables = (
        table(b"stts", (4000, 40)),
        table(b"stsc", (1, 1, 1)),
        full_box(b"stsz", struct.pack(">II", 40_000, 4000)),
        table(b"stco", *chunks),
    )
    data = mp4(movie(track(*tables)), samples=10_000)
    with pytest.raises(LimitExceededError, match="stsz boxes declare 160000000 bytes"):
        probe(data)
    check(data, ALLOWED._replace(reuse=2000))


def test_packets_of_any_container_share_no_more_bytes() -> None:
    """Matroska may strip common leading bytes from frames, so a small file expands a lot."""
    with pytest.raises(LimitExceededError, match=r"more than 67\d+ bytes: .* raise max_reuse"):
        probe(COSTLY["stripped.mkv"]())
