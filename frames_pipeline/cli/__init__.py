"""`frames-pipeline`: the same work without Dagster, for a shell.

Use `--json` for output as JSON. Exit codes: 0, success; 1, a clip failed, or an object is missing
or damaged; 2, an argument or a setting is wrong. Completion:
`eval "$(_FRAMES_PIPELINE_COMPLETE=bash_source frames-pipeline)"`.
"""

from __future__ import annotations

from frames_pipeline.cli.commands import main

__all__ = ["main"]
