"""Reference tables for the documentation site, made from the code while the site is built.

A Markdown extension with five directives, each on a line of its own:

    ::: settings dagster_defs.FramesComponent
    ::: settings dagster_defs.FramesComponent batching
    ::: commands frames_pipeline.cli.main frames-pipeline
    ::: command-details frames_pipeline.cli.main frames-pipeline
    ::: include CHANGELOG.md
    ::: pages adr

`settings` is a table of the fields of a pydantic model or dataclass, or of the models that one of
its fields takes. `commands` is a table of the commands of a click group, `command-details` a
section for each with its options. `include` is a page that lies outside docs/, `pages` a list of
the other pages in a folder of docs/.

Links to pages are relative to a folder of docs/, as docs/reference: pages that use this lie in one.
Doctests in docstrings become code, which Markdown takes for quotations.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import annotated_types
import click
from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

_DIRECTIVE: Final = re.compile(
    r"^::: (settings|commands|command-details|include|pages) (\S+)(?: (\S+))?\s*$"
)
_PAGE: Final = re.compile(r"docs/((?:[\w-]+/)*([\w-]+)\.md(?:#[\w-]+)?)")
_ROOT: Final = Path(__file__).parents[1]
_INCLUDED: Final = {
    "CHANGELOG.md": "design/changes.md",
    "CONTRIBUTING.md": "design/contributing.md",
}
_PLAIN_TYPES: Final[Mapping[object, str]] = {
    str: "text",
    bool: "`true`, `false`",
    int: "whole number",
    float: "number",
    Any: "any",
}
_REQUIRED: Final = "required"
_LONGEST_LIST: Final = 4
_LONGEST_TEXT: Final = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """A field of a model: a row of its table."""

    name: str
    type: str
    default: str
    meaning: str


def settings_of(kind: type) -> Iterator[Setting]:
    """Yield the fields that users set: required ones first, then the others, as in the code."""
    yield from sorted(_fields_of(kind), key=lambda setting: setting.default != _REQUIRED)


def _fields_of(kind: type) -> Iterator[Setting]:
    if issubclass(kind, BaseModel):
        homes: dict[type, str] = {}
        for name, field in kind.model_fields.items():
            for model in models_of(field.annotation):
                homes.setdefault(model, name)
            has_default = field.default is not PydanticUndefined
            yield Setting(
                name,
                _with_bounds(_type_text(field.annotation, homes), field.metadata),
                _default_text(name, field.default) if has_default else _REQUIRED,
                field.description or "",
            )
        return
    if not dataclasses.is_dataclass(kind):
        message = f"{kind.__name__} is neither a model nor a dataclass"
        raise LookupError(message)
    meanings = _field_docstrings(kind)
    hints = get_type_hints(kind)
    for attribute in dataclasses.fields(kind):
        has_default = attribute.default is not dataclasses.MISSING
        yield Setting(
            attribute.name,
            _type_text(hints[attribute.name], {}),
            _default_text(attribute.name, attribute.default) if has_default else _REQUIRED,
            meanings.get(attribute.name, ""),
        )


def models_of(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that a value of this type is made of, in their order."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_of(part)


def settings_lines(path: str, attribute: str | None = None) -> Iterator[str]:
    """Yield the table of a class as Markdown, or those of the models that one field takes.

    Raises:
        LookupError: There is no such class or field, or the field takes no model.
    """
    kind = _found(path)
    if attribute is None:
        yield from _table(kind)
        return
    models = list(models_of(kind.model_fields[attribute].annotation))
    if not models:
        message = f"{path}.{attribute} takes no model; write its settings in the text"
        raise LookupError(message)
    for model in models:
        yield from ("", _title(model), "")
        yield from _table(model)


def commands_lines(path: str, name: str) -> Iterator[str]:
    """Yield a table of the commands of a group, as Markdown."""
    group = _found(path)
    yield from _overview(group, click.Context(group, info_name=name))


def command_details_lines(path: str, name: str) -> Iterator[str]:
    """Yield a section of Markdown for each command of a group: purpose, usage, options."""
    group = _found(path)
    yield from _subcommands(group, click.Context(group, info_name=name, show_default=True))


def included_lines(name: str) -> Iterator[str]:
    """Yield a page of the project's root, with links that hold from a folder of docs/."""
    text = (_ROOT / name).read_text().replace("](docs/", "](../")
    for root_page, page in _INCLUDED.items():
        text = text.replace(f"]({root_page})", f"](../{page})")
    yield from text.splitlines()


def pages_lines(folder: str) -> Iterator[str]:
    """Yield a list of links to the pages of a folder, by their first heading."""
    for page in sorted((_ROOT / "docs" / folder).glob("*.md")):
        if page.name != "index.md":
            title = page.read_text().splitlines()[0].removeprefix("# ")
            yield f"- [{title}](../{folder}/{page.name})"


def _subcommands(group: click.Group, context: click.Context) -> Iterator[str]:
    for name, command in _shown(group):
        inner = click.Context(command, parent=context, info_name=name, show_default=True)
        yield from ("", f"### `{inner.command_path}`", "", _help_text(command), "")
        if isinstance(command, click.Group):
            yield from _overview(command, inner)
            yield from _subcommands(command, inner)
            continue
        usage = " ".join([inner.command_path, *command.collect_usage_pieces(inner)])
        yield from ("```text", usage, "```", "", "| option | value | default | meaning |")
        yield "|---|---|---|---|"
        for parameter in command.get_params(inner):
            if isinstance(parameter, click.Option) and "--help" not in parameter.opts:
                yield _option_row(parameter, inner)


def _shown(group: click.Group) -> list[tuple[str, click.Command]]:
    """Return the commands of a group by name, without hidden ones."""
    return [(name, one) for name, one in sorted(group.commands.items()) if not one.hidden]


def _overview(group: click.Group, context: click.Context) -> Iterator[str]:
    yield from ("| command | purpose |", "|---|---|")
    for name, command in _shown(group):
        full = f"{context.command_path} {name}"
        purpose = _as_markdown((command.help or "").strip().split("\n\n")[0].replace("\n", " "))
        yield f"| [`{full}`](#{full.replace(' ', '-')}) | {_cell(purpose)} |"


def _option_row(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    extra = option.get_help_extra(context)
    default = _REQUIRED if option.required else _shown_default(extra.get("default"))
    if option.is_flag:
        value, default = "flag", "off"
    elif isinstance(option.type, click.Choice):
        value = ", ".join(f"`{choice}`" for choice in option.type.choices)
    else:
        value = f"`{option.make_metavar(context)}`" + (", repeatable" if option.multiple else "")
    return _row(names, value, default, _as_markdown(option.help or ""))


def _shown_default(default: str | None) -> str:
    return "none" if default in (None, "", "False") else f"`{default}`"


def _help_text(command: click.Command) -> str:
    """Return the help of a command as Markdown, with the blocks that click leaves unwrapped."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(
        textwrap.indent(paragraph.removeprefix("\b").strip("\n"), "    ")
        if paragraph.startswith("\b")
        else _as_markdown(paragraph)
        for paragraph in paragraphs
    )


def _title(model: type[BaseModel]) -> str:
    """Return what a model is for, after the `kind` that chooses it where there are several."""
    purpose = _as_markdown(inspect.getdoc(model) or "")
    chosen = _only_kind(model)
    return f"**`kind: {chosen}`**: {purpose}" if chosen else purpose


def _only_kind(kind: type) -> str | None:
    """Return the one value that a field `kind` takes, if it takes but one."""
    values = get_args(get_type_hints(kind).get("kind"))
    return values[0] if len(values) == 1 else None


def _table(kind: type) -> Iterator[str]:
    skipped = {"kind"} if _only_kind(kind) else set()
    settings = [setting for setting in settings_of(kind) if setting.name not in skipped]
    if not settings:
        return
    yield from ("| setting | type | default | meaning |", "|---|---|---|---|")
    for setting in settings:
        meaning = _as_markdown(setting.meaning)
        yield _row(f"`{setting.name}`", setting.type, setting.default, meaning)
    yield ""


def _row(*cells: str) -> str:
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _as_markdown(text: str) -> str:
    """Return text of the code as Markdown: no HTML, and pages of the docs as links."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else _PAGE.sub(r"[\2](../\1)", part.replace("<", "&lt;"))
        for part in parts
    )


def _type_text(annotation: object, homes: Mapping[type, str]) -> str:
    """Say in words which values a field takes; a model is a link to the field it belongs to."""
    if annotation in _PLAIN_TYPES:
        return _PLAIN_TYPES[annotation]
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"[mapping](#{homes[annotation]})"
    parts = get_args(annotation)
    if not parts:
        return f"`{getattr(annotation, '__name__', annotation)}`"
    return _composed_text(get_origin(annotation), parts, homes)


def _composed_text(origin: object, parts: Sequence[Any], homes: Mapping[type, str]) -> str:
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        texts = [
            _type_text(part, homes)
            for part in parts
            if part is not NoneType and not (part is int and float in parts)
        ]
        return " or ".join(dict.fromkeys(texts))
    if origin is Annotated:
        return _type_text(parts[0], homes)
    if parts[-1] is Any:
        return "mapping"
    if origin is not None and issubclass(cast("type", origin), Mapping):
        return f"mapping of names to {_type_text(parts[-1], homes)}".replace(
            "[mapping]", "[mappings]"
        )
    return f"list of {_type_text(parts[0], homes)}".replace("number", "numbers")


def _with_bounds(text: str, metadata: Sequence[object]) -> str:
    words = {annotated_types.Ge: "from", annotated_types.Gt: "above",
             annotated_types.Le: "up to", annotated_types.Lt: "below"}  # fmt: skip
    bounds = [
        f"{words[type(bound)]} {next(iter(dataclasses.astuple(bound)))}"  # type: ignore[call-overload]
        for bound in metadata
        if type(bound) in words
    ]
    return f"{text}, {' '.join(bounds)}" if bounds else text


def _default_text(name: str, default: object) -> str:
    if default is None or default in ({}, []):
        return "none"
    if isinstance(default, BaseModel):
        kind = getattr(default, "kind", None)
        return f"`{kind}`" if isinstance(kind, str) else "its defaults"
    if isinstance(default, list) and len(default) > _LONGEST_LIST:
        shown = ", ".join(f"`{item}`" for item in default[:_LONGEST_LIST])
        return f"{shown} and {len(default) - _LONGEST_LIST} more"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    text = " ".join(str(default).split())
    if len(text) > _LONGEST_TEXT:
        return f"“{textwrap.shorten(text, _LONGEST_TEXT, placeholder=' …')}”"
    return f"`{text}`" + _in_binary_units(name, default)


def _in_binary_units(name: str, value: object) -> str:
    if isinstance(value, int) and "bytes" in name:
        for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
            if value >= size and value % size == 0:
                return f" ({value // size} {unit})"
    return ""


def _field_docstrings(kind: type) -> dict[str, str]:
    """Return the texts under the fields of a dataclass and its bases."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for field, text in zip(tree.body, tree.body[1:], strict=False):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(words))):
                    found[name] = words
    return found


def _found(path: str) -> Any:  # noqa: ANN401 -- the object that a page names
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name, None)
    if found is None:
        message = f"{module} has no {name}, which a page of the docs names"
        raise LookupError(message)
    return found


def fence_doctests(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines with a fence around each doctest that has none."""
    is_fenced = is_doctest = False
    for line in [*lines, ""]:
        is_fenced ^= line.lstrip().startswith("```")
        if line.startswith(">>> ") and not is_fenced and not is_doctest:
            is_doctest = True
            yield from ("", "```pycon")
        elif is_doctest and not line.strip():
            is_doctest = False
            yield "```"
        yield line


class _Doctests(Preprocessor):  # type: ignore[misc] # Markdown has no types
    def run(self, lines: list[str]) -> list[str]:
        return list(fence_doctests(lines))


_DIRECTIVES: Final[Mapping[str, Callable[..., Iterator[str]]]] = {
    "settings": settings_lines,
    "commands": commands_lines,
    "command-details": command_details_lines,
    "include": included_lines,
    "pages": pages_lines,
}


class _Directives(Preprocessor):  # type: ignore[misc] # Markdown has no types
    def run(self, lines: list[str]) -> list[str]:
        made: list[str] = []
        for line in lines:
            if (found := _DIRECTIVE.match(line)) is None:
                made.append(line)
            else:
                made += _DIRECTIVES[found[1]](*filter(None, found.groups()[1:]))
        return made


class ReferenceExtension(Extension):  # type: ignore[misc] # Markdown has no types
    """Replaces the directives of this module by what they name."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 -- Markdown calls it
        # before fenced code is taken out of the text, which is at 25, so that usages are code
        md.preprocessors.register(_Directives(md), "frames_pipeline_reference", 40)
        md.preprocessors.register(_Doctests(md), "frames_pipeline_doctests", 39)


def makeExtension(**options: Any) -> ReferenceExtension:  # noqa: N802, ANN401 -- Markdown calls it
    """Return the extension."""
    return ReferenceExtension(**options)
