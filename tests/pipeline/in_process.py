"""Workers without processes, so that what a test has changed holds for their work, too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.workers import Workers

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class InProcess(Workers):
    """Does one task after the other, here."""

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
