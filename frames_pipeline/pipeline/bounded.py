"""Work on several things at once, where each waits for somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def results(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[R]:
    """What the work makes of each item, as it is done, in threads if `at_once` is above 1.

    An item is taken when there is a thread for it, so no more than `at_once` are in memory. After
    an error, of the work or of the items, none is begun any more; what comes of those that were is
    given before it is raised.
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
    """Results; errors go to the list."""
    for future in futures:
        try:
            yield future.result()
        except Exception as error:
            errors.append(error)
