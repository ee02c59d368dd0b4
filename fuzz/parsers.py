"""`python -m fuzz.parsers`: give damaged packets and sample tables to every parser; no decoder.

Every parser must return a value of its type for any bytes, after any other bytes. A finding is an
error that escapes, two ways of reading that disagree, an impossible value, or a case that takes a
second. Repeat a finding with `--codec`, `--only` and the same seed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import av
import numpy as np

from frames_pipeline.bitstream import codec_named
from frames_pipeline.bitstream.nal import START_CODE, sized_units
from frames_pipeline.container.declared_sizes import Allowed, check_declared
from frames_pipeline.container.sample_table import read_sample_table
from frames_pipeline.errors import LimitExceededError
from fuzz.mutate import (
    change_a_box,
    delete_run,
    duplicate_run,
    flip_bits,
    noise_run,
    set_number,
    truncate,
)
from fuzz.seeds import make_seeds

BOXES: Final = "mp4 boxes"
"""Name used as the codec of cases that parse sample tables."""
_PACKETS: Final = 24
"""Packets per seed file."""
_KEPT: Final = 400
"""Bytes kept of each packet; its headers are at the start."""
_HEAD: Final = 64
_SLOW: Final = 1.0
"""CPU seconds from which a case is a finding."""
_LARGEST_MOVIE: Final = 20_000
_MEDIA: Final = 1 << 20
_ALLOWED: Final = Allowed(samples=100_000, edits=1000, fragments=1000, reuse=8)
_UNITS: Final = (b"\x67", b"\x68", b"\x06", b"\x09", b"\x65", b"\x41", b"\x0a", b"\x0c",
                 b"\x42\x01", b"\x44\x01", b"\x4e\x01", b"\x26\x01", b"\x02\x01", b"\x4a\x01",
                 b"\x0a\x0b", b"\x12\0", b"\x32\x05", b"\x1a\x03")  # fmt: skip
"""Unit headers of H.264, HEVC and AV1."""
_STARTS: Final = (b"\0\0\1", b"\0\0\0\1", b"\0\0\1\0", b"\0\0\1\xb6", b"\0\0\1\x20", b"\0\0\1\xb3")
_EDGES: Final = (
    b"",
    b"\0",
    b"\xff",
    b"\0\0\0\4\6\xff\xff\xff",
    b"\0\0\0\1",
    b"\0\0\1",
    b"\xff" * 9,
)


class Stream(NamedTuple):
    """Packets of one stream."""

    codec: str
    intra_only: bool
    extradata: bytes
    packets: tuple[tuple[bytes, bool], ...]
    """Packets with their key flags."""


class Checked(NamedTuple):
    """The outcome of one call."""

    parser: str
    result: str


@dataclass
class Totals:
    """Counts of cases and findings."""

    results: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest: dict[str, tuple[float, int]] = field(default_factory=dict)
    """Per codec, the seconds and number of its slowest case."""
    findings: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    """The number of findings by kind; one of each kind is printed in full."""
    cases: int = 0

    def add(self, other: Totals) -> None:
        self.results += other.results
        self.cases += other.cases
        for codec, slowest in other.slowest.items():
            self.slowest[codec] = max(slowest, self.slowest.get(codec, (0.0, -1)))
        for kind, finding in zip(other.kinds, other.findings, strict=True):
            if kind not in self.kinds:
                self.findings.append(finding)
            self.kinds[kind] += other.kinds[kind]

    def note(self, kind: str, finding: str) -> None:
        if kind not in self.kinds:
            self.findings.append(finding)
        self.kinds[kind] += 1

    def __str__(self) -> str:
        lines = [f"{self.cases} cases"]
        for parser in sorted({parser for parser, _ in self.results}):
            counts = {r: n for (p, r), n in sorted(self.results.items()) if p == parser}
            results = ", ".join(f"{result} {count}" for result, count in counts.items())
            lines.append(f"{parser}: {sum(counts.values())} calls: {results}")
        for codec, (seconds, number) in sorted(self.slowest.items()):
            lines.append(f"{codec}: slowest {seconds * 1000:.1f} ms (case {number})")
        lines.append(f"{len(self.findings)} kinds of findings")
        for (kind, count), finding in zip(self.kinds.items(), self.findings, strict=True):
            lines.append(f"--- {count} times: {kind}\n{finding}")
        return "\n".join(lines)


def streams(files: Iterable[Path]) -> dict[str, list[Stream]]:
    """Return the streams of these files by codec."""
    found: dict[str, list[Stream]] = {}
    for path in files:
        try:
            with av.open(str(path), metadata_errors="replace") as container:
                stream = container.streams.video[0]
                codec = stream.codec_context.codec
                packets = tuple(
                    (bytes(packet)[:_KEPT], packet.is_keyframe)
                    for packet, _ in zip(container.demux(stream), range(_PACKETS), strict=False)
                    if packet.size
                )
                extradata = stream.codec_context.extradata or b""
        except (av.FFmpegError, ValueError, IndexError, AttributeError):
            continue
        if packets:
            made = Stream(codec.canonical_name, codec.intra_only, extradata, packets)
            found.setdefault(codec.canonical_name, []).append(made)
    return found


def movies(files: Iterable[Path]) -> list[bytes]:
    """Return small MP4 files without their samples."""
    found = []
    for path in files:
        data = path.read_bytes()
        at = data.find(b"moov")
        if data[4:8] == b"ftyp" and at > 0:
            size = int.from_bytes(data[at - 4 : at], "big")
            if size < _LARGEST_MOVIE:
                brand = data[: int.from_bytes(data[:4], "big")]
                found.append(brand + data[at - 4 : at - 4 + size])
    return found


def damaged(data: bytes, random: Random) -> bytes:
    """Return a packet or a record after some mutations."""
    if random.random() < 0.1:
        return random.choice(_EDGES) + random.randbytes(random.choice((0, 0, 1, 3, 20)))
    out = bytearray(data)
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        if out:
            random.choice(_DAMAGES)(out, random)
    return bytes(out)


def _flip_in_head(data: bytearray, random: Random) -> None:
    for _ in range(random.choice((1, 1, 2, 5))):
        data[random.randrange(min(len(data), _HEAD))] ^= 1 << random.randrange(8)


def _set_a_length(data: bytearray, random: Random) -> None:
    at = random.randrange(min(len(data), _HEAD))
    size = random.choice((1, 2, 4))
    value = random.choice((0, 1, 2, 3, len(data) - at - size, len(data), 1 << 31, (1 << 32) - 1))
    data[at : at + size] = (max(value, 0) & ((1 << 8 * size) - 1)).to_bytes(size, "big")


def _insert_a_unit(data: bytearray, random: Random) -> None:
    unit = random.choice(_UNITS) + random.randbytes(random.choice((0, 1, 2, 8, 40)))
    if random.random() < 0.3:
        unit = unit[:2] + random.choice((b"\0", b"\xff", b"\0\0\3")) * random.randrange(30)
    start = random.choice((*_STARTS, len(unit).to_bytes(4, "big"), len(unit).to_bytes(2, "big")))
    at = random.choice((0, 0, random.randrange(len(data))))
    data[at:at] = start + unit


def _reverse_halves(data: bytearray, random: Random) -> None:
    at = random.randrange(len(data))
    data[:] = data[at:] + data[:at]


_DAMAGES: Final = (
    _flip_in_head, _flip_in_head, _set_a_length, _set_a_length, _insert_a_unit, _insert_a_unit,
    _reverse_halves, flip_bits, truncate, noise_run, delete_run, duplicate_run,
)  # fmt: skip


def damaged_stream(stream: Stream, other: Stream, random: Random) -> Stream:
    """Return a short stream, damaged, swapped and mixed with packets of another stream."""
    start = random.randrange(len(stream.packets))
    packets = list(stream.packets[start : start + random.choice((1, 2, 4, 8))])
    if random.random() < 0.2:
        packets.insert(random.randrange(len(packets) + 1), random.choice(other.packets))
    if random.random() < 0.2:
        random.shuffle(packets)
    packets = [
        (damaged(data, random), key if random.random() < 0.9 else not key) for data, key in packets
    ]
    extradata = stream.extradata
    if random.random() < 0.4:
        extradata = damaged(random.choice((extradata, extradata, other.extradata)), random)
    return stream._replace(extradata=extradata, packets=tuple(packets))


def check_stream(stream: Stream) -> Iterator[Checked]:
    """Call every function that reads packets, and check that the results make sense."""
    codec, extradata = stream.codec, stream.extradata
    reader = codec_named(codec, intra_only=stream.intra_only).open_reader(extradata)
    flags = [reader.read(memoryview(data), key=key) for data, key in stream.packets]
    assert all(flag >= 0 for flag in flags), f"flags {flags}"
    yield Checked(f"{codec} read", "shown" if any(flag & 1 for flag in flags) else "nothing shown")
    known = reader.references
    if known is not None:
        assert len(known) == len(flags), f"{len(known)} references of {len(flags)} packets"
        assert all(0 <= row < n for n, rows in enumerate(known) for row in rows), f"{known}"
        yield Checked(f"{codec} references", "known")
    assert all(0 <= row < len(flags) for row in reader.damaged)
    in_order = reader.in_output_order
    packets = [memoryview(data) for data, _ in stream.packets]
    ranks = codec_named(codec).output_ranks
    order = list(range(len(flags))) if ranks is None else ranks(extradata, packets, flags)
    assert order is None or len(order) == len(flags), f"{order} for {len(flags)} packets"
    yield Checked(f"{codec} output_order", "unknown" if order is None else "known")
    if in_order:
        yield Checked(f"{codec} in output order", "yes")
    yield from _check_cuts(codec, packets)
    yield from _check_numbers(codec, extradata, packets)
    yield from _check_heads(stream, flags)


def _check_cuts(codec: str, packets: list[memoryview]) -> Iterator[Checked]:
    cut = codec_named(codec).cut
    if cut is None:
        return
    for data in packets:
        ends = cut(data)
        assert ends[-1] == len(data), f"cut at {ends} of {len(data)}"
        assert ends == sorted(set(ends)), f"cut at {ends}"
        yield Checked(f"{codec} packet_cutter", "whole" if len(ends) == 1 else "parts")


def _check_numbers(codec: str, extradata: bytes, packets: list[memoryview]) -> Iterator[Checked]:
    opened = codec_named(codec).picture_numbers
    if opened is None:
        return
    numbers = opened(extradata)
    for data in packets:
        is_next = numbers.is_next(data)
        assert isinstance(is_next, bool), f"{is_next!r}"
        yield Checked(f"{codec} picture_numbers", "next" if is_next else "lost")
    numbers.restart()


def _check_heads(stream: Stream, flags: list[int]) -> Iterator[Checked]:
    """Check that a result for all packets at once equals the results one by one."""
    data = [packet for packet, _ in stream.packets if packet]
    if len(data) < len(flags) or any(_hides_a_unit(packet) for packet in data):
        return  # a start code inside a slice is seen only if the whole packet is read
    heads = np.frombuffer(b"".join(p[:_HEAD].ljust(_HEAD, b"\0") for p in data), np.uint8)
    reader = codec_named(stream.codec, intra_only=stream.intra_only).open_reader(stream.extradata)
    found = reader.read_heads(
        heads.reshape(len(data), _HEAD),
        np.array([len(p) for p in data], np.int64),
        key=np.array([key for _, key in stream.packets], np.bool_),
        read=lambda row, start=0, size=None: memoryview(data[row])[start:][:size],
    )
    if found is not None:
        assert found.tolist() == flags, f"at once {found.tolist()}, one by one {flags}"
    yield Checked(f"{stream.codec} read_heads", "unknown" if found is None else "known")


def _hides_a_unit(packet: bytes) -> bool:
    """Return whether a unit contains a start code, for any size of its length field."""
    return any(START_CODE in unit for size in (1, 2, 4) for unit in sized_units(packet, size))


def check_movie(data: bytes) -> Iterator[Checked]:
    """Read the sample tables of a movie and count its declared samples, which follow the tables."""
    file_size = len(data) + _MEDIA

    def read(offset: int, size: int) -> bytes:
        return data[offset : offset + size]

    for track in (1, 2):
        table = read_sample_table(read, file_size=file_size, track=track)
        if table is not None:
            assert len(table) > 0
            assert int(table.offset.min()) >= 0
            assert int((table.offset + table.size).max()) <= file_size
            assert len(table.dts) == len(table.pts) == len(table.sync) == len(table)
        yield Checked("sample_table", "none" if table is None else "plain")
    try:
        check_declared(read, file_size=file_size, name="x", allowed=_ALLOWED)
        result = "allowed"
    except LimitExceededError:
        result = "too large"
    yield Checked("declared", result)


class Fuzzer:
    """Makes cases from seeds and checks them."""

    def __init__(self, by_codec: dict[str, list[Stream]], boxes: list[bytes], seed: int) -> None:
        self._streams = by_codec
        self._boxes = boxes
        self._seed = seed

    @property
    def codecs(self) -> list[str]:
        return [*sorted(self._streams), BOXES]

    def check(self, codec: str, number: int) -> Iterator[Checked]:
        """Make and check one case."""
        random = Random(f"{self._seed}/{codec}/{number}")
        if codec == BOXES:
            movie = bytearray(random.choice(self._boxes))
            for _ in range(random.choice((0, 1, 1, 2, 4))):
                if movie:
                    random.choice((change_a_box, flip_bits, set_number, noise_run))(movie, random)
            return check_movie(bytes(movie))
        stream = random.choice(self._streams[codec])
        other = random.choice(self._streams[random.choice(sorted(self._streams))])
        return check_stream(damaged_stream(stream, other, random))

    def run(self, codec: str, numbers: Iterable[int], until: float) -> Totals:
        totals = Totals()
        for number in numbers:
            if number % 256 == 0 and time.monotonic() > until:
                break
            since = time.process_time()
            try:
                totals.results.update(self.check(codec, number))
            except Exception as error:
                totals.note(_kind(codec, error), self._finding(codec, number))
            seconds = time.process_time() - since
            totals.cases += 1
            totals.slowest[codec] = max(totals.slowest.get(codec, (0.0, -1)), (seconds, number))
            if seconds > _SLOW:
                totals.note(f"{codec}: slow", f"{self._name(codec, number)}: {seconds:.1f} s")
        return totals

    def _finding(self, codec: str, number: int) -> str:
        return f"{self._name(codec, number)}:\n{traceback.format_exc()}"

    def _name(self, codec: str, number: int) -> str:
        return f"--seed {self._seed} --codec '{codec}' --only {number}"


def _kind(codec: str, error: Exception) -> str:
    """Return the place where an error was raised: many cases meet the same error."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{codec}: {type(error).__name__} in {Path(last.filename).name}:{last.name}"


def make_fuzzer(folder: Path, seed: int) -> Fuzzer:
    """Return a fuzzer over generated videos, and the corpus if it is present."""
    files = make_seeds(folder, ("hard", "real", "reports"))
    return Fuzzer(streams(files), movies(files), seed)


_SHARE: Final = 20_000
"""Cases per task of a process."""
Work = tuple[Fuzzer, str, range, float]


def _work(work: Work) -> Totals:
    fuzzer, codec, numbers, until = work
    return fuzzer.run(codec, numbers, until)


def run(
    fuzzer: Fuzzer, codecs: Iterable[str], cases: int, *, processes: int, seconds: float
) -> Totals:
    """Run this number of cases of each codec."""
    until = time.monotonic() + (seconds or 1e9)
    shares: list[Work] = [
        (fuzzer, codec, range(start, min(start + _SHARE, cases)), until)
        for start in range(0, cases, _SHARE)
        for codec in codecs
    ]
    totals = Totals()
    if processes == 1:
        for share in shares:
            totals.add(_work(share))
        return totals
    with ProcessPoolExecutor(processes) as pool:
        for found in pool.map(_work, shares):
            totals.add(found)
    return totals


def main() -> None:
    """Fuzz, print totals, and exit with 1 if there are findings."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="frames-fuzz-seeds-") as folder:
        fuzzer = make_fuzzer(Path(folder), arguments.seed)
    codecs = fuzzer.codecs if arguments.codec is None else [arguments.codec]
    if arguments.only is not None:
        totals = Totals()
        for codec in codecs:
            totals.add(fuzzer.run(codec, [arguments.only], time.monotonic() + 1e9))
    else:
        print(f"seed {arguments.seed}, {arguments.cases} cases each of {', '.join(codecs)}")
        totals = run(
            fuzzer,
            codecs,
            arguments.cases,
            processes=arguments.processes,
            seconds=arguments.seconds,
        )
    print(totals)
    sys.exit(bool(totals.findings))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fuzz.parsers", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="Number of cases per codec.")
    parser.add_argument(
        "--seconds", type=float, default=0, help="Stop after this time; 0: after all cases."
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="Seed; the same seed gives the same cases."
    )
    parser.add_argument("--codec", help="One codec, or 'mp4 boxes'; by default all.")
    parser.add_argument("--only", type=int, help="Number of a single case.")
    parser.add_argument("--processes", type=int, default=1, help="Number of processes.")
    return parser


if __name__ == "__main__":
    main()
