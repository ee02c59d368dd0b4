"""Retry steps after transient faults only."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from frames_pipeline import FramesPipelineError, TransientError
from frames_pipeline.io.causes import presentable

MAX_RETRIES = 3
SECONDS_TO_WAIT = 30


@contextmanager
def retrying_transients() -> Iterator[None]:
    """Have Dagster repeat the step after a transient fault; other faults end the run.

    Dagster stores and shows the text of an error and of its causes, so both are made safe to show.
    """
    try:
        yield
    except TransientError as error:
        raise dg.RetryRequested(
            max_retries=MAX_RETRIES, seconds_to_wait=SECONDS_TO_WAIT
        ) from presentable(error)
    except FramesPipelineError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from presentable(error)
