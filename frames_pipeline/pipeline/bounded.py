"""Run calls that wait for a service in a bounded number of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def bounded_map(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """Yield the result of each item as soon as it is done; use threads if `at_once` is above 1.

    An item is taken when a thread is free, so at most `at_once` items are in memory. After an error
    of the work or of the items no further item starts. The results of running items are yielded
    before the error is raised.
    """
    if at_once == 1:
        yield from map(work, items)
        return
    errors: list[Exception] = []
    running: set[Future[R]] = set()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for item in items:
                running.add(pool.submit(work, item))
                if len(running) == at_once:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from _good(done, errors)
                if errors:
                    break
        except Exception as error:
            errors.append(error)
        yield from _good(running, errors)
    if errors:
        raise errors[0]


def _good(futures: Iterable[Future[R]], errors: list[Exception]) -> Iterator[R]:
    """Yield results; append errors to the list."""
    for future in futures:
        try:
            yield future.result()
        except Exception as error:
            errors.append(error)
