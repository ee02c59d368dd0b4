"""Options that several commands take."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, TypeVar, cast

import click

from frames_pipeline.clipping import Clipping, FixedStride, Shots, WholeVideo
from frames_pipeline.errors import ConfigError
from frames_pipeline.pipeline import Prices, Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.videos import SUFFIXES
from frames_pipeline.store import GRACE_SECONDS
from frames_pipeline.text.addresses import is_secret_name

F = TypeVar("F", bound=Callable[..., Any])

Options = dict[str, object]
"""What fsspec is given."""

Signatures = tuple[FrameExtractionSignature, ...]

_DEFAULT = "target_fps=2,target_res=224x224"
_PRICES: Final = tuple(field.name for field in fields(Prices))


def _signatures(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> tuple[FrameExtractionSignature, ...]:
    """Each as `target_fps=2,target_res=224x224`, or as its JSON document."""
    try:
        return tuple(
            FrameExtractionSignature.from_json(text)
            if text.lstrip().startswith("{")
            else FrameExtractionSignature.from_mapping(dict(map(_field, text.split(","))))
            for text in texts
        )
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error


def _cutting(_context: click.Context, _option: click.Parameter, text: str) -> Clipping:
    """`whole`, `shots`, or seconds of a clip."""
    if text in ("whole", "shots"):
        return WholeVideo() if text == "whole" else Shots()
    try:
        return FixedStride(float(text), float(text), 0)
    except (ConfigError, ValueError) as error:
        message = f"{text!r} is neither `whole`, `shots` nor a number of seconds: {error}"
        raise click.BadParameter(message) from error


def pairs(
    _context: click.Context, _option: click.Parameter, texts: tuple[str, ...]
) -> dict[str, object]:
    """`NAME=VALUE`, the value as JSON where it is such."""
    values: dict[str, object] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if not found:
            message = f"{text!r} has no `=`"
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
            message = f"{name!r} is no name; write name=value, or name.name=value"
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
            message = f"the value of {name!r} is no JSON document: {error}; write it as JSON, or "
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
            message = (
                f"{'.'.join(path[:depth])!r} has a value, and so no {'.'.join(path[depth:])!r}"
            )
            raise click.BadParameter(message)
        values = within
    if last in values:
        raise click.BadParameter(f"{'.'.join(path)!r} is given twice; give each option once")
    values[last] = value


def _prices(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> Prices:
    """`NAME=NUMBER`, each a field of `Prices`."""
    given = pairs(context, option, texts)
    for name, value in given.items():
        if name not in _PRICES or not isinstance(value, int | float):
            message = f"`{name}={value}` is no price: give NAME=NUMBER of {', '.join(_PRICES)}"
            raise click.BadParameter(message)
    try:
        return Prices(**cast("dict[str, float]", given))
    except ConfigError as error:
        raise click.BadParameter(str(error)) from error


def signatures(command: F) -> F:
    """`--signature`, any number of times."""
    return click.option(
        "--signature",
        "-s",
        "signatures",
        callback=_signatures,
        multiple=True,
        default=[_DEFAULT],
        show_default=True,
        help="Which frames: fields of a signature, or its JSON document. May be given again: all "
        "of them come from one decode.",
    )(command)


def clipping(command: F) -> F:
    """`--clips`."""
    return click.option(
        "--clips",
        "clipping",
        callback=_cutting,
        default="whole",
        show_default=True,
        help="Clips: `whole`, `shots` (docs/guides/clipping.md), or the seconds of a clip.",
    )(command)


def root(command: F) -> F:
    """ROOT and how to reach it."""
    return click.argument("root")(root_options(command))


def root_options(command: F) -> F:
    """`--root-option`."""
    return click.option(
        "--root-option",
        "root_options",
        callback=storage_options,
        multiple=True,
        help="An fsspec option for the root, such as endpoint_url=… or, within another option, "
        "client_kwargs.region_name=…. Values may be JSON. Drivers take credentials from the "
        "environment.",
    )(command)


def source_options(command: F) -> F:
    """`--source-option`."""
    return click.option(
        "--source-option",
        "source_options",
        callback=storage_options,
        multiple=True,
        help="An fsspec option for the videos.",
    )(command)


def suffixes(command: F) -> F:
    """`--suffix`."""
    return click.option(
        "--suffix",
        "suffixes",
        multiple=True,
        default=SUFFIXES,
        help="File suffix of videos, such as .mp4, in any case. Repeat it for several. The default "
        "is every suffix of a format that can be opened.",
    )(command)


def follow_links(command: F) -> F:
    """`--follow-links`."""
    return click.option(
        "--follow-links", is_flag=True, help="Follow links that lead out of the source."
    )(command)


def target_options(command: F) -> F:
    """`--target-option`."""
    return click.option(
        "--target-option",
        "target_options",
        callback=storage_options,
        multiple=True,
        help="An fsspec option for the target.",
    )(command)


def prices(command: F) -> F:
    """`--price`."""
    return click.option(
        "--price",
        "prices",
        callback=_prices,
        multiple=True,
        help=f"What something costs, as NAME=NUMBER: {', '.join(_PRICES)}.",
    )(command)


def delete(command: F) -> F:
    """`--delete`."""
    return click.option("--delete", is_flag=True, help="Delete it; otherwise it is only said.")(
        command
    )


def grace_hours(command: F) -> F:
    """`--grace-hours`."""
    return click.option(
        "--grace-hours",
        default=GRACE_SECONDS / 3600,
        show_default=True,
        help="Longer than writers take, and than readers hold on to what they opened.",
    )(command)


def as_json(command: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(
        command
    )


def workspace(root: str, options: Options) -> Workspace:
    """What lies under a root; there is no source."""
    return Workspace.at(".", root, root_options=options)


def _field(text: str) -> tuple[str, object]:
    name, found, value = (part.strip() for part in text.partition("="))
    if not found:
        message = f"{text!r} is no field: write name=value, with commas between"
        raise ConfigError(message)
    if name == "target_res":
        sides = value.split("x")
        if len(sides) != 2 or not all(side.lstrip("-").isdigit() for side in sides):
            message = f"target_res={value} must be HEIGHTxWIDTH, as in 224x224 or 360x-1"
            raise ConfigError(message)
        return name, [int(side) for side in sides]
    if name in ("num_frames", "revision") and value.isdigit():
        return name, int(value)
    return name, value
