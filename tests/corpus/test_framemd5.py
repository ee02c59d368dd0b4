"""Every sample of every frame is the one that another FFmpeg decodes (5.1, outside PyAV)."""

from __future__ import annotations

from frames_pipeline.container.media import open_media
from tests.corpus.decoding import decode_planned
from tests.corpus.files import CorpusFile, each_file, has_md5s
from tests.corpus.totals import Count
from tests.oracle import corpus_md5s


@each_file(has_md5s)
def test_samples_equal_those_of_another_ffmpeg(file: CorpusFile, count: Count) -> None:
    expected = corpus_md5s(file.path.name)
    assert expected
    with open_media(file.path) as media:
        rows = media.index.presentation
        decoded = decode_planned(media, rows, "md5").digests
    assert list(decoded) == rows.tolist()
    assert list(decoded.values()) == expected
    count("MD5s of frames", len(rows))
