"""The command group: exit codes, and errors as one line with the fix."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import click

from frames_pipeline.cli import output
from frames_pipeline.errors import ConfigError, FramesPipelineError
from frames_pipeline.text.plain import fit_to_show

EXIT_FAULT: Final = 1
"""Exit code: a clip failed, or a stored object is missing or damaged."""
EXIT_USAGE: Final = 2
"""Exit code: an argument or a setting is wrong."""


class Commands(click.Group):
    """Commands that report expected errors in one line, without a traceback."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        with _legible_usage():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        try:
            with _legible_usage():
                return super().invoke(ctx)
        except FramesPipelineError as error:
            output.complaint(f"frames-pipeline: {error}")
            ctx.exit(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAULT)


@contextlib.contextmanager
def _legible_usage() -> Iterator[None]:
    """Escape control characters of arguments in click's usage errors."""
    try:
        yield
    except click.ClickException as error:
        text = error.format_message()
        if text == fit_to_show(text):
            raise
        raise click.UsageError(fit_to_show(text), getattr(error, "ctx", None)) from None
