"""Untrusted text is shown as text: visible, complete and without effects."""

from __future__ import annotations

import html
import io
import json
import pickle
import re
from contextlib import redirect_stdout

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from frames_pipeline import errors
from frames_pipeline.cli import output
from frames_pipeline.errors import ConfigError, FramesPipelineError, StoreError
from frames_pipeline.io.causes import ForeignError, presentable
from frames_pipeline.text.plain import as_json, as_markdown_text, fit_to_show, shown
from tests.payloads import PAYLOADS, unseen

TEXTS = st.one_of(
    st.sampled_from(PAYLOADS),
    st.text(alphabet=st.characters(), max_size=40),
    st.text(alphabet=st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp", "Po"]), max_size=20),
    st.lists(st.sampled_from(PAYLOADS), min_size=2, max_size=4).map("".join),
)
KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]
MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])


@given(TEXTS)
def test_what_is_shown_is_seen(text: str) -> None:
    made = shown(text)
    assert not unseen(made)
    assert "\n" not in made
    assert shown(made) == made
    made.encode()
    if text.isprintable():
        assert made == text


def test_a_byte_that_is_no_text_is_shown_as_that() -> None:
    name = b"caf\xe9.mp4".decode(errors="surrogateescape")
    assert shown(name) == "caf\\xe9.mp4"


@given(TEXTS)
def test_markdown_of_a_text_is_that_text(text: str) -> None:
    """An independent Markdown renderer shows it as plain text in any context."""
    for before in ("", "No contact sheet: ", "| head |\n|---|\n| "):
        tokens = MARKDOWN.parse(before + as_markdown_text(text))
        inline = [child for token in tokens for child in token.children or ()]
        assert {child.type for child in inline} <= {"text", "text_special"}
        kinds = {token.type.partition("_")[0] for token in tokens}
        assert kinds <= {"paragraph", "inline", "table", "thead", "tbody", "tr", "th", "td", "code"}
        rendered = re.sub(r"<[^>]*>", "", MARKDOWN.render(before + as_markdown_text(text)))
        if "code" not in kinds and not before.startswith("|"):
            assert _words(html.unescape(rendered)) == _words(before + fit_to_show(text))


def _words(text: str) -> list[str]:
    return text.replace("\u2060", "").split()


@given(TEXTS)
def test_no_address_in_markdown_becomes_a_link(text: str) -> None:
    """GitHub-flavoured Markdown, which the UI renders, also links addresses in escaped text."""
    plain = html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", as_markdown_text(text)))
    assert not re.search(r"https?://|www\.|[-.\w+]@[-\w]+\.[-\w]", plain, re.IGNORECASE)


@given(st.dictionaries(TEXTS, st.lists(TEXTS)))
def test_json_comes_back_and_steers_nothing(value: dict[str, list[str]]) -> None:
    printed = as_json(value)
    assert not unseen(printed)
    printed.encode()
    assert json.loads(printed) == json.loads(json.dumps(value))


@given(TEXTS, st.sampled_from(KINDS))
def test_every_message_is_fit_to_show(text: str, kind: type[FramesPipelineError]) -> None:
    error = kind(text)
    assert not unseen(str(error))
    assert "\n" not in str(error)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
    assert str(kind(f"{error}: {text}")) == str(kind(f"{error}: {error}"))


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_causes_are_fit_to_show(texts: list[str]) -> None:
    """Holds for chains of any length; presentable errors are returned unchanged."""
    cause: BaseException | None = None
    for text in texts:
        error = ValueError(text)
        error.__cause__, cause = cause, error
    assert cause is not None
    made: BaseException | None = presentable(cause)
    assert presentable(presentable(cause)) is made or isinstance(made, ForeignError)
    links = 0
    while made is not None:
        assert not unseen(str(made))
        made, links = made.__cause__, links + 1
    assert links == len(texts)


def test_a_cause_that_is_fit_is_kept() -> None:
    cause = OSError(5, "a disk that is\nbroken")
    error = StoreError("cannot use a/b")
    error.__cause__ = cause
    assert presentable(error) is error
    assert error.__cause__ is cause
    assert str(presentable(ValueError("key 1234secret"), hide=["1234secret"])) == (
        "builtins.ValueError: key ***"
    )


@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers()), min_size=1, max_size=3))
@example([("x[/b]y.mp4", "[bold", 1)])
def test_a_table_holds_text(rows: list[tuple[str, str, int]]) -> None:
    """Text is shown as given, without markup and emoji codes, one line per row."""
    named = [{"a": a, "b": b, "n": n} for a, b, n in rows]
    with redirect_stdout(io.StringIO()) as printed:
        output.table(named, "a", "b", "n")
        output.facts(named[0])
        output.line(rows[0][0])
        output.document(named)
    told = printed.getvalue()
    assert not unseen(told)
    lines = told.split("\n")
    for line, (a, b, _) in zip(lines[1:], rows, strict=False):
        assert fit_to_show(a).strip() in line
        assert fit_to_show(b).strip() in line
    assert fit_to_show(rows[0][0]) == lines[len(rows) + 4]


def test_configuration_errors_are_value_errors_still() -> None:
    with pytest.raises(ValueError, match=r"^a\\x1b\[31mb$"):
        raise ConfigError("a\x1b[31mb")
