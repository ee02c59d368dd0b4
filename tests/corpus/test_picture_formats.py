"""The format of pictures is what ffprobe 5.1 says, but for documented differences."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import pytest

from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.probe import probe_media
from frames_pipeline.frames import PictureFormat
from tests.corpus.files import FILES, CorpusFile, each_file
from tests.oracle import needs_corpus

RANGES: Final = {"tv": "limited", "pc": "full", "": "unspecified"}
ORDERS: Final = {
    "tt": "tff", "bb": "bff", "tb": "bff", "bt": "tff", "progressive": "progressive",
    "": "unspecified",
}  # fmt: skip
VP8: Final[dict[str, Any]] = {"matrix": "bt470bg", "range": "limited"}
"""The only colours that VP8 has (RFC 6386, 9.2), which FFmpeg's decoder says since 6.1."""
DIFFERENCES: Final[dict[str, dict[str, Any]]] = {
    "mpy_big_buck_bunny_0_30.webm": VP8,
    "wpt_400x300-red-resize-200x150-green.webm": VP8,
    "wpt_wc_vp8.webm": VP8,
    "vp8.webm": VP8,
    "ts_outlier_back.ivf": VP8,
    "ts_outlier_fwd.ivf": VP8,
    "ts_swap.ivf": VP8,
    "vfr_dup.ivf": VP8,
    "vfr_dup.mkv": VP8,
    # AV1's render size and PNG's chunks say it; ffprobe 5.1 did not read them
    "wpt_wc_four-colors.mp4": {"pixel_aspect": Fraction(1)},
    "apng.apng": {"primaries": "bt709", "matrix": "gbr"},
    # Annex B in MP4: the parser of 5.1 does not find the frames
    "annexb_in.mp4": {"field_order": "progressive"},
    # the display size is that of the picture without the crop (RFC 9559, 5.1.4.1.28.12)
    "crop.mkv": {"pixel_aspect": Fraction(40, 33)},
}
"""Fields that differ from ORACLE.tsv, with their values."""
BEFORE: Final[dict[str, dict[str, Any]]] = {
    # its `av1C` has the sequence header of another stream
    "wpt_wc_four-colors.mp4": {"range": "limited"},
}
"""Fields that differ before the first frame is decoded."""
HIDDEN: Final = ("vp8", "vp9")
"""Codecs whose headers are read by their decoders alone: unspecified before the first frame."""


def has_a_format(file: CorpusFile) -> bool:
    return file.error is None and file.row["pix_fmt"] not in ("", "None")


def expected(file: CorpusFile) -> dict[str, Any]:
    row = file.row
    width, _, height = row["sar"].partition(":")
    return {
        "primaries": row["prim"] or "unspecified",
        "transfer": row["trc"] or "unspecified",
        "matrix": row["space"] or "unspecified",
        "range": RANGES[row["range"]],
        "pixel_aspect": Fraction(int(width), int(height)) if width else None,
        "field_order": ORDERS[row["field_order"]],
    } | DIFFERENCES.get(row["file"], {})


def fields_of(picture: PictureFormat) -> dict[str, Any]:
    names = ("primaries", "transfer", "matrix", "range", "pixel_aspect", "field_order")
    return {name: getattr(picture, name) for name in names}


@each_file(has_a_format)
def test_formats_are_ffprobes(file: CorpusFile) -> None:
    """By the container and the parameter sets, and again with the first frame."""
    with open_media(file.path) as media:
        assert media.picture == media.index.picture
        declared, seen = media.picture, probe_media(media).picture
    assert fields_of(seen) == expected(file)
    assert seen.bit_depth == (10 if "10" in file.row["pix_fmt"] else 8)
    if file.row["codec"] in HIDDEN:
        known = {k: v for k, v in fields_of(declared).items() if v not in ("unspecified", None)}
        assert {name: known[name] for name in known if name != "matrix"}.items() <= (
            fields_of(seen).items()
        )
    else:
        assert fields_of(declared) == expected(file) | BEFORE.get(file.row["file"], {})
        assert declared.bit_depth == seen.bit_depth


@needs_corpus
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("hdr_pq.mp4", {"peak_luminance": 1000, "max_content_light": 1000, "dolby_vision": None}),
        ("exo_hdr10-video-with-sdr-container.mp4", {"max_content_light": 1000}),
        ("exo_dolbyVision-hdr.MOV", {"peak_luminance": None, "dolby_vision": 8}),
        ("hlg.mp4", {"max_content_light": None, "dolby_vision": None}),
        ("gray8.mkv", {"chroma": "gray"}),
        ("rgb_gbrp.mp4", {"chroma": "rgb"}),
        ("yuv422_mpeg2.ts", {"chroma": "4:2:2"}),
    ],
)
def test_metadata_of_hdr_and_chroma(name: str, facts: dict[str, Any]) -> None:
    with open_media(FILES[name].path) as media:
        picture = probe_media(media).picture
    assert {fact: getattr(picture, fact) for fact in facts} == facts


@needs_corpus
def test_dolby_vision_without_a_container(tmp_path: Path) -> None:
    """The metadata of the first frame tell the profile, where no container does."""
    raw = tmp_path / "v.hevc"
    with av.open(str(FILES["exo_dolbyVision-hdr.MOV"].path)) as source, av.open(raw, "w") as copy:
        stream = source.streams.video[0]
        target = copy.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = target
                copy.mux(packet)
    with open_media(raw) as media:
        assert media.picture.dolby_vision is None
        assert media.picture.transfer == "arib-std-b67"
        assert probe_media(media).picture.dolby_vision == 8
