"""Loading the definitions imports no heavy module. `benchmarks/load_time.py` measures the time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

HEAVY = {
    "PIL", "aiohttp", "av", "botocore", "duckdb", "fsspec", "lance", "numcodecs", "numpy", "openai",
    "pandas", "pebble", "pyarrow", "rich", "s3fs", "scenedetect", "torch", "transformers",
    "xarray", "zarr",
}  # fmt: skip
PROGRAM = """
import json, sys
import dagster
before = set(sys.modules)
from dagster_defs.definitions import defs
keys = defs().get_repository_def().asset_graph.get_all_asset_keys()
loaded = {name.partition(".")[0] for name in sys.modules.keys() - before}
print(json.dumps([len(keys), sorted(loaded)]))
"""


def test_no_heavy_module_is_loaded_with_the_definitions() -> None:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "FRAMES_CAPTION_URL": "",
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assets, loaded = json.loads(done.stdout)
    assert assets == 9
    assert "frames_pipeline" in loaded
    assert HEAVY.isdisjoint(loaded), sorted(HEAVY.intersection(loaded))
