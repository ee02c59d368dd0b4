"""`frames-pipeline`: the same work without Dagster, for a shell.

Everything that is printed can be had as JSON, with `--json`. Exit codes: 0, all is well; 1,
something is not (a clip failed, an object is missing); 2, the command cannot be done as it
was given. Completion: `eval "$(_FRAMES_PIPELINE_COMPLETE=bash_source frames-pipeline)"`.
"""

from __future__ import annotations

from frames_pipeline.cli.commands import main

__all__ = ["main"]
