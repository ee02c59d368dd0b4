"""The plain decode that checks plans equals FFmpeg's and finds no differences in good files."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from frames_pipeline import FrameExtractionSignature, FrameStore
from frames_pipeline.container.media import open_media
from frames_pipeline.pipeline.family_check import FamilyTask, judge
from frames_pipeline.pipeline.plain_decode import PlainDecode
from frames_pipeline.sources.videos import VideoSource
from tests.corpus.files import CorpusFile, each_file, has_md5s, is_decoded_often
from tests.corpus.totals import Count
from tests.oracle import corpus_md5s, raw_md5

SIGNATURE = FrameExtractionSignature(target_fps=2)
SMALL = int(os.environ.get("FRAMES_PLAIN_BYTES", "131072"))
"""Bytes of the largest file that is decoded here. Decoding all files takes minutes."""


def is_small(file: CorpusFile) -> bool:
    return is_decoded_often(file) and file.path.stat().st_size <= SMALL


@each_file(lambda file: is_small(file) and has_md5s(file))
def test_a_plain_decode_is_that_of_another_ffmpeg(file: CorpusFile, count: Count) -> None:
    expected = corpus_md5s(file.path.name)
    assert expected
    with open_media(file.path) as media:
        found = [raw_md5(frame) for _, _, frame in PlainDecode(media)]
    count("MD5s of a plain decode", len(found))
    differ = sum(ours != theirs for ours, theirs in zip(found, expected, strict=True))
    assert not differ


@each_file(is_small)
def test_no_family_is_suspected_wrongly(file: CorpusFile, tmp_path: Path, count: Count) -> None:
    source = VideoSource(str(file.path.parent))
    video = source.find(file.path.name)
    task = FamilyTask(
        family="",
        source=source,
        store=FrameStore(str(tmp_path)),
        batch="batch",
        signature=SIGNATURE,
        video=video,
        fingerprint=source.fingerprint(video),
        clips=(),
        seed=zlib.crc32(file.path.name.encode()),
    )
    judgement = judge(task)
    count("frames alone that a plain decode judged", judgement.compared)
    assert judgement.differences == ()
