"""Commands of version 0.1 under their old names. Delete this with 0.3."""

from __future__ import annotations

import click

from frames_pipeline.cli import output


def renamed(old: str, command: click.Command) -> click.Command:
    """Return a hidden command that does the same by its old name, with a notice on stderr."""

    def callback(**values: object) -> object:
        output.complaint(
            f"frames-pipeline: `{old}` is deprecated and goes with 0.3; use `{command.name}`"
        )
        return None if command.callback is None else command.callback(**values)

    return click.Command(
        old,
        callback=callback,
        params=command.params,
        help=f"Run `{command.name}` by its old name.",
        hidden=True,
    )
