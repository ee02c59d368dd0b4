"""Streams whose container describes them anew on the way: MP4 with several descriptions, FLV."""

from __future__ import annotations

import numpy as np

from frames_pipeline import Limits
from frames_pipeline.bitstream import codec_named
from frames_pipeline.container.media import open_media
from frames_pipeline.decoding.plan import plan_linear
from tests.corpus.decoding import decode_by, decode_planned
from tests.corpus.files import CorpusFile, each_file


def is_described_anew(file: CorpusFile) -> bool:
    """Whether a packet of it brings other extradata."""
    return file.path.name.startswith(("stsd", "flv"))


@each_file(is_described_anew)
def test_frames_in_any_order_are_those_of_a_linear_decode(file: CorpusFile) -> None:
    """From packets that are read again, by a container that has read others before."""
    with open_media(file.path) as media:
        rows = media.index.presentation
        linear = decode_by(media, plan_linear(media.index, rows, reason="to compare"), rows)
    with open_media(file.path, Limits(packet_memory=0)) as media:
        for position in reversed(range(len(rows))):
            found = decode_planned(media, rows[position : position + 1])
            assert found.digests == {int(rows[position]): linear.digests[int(rows[position])]}


@each_file(is_described_anew)
def test_headers_tell_the_order_behind_a_new_description_too(file: CorpusFile) -> None:
    with open_media(file.path) as media:
        extradata = media.stream.codec_context.extradata or b""
        flags = media.packets.columns.flags.tolist()
        ranks = codec_named("h264").output_ranks
        assert ranks is not None
        order = ranks(extradata, media.packets.headers(), flags)
        assert order is not None
        assert np.argsort(order).tolist() == media.index.presentation.tolist()
