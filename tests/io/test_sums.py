"""Checksums of documents and Parquet files: flipped bits, truncation, missing checksums."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.io.sums import (
    FOOTER_KEY,
    FOOTER_VALUE,
    UNREADABLE,
    check_footer_sum,
    checked_document,
    with_footer_sum,
    with_sum,
)

JSON = st.none() | st.integers() | st.text(max_size=8) | st.lists(st.text(max_size=4), max_size=3)
NAMES = st.text(max_size=8).filter(lambda name: name != "sha256")
DOCUMENTS = st.dictionaries(NAMES, JSON, min_size=1, max_size=4)


def encoded(document: object, indent: int | None) -> bytes:
    separators = (",", ":") if indent is None else None
    return json.dumps(document, indent=indent, separators=separators).encode()


@given(DOCUMENTS, st.sampled_from([None, 1]))
def test_a_document_comes_back_without_its_sum(document: dict[str, object], indent: int) -> None:
    stored = with_sum(encoded(document, indent))
    assert checked_document(stored, before={}) == document
    assert json.loads(stored).keys() == {*document, "sha256"}


@given(DOCUMENTS, st.sampled_from([None, 1]), st.data())
def test_no_document_with_a_flipped_bit_is_read(
    document: dict[str, object], indent: int, data: st.DataObject
) -> None:
    """Covers the checksum's name and digits too."""
    document = {"format": "x", **document}
    stored = bytearray(with_sum(encoded(document, indent)))
    bit = data.draw(st.integers(0, 8 * len(stored) - 1))
    stored[bit // 8] ^= 1 << bit % 8
    with pytest.raises(UNREADABLE):
        checked_document(bytes(stored), before={"x": list(document)})


@given(DOCUMENTS, st.sampled_from([None, 1]))
def test_a_document_of_before_is_read_with_its_members(
    document: dict[str, object], indent: int
) -> None:
    document = {"format": "x", **document}
    stored = encoded(document, indent)
    assert checked_document(stored, before={"x": list(document)}) == document
    with pytest.raises(ValueError, match=r"it has no checksum, and its members differ from 0\.1's"):
        checked_document(stored, before={"x": [*document, "another"]})


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json(data: bytes) -> None:
    with pytest.raises(UNREADABLE):
        checked_document(data, before={})


def test_every_bit_of_a_parquet_file_counts() -> None:
    """The file also stays valid Parquet for readers without checksum support."""
    rows = pa.table({"a": [1, 2]}).replace_schema_metadata({FOOTER_KEY: FOOTER_VALUE})
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink)
    plain = sink.getvalue().to_pybytes()
    stored = with_footer_sum(plain)
    assert check_footer_sum(stored)
    assert pq.read_table(pa.BufferReader(stored)).equals(rows)
    for bit in range(8 * len(stored)):
        flipped = bytearray(stored)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"sum|not a complete Parquet file"):
            check_footer_sum(bytes(flipped))
    for length in range(len(stored)):
        with pytest.raises(ValueError, match=r"sum|not a complete Parquet file"):
            check_footer_sum(stored[:length])
    with pytest.raises(ValueError, match="its footer announces a checksum, and there is none"):
        check_footer_sum(plain)


def test_a_file_of_before_has_no_sum() -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}), sink)
    assert not check_footer_sum(sink.getvalue().to_pybytes())
