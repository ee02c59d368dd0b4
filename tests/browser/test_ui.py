"""What a person does at the UI, in a real browser, on a running webserver and daemon.

Needs `playwright` and a Chromium; screenshots are left in `.test-output/browser`, to be looked at.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from dagster_defs.metadata import records
from frames_pipeline.text.plain import as_markdown_text, fit_to_show
from tests.dagster_defs.test_component import other_project
from tests.dagster_defs.test_live import SETTINGS, WORKSPACE, events_of
from tests.payloads import PAYLOADS
from tests.services import end, start
from tests.videos import X264, make_video
from tests.waiting import PATIENCE_S, bytes_in, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Locator, Page

LOG = logging.getLogger(__name__)
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
SHOTS = Path(".test-output/browser").absolute()
BIN = Path(sys.executable).parent
DEFS = """
type: dagster_defs.FramesComponent
attributes:
  source: "{{ env.OTHER_VIDEOS }}"
  root: "{{ project_root }}/data"
  batching: {batch_size: 1, max_wait_s: 0, interval_s: 2}
  clipping: {kind: whole}
  signatures:
    points: {policy: uniform, num_frames: 4, target_res: [48, -1]}
"""
WITHOUT_NETWORK = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FRAMES = "/assets/clip_frames/points?view=partitions"
MARKUP = "c<img src=x onerror=alert(1)>[b]**x**.mp4"
"""The name of a video that a page may render as an image."""


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def service(folder: Path, name: str, *arguments: str) -> Iterator[None]:
    """One of Dagster's services, ended with all that it starts."""
    log = folder / f"{name}.log"
    process = start([BIN / name, *arguments], folder, log)
    try:
        yield
    finally:
        end(process)
        LOG.warning("%s:\n%s", name, log.read_text()[-5000:])


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


@pytest.fixture
def url(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A webserver and a daemon over an instance in which nothing ever happened."""
    folder = other_project(tmp_path / "project", DEFS)
    (folder / "workspace.yaml").write_text(WORKSPACE)
    (folder / "dagster.yaml").write_text(f"{SETTINGS}\nnux: {{enabled: false}}\n")
    monkeypatch.setenv("OTHER_VIDEOS", str(videos))
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path.cwd())]))
    number = port()
    address = f"http://127.0.0.1:{number}"
    with ExitStack() as stack:
        web = ("-h", "127.0.0.1", "-p", str(number), "-w", "workspace.yaml")
        stack.enter_context(service(folder, "dagster-webserver", *web))
        wait_for(
            lambda: "video_batches" in sensors(address),
            name="the sensors",
            progress=lambda: (sensors(address), bytes_in(folder / "dagster-webserver.log")()),
            pause_s=1,
        )
        # after it, since two that make the tables of an empty instance at once can fail
        stack.enter_context(service(folder, "dagster-daemon", "run", "-w", "workspace.yaml"))
        yield address


def sensors(address: str) -> str:
    """What the webserver says of the sensors that it has loaded, or why it has none."""
    query = """{repositoriesOrError {
        ... on RepositoryConnection {nodes {sensors {name}}}
        ... on PythonError {message}
    }}"""
    request = urllib.request.Request(
        f"{address}/graphql",
        json.dumps({"query": query}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return str(answer.read().decode())
    except OSError as error:
        return str(error)


@pytest.fixture
def page(url: str) -> Iterator[Page]:
    """A browser's page at the webserver."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415
    except ImportError:
        pytest.skip("there is no playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=WITHOUT_NETWORK)
        page = browser.new_page(base_url=url, viewport={"width": 1500, "height": 950})
        page.set_default_timeout(1000 * PATIENCE_S)
        try:
            yield page
        finally:
            page.screenshot(path=SHOTS / "last.png")
            LOG.warning("The page at last, %s:\n%s", page.url, page.inner_text("body"))
            browser.close()


@pytest.mark.live
def test_a_person_at_the_ui(page: Page, videos: Path) -> None:
    """One story from an empty instance on: each step finds what the one before left."""
    drop_videos(page, videos)
    look_at_the_contact_sheet(page)
    look_at_a_name_that_is_markup(page)
    choose_a_backend_that_is_not_there(page)
    run_again_what_failed(page)
    backfill_two_partitions(page)


@pytest.mark.live
def test_names_that_are_markup(page: Page) -> None:
    """Names stay text in tables, and in the Markdown of metadata without a contact sheet."""
    texts = list(PAYLOADS)
    metadata = {
        "markdown": dg.MetadataValue.md(
            "\n\n".join(f"- {as_markdown_text(text)}" for text in texts)
        ),
        "table": records([{"name": text} for text in texts], ["name"]),
    }
    with dg.DagsterInstance.get() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("names", metadata=metadata))
    with nothing_run(page):
        page.goto("/assets/names?view=events")
        page.get_by_text("Show Markdown").first.click()
        dialog = page.locator("[role=dialog]").last
        dialog.get_by_text("onerror").first.wait_for()
        shot(page, "2-names-in-markdown")
        told = dialog.inner_text().replace("\u2060", "")
        for text in texts:
            assert " ".join(fit_to_show(text).split()) in " ".join(told.split()), text
        made = "a, em, strong, del, code, img, h1, input, blockquote, script, table"
        assert dialog.locator(f":is({made})").count() == 0
        page.keyboard.press("Escape")
        page.get_by_text("onerror").first.wait_for()
        for text in filter(str.isprintable, PAYLOADS):
            assert page.get_by_text(text, exact=True).count(), text
        shot(page, "2-names-in-a-table")


def drop_videos(page: Page, videos: Path) -> None:
    """The sensor is turned on, videos are dropped into the folder, and become batches."""
    open_until(
        page,
        "/locations/other/sensors/video_batches",
        switch := page.locator("label:has(input[type=checkbox])").first,
    )
    switch.click()
    for number, name in enumerate(("a.mp4", "b.mp4", MARKUP)):
        make_video(videos / name, frames=50, options=X264, first=100 * number)
    page.goto(FRAMES)
    see(page, "Materialized (3)")
    shot(page, "1-batches")


def look_at_the_contact_sheet(page: Page) -> None:
    """It is in the metadata, and shows pixels."""
    choose(page, "batch-000001")
    page.get_by_text("Show Markdown").first.click()
    sheet = page.locator("[role=dialog] img").first
    sheet.wait_for()
    shot(page, "2-contact-sheet")
    width, height = sheet.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width > 200
    assert height > 40
    page.keyboard.press("Escape")


def look_at_a_name_that_is_markup(page: Page) -> None:
    """The table shows the name verbatim; it becomes no image, and no script runs."""
    with nothing_run(page):
        for asset in ("clip_frames/points", "videos", "clips"):
            page.goto(f"/assets/{asset}?view=partitions")
            choose(page, "batch-000003")
            page.get_by_text(MARKUP).first.wait_for()
            shot(page, f"2-name-in-{asset.replace('/', '-')}")


@contextmanager
def nothing_run(page: Page) -> Iterator[None]:
    """Fail if the page opened a dialog or rendered an image from a name."""
    told: list[str] = []

    def tell(dialog: Dialog) -> None:
        told.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", tell)
    yield
    page.remove_listener("dialog", tell)
    assert told == []
    assert page.locator("img[src='x']").count() == 0


def choose_a_backend_that_is_not_there(page: Page) -> None:
    """The run fails at once, and says what to do."""
    page.goto(FRAMES)
    choose(page, "batch-000001")
    dialog = materialize(page)
    dialog.get_by_text("1 partition", exact=True).wait_for()
    configure(page, dialog, "resources: {decoder: {config: {backend: {nvdec: {gpu: 7}}}}}")
    shot(page, "3-launchpad")
    launch(dialog)
    page.goto(FRAMES)
    see(page, "Failed (1)")
    choose(page, "batch-000001")
    shot(page, "4-failed-partition")
    page.goto("/runs")
    page.get_by_text("Failure").first.wait_for()
    page.locator("a[href^='/runs/']:not([href*='?'])").first.click()
    page.get_by_text("finds no GPU 7 that decodes video").first.wait_for()
    shot(page, "5-why-it-failed")


def run_again_what_failed(page: Page) -> None:
    """The failed partition, and no other."""
    page.goto(FRAMES)
    see(page, "Failed (1)")
    dialog = materialize(page)
    dialog.get_by_role("button", name="Failed", exact=True).click()
    dialog.get_by_text("1 partition", exact=True).wait_for()
    shot(page, "6-failed-only")
    launch(dialog)
    page.goto(FRAMES)
    see(page, "Failed (0)")
    see(page, "Materialized (3)")


def backfill_two_partitions(page: Page) -> None:
    """It is seen to complete."""
    dialog = materialize(page)
    dialog.get_by_role("button", name="Custom", exact=True).click()
    dialog.locator("[data-tooltip='batch-000001']").get_by_label("close").click()
    dialog.get_by_text("2 partitions", exact=True).wait_for()
    shot(page, "7-two-partitions")
    launch(dialog)
    page.goto("/runs")
    backfill = re.compile(r"2 partitions.*?Manually launched\s*Success.*?\d+ checks", re.DOTALL)
    until(page, lambda: backfill.search(page.inner_text("body")), "a complete backfill")
    shot(page, "8-backfill")


def until(page: Page, happened: Callable[[], object], name: str) -> None:
    """Wait as long as runs write events."""
    with dg.DagsterInstance.get() as instance:
        wait_for(
            happened,
            name=name,
            progress=lambda: events_of(instance),
            pause_s=1,
            rest=lambda seconds: page.wait_for_timeout(1000 * seconds),
        )


def see(page: Page, text: str) -> None:
    """Wait until runs have brought a text onto the page."""
    until(page, page.get_by_text(text).first.is_visible, f"{text!r}")


def open_until(page: Page, path: str, there: Locator) -> None:
    """Open a page, and anew every minute until it shows something: its scripts come one by one."""
    from playwright.sync_api import TimeoutError as TimedOut  # noqa: PLC0415

    def is_there() -> bool:
        page.goto(path)
        try:
            there.wait_for(timeout=60_000)
        except TimedOut:
            shot(page, "not-there")
            return False
        return True

    wait_for(is_there, name=f"{there} at {path}")


def shot(page: Page, name: str) -> None:
    page.screenshot(path=SHOTS / f"{name}.png")


def choose(page: Page, batch: str) -> None:
    """Look at a partition."""
    page.get_by_text(batch, exact=True).first.click()
    page.get_by_text("No partition selected").wait_for(state="hidden")
    page.get_by_text("View all historical events").wait_for()


def materialize(page: Page) -> Locator:
    """Open the dialog that launches runs."""
    page.get_by_role("button", name="Materialize").first.click()
    dialog = page.locator("[role=dialog]").last
    dialog.get_by_text("Partition selection").wait_for()
    return dialog


def launch(dialog: Locator) -> None:
    """Press the button, and wait until the webserver has taken the order."""
    dialog.get_by_role("button", name="Launch").click()
    dialog.wait_for(state="detached")


def configure(page: Page, dialog: Locator, config: str) -> None:
    """Type a run's configuration into the launchpad's editor."""
    dialog.get_by_text("Config", exact=True).click()
    dialog.get_by_role("button", name="Add config").click()
    page.locator(".cm-s-config-editor").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(config)
    page.get_by_text("No errors").wait_for()
    page.get_by_role("button", name="Save config").click()
    page.locator(".cm-s-config-editor").wait_for(state="detached")
