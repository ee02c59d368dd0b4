"""kill -9 at random points: what is visible is always whole.

Each round, two processes write the same clips over and over, and a third moves them from one
compression to another. Each is killed at a random moment after the first clip. A fourth compares
everything it can see, and a fifth collects garbage.
`FRAMES_KILL_ROUNDS` and `FRAMES_KILL_ROUNDS_S3` set the numbers of rounds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from frames_pipeline.io import objects
from frames_pipeline.store import FrameStore
from tests.s3 import S3
from tests.waiting import processor_seconds, wait_for

ROUNDS = int(os.environ.get("FRAMES_KILL_ROUNDS", "20"))
ROUNDS_S3 = int(os.environ.get("FRAMES_KILL_ROUNDS_S3", "3"))
ROUNDS_PER_BATCH = 5


@pytest.mark.live
def test_kill(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No clip is ever half there, or of two writers, and nothing committed is lost."""
    store = FrameStore(tmp_path / "store")
    told = fire(store, tmp_path, rounds=ROUNDS, seconds=(0.05, 0.6), environment={})
    with capsys.disabled():
        print(f"\n{told}")  # noqa: T201  (the totals are worth seeing)


@pytest.mark.live
def test_kill_on_s3(tmp_path: Path, s3: S3, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is it in a bucket."""
    options = s3.options_with(endpoint_url=s3.direct, config_kwargs={})
    environment = {"FRAMES_KILL_OPTIONS": json.dumps(options), "FRAMES_KILL_GRACE": "60"}
    store = FrameStore(s3.url, options)
    told = fire(store, tmp_path, rounds=ROUNDS_S3, seconds=(1, 4), environment=environment)
    with capsys.disabled():
        print(f"\nS3: {told}")  # noqa: T201


def fire(
    store: FrameStore,
    totals: Path,
    *,
    rounds: int,
    seconds: tuple[float, float],
    environment: Mapping[str, str],
) -> str:
    """All rounds; what was seen, if nothing was wrong."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(objects.__file__).parents[2]),
        "OPENBLAS_NUM_THREADS": "1",
        "FRAMES_KILL_ACKNOWLEDGED": str(totals / "acknowledged"),
        **environment,
    }
    script = str(Path(__file__).with_name("kill_worker.py"))
    with subprocess.Popen(
        [sys.executable, script, store.objects.url, totals],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        orders, answers = process.stdin, process.stdout

        def ask(order: str) -> Any:
            orders.write(f"{order}\n")
            orders.flush()
            return json.loads(answers.readline())

        acknowledged, progress = totals / "acknowledged", processor_seconds(process)

        def until_written(writer: int) -> None:
            """Wait for the first clip of a writer: what follows is random."""
            wait_for(
                lambda: acknowledged.exists() and f" {writer} " in acknowledged.read_text(),
                name=f"a clip of writer {writer}",
                progress=progress,
            )

        others = [ask("read reader.json"), ask("collect collector.json")]
        after_kill = [
            kill_round(ask, random.Random(number), number, seconds, until_written)
            for number in range(rounds)
        ]
        for other in others:
            os.kill(other, signal.SIGTERM)
            ask(f"wait {other}")
        orders.close()
    live = json.loads((totals / "reader.json").read_text())
    collected = json.loads((totals / "collector.json").read_text())
    written = len(acknowledged.read_text().splitlines())
    unfinished = count_unfinished(store)
    garbage = store.collect_garbage(grace_seconds=0, dry_run=False)
    last = [store.verify(batch, deep=True) for batch in store.objects.folders("frames")]
    attempts = sum(report.attempts for report in last)
    assert [seen["bad"] for seen in after_kill] == [[]] * rounds
    assert [seen["lost"] for seen in after_kill] == [[]] * rounds
    assert live["bad"] == []
    assert live["looks"] > 0
    assert collected + len(garbage.attempts) > 0
    assert all(report.ok for report in last)
    assert attempts <= len(last) * 16
    assert store.collect_garbage(grace_seconds=0).objects == 0
    return (
        f"{rounds} rounds, {2 * rounds} writers killed; "
        f"{written} writes acknowledged, 0 lost; "
        f"after kill {sum(seen['looks'] for seen in after_kill)} looks, 0 bad; "
        f"live {live['looks']} looks, 0 bad; "
        f"attempts collected {collected} live and {len(garbage.attempts)} at the end, "
        f"{unfinished} of these unfinished; {attempts} stay"
    )


def kill_round(
    ask: Any,
    chance: random.Random,
    number: int,
    seconds: tuple[float, float],
    until_written: Callable[[int], None],
) -> Any:
    """Two writers and a mover, killed one after the other; then what is visible."""
    durable = number % 2 == 0
    batch = f"batch-{number // ROUNDS_PER_BATCH}"
    seeds = [number * 2, number * 2 + 1]
    writers = [ask(f"write {batch} {seed} {durable}") for seed in seeds]
    mover = ask(f"recompress {batch}")
    for seed, writer in zip(seeds, writers, strict=True):
        until_written(seed)
        time.sleep(chance.uniform(*seconds))
        os.kill(writer, signal.SIGKILL)
        ask(f"wait {writer}")
    time.sleep(chance.uniform(*seconds))
    os.kill(mover, signal.SIGKILL)
    ask(f"wait {mover}")
    return ask(f"check {batch}")


def count_unfinished(store: FrameStore) -> int:
    """Attempts whose writer was killed before the group's document was there."""
    keys = store.objects.list("frames")
    attempts = {"/".join(key.split("/")[:6]) for key in keys if "/clips/" in key}
    return sum(f"{attempt}/zarr.json" not in keys for attempt in attempts)
