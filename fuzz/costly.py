"""Small files that are costly to read: each declares more than it holds.

Each function returns the bytes of a file. None is random, so a file that passes a limit is the same
on every machine.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

_MATRIX: Final = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
_FTYP: Final = b"isom\0\0\2\0isomiso2mp41"
_SIZE: Final = 4
"""Bytes of a sample."""


def box(kind: bytes, *contents: bytes) -> bytes:
    """Return an MP4 box."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def full_box(kind: bytes, *contents: bytes, version: int = 0, flags: int = 0) -> bytes:
    """Return an MP4 box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *contents)


def table(kind: bytes, *rows: tuple[int, ...], count: int | None = None) -> bytes:
    """Return an MP4 box with a declared number of rows and the actual rows of 32-bit numbers."""
    numbers = b"".join(struct.pack(f">{len(row)}I", *row) for row in rows)
    return full_box(kind, struct.pack(">I", len(rows) if count is None else count), numbers)


def sample_entry(extradata: bytes = b"", kind: bytes = b"mp4v") -> bytes:
    """Return the sample description of 16x16 samples."""
    fields = bytes(6) + struct.pack(">H16xHH", 1, 16, 16)
    fields += struct.pack(">II4xH32xHh", 72 << 16, 72 << 16, 1, 24, -1)
    return box(kind, fields, extradata)


def track(
    *tables: bytes,
    edits: bytes = b"",
    number: int = 1,
    handler: bytes = b"vide",
    entry: bytes | None = None,
) -> bytes:
    """Return a track with these sample tables."""
    header = struct.pack(">IIII I8xhhhh", 0, 0, number, 0, 1000, 0, 0, 0, 0)
    header += _MATRIX + struct.pack(">II", 16 << 16, 16 << 16)
    media = full_box(b"mdhd", struct.pack(">IIIIHH", 0, 0, 1000, 1000, 0x55C4, 0))
    media += full_box(b"hdlr", struct.pack(">I4s12x", 0, handler), b"\0")
    place = full_box(b"dref", struct.pack(">I", 1), full_box(b"url ", flags=1))
    described = full_box(b"stsd", struct.pack(">I", 1), entry or sample_entry())
    media += box(
        b"minf",
        full_box(b"vmhd", bytes(8), flags=1),
        box(b"dinf", place),
        box(b"stbl", described, *tables),
    )
    return box(b"trak", full_box(b"tkhd", header, flags=3), edits, box(b"mdia", media))


def movie(*boxes: bytes) -> bytes:
    """Return a movie box: a header and these boxes."""
    header = struct.pack(">IIIIIH10x", 0, 0, 1000, 1000, 1 << 16, 1 << 8)
    return box(b"moov", full_box(b"mvhd", header, _MATRIX, bytes(24), struct.pack(">I", 2)), *boxes)


def mp4(*boxes: bytes, samples: int = 16) -> bytes:
    """Return a file: sample bytes at offset 36, followed by boxes."""
    return box(b"ftyp", _FTYP) + box(b"mdat", bytes(_SIZE * samples)) + b"".join(boxes)


_FIRST_SAMPLE: Final = 8 + len(_FTYP) + 8
_NO_SAMPLES: Final = (
    table(b"stts"), table(b"stsc"), full_box(b"stsz", bytes(8)), table(b"stco")
)  # fmt: skip
_FRAGMENTS_FOLLOW: Final = box(b"mvex", full_box(b"trex", struct.pack(">IIIII", 1, 1, 1, _SIZE, 0)))


def fragment(samples: int, runs: int = 1, time: int | None = None) -> bytes:
    """Return a fragment with runs that give only their numbers of samples."""
    head = full_box(b"tfhd", struct.pack(">IQ", 1, _FIRST_SAMPLE), flags=0x1)
    at = b"" if time is None else full_box(b"tfdt", struct.pack(">I", time))
    run = full_box(b"trun", struct.pack(">I", samples))
    return box(b"moof", full_box(b"mfhd", bytes(4)), box(b"traf", head, at, run * runs))


def many_in_a_run(samples: int = 30_000_000, runs: int = 1) -> bytes:
    return mp4(movie(track(*_NO_SAMPLES), _FRAGMENTS_FOLLOW), fragment(samples, runs))


def many_fragments(count: int = 30_000) -> bytes:
    head = mp4(movie(track(*_NO_SAMPLES), _FRAGMENTS_FOLLOW))
    return head + fragment(1) * count


def backwards(count: int = 20_000, samples: int = 60) -> bytes:
    """Return fragments of which each is inserted before all others in the index."""
    head = mp4(movie(track(*_NO_SAMPLES), _FRAGMENTS_FOLLOW))
    moofs = (fragment(samples, time=40 * samples * n) for n in reversed(range(count)))
    return head + b"".join(moofs)


def _constant_size(samples: int, *, size: int = _SIZE) -> bytes:
    return full_box(b"stsz", struct.pack(">II", size, samples))


def many_of_one_size(samples: int = 30_000_000, duration: int = 40) -> bytes:
    tables = (
        table(b"stts", (samples, duration)),
        table(b"stsc", (1, samples, 1)),
        _constant_size(samples),
        table(b"stco", (_FIRST_SAMPLE,)),
    )
    return mp4(movie(track(*tables)))


def many_of_sound(samples: int = 0x7FFFFFFF) -> bytes:
    entry = box(b"raw ", bytes(6), struct.pack(">H8xHHHHI", 1, 1, 8, 0, 0, 8000 << 16))
    tables = (
        table(b"stts", (samples, 1)),
        table(b"stsc", (1, samples, 1)),
        _constant_size(samples, size=1),
        table(b"stco", *[(_FIRST_SAMPLE,)] * 8),
    )
    return mp4(movie(track(*tables, handler=b"soun", entry=entry)))


def times_over(times: int = 20_000, samples: int = 50_000) -> bytes:
    """Return a file with many chunks that all are the same sample, which is most of the file."""
    tables = (
        table(b"stts", (times, 40)),
        table(b"stsc", (1, 1, 1)),
        _constant_size(times, size=samples * _SIZE),
        table(b"stco", *[(_FIRST_SAMPLE,)] * times),
    )
    return mp4(movie(track(*tables)), samples=samples)


def many_edits(count: int = 1_000_000, samples: int = 16) -> bytes:
    tables = (
        table(b"stts", (samples, 40)),
        table(b"stsc", (1, samples, 1)),
        _constant_size(samples),
        table(b"stco", (_FIRST_SAMPLE,)),
    )
    rows = struct.pack(">IIHH", 40 * samples, 0, 1, 0) * count
    edits = box(b"edts", full_box(b"elst", struct.pack(">I", count), rows))
    return mp4(movie(track(*tables, edits=edits)), samples=samples)


def edits_of_many(count: int = 3_000, samples: int = 20_000) -> bytes:
    """Return a file in which each edit repeats all samples."""
    return many_edits(count, samples)


def compressed_movie(count: int = 1_000_000) -> bytes:
    """Return a movie box with a million edits, compressed to a few kilobytes."""
    whole = many_edits(count)
    moov = whole[whole.index(b"moov") - 4 :]
    packed = struct.pack(">I", len(moov)) + zlib.compress(moov, 9)
    cmov = box(b"cmov", box(b"dcom", b"zlib"), box(b"cmvd", packed))
    return mp4(box(b"moov", cmov))


def many_in_groups(samples: int = 0x3FFFFFF0) -> bytes:
    """Return composition offsets for too many samples; FFmpeg unrolls them only for groups."""
    tables = (
        table(b"stts", (16, 40)),
        table(b"ctts", (samples, 40)),
        table(b"stsc", (1, 16, 1)),
        _constant_size(16),
        table(b"stco", (_FIRST_SAMPLE,)),
        full_box(b"sgpd", b"sync", struct.pack(">IIB", 1, 1, 21), version=1),
        full_box(b"sbgp", b"sync", struct.pack(">III", 1, 16, 1)),
    )
    return mp4(movie(track(*tables, entry=sample_entry(kind=b"hvc1"))))


def hidden_sizes(samples: int = 30_000_000) -> bytes:
    """Return a file with its sample size table inside the sample description."""
    tables = (
        table(b"stts", (samples, 40)),
        table(b"stsc", (1, samples, 1)),
        table(b"stco", (_FIRST_SAMPLE,)),
    )
    return mp4(movie(track(*tables, entry=sample_entry(_constant_size(samples)))))


def many_items(count: int = 0x7FFFFFFF) -> bytes:
    """Return a still picture with this number of items."""
    items = full_box(b"iloc", struct.pack(">BBI", 0, 0, count), version=2)
    sizes = full_box(b"ispe", struct.pack(">II", 16, 16)) * 100
    used = full_box(b"ipma", struct.pack(">I", 1), struct.pack(">HB", 0, 100), bytes(range(1, 101)))
    described = box(b"iprp", box(b"ipco", sizes), used)
    meta = full_box(b"meta", full_box(b"pitm", bytes(2)), items, described)
    return box(b"ftyp", b"avif\0\0\0\0avifmif1") + meta


def many_titles(count: int = 20_000) -> bytes:
    """Return chapters that share one long title."""
    size = 60_000
    tables = (
        table(b"stts", (count, 40)),
        table(b"stsc", (1, 1, 1)),
        _constant_size(count, size=size),
        table(b"stco", *[(_FIRST_SAMPLE,)] * count),
    )
    video = track(*_NO_SAMPLES)
    video = box(b"trak", box(b"tref", box(b"chap", struct.pack(">I", 2))), video[8:])
    text = track(*tables, number=2, handler=b"text", entry=box(b"text", bytes(52)))
    title = struct.pack(">H", size - 2) + b"a" * (size - 2)
    return box(b"ftyp", _FTYP) + box(b"mdat", title) + movie(video, text)


def overruns(count: int = 3_000, size: int = 4_000_000) -> bytes:
    """Return sample tables that overrun their boxes, each to the end of the file."""
    tables = table(b"stts", count=size) * count
    return mp4(movie(track(tables, *_NO_SAMPLES)), samples=size // _SIZE)


def many_descriptions(count: int = 10_000) -> bytes:
    entries = sample_entry() * count
    stsd = full_box(b"stsd", struct.pack(">I", count), entries)
    return mp4(movie(track(stsd, *_NO_SAMPLES)))


def nested(depth: int = 50_000) -> bytes:
    body = b""
    for _ in range(depth):
        body = struct.pack(">I4s", 8 + len(body), b"udta") + body if len(body) < 1 << 20 else body
    return mp4(movie(body))


def many_boxes(count: int = 50_000) -> bytes:
    return mp4(movie(box(b"free") * count)) + box(b"free") * count


def many_tracks(count: int = 2_000) -> bytes:
    return mp4(movie(*(track(*_NO_SAMPLES, number=n + 1) for n in range(count))))


def _exp_golomb(number: int) -> str:
    bits = f"{number + 1:b}"
    return "0" * (len(bits) - 1) + bits


def h264_sps(number: int, tail: int = 0) -> bytes:
    """Return a sequence parameter set for 16x16, unique by its number, with trailing bytes."""
    bits = "".join(
        (
            f"{66:08b}{0:08b}{30:08b}",
            _exp_golomb(number % 32),
            _exp_golomb(0) * 1,
            _exp_golomb(2),
            _exp_golomb(1),
            "0",
            _exp_golomb(0) * 2,
            "1" + "1" + "0" + "0" + "1",
        )
    )
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    return b"\x67" + data + struct.pack(">I", number | 0x01010101) + b"\x55" * tail


def many_parameter_sets(count: int = 20_000, tail: int = 0) -> bytes:
    start = b"\0\0\0\1"
    pps = b"\x68\xce\x38\x80"
    idr = b"\x65\x88\x84\x0a\xff"
    sets = b"".join(start + h264_sps(n, tail) for n in range(count))
    return start + h264_sps(0) + start + pps + start + idr + sets + (start + idr) * 3


def zeros_in_parameter_sets(size: int = 1_000_000) -> bytes:
    """Return parameter sets with long codes: quadratic if a reader shifts all remaining bits."""
    start = b"\0\0\0\1"
    body = b"\x64\0\x1e" + b"\xaa" * size
    return many_parameter_sets(1) + start + b"\x67" + body + (start + b"\x65\x88\x84\x0a") * 3


def element(number: int, *contents: bytes) -> bytes:
    """Return a Matroska element."""
    body = b"".join(contents)
    name = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return name + (len(body) | 1 << 56).to_bytes(8, "big") + body


def laced(blocks: int, *, prefix: int = 0) -> bytes:
    """Return Matroska with 256 one-byte frames per block, which share a long stripped header."""
    encoding = element(0x5034, element(0x4254, b"\3"), element(0x4255, bytes(prefix)))
    encodings = element(0x6D80, element(0x6240, element(0x5033, b"\0"), encoding))
    video = element(0xE0, element(0xB0, b"\x10"), element(0xBA, b"\x10"))
    names = element(0xD7, b"\1"), element(0x73C5, b"\1"), element(0x83, b"\1")
    entry = element(0xAE, *names, element(0x86, b"V_MJPEG"), video, encodings if prefix else b"")
    block = element(0xA3, b"\x81\0\0\x84\xff", bytes(256))
    clusters = element(0x1F43B675, element(0xE7, b"\0"), block * blocks)
    head = element(0x1A45DFA3, element(0x4282, b"matroska"))
    info = element(0x1549A966, element(0x2AD7B1, b"\x0f\x42\x40"))
    return head + element(0x18538067, info, element(0x1654AE6B, entry), clusters)


def many_ogg_streams(count: int = 20_000) -> bytes:
    """Return Ogg pages, each the start of another stream."""
    page = struct.Struct("<4sBBqIIIBB")
    body = b"\x80theora\3\2\1" + bytes(32)
    return b"".join(
        page.pack(b"OggS", 0, 2, 0, number, 0, 0, 1, len(body)) + body for number in range(count)
    )


def many_flv_keyframes(count: int = 50_000) -> bytes:
    """Return an FLV script tag with a list of key frames, and no video."""
    numbers = b"\x0a" + struct.pack(">I", count) + (b"\0" + struct.pack(">d", 1.0)) * count
    text = b"\2\0\x0aonMetaData\x08\0\0\0\1\0\x09keyframes\3"
    text += b"\0\5times" + numbers + b"\0\x0dfilepositions" + numbers + b"\0\0\x09\0\0\x09"
    tag = b"\x12" + (len(text) & 0xFFFFFF).to_bytes(3, "big") + bytes(7) + text
    return b"FLV\1\1\0\0\0\x09\0\0\0\0" + tag + struct.pack(">I", len(tag))


def _riff(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def avi_of_indexes(supers: int = 3_000, entries: int = 3_000) -> bytes:
    """Return an AVI index of indexes that refers to the same index over and over."""
    header = struct.pack("<14I", 40_000, 0, 0, 0x10, 100, 0, 1, 0, 16, 16, 0, 0, 0, 0)
    stream = b"vidsMJPG" + struct.pack("<10I4H", 0, 0, 0, 1, 25, 0, 100, 0, 0, 0, 0, 0, 16, 16)
    picture = struct.pack("<IiiHH4sIiiII", 40, 16, 16, 1, 24, b"MJPG", 768, 0, 0, 0, 0)

    def file(at: int) -> tuple[bytes, int]:
        one = struct.pack("<QII", at, 0, entries)
        index = _riff(
            b"indx", struct.pack("<HBBI4sIII", 4, 0, 0, supers, b"00dc", 0, 0, 0), one * supers
        )
        strl = _riff(b"LIST", b"strl", _riff(b"strh", stream), _riff(b"strf", picture), index)
        head = _riff(b"LIST", b"hdrl", _riff(b"avih", header), strl)
        movie = _riff(b"00dc", bytes(100))
        start = 12 + len(head) + 12
        leaf = struct.pack("<HBBI4sQI", 2, 0, 1, entries, b"00dc", start, 0)
        leaf += struct.pack("<II", 8, 100) * entries
        body = _riff(b"LIST", b"movi", movie, _riff(b"ix00", leaf))
        return _riff(b"RIFF", b"AVI ", head, body), start + len(movie)

    return file(file(0)[1])[0]


COSTLY: Final[dict[str, Callable[[], bytes]]] = {
    "run.mp4": many_in_a_run,
    "runs.mp4": lambda: many_in_a_run(3_000_000, 10),
    "fragments.mp4": many_fragments,
    "backwards.mp4": backwards,
    "groups.mp4": many_in_groups,
    "hidden.mp4": hidden_sizes,
    "items.avif": many_items,
    "titles.mp4": many_titles,
    "overruns.mp4": overruns,
    "empty_edits.mp4": lambda: many_edits(10_000, 1),
    "one_size.mp4": many_of_one_size,
    "one_size_still.mp4": lambda: many_of_one_size(duration=0),
    "one_size_1.mp4": lambda: many_of_one_size(duration=1),
    "sound.mov": many_of_sound,
    "times_over.mp4": times_over,
    "edits.mp4": many_edits,
    "edits_of_many.mp4": edits_of_many,
    "compressed.mov": compressed_movie,
    "descriptions.mp4": many_descriptions,
    "nested.mp4": nested,
    "boxes.mp4": many_boxes,
    "tracks.mp4": many_tracks,
    "sets.h264": many_parameter_sets,
    "large_sets.h264": lambda: many_parameter_sets(2_000, 2_000),
    "zeros.h264": zeros_in_parameter_sets,
    "stripped.mkv": lambda: laced(300, prefix=10_000),
    "laced.mkv": lambda: laced(400),
    "streams.ogg": many_ogg_streams,
    "keyframes.flv": many_flv_keyframes,
    "indexes.avi": avi_of_indexes,
}
"""Costly files by name."""
