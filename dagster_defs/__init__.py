"""Videos in a folder or bucket become exact frames, embeddings, quality and captions in Dagster.

Another project adds it with `dg scaffold defs dagster_defs.FramesComponent frames`.
"""

from dagster_defs.component import FramesComponent

__all__ = ["FramesComponent"]
