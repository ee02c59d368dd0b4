"""Select the frames of a clip for a captioning model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import NoFramesError
from frames_pipeline.frames import FrameBatch
from frames_pipeline.sampling import spread


def shown_frames(clip: FrameBatch, max_frames: int) -> NDArray[np.intp]:
    """Return the indices of up to `max_frames` frames for a model, spread evenly.

    Repeated frames count once. Damaged frames are used only if all are damaged.

    Raises:
        NoFramesError: The clip has no frames.
    """
    if not len(clip):
        message = "the clip has no frames to caption"
        raise NoFramesError(message)
    _, first = np.unique(clip.positions, return_index=True)
    intact = first[~clip.corrupt[first]]
    candidates = intact if len(intact) else first
    return candidates[spread(len(candidates), min(len(candidates), max_frames))]
