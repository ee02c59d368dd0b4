"""Output of commands: tables for people, JSON for programs, pictures in a terminal.

This is the only module that prints. Much of the text is untrusted: file names, captions, messages
of other libraries. So it is printed without markup or emoji codes, with a visible escape for every
control character, and with secrets removed from URLs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from frames_pipeline.text.addresses import without_secrets
from frames_pipeline.text.plain import as_json, fit_to_show


def line(text: str = "") -> None:
    """Print a line."""
    click.echo(fit_to_show(text))


def complaint(text: str) -> None:
    """Print a line to the error output."""
    click.echo(fit_to_show(text), err=True)


def document(value: object) -> None:
    """Print JSON."""
    click.echo(as_json(_plain(value)))


def table(rows: Iterable[Mapping[str, Any]], *columns: str) -> None:
    """Print rows under column names; numbers are right-aligned."""
    shown = list(rows)
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        is_number = all(isinstance(row[name], int | float) for row in shown) and bool(shown)
        head = Text(fit_to_show(name.replace("_", " ")))
        made.add_column(head, justify="right" if is_number else "left")
    for row in shown:
        made.add_row(*(Text(_text(row[name])) for name in columns))
    _console().print(made)


def facts(values: Mapping[str, Any]) -> None:
    """Print a name and a value per line."""
    width = max(map(len, values))
    for name, value in values.items():
        line(f"{name.replace('_', ' '):<{width}}  {_text(value)}")


def picture(jpeg: bytes, *, columns: int) -> None:
    """Print a picture in half blocks of 24-bit colour: two pixels per character."""
    image = Image.open(io.BytesIO(jpeg)).convert("RGB")
    height = max(2, round(image.height * columns / image.width) // 2 * 2)
    pixels = np.asarray(image.resize((columns, height), Image.Resampling.LANCZOS))
    for upper, lower in zip(pixels[::2], pixels[1::2], strict=True):
        cells = (
            "\x1b[38;2;{};{};{}m\x1b[48;2;{};{};{}m▀".format(*above, *below)
            for above, below in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        click.echo("".join(cells) + "\x1b[0m")


def size(count: float) -> str:
    """Return a number of bytes in readable units.

    >>> size(999), size(1_500_000)
    ('999 B', '1.5 MB')
    """
    units: Sequence[str] = ("B", "kB", "MB", "GB", "TB", "PB")
    power = 0
    while count >= 1000 and power < len(units) - 1:
        count, power = count / 1000, power + 1
    return f"{count:.0f} B" if power == 0 else f"{count:.1f} {units[power]}"


def freed(objects: int, count: int, *, dry_run: bool) -> dict[str, Any]:
    """Return the facts of a clean-up: objects, bytes, and whether they were deleted."""
    deleted = "no: give --delete" if dry_run else "yes"
    return {"objects": objects, "bytes": size(count), "deleted": deleted}


@contextlib.contextmanager
def progress(label: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on stderr if that is a terminal; yield its update function."""
    with click.progressbar(
        length=1, label=label, file=sys.stderr, hidden=quiet or not sys.stderr.isatty()
    ) as bar:

        def update(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield update


def _console() -> Console:
    return Console(
        markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else 10_000
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return fit_to_show(str(value))


def _plain(value: object) -> object:
    """Return a value as plain JSON types. Secrets in URLs are removed; other text is exact."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, int | float):
        return value
    return without_secrets(str(value))
