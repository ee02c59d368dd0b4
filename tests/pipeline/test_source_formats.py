"""Formats of videos reach tables, sizes and frames; a signature that leaves them is told of."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline import FrameExtractionSignature
from frames_pipeline.clipping import WholeVideo
from frames_pipeline.decoding.geometry import Size, squared
from frames_pipeline.frames import PictureFormat
from frames_pipeline.pipeline import (
    FormatReport,
    RemarkedClips,
    Workspace,
    catalog_batch,
    clips_version,
    compare_formats,
    cut_clips,
    describe_format,
    discover,
    extract_batch,
)
from frames_pipeline.pipeline.ingest import is_size_known, shown_size
from frames_pipeline.pipeline.source_formats import (
    REMARKS,
    Remark,
    format_columns,
    picture_of,
    remarks,
)
from frames_pipeline.sources.batches import Batch, Batching
from frames_pipeline.tables import CatalogRow, ClipRow, FormatRow
from tests.pipeline.conftest import ONE
from tests.store.test_source_format import PQ, formats
from tests.videos import make_video

CODED = FrameExtractionSignature(policy="first")
SHOWN = FrameExtractionSignature(
    policy="first", colour="sdr", deinterlace="bwdif", pixel_aspect="square"
)
signatures = st.builds(
    FrameExtractionSignature,
    policy=st.just("first"),
    colour=st.sampled_from(["ffmpeg", "accurate", "sdr"]),
    deinterlace=st.sampled_from(["off", "bwdif"]),
    pixel_aspect=st.sampled_from(["coded", "square"]),
)
BY_ATTRIBUTE: dict[Remark, tuple[str, str]] = {
    "hdr": ("colour", "sdr"),
    "wide_gamut": ("colour", "sdr"),
    "interlaced": ("deinterlace", "bwdif"),
    "not_square": ("pixel_aspect", "square"),
}


def clip(picture: PictureFormat | None, name: str = "c", **fields: Any) -> ClipRow:
    """A row of a clip of 720x576."""
    row = ClipRow.uncut("v.mp4", "sha256:0f", status="ok", reason="", detail="")
    columns = {} if picture is None else format_columns(picture)
    size: dict[str, Any] = {
        "clip_id": name,
        "height": 576,
        "width": 720,
        "rotation": 0,
        "pixel_format": "yuv420p",
    }
    return replace(row, **(size | columns | fields))


@given(formats)
def test_columns_are_read_as_written(picture: PictureFormat) -> None:
    """A format survives the table; a clip of version 0.1 has none."""
    (row,) = ClipRow.from_table(ClipRow.to_table([clip(picture)]))
    assert picture_of(row) == picture
    assert picture_of(clip(None)) is None


@given(formats, signatures)
def test_each_remark_names_the_attribute_that_ends_it(
    picture: PictureFormat, signature: FrameExtractionSignature
) -> None:
    found = set(remarks(picture, signature, width=720))
    assert found <= set(REMARKS)
    for remark, (name, value) in BY_ATTRIBUTE.items():
        assert f"`{name}: {value}`" in REMARKS[remark]
        changes: dict[str, Any] = {name: value}
        changed = replace(signature, **changes)
        assert remark not in set(remarks(picture, changed, width=720))
        assert found - {remark} - {"hdr", "wide_gamut"} <= set(remarks(picture, changed, width=720))
    left = set(remarks(picture, SHOWN, width=720))
    assert left == found - set(BY_ATTRIBUTE), "faults of the file do not depend on the signature"


@given(formats)
def test_remarks_on_frames_as_coded(picture: PictureFormat) -> None:
    found = set(remarks(picture, CODED, width=720))
    assert ("hdr" in found) == picture.is_hdr
    assert ("wide_gamut" in found) == (picture.is_wide_gamut and not picture.is_hdr)
    assert ("interlaced" in found) == (picture.field_order in ("tff", "bff"))
    aspect = picture.shown_pixel_aspect
    assert ("not_square" in found) == (squared(Size(576, 720), aspect) != Size(576, 720))
    assert ("implausible_aspect" in found) == (
        picture.pixel_aspect is not None and picture.pixel_aspect != aspect
    )
    assert ("dolby_vision_5" in found) == (picture.dolby_vision == 5)


@given(st.lists(st.tuples(st.none() | formats, st.sampled_from(["ok", "failed"]))), signatures)
def test_the_report_counts_every_clip_once(
    rows: list[tuple[PictureFormat | None, str]], signature: FrameExtractionSignature
) -> None:
    clips = [clip(one, f"c{n}", status=status) for n, (one, status) in enumerate(rows)]
    report = compare_formats(clips, signature)
    cut = [(one.clip_id, picture_of(one)) for one in clips if one.status == "ok"]
    assert report.clips == len(cut)
    assert report.unknown == sum(picture is None for _, picture in cut)
    by_remark = {one.remark: one.clip_ids for one in report.remarked}
    assert list(by_remark) == [remark for remark in REMARKS if remark in by_remark]
    for remark in REMARKS:
        expected = tuple(
            clip_id
            for clip_id, picture in cut
            if picture is not None and remark in remarks(picture, signature, width=720)
        )
        assert by_remark.get(remark, ()) == expected


def test_contradictory_tags_are_remarked() -> None:
    found = compare_formats([clip(PictureFormat("bt709", "smpte2084"))], SHOWN)
    assert found == FormatReport(1, 0, (RemarkedClips("contradictory_colours", ("c",)),))
    assert not compare_formats([clip(PictureFormat("unspecified", "smpte2084"))], SHOWN).remarked
    assert not compare_formats([clip(PQ)], SHOWN).remarked


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        (Size(576, 720), Fraction(64, 45), Size(576, 1024)),
        (Size(480, 720), Fraction(8, 9), Size(480, 640)),
        (Size(1080, 1440), Fraction(4, 3), Size(1080, 1920)),
        (Size(9, 5), Fraction(1, 2), Size(9, 3)),  # 2.5 rounds up
        (Size(9, 3), Fraction(1, 16), Size(9, 1)),  # at least one pixel
    ],
)
def test_squared(size: Size, aspect: Fraction, expected: Size) -> None:
    assert squared(size, aspect) == expected


@pytest.mark.parametrize(
    ("fields", "wanted", "size"),
    [
        ({}, {"pixel_aspect": "square"}, Size(576, 1024)),
        ({}, {}, Size(576, 720)),
        ({"rotation": 90}, {"pixel_aspect": "square"}, Size(1024, 576)),
        ({"rotation": 90}, {"pixel_aspect": "square", "rotation": "ignore"}, Size(576, 1024)),
        ({"pixel_aspect": "1000000:1"}, {"pixel_aspect": "square"}, Size(576, 720)),
        ({"pixel_aspect": None}, {"pixel_aspect": "square"}, Size(576, 720)),
        (
            {"container_crop": (0, 0, 8, 8)},
            {"pixel_aspect": "square", "crop": "container"},
            Size(576, 1001),  # 704 * 64 / 45 = 1001.2
        ),
    ],
)
def test_sizes_in_square_pixels(fields: dict[str, Any], wanted: dict[str, Any], size: Size) -> None:
    """A picture is cropped, then scaled in width, then turned."""
    row = clip(PictureFormat(pixel_aspect=Fraction(64, 45)), **fields)
    signature = replace(CODED, **wanted)
    assert is_size_known(signature, row)
    assert shown_size(signature, row) == size


def test_sizes_of_clips_of_the_first_release_are_not_known() -> None:
    assert is_size_known(CODED, clip(None))
    assert not is_size_known(replace(CODED, pixel_aspect="square"), clip(None))


def test_a_format_on_one_line() -> None:
    assert describe_format(PQ) == (
        "10-bit 4:2:0, bt2020/smpte2084/bt2020nc, limited, pixels 64:45, progressive, "
        "peak 999.9 cd/m², MaxCLL 1000, Dolby Vision 8"
    )
    assert describe_format(PictureFormat()) == ""
    assert describe_format(PictureFormat("bt709", pixel_aspect=Fraction(1))) == (
        "bt709/unspecified/unspecified"
    )


@pytest.fixture
def videos(tmp_path: Path) -> Workspace:
    """An anamorphic PQ video, and an ordinary one."""
    (tmp_path / "videos").mkdir()
    tags = "colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:range=tv:sar=3\\:2"
    options = {"x264-params": tags}
    make_video(tmp_path / "videos" / "a.mp4", frames=5, options=options, pixel_format="yuv420p10le")
    make_video(tmp_path / "videos" / "b.mp4", frames=5)
    return Workspace.at(str(tmp_path / "videos"), str(tmp_path / "root"))


def sealed(workspace: Workspace) -> Batch:
    (batch,) = discover(workspace, Batching(max_wait_s=0), now=1e12).sealed
    return batch


def test_formats_reach_clips_catalog_and_frames(videos: Workspace) -> None:
    batch = sealed(videos)
    table = cut_clips(batch, videos, WholeVideo(), workers=ONE)
    hdr, plain = ClipRow.from_table(table)
    aspect = Fraction(3, 2)
    expected = PictureFormat(
        "bt2020", "smpte2084", "bt2020nc", "limited", 10, "4:2:0", aspect, "progressive"
    )
    assert picture_of(hdr) == expected
    assert (hdr.pixel_aspect, hdr.bit_depth) == ("3:2", 10)
    assert compare_formats([hdr, plain], CODED).remarked == (
        RemarkedClips("hdr", (hdr.clip_id,)),
        RemarkedClips("not_square", (hdr.clip_id,)),
    )

    extract_batch(batch, [CODED], videos, workers=ONE)
    assert videos.store.read(batch.key, CODED, hdr.clip_id).source == expected
    rows, _ = catalog_batch(batch.key, {"first": CODED}, videos)
    assert [row.clip_id for row in CatalogRow.from_table(rows)] == [hdr.clip_id, plain.clip_id]
    (found, _) = FormatRow.from_table(rows)
    assert found == FormatRow(**format_columns(expected))


def test_a_table_without_formats_keeps_its_version(videos: Workspace) -> None:
    batch = sealed(videos)
    now = cut_clips(batch, videos, WholeVideo(), workers=ONE)
    old = now.drop_columns([column.name for column in FormatRow.columns()])
    assert clips_version(old) == clips_version(now)
    videos.tables.write("clips", batch.key, old)
    again = cut_clips(batch, videos, WholeVideo(), workers=ONE)
    report = compare_formats(ClipRow.from_table(again), CODED)
    assert report == FormatReport(clips=2, unknown=2, remarked=())
