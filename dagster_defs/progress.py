"""Log the progress of long work."""

import time

import dagster as dg

_SECONDS_BETWEEN_REPORTS = 10


class Progress:
    """Logs every few seconds the number of clips done."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        self._log = log
        self._since = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_REPORTS or done == total:
            self._last = now
            left = (now - self._since) * (total - done) / done
            self._log.info(f"{done} of {total} clips decoded, about {left:.0f} s left")
