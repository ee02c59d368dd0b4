"""kill -9 at random points: what is visible is always whole.

Each round, two processes write the same clips over and over, and each is killed at a random
moment, while a third compares everything it can see, and a fourth collects garbage.
`FRAMES_KILL_ROUNDS` sets the number of rounds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from frames_pipeline import objects
from frames_pipeline.store import FrameStore

ROUNDS = int(os.environ.get("FRAMES_KILL_ROUNDS", "20"))
ROUNDS_PER_BATCH = 5


def test_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No clip is ever half there, or of two writers, and nothing committed is lost."""
    root, totals = tmp_path / "store", tmp_path
    environment = os.environ | {
        "PYTHONPATH": str(Path(objects.__file__).parents[1]),
        "OPENBLAS_NUM_THREADS": "1",
    }
    worker = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), root, totals]
    with subprocess.Popen(
        worker, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(order: str) -> Any:
            process.stdin.write(f"{order}\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        others = [ask("read reader.json"), ask("collect collector.json")]
        after_kill = [kill_round(ask, random.Random(number), number) for number in range(ROUNDS)]
        for other in others:
            os.kill(other, signal.SIGTERM)
            ask(f"wait {other}")
        process.stdin.close()
    live = json.loads((totals / "reader.json").read_text())
    collected = json.loads((totals / "collector.json").read_text())
    store = FrameStore(root)
    unfinished = count_unfinished(store)
    garbage = store.collect_garbage(grace_seconds=0, dry_run=False)
    last = [store.verify(batch, deep=True) for batch in store.objects.folders("frames")]
    attempts = sum(report.attempts for report in last)
    with capsys.disabled():
        print(  # noqa: T201  (the totals are worth seeing)
            f"\n{ROUNDS} rounds, {2 * ROUNDS} writers killed; "
            f"after kill {sum(seen['looks'] for seen in after_kill)} looks, "
            f"{sum(len(seen['bad']) for seen in after_kill)} bad; "
            f"live {live['looks']} looks, {len(live['bad'])} bad; "
            f"attempts collected {collected} live and {len(garbage.attempts)} at the end, "
            f"{unfinished} of these unfinished; {attempts} stay"
        )
    assert [seen["bad"] for seen in after_kill] == [[]] * ROUNDS
    assert live["bad"] == []
    assert live["looks"] > ROUNDS
    assert garbage.attempts
    assert all(report.ok for report in last)
    assert attempts <= len(last) * 16
    assert store.collect_garbage(grace_seconds=0).objects == 0


def kill_round(ask: Any, chance: random.Random, number: int) -> Any:
    """Two writers, killed one after the other; then what is visible."""
    durable = number % 2 == 0
    batch = f"batch-{number // ROUNDS_PER_BATCH}"
    writers = [ask(f"write {batch} {number * 2 + index} {durable}") for index in range(2)]
    for writer in writers:
        time.sleep(chance.uniform(0.05, 0.6))
        os.kill(writer, signal.SIGKILL)
        ask(f"wait {writer}")
    return ask("check")


def count_unfinished(store: FrameStore) -> int:
    """Attempts whose writer was killed before the group's document was there."""
    keys = store.objects.list("frames")
    attempts = {"/".join(key.split("/")[:6]) for key in keys if "/clips/" in key}
    return sum(f"{attempt}/zarr.json" not in keys for attempt in attempts)
