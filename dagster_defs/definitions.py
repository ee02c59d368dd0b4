"""Loads the defs folder; `workspace.yaml` and `dg` point here."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the components under `defs/`."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
