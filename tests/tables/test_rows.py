"""Rows as dataclasses: one declaration gives the schema and both conversions."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.errors import ConfigError, IntegrityError
from frames_pipeline.tables import (
    CLIPS,
    ClipRow,
    OutcomeRow,
    Row,
    Vector,
    VideoRow,
    present,
    table_digest,
    table_of,
)


@dataclass(frozen=True, slots=True)
class Every(Row):
    """A row with a column of each type."""

    TABLE: ClassVar[str] = "every"

    text: Annotated[str, "Text."]
    number: Annotated[int, "A number."]
    share: Annotated[float, "A share."]
    flag: Annotated[bool, "A flag."]
    numbers: Annotated[tuple[int, ...], "Numbers."]
    texts: Annotated[tuple[str, ...] | None, "Texts."]
    perhaps: Annotated[int | None, "Perhaps a number."] = None


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
numbers = st.integers(-(2**63), 2**63 - 1)
rows = st.builds(
    Every,
    text=texts,
    number=numbers,
    share=st.floats(allow_nan=False),
    flag=st.booleans(),
    numbers=st.lists(numbers, max_size=3).map(tuple),
    texts=st.none() | st.lists(texts, max_size=3).map(tuple),
    perhaps=st.none() | numbers,
)


@given(st.lists(rows, max_size=5))
def test_rows_come_back_as_they_were(written: list[Every]) -> None:
    table = Every.to_table(written)
    assert table.schema.equals(Every.schema(), check_metadata=True)
    assert Every.from_table(table) == written
    assert Every.from_table(pa.concat_tables([table, table])) == written * 2


def test_a_field_is_a_column() -> None:
    schema = Every.schema()
    assert schema.field("numbers").type == pa.list_(pa.field("element", pa.int64(), nullable=False))
    assert [field.nullable for field in schema] == [False] * 5 + [True, True]
    assert schema.field("share").metadata == {b"description": b"A share."}


def test_columns_that_a_table_lacks_read_as_defaults() -> None:
    """Tables of 0.1 have clips without pixel formats; columns that are not known are left out."""
    clip = ClipRow.uncut("a.mp4", "sha256:0f", status="failed", reason="r", detail="d")
    old = ClipRow.to_table([clip]).drop_columns(["pixel_format", "container_crop", "codec"])
    assert ClipRow.from_table(old.append_column("later", pa.array([1]))) == [clip]
    outcome = OutcomeRow("c", "a.mp4", "sha256:0f", "s", "ok", "", "", frames=7)
    lacking = OutcomeRow.to_table([outcome]).drop_columns(["frames"])
    assert OutcomeRow.from_table(lacking)[0].frames == 0


def test_rows_and_dictionaries_give_the_same_table() -> None:
    clip = ClipRow.uncut("caf\udce9.mp4", "sha256:0f", status="failed", reason="r", detail="d")
    document = {name: getattr(clip, name) for name in CLIPS.names}
    assert table_digest(ClipRow.to_table([clip])) == table_digest(table_of([document], CLIPS))
    assert ClipRow.from_table(ClipRow.to_table([clip]))[0].clip_id == "caf\\udce9.mp4"


def test_vectors_have_the_length_of_their_table() -> None:
    @dataclass(frozen=True, slots=True, eq=False)
    class Seen(Row):
        vector: Annotated[Vector, "A vector."]

    Seen.__annotations__["vector"] = Annotated[Vector, "A vector."]
    vectors = np.arange(6, dtype=np.float32).reshape(3, 2)
    table = Seen.to_table([Seen(one) for one in vectors], dimensions=2)
    assert table.schema.field("vector").type.list_size == 2
    np.testing.assert_array_equal([row.vector for row in Seen.from_table(table)], vectors)


def test_values_that_do_not_fit() -> None:
    video = VideoRow("a.mp4", "u", None, None, "", "sha256:0f", "ok", "")
    with pytest.raises(ConfigError, match="column 'uri' has 1 nulls; give every row a value"):
        VideoRow.to_table([VideoRow("a.mp4", None, 1, 1.0, "", "", "ok", "")])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"rows do not fit their schema: .*big"):
        VideoRow.to_table([VideoRow("a.mp4", "u", "big", 1.0, "", "", "ok", "")])  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        video.uri = "v"  # type: ignore[misc]
    with pytest.raises(IntegrityError, match="column 'size' of a clip is null"):
        present(video.size, "size")


def test_a_type_that_cannot_be_a_column() -> None:
    @dataclass(frozen=True, slots=True)
    class Odd(Row):
        when: Annotated[complex, "A moment."]

    with pytest.raises(TypeError, match=r"complex.* cannot be a column; use str, int"):
        Odd.schema()
