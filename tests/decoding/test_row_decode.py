"""Wanted rows come out exact or marked, whether a plan serves or damage asks for a restart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
from hypothesis import event, given
from hypothesis import strategies as st

from frames_pipeline.container.media import Media
from frames_pipeline.decoding.decode_pass import DecodedFrame, GroupDone
from frames_pipeline.decoding.row_decode import Restarted, RowDecode
from tests.decoding.test_decode_pass import MadeUpDecoder, damaged_streams
from tests.streams import Stream


class MadeUpMedia(SimpleNamespace):
    """A made-up stream that counts how often its decoders are renewed."""

    renewed = 0

    def renew_decoders(self) -> None:
        self.renewed += 1


def made_up(stream: Stream) -> MadeUpMedia:
    packets = SimpleNamespace(ended_early="", references=lambda start, stop: None)
    return MadeUpMedia(index=stream.index(), packets=packets, name="made up")


@given(damaged_streams(), st.data())
def test_wanted_frames_are_exact_or_marked_after_a_restart_too(
    case: tuple[Stream, dict[int, str]], data: st.DataObject
) -> None:
    stream, faults = case
    media, decoder = made_up(stream), MadeUpDecoder(stream, faults)
    shown = np.sort(media.index.presentation)
    wanted = shown[[data.draw(st.integers(0, 3)) == 0 for _ in shown]]
    decode = RowDecode(cast(Media, media), wanted, decoder)

    arrived: set[int] = set()
    done: list[int] = []
    for item in decode.events():
        match item:
            case DecodedFrame(row, _):
                arrived.add(row)
            case GroupDone(before):
                done.append(before)
            case Restarted():
                assert not media.renewed, "decoders are renewed once the caller has forgotten"
                arrived, done = set(), []

    event(f"restarted: {media.renewed}")
    assert done == sorted(done)
    assert done[-1] == len(stream)
    absent = {row for row, fault in faults.items() if fault != "flagged"}
    assert set(wanted.tolist()) - absent <= arrived
    for row in arrived & set(wanted.tolist()):
        assert row in decoder.exact or decode.is_suspect(row)
    assert decode.report(len(stream)).fallback == ("damage was met" if media.renewed else "")


@given(damaged_streams())
def test_a_linear_decode_never_restarts(case: tuple[Stream, dict[int, str]]) -> None:
    stream, faults = case
    media = made_up(stream)
    rows = media.index.presentation
    decode = RowDecode(cast(Media, media), rows, MadeUpDecoder(stream, faults), linear="asked for")
    assert not any(isinstance(item, Restarted) for item in decode.events())
    assert decode.report(len(stream)).fallback == "asked for"


def test_reports_add_up_to_the_work() -> None:
    """Each report leaves out the work of the reports before it."""
    stream = Stream(refs=[set(), {0}, set(), {2}], place=[0, 1, 2, 3], flagged={0, 2})
    decode = RowDecode(
        cast(Media, made_up(stream)), np.array([1, 3]), MadeUpDecoder(stream, {}), linear=""
    )
    planned = [
        decode.report(item.before).packets_planned
        for item in decode.events()
        if isinstance(item, GroupDone)
    ]
    assert planned == [2, 2, 0]
