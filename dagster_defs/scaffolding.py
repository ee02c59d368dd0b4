"""The `defs.yaml` that `dg scaffold defs dagster_defs.FramesComponent` writes."""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from dagster_defs.attributes.signatures import AS_SHOWN

ATTRIBUTES: Final[Mapping[str, Any]] = {
    "source": "{{ project_root }}/videos",
    "root": "{{ project_root }}/frames",
    "signatures": {"embeddings": {"target_fps": 2, "target_res": [224, 224], **AS_SHOWN}},
}
"""Attributes to start from: frames as a person sees them, twice a second."""


class FramesScaffolder(dg.Scaffolder[Any]):
    """Writes a component with a source, a root and one signature, to be edited."""

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Write the component."""
        dg.scaffold_component(request, ATTRIBUTES)
