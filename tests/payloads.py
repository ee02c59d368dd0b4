"""Untrusted text that a terminal, Markdown or HTML may interpret as markup or commands."""

from __future__ import annotations

import random
import unicodedata
from typing import Final

ESC: Final = "\x1b"
BEL: Final = "\x07"

PAYLOADS: Final = (
    "x[/b]y",
    "[red]x[/red]",
    "[link=https://evil]x[/link]",
    "[/]",
    "[bold",
    "a:smile:b",
    f"{ESC}[2J{ESC}[31mred",
    f"{ESC}]0;title{BEL}",
    f"{ESC}]8;;https://evil{ESC}\\click{ESC}]8;;{ESC}\\",
    f"{ESC}P+q544e{ESC}\\",
    "\x9b31mred\x9d0;title\x9c",
    "a\u202egpj.exe",
    "\u2066a\u2069\u200b\u200d\ufeff",
    "line\nforged: line",
    "back\rward\b\b\x7f",
    "tab\there\x00"[:-1],
    "para\u2029graph\u2028line\x85next",
    "\U000e0041\U000e0042",
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "[b]**x**",
    "![x](https://evil/x.png)",
    "[x](javascript:alert(1))",
    "`code` ``` ~~x~~ __x__ *x* _x_",
    "# head",
    "- [ ] item",
    "1. item",
    "> quote",
    "| a | b |",
    "https://evil.example x@evil.example www.evil.example",
    "$(reboot) `reboot` ;reboot",
    "%s %(x)s {x} {0!r}",
    "'; DROP TABLE x; --",
    "\\x1b[31m \\[b]",
    "日本語 Ünïcödé 🎬 العربية",
)
"""Payloads, grouped by their target."""

STRANGE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def as_key(payload: str) -> str:
    """Turn a payload into a valid video key: a path without hidden parts, not too long."""
    parts = [part for part in payload.replace("\0", "").split("/") if part.strip(".")]
    key = "/".join(part.lstrip(".") for part in parts) or "nothing"
    while len(key.encode("utf-8", "surrogateescape")) > 200:
        key = key[:-1]
    return f"{key}.mp4"


def random_texts(count: int, *, seed: int) -> list[str]:
    """Return texts of random Unicode characters, mostly from blocks with control characters."""
    chance = random.Random(seed)
    ranges = [(0x01, 0x7F), (0x80, 0xFF), (0x2000, 0x206F), (0x100, 0xD7FF), (0xE000, 0x10FFFF)]
    return [
        "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(chance.randint(1, 30)))
        for _ in range(count)
    ]


def unseen(text: str) -> set[str]:
    """Return the control and invisible characters of a text, except line ends."""
    return {c for c in text if unicodedata.category(c) in STRANGE and c != "\n"}
