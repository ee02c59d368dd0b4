"""Untrusted text made safe to show: file names, captions, messages of other libraries.

A file name may be `x[/b]y.mp4`, or contain the escape sequence that clears a terminal, or the
Markdown of an image. Programs get such text unchanged. Before a person sees it, pass it through one
of these functions: `fit_to_show` for terminals, logs and tables, `as_markdown_text` for Markdown,
`as_json` for JSON.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any, Final

from frames_pipeline.text.addresses import without_secrets

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a visible glyph: controls, formats, surrogates, unassigned."""
_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MARKDOWN: Final = re.compile(r"[!-/:-@\[-`{-~]")
"""ASCII punctuation: Markdown allows a backslash escape before each of these characters."""
_LINKED: Final = re.compile(r"(?<=[A-Za-z])(?=://)|(?<=www)(?=\.)|(?<=@)", re.IGNORECASE)
"""Positions where GitHub's Markdown would autolink."""


def shown(text: str) -> str:
    r"""Return the text in one line, with a visible escape for every invisible character.

    >>> print(shown("a\x1b[2Jb\n\u202egpj.mp4"))
    a\x1b[2Jb\n\u202egpj.mp4
    >>> print(shown("Grüße 日本 [/b]"), shown("not UTF-8: \udcff"))
    Grüße 日本 [/b] not UTF-8: \xff
    """
    if text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSEEN else c for c in text)


def fit_to_show(text: str, *, hide: Iterable[str] = ()) -> str:
    """Return the text in one line, without control characters, URL secrets and `hide` values."""
    for secret in hide:
        text = text.replace(secret, "***")
    return shown(without_secrets(text))


def as_markdown_text(text: str) -> str:
    r"""Return Markdown that shows the text literally: without emphasis, links, images or HTML.

    >>> print(as_markdown_text("<img src=x>[b]**x**.mp4"))
    &lt;img src\=x&gt;\[b\]\*\*x\*\*\.mp4
    """
    plain = _LINKED.sub("\u2060", fit_to_show(text))
    return _MARKDOWN.sub(_escape_markdown, plain)


def as_json(value: object, *, default: Callable[[Any], object] | None = None) -> str:
    r"""Return a JSON document that is safe to print: invisible characters are JSON escapes.

    >>> as_json({"name": "é\x9b2J"})
    '{\n "name": "é\\u009b2J"\n}'
    """
    document = json.dumps(value, default=default, indent=1, ensure_ascii=False)
    if all(line.isprintable() for line in document.split("\n")):
        return document
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and unicodedata.category(c) in _UNSEEN else c
        for c in document
    )


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that is not UTF-8
        code -= 0xDC00
    if code <= 0xFF:
        return _NAMED.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _escape_markdown(found: re.Match[str]) -> str:
    return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}.get(found[0], f"\\{found[0]}")
