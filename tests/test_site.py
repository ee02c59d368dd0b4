"""The documentation site: it builds strictly and offline, links hold, nothing is left out."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import click
import pytest

import frames_pipeline
import frames_pipeline.pipeline
import frames_pipeline.store
from frames_pipeline.cli import main
from tests.libraries import need
from tests.settings import CONFIGURED, settings

REPOSITORY = Path(__file__).parents[1]
BUILD = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
GUARD = """
import socket

def refuse(*args, **kwargs):
    raise OSError("the network is off limits while the site is built")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""
"""A `sitecustomize` module: Python runs it first."""


@dataclass
class Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    path: str
    """Below the site's folder."""
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    """Targets of `href` and `src`."""
    fetched: list[str] = field(default_factory=list)
    """Those that a browser fetches to show the page: scripts, styles, pictures, fonts."""
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found and tag != "meta"}
        targets = [found[name] for name in ("href", "src") if name in found]
        self.links += targets
        if tag not in ("a", "area") and found.get("rel") not in ("next", "prev", "canonical"):
            self.fetched += targets

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@dataclass(frozen=True)
class Site:
    """A built site."""

    folder: Path
    pages: dict[str, Page]

    @classmethod
    def read(cls, folder: Path) -> Site:
        pages = {}
        for path in sorted(folder.rglob("*.html")):
            page = Page(path.relative_to(folder).as_posix())
            page.feed(path.read_text())
            pages[page.path] = page
        return cls(folder, pages)

    def dead_links(self) -> Iterator[str]:
        """Internal links whose file or anchor is not there."""
        for page in self.pages.values():
            for link in page.links:
                target = urlsplit(urljoin(f"https://here/{page.path}", link))
                if target.netloc == "here" and not self.has(target.path, target.fragment):
                    yield f"{page.path}: {link}"

    def has(self, path: str, anchor: str) -> bool:
        """Whether a file is there and, in a page, the anchor."""
        name = unquote(path).lstrip("/")
        if name.endswith("/") or not name:
            name += "index.html"
        is_there = (self.folder / name).is_file()
        return is_there and (not anchor or unquote(anchor) in self.pages[name].anchors)


def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of this process, for one that cannot reach the network."""
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    return os.environ | {"PYTHONPATH": f"{tmp_path}:{REPOSITORY}", "NO_MKDOCS_2_WARNING": "1"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site as `make docs` builds it, without network."""
    need("mkdocs", "material", "mkdocstrings")
    guard, folder = tmp_path_factory.mktemp("guard"), tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [*BUILD, "--site-dir", folder],
        cwd=REPOSITORY,
        env=environment(guard),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Site.read(folder)


def test_the_guard_keeps_a_process_off_the_network(tmp_path: Path) -> None:
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the network is off limits" in done.stderr


def test_links_lead_somewhere(site: Site) -> None:
    assert list(site.dead_links()) == []
    assert sum(len(page.links) for page in site.pages.values()) > 1000


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<a href="sub/#there">x</a><a href="sub/#gone">x</a>')
    (tmp_path / "sub" / "index.html").write_text('<i id="there"></i><img src="../gone.png">')
    found = list(Site.read(tmp_path).dead_links())
    assert found == ["index.html: sub/#gone", "sub/index.html: ../gone.png"]


def test_nothing_is_fetched_from_elsewhere(site: Site) -> None:
    for page in site.pages.values():
        assert [link for link in page.fetched if urlsplit(link).netloc] == [], page.path
    for style in site.folder.rglob("*.css"):
        assert "url(http" not in style.read_text(), style.name
        assert "url(//" not in style.read_text(), style.name


def test_the_site_can_be_searched(site: Site) -> None:
    index = (site.folder / "search" / "search_index.json").read_text()
    assert "FrameExtractionSignature" in index
    assert "max_failed_share" in index


def test_every_public_name_is_in_the_reference(site: Site) -> None:
    pages = [page for path, page in site.pages.items() if path.startswith("reference/python/")]
    anchors = {anchor.rpartition(".")[2] for page in pages for anchor in page.anchors}
    for documented in (frames_pipeline, frames_pipeline.pipeline, frames_pipeline.store):
        names = {name for name in documented.__all__ if not name.isupper()}
        assert names - anchors == set(), documented.__name__


@pytest.mark.parametrize("kind", CONFIGURED)
def test_every_setting_is_in_the_reference(site: Site, kind: type) -> None:
    """The table on the page about configuration has a row for each."""
    words = set(site.pages["reference/configuration/index.html"].text)
    assert set(settings(kind)) - words == set()


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below one that is not hidden, with the words that call it."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            if not below.hidden:
                yield f"{path} {name}", below
                yield from commands(below, f"{path} {name}")


@pytest.mark.parametrize(("path", "command"), list(commands(main, "frames-pipeline")))
def test_every_command_is_in_the_reference(site: Site, path: str, command: click.Command) -> None:
    page = site.pages["reference/cli/index.html"]
    assert path.replace(" ", "-") in page.anchors
    options = {name for option in command.params for name in option.opts if name.startswith("-")}
    assert options - set(page.text) == set()


def test_doctests_become_code() -> None:
    need("markdown")
    fence_doctests = importlib.import_module("tools.docs_reference").fence_doctests
    lines = ["Sum:", ">>> 1 + 1", "2", "", "```", ">>> 3", "```"]
    fenced = ["Sum:", "", "```pycon", ">>> 1 + 1", "2", "```", "", "```", ">>> 3", "```", ""]
    assert list(fence_doctests(lines)) == fenced


def test_settings_and_options_have_a_meaning() -> None:
    """Nothing is in the generated tables without words."""
    need("markdown")
    generator = importlib.import_module("tools.docs_reference")
    silent = [
        f"{kind.__name__}.{setting.name}"
        for kind in CONFIGURED
        for setting in generator.settings_of(kind)
        if not setting.meaning and setting.name != "kind"
    ]
    silent += [
        f"{path} {option.opts[0]}"
        for path, command in commands(main, "frames-pipeline")
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert silent == []
