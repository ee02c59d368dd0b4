"""`main`: the commands of all groups. Each calls the library, and prints the result."""

from __future__ import annotations

import click

from frames_pipeline.cli import copies, maintenance, stored, videos
from frames_pipeline.cli.app import Commands
from frames_pipeline.cli.dry_runs import dry_run
from frames_pipeline.cli.lineage import lineage
from frames_pipeline.cli.queries import sql
from frames_pipeline.cli.renamed import renamed


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="frames-pipeline")
def main() -> None:
    """Extract exact frames of videos, and read, check, copy and trace stored frames.

    ROOT is the folder or bucket with your batches, frames and tables. BATCH is the key of a batch.
    """


for _command in (
    videos.probe,
    videos.estimate,
    videos.extract,
    dry_run,
    stored.ls,
    stored.show,
    sql,
    lineage,
    copies.export,
    copies.pack,
    copies.prune,
    maintenance.verify,
    maintenance.repair,
    maintenance.recompress,
    maintenance.gc,
    maintenance.retire,
    maintenance.suspects,
    renamed("plan", videos.estimate),
    renamed("changes", dry_run),
):
    main.add_command(_command)
