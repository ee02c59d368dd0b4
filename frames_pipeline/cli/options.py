"""Options that several commands take, as decorators."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from types import NoneType
from typing import Any, Final, TypeVar, cast, get_args, get_type_hints

import click

from frames_pipeline.cli import output
from frames_pipeline.clipping import Clipping, FixedStride, Shots, WholeVideo
from frames_pipeline.decoding.backends import DECODERS
from frames_pipeline.errors import ConfigError
from frames_pipeline.pipeline import Prices, Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.suffixes import SUFFIXES
from frames_pipeline.store import GRACE_SECONDS
from frames_pipeline.store.chunk_codecs import COMPRESSIONS
from frames_pipeline.text.addresses import is_secret_name

F = TypeVar("F", bound=Callable[..., Any])

Options = dict[str, object]
"""fsspec options."""

Signatures = tuple[FrameExtractionSignature, ...]

_DEFAULT: Final = "target_fps=2,target_res=224x224"
_WHOLE_NUMBERS: Final = frozenset(
    name
    for name, hint in get_type_hints(FrameExtractionSignature).items()
    if set(get_args(hint) or [hint]) <= {int, NoneType}
)
"""Fields of a signature that are whole numbers."""
_PRICES: Final = tuple(field.name for field in fields(Prices))


def _signatures(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> Signatures:
    """Parse signatures, each as `target_fps=2,target_res=224x224` or as a JSON document."""
    try:
        return tuple(
            FrameExtractionSignature.from_json(text)
            if text.lstrip().startswith("{")
            else FrameExtractionSignature.from_mapping(_fields(text))
            for text in texts
        )
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error


def _clipping(_context: click.Context, _option: click.Parameter, text: str) -> Clipping:
    """Parse `whole`, `shots`, or the seconds per clip."""
    if text in ("whole", "shots"):
        return WholeVideo() if text == "whole" else Shots()
    try:
        return FixedStride(float(text), float(text), 0)
    except (ConfigError, ValueError) as error:
        message = f"{text!r} is not `whole`, `shots` or a number of seconds: {error}"
        raise click.BadParameter(message) from error


def pairs(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, object]:
    """Parse `NAME=VALUE`; values are parsed as JSON where possible."""
    values: dict[str, object] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found:
            message = f"{text!r} has no `=`; write name=value"
            raise click.BadParameter(message)
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def storage_options(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> Options:
    """Parse `NAME=VALUE`, or `NAME.NAME=VALUE` for an option within an option.

    Values are parsed as JSON where possible. Secrets are always text.
    """
    values: Options = {}
    for text in texts:
        name, found, value = text.partition("=")
        path = name.split(".")
        if not found:
            message = f"{text!r} has no `=`; write name=value, or name.name=value"
            raise click.BadParameter(message)
        if not all(path):
            message = f"{name!r} is not a name; write name=value, or name.name=value"
            raise click.BadParameter(message)
        _put(values, path, _storage_value(name, value))
    return values


def _storage_value(name: str, value: str) -> object:
    if is_secret_name(name.rpartition(".")[2]):
        return value
    try:
        return json.loads(value, parse_constant=str)
    except ValueError as error:
        if value.lstrip().startswith(("{", "[")):
            message = f"the value of {name!r} is not valid JSON: {error}; write it as JSON, or "
            raise click.BadParameter(
                f"{message}{name}.NAME=VALUE for each of its options"
            ) from error
        return value


def _put(values: Options, path: Sequence[str], value: object) -> None:
    """Set a value at a path of nested options."""
    *parents, last = path
    for depth, parent in enumerate(parents, 1):
        within = values.setdefault(parent, {})
        if not isinstance(within, dict):
            message = f"{'.'.join(path[:depth])!r} has a value already, so it cannot contain "
            raise click.BadParameter(
                f"{message}{'.'.join(path[depth:])!r}; give the value or its options"
            )
        values = within
    if last in values:
        raise click.BadParameter(f"{'.'.join(path)!r} is given twice; give each option once")
    values[last] = value


def renamed_to(new: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return the callback of a deprecated option, which gives a notice on stderr."""

    def notice(_context: click.Context, option: click.Parameter, value: object) -> object:
        if value is not None:
            old = option.opts[0]
            output.complaint(
                f"frames-pipeline: `{old}` is deprecated and goes with 0.3; use `{new}`"
            )
        return value

    return notice


def _prices(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> Prices:
    """Parse `NAME=NUMBER`; the names are the fields of `Prices`."""
    given = pairs(context, option, texts)
    for name, value in given.items():
        if name not in _PRICES or not isinstance(value, int | float):
            message = f"`{name}={value}` is not a price; give NAME=NUMBER of {', '.join(_PRICES)}"
            raise click.BadParameter(message)
    try:
        return Prices(**cast("dict[str, float]", given))
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error


def _storage_option(owner: str, text: str) -> Callable[[F], F]:
    """Return a decorator that adds `--root-option`, `--source-option` or `--target-option`."""
    return click.option(
        f"--{owner}-option",
        f"{owner}_options",
        callback=storage_options,
        multiple=True,
        help=text,
    )


signatures = click.option(
    "--signature",
    "-s",
    "signatures",
    callback=_signatures,
    multiple=True,
    default=[_DEFAULT],
    show_default=True,
    help="Frames to extract: fields of a signature, or its JSON document. Repeat it for "
    "several signatures; one decode serves all of them.",
)

clipping = click.option(
    "--clips",
    "clipping",
    callback=_clipping,
    default="whole",
    show_default=True,
    help="Clips of a video: `whole`, `shots` (docs/guides/clipping.md), or seconds per clip.",
)

root_options = _storage_option(
    "root",
    "fsspec option of ROOT, such as endpoint_url=…. Write a nested option with a dot: "
    "client_kwargs.region_name=…. Values can be JSON. Set credentials in the environment.",
)

source_options = _storage_option(
    "source", "fsspec option of the videos, as NAME=VALUE. Write a nested option with a dot."
)

target_options = _storage_option(
    "target", "Storage option of TARGET, as NAME=VALUE. Write a nested option with a dot."
)


def root(command: F) -> F:
    """Add the argument ROOT with `--root-option`."""
    return click.argument("root")(root_options(command))


suffixes = click.option(
    "--suffix",
    "suffixes",
    multiple=True,
    default=SUFFIXES,
    help="File suffix of videos, such as .mp4, in upper or lower case. Repeat it for several. "
    "Default: the suffixes of all supported formats.",
)

follow_links = click.option(
    "--follow-links", is_flag=True, help="Follow symlinks that lead out of SOURCE."
)

prices = click.option(
    "--price",
    "prices",
    callback=_prices,
    multiple=True,
    help=f"Price of an item, as NAME=NUMBER. Items: {', '.join(_PRICES)}.",
)

delete = click.option("--delete", is_flag=True, help="Delete. Without this flag, only report.")

grace_hours = click.option(
    "--grace-hours",
    default=GRACE_SECONDS / 3600,
    show_default=True,
    help="Keep anything written within this many hours.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

batches = click.option(
    "--batch",
    "batches",
    multiple=True,
    help="Take this batch only. Repeat it for several. Default: every batch.",
)

decoder = click.option(
    "--decoder",
    type=click.Choice(list(DECODERS)),
    default=next(iter(DECODERS)),
    show_default=True,
    help=" ".join(f"{one.name}: {one.summary}" for one in DECODERS.values()),
)


compression = click.option(
    "--compression",
    type=click.Choice(list(COMPRESSIONS)),
    default=next(iter(COMPRESSIONS)),
    show_default=True,
    help="Lossless compression of the frames. "
    + " ".join(f"{one.name}: {one.summary}." for one in COMPRESSIONS.values()),
)

processes = click.option("--processes", default=0, help="Worker processes; 0: one per core.")


def workspace(root: str, options: Options) -> Workspace:
    """Open the workspace of a root, without a source."""
    return Workspace.at(".", root, root_options=options)


def _fields(text: str) -> dict[str, object]:
    """Parse `name=value,name=value`; `encoding.codec=jpeg` is a field of the encoding."""
    values: Options = {}
    for name, value in map(_field, text.split(",")):
        group, _, inner = name.partition(".")
        if inner and group == "encoding":
            number = str(value)
            _put(values, [group, inner], int(number) if number.isdecimal() else value)
        else:
            values[name] = value
    return values


def _field(text: str) -> tuple[str, object]:
    name, found, value = (part.strip() for part in text.partition("="))
    if not found:
        message = f"{text!r} is not a field; write name=value, with commas between fields"
        raise ConfigError(message)
    if name == "target_res":
        sides = value.split("x")
        if len(sides) != 2 or not all(side.lstrip("-").isdigit() for side in sides):
            message = f"target_res={value} must be HEIGHTxWIDTH, as in 224x224 or 360x-1"
            raise ConfigError(message)
        return name, [int(side) for side in sides]
    if name in _WHOLE_NUMBERS and value.isdigit():
        return name, int(value)
    return name, value
