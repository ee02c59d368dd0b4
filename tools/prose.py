"""Measure the project's prose: sentences that lean on pronouns, that negate, that address you.

    python tools/prose.py            the figures, and exit status 1 where one is over its limit
    python tools/prose.py --worst 20     with up to so many sentences per group to look at
    python tools/prose.py --only docs/guides/assets.md --worst 99    one file, with its sentences

Pages are README.md, CONTRIBUTING.md and docs/. Docstrings count by their first paragraph. Help is
the text of commands, options and configuration fields.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PACKAGES: Final = ("frames_pipeline", "dagster_defs")

LEANS: Final = re.compile(
    r"\b(what|who|whom|whose|whatever|whoever|nobody|those (that|which|who)|that which)\b", re.I
)
NEGATES: Final = re.compile(
    r"\b(no|not|never|none|nothing|nobody|neither|nor|cannot)\b|n't\b", re.I
)
ADDRESSES: Final = re.compile(r"\b(you|your|yours|yourself)\b", re.I)

_FENCE: Final = re.compile(r"^ *(```|~~~).*?^ *\1", re.S | re.M)
_CODE: Final = re.compile(r"`[^`]*`")
_LINK: Final = re.compile(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])")
_MARKUP: Final = re.compile(r"<[^>]+>|\*\*|__|^#+ |^>+ ?|^ *[-*+] |^ *\d+\. |^:::.*$", re.M)
_BLOCK: Final = re.compile(r"\n\s*\n|\n(?= *[-*+] )|\n(?= *\d+\. )|\n(?=#)|\|")
_SENTENCE: Final = re.compile(r"(?<=[.!?:;])\s+(?=[A-Z`\"(0-9])")
_FEWEST_WORDS: Final = 4


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and the file that has it."""

    place: str
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Sentences under one set of limits."""

    name: str
    sentences: list[Sentence]
    max_leaning: float
    """Largest share of sentences that lean on a pronoun."""
    max_negating: float = 1.0
    """Largest share of sentences with a negation."""
    min_addressing: float = 0.0
    """Smallest share of sentences that address the reader."""

    def share(self, pattern: re.Pattern[str]) -> float:
        """Return the share of sentences in which a pattern occurs."""
        hits = sum(bool(pattern.search(sentence.text)) for sentence in self.sentences)
        return hits / max(len(self.sentences), 1)

    def is_over(self) -> bool:
        """Return whether a figure is outside its limit."""
        return (
            self.share(LEANS) > self.max_leaning
            or self.share(NEGATES) > self.max_negating
            or self.share(ADDRESSES) < self.min_addressing
        )


def sentences(text: str, place: str) -> Iterator[Sentence]:
    """Split Markdown into sentences of at least four words, without code and markup."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    text = _LINK.sub(r"\1", _FENCE.sub("\n\n", text))
    for block in _BLOCK.split(text):
        plain = _CODE.sub("`x`", _MARKUP.sub("", block))
        for sentence in _SENTENCE.split(" ".join(plain.split())):
            if len(re.findall(r"[A-Za-z]{2,}", sentence)) >= _FEWEST_WORDS:
                yield Sentence(place, sentence)


def pages() -> list[Sentence]:
    """Return the sentences of README.md, CONTRIBUTING.md and docs/."""
    files = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return [
        sentence
        for file in files
        if file.exists()
        for sentence in sentences(file.read_text(), str(file.relative_to(ROOT)))
    ]


def docstrings() -> list[Sentence]:
    """Return the sentences of every docstring's first paragraph, fields' docstrings included."""
    return [sentence for file in _modules() for sentence in _first_paragraphs(file)]


def help_texts() -> list[Sentence]:
    """Return the sentences of `description=` and `help=`, and of the docstrings of commands."""
    found: list[Sentence] = []
    for file in _modules():
        place = str(file.relative_to(ROOT))
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg in {"description", "help"}:
                        found += sentences(_text(keyword.value), f"{place}:{node.lineno}")
    return found


def _modules() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def _first_paragraphs(file: Path) -> Iterator[Sentence]:
    place = str(file.relative_to(ROOT))
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for statement in node.body:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                first = value.value.strip().split("\n\n")[0]
                yield from sentences(first, f"{place}:{statement.lineno}")


def _text(node: ast.expr) -> str:
    return "".join(
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def groups() -> list[Group]:
    """Return every group with its limits."""
    return [
        Group("pages", pages(), 0.03, max_negating=0.10, min_addressing=0.15),
        Group("docstrings", docstrings(), 0.03),
        Group("help", help_texts(), 0.03),
    ]


def main() -> int:
    """Print the figures; return 1 where one is outside its limit."""
    parser = argparse.ArgumentParser(description="Measure the project's prose.")
    parser.add_argument("--worst", type=int, default=5, help="Sentences to show per group.")
    parser.add_argument("--only", help="Measure only files whose path contains this text.")
    arguments = parser.parse_args()
    over = False
    print(f"{'':12}{'sentences':>10}{'lean':>8}{'negate':>8}{'you':>8}")
    for whole in groups():
        kept = [s for s in whole.sentences if not arguments.only or arguments.only in s.place]
        group = replace(whole, sentences=kept)
        shares = "".join(f"{group.share(p):8.1%}" for p in (LEANS, NEGATES, ADDRESSES))
        print(f"{group.name:12}{len(group.sentences):10}{shares}")
        over |= group.is_over()
        worst = [s for s in group.sentences if LEANS.search(s.text)]
        if group.max_negating < 1:
            worst += [s for s in group.sentences if NEGATES.search(s.text) and s not in worst]
        for sentence in worst[: arguments.worst if group.is_over() or arguments.only else 0]:
            print(f"    {sentence.place}: {sentence.text}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
