"""Every frame of the corpus, extracted alone by a fresh decoder."""

from __future__ import annotations

import os
from typing import Final

import numpy as np

from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.plan import plan_linear
from tests.corpus.decoding import decode_by, decode_planned
from tests.corpus.files import CorpusFile, each_file, is_decoded_often, random_numbers
from tests.corpus.test_plans import expected_digests
from tests.corpus.totals import Count

POSITIONS: Final = int(os.environ.get("FRAMES_ALONE", "4"))
"""Positions per file; `FRAMES_ALONE=1000000` tests all of them."""


@each_file(is_decoded_often)
def test_a_frame_alone_is_that_of_a_linear_decode(file: CorpusFile, count: Count) -> None:
    with open_media(file.path) as media:
        rows = media.index.presentation
        expected = expected_digests(file, media.index)
        linear = decode_by(media, plan_linear(media.index, rows, reason="to compare"), rows)
    chosen = np.arange(len(rows))
    if len(rows) > POSITIONS:
        chosen = np.sort(random_numbers(file).choice(chosen, POSITIONS, replace=False))
    different: list[int] = []
    for position in chosen.tolist():
        row = int(rows[position])
        with open_media(file.path) as media:
            alone = decode_planned(media, rows[position : position + 1])
        if alone.digests.get(row) != expected.get(row) and row not in alone.suspect:
            different.append(position)
        assert row in linear.suspect or row not in alone.suspect, position
    count("files whose frames were asked alone", 1)
    count("frames that were asked alone", len(chosen))
    count("differences of frames alone", len(different))
    assert not different
