"""A short run of the fuzzer, and what longer ones found. `make fuzz CASES=10000` is a long one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random

import pytest

from frames_pipeline.workers.local import Workers
from fuzz import parsers
from fuzz.cases import Case, make_cases
from fuzz.mutate import mutated
from fuzz.run import Totals, run
from fuzz.seeds import make_seeds, sorted_seeds
from tests.oracle import needs_corpus
from tests.suites import live_from

WORKERS = Workers(2, cpu_s=60, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


def run_cases(seeds: list[Path], seed: int, numbers: Iterable[int]) -> Totals:
    return run((Case(n, seed, Random(f"{seed}/{n}/file").choice(seeds)) for n in numbers), WORKERS)


@pytest.mark.parametrize("cases", live_from(1, [30, 150]))
def test_a_short_run_finds_nothing(seeds: list[Path], cases: int) -> None:
    totals = run_cases(seeds, 1, range(cases))
    assert not totals.findings
    assert totals.results.total() == cases
    assert totals.compared > cases / 2
    assert totals.peak_mb[0] < 1024


@pytest.mark.parametrize("cases", live_from(1, [20, 100]))
def test_damage_in_packets_meets_decoders(seeds: list[Path], cases: int) -> None:
    totals = run(make_cases(sorted_seeds(seeds), 1, range(cases)), WORKERS)
    assert not totals.findings
    assert totals.results.total() == cases
    assert totals.results["ok"] + totals.results["partial"] > cases / 2
    assert totals.compared > 3 * cases


@pytest.mark.parametrize("cases", live_from(1, [60, 500]))
def test_parsers_answer_whatever_they_are_given(seeds: list[Path], cases: int) -> None:
    """Run `python -m fuzz.parsers` for millions of cases."""
    fuzzer = parsers.Fuzzer(parsers.streams(seeds), parsers.movies(seeds), seed=1)
    assert {"h264", "hevc", "av1", "vp8", "vp9", "mpeg2video", "mpeg4", "ffv1"} < {*fuzzer.codecs}
    totals = parsers.run(fuzzer, fuzzer.codecs, cases, processes=1, seconds=0)
    assert totals.cases == cases * len(fuzzer.codecs)
    assert not totals.findings, str(totals)


def test_a_case_of_the_parsers_is_repeated_by_its_number(seeds: list[Path]) -> None:
    made = (parsers.streams(seeds), parsers.movies(seeds))
    one, other = (parsers.Fuzzer(*made, seed=3) for _ in range(2))
    for number in range(50):
        assert list(one.check("h264", number)) == list(other.check("h264", number))


@needs_corpus
@pytest.mark.parametrize(
    ("seed", "number"),
    live_from(
        3,
        [
            pytest.param(1, 64, id="damaged packets, and a policy that wants no frame"),
            pytest.param(2, 112, id="a stream that appears on the way"),
            pytest.param(2, 189, id="a broken JPEG picture, handed out without a mark"),
            pytest.param(3, 3472, id="VP8: flushing leaves damage behind"),
            pytest.param(3, 1739, id="FFV1: flushing leaves damage behind"),
            pytest.param(5, 8207, id="HEVC: a broken slice, handed out without a mark"),
            pytest.param(5, 4232, id="HEVC: a missing reference, and no timestamps"),
            pytest.param(5, 7437, id="H.264: a packet that is not there"),
            pytest.param(11, 4376, id="H.264: a key frame that is not there"),
            pytest.param(5, 7682, id="FFV1: a broken slice, filled up with another frame's"),
            pytest.param(5, 7123, id="H.264: a broken packet that no wanted frame needs"),
            pytest.param(5, 1916, id="H.264: a plain decode stops where the audio is broken"),
            pytest.param(11, 1898, id="HEVC: a plain decode loses frames that are there"),
        ],
    ),
)
def test_what_was_found_stays_fixed(seeds: list[Path], seed: int, number: int) -> None:
    assert not run_cases(seeds, seed, [number]).findings


@needs_corpus
def test_pixels_that_a_file_does_not_determine_are_told_apart(seeds: list[Path]) -> None:
    """A slice of HEVC that ends early leaves the rest of its picture as the memory was."""
    totals = run_cases(seeds, 5, [257])
    assert not totals.findings
    assert len(totals.accidental) == 2


def test_the_same_seed_gives_the_same_damage() -> None:
    data = bytes(range(256)) * 20
    cases = [Case(number, 7, Path("x")) for number in range(50)]
    damaged = [mutated(data, case.random()) for case in cases]
    assert damaged == [mutated(data, case.random()) for case in cases]
    assert len(set(damaged)) > 40
