"""Run tasks in the calling process, so that its clock counts them and a test's patches apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.workers.local import Workers

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class InProcess(Workers):
    """Run one task after the other in this process."""

    def map(
        self,
        work: Callable[[T], R],
        tasks: Iterable[T],
        *,
        weight: Callable[[T], int] = lambda _: 1,
    ) -> Iterator[tuple[T, R | FramesPipelineError]]:
        for task in tasks:
            try:
                yield task, work(task)
            except FramesPipelineError as error:
                yield task, error
