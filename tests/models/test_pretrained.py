"""Models that are pinned: which they are, where they come from, and what happens when not."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from frames_pipeline.errors import ConfigError, TransientError
from frames_pipeline.models.pretrained import Pretrained, device_of, import_models
from tests.libraries import need
from tests.models.hub_server import Hub, running_hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG = json.dumps({"model_type": "bert", "hidden_size": 24, "num_attention_heads": 2}).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of a model, as far as its identity goes."""
    path = tmp_path / "tiny"
    (path / "chat").mkdir(parents=True)
    (path / "config.json").write_bytes(CONFIG)
    (path / "model.safetensors").write_bytes(bytes(1000))
    (path / "chat" / "template.jinja").write_text("{{ messages }}")
    return path


@pytest.fixture
def config_loader() -> Any:
    need("transformers", "torch")
    return import_models("transformers").AutoConfig


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the hub's client, which reads the environment at import, ask there, and not wait."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    hasty = SimpleNamespace(sleep=lambda _: None, time=time.time)
    monkeypatch.setattr("huggingface_hub.utils._http.time", hasty)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty cache, and a hub on the loopback to fill it from."""
    need("transformers", "torch")
    constants = importlib.import_module("huggingface_hub.constants")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with running_hub() as hub:
        point_at(hub.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield hub


def test_a_model_of_the_hub_is_known_by_its_commit() -> None:
    pinned = Pretrained("owner/tiny-vl", COMMIT)
    assert pinned.identity() == {"model": "owner/tiny-vl", "model_revision": COMMIT}


@pytest.mark.parametrize(
    ("model", "revision", "complaint"),
    [
        (
            "owner/tiny-vl",
            None,
            "no folder 'owner/tiny-vl'; for a model of the hub, pin its commit",
        ),
        (
            "owner/tiny-vl",
            "main",
            "revision 'main' of 'owner/tiny-vl' is not a commit: .* may move",
        ),
        ("owner/tiny-vl", COMMIT[:7], "is not a commit"),
        ("owner/tiny-vl", COMMIT.upper(), "is not a commit"),
        (
            "/models/tiny",
            COMMIT,
            "'/models/tiny' is not an id on the hub.* a folder takes no revision",
        ),
        ("https://hub/owner/tiny", COMMIT, "is not an id on the hub"),
        ("../tiny", COMMIT, "is not an id on the hub"),
        ("", COMMIT, "'' is not an id on the hub"),
    ],
)
def test_what_may_be_other_weights_tomorrow_is_refused(
    model: str, revision: str | None, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Pretrained(model, revision)


def test_a_folder_is_known_by_its_bytes(folder: Path, tmp_path: Path) -> None:
    """Wherever it is; whether a copy or the original; whatever its read-me says."""
    identity = Pretrained(str(folder)).identity()
    assert identity["model"] == "tiny"
    assert len(identity["model_sha256"]) == 64
    shutil.copytree(folder, tmp_path / "elsewhere" / "tiny")
    (tmp_path / "elsewhere" / "tiny" / "README.md").write_text("# Tiny")
    (tmp_path / "elsewhere" / "tiny" / ".git").mkdir()
    (tmp_path / "elsewhere" / "tiny" / ".git" / "HEAD").write_text("main")
    assert Pretrained(str(tmp_path / "elsewhere" / "tiny")).identity() == identity


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "chat/template.jinja"])
def test_a_byte_that_changes_makes_another_model(folder: Path, name: str) -> None:
    """Even where size and time of the file are as they were."""
    model = Pretrained(str(folder))
    before, state = model.identity(), (folder / name).stat()
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    os.utime(folder / name, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert model.identity() != before
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    assert model.identity() == before


def test_a_file_under_another_name_makes_another_model(folder: Path) -> None:
    before = Pretrained(str(folder)).identity()
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert Pretrained(str(folder)).identity() != before


def test_a_folder_that_has_nothing_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no model in .*: it has no files"):
        Pretrained(str(tmp_path)).identity()
    (tmp_path / "gone").mkdir()
    gone = Pretrained(str(tmp_path / "gone"))
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match=r"there is no model in .*gone"):
        gone.identity()


def test_a_folder_is_loaded(folder: Path, config_loader: Any) -> None:
    assert Pretrained(str(folder)).load(config_loader).hidden_size == 24


def test_a_folder_that_is_damaged_is_named(folder: Path, config_loader: Any) -> None:
    (folder / "config.json").write_bytes(b"{")
    with pytest.raises(ConfigError, match=r"cannot load .*tiny: OSError: .*config\.json"):
        Pretrained(str(folder)).load(config_loader)


def test_code_that_comes_with_a_model_is_not_run(folder: Path, config_loader: Any) -> None:
    config = {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ConfigError, match=r"tiny comes with its own code, which is not run"):
        Pretrained(str(folder)).load(config_loader)


def test_the_pinned_commit_is_downloaded_once(hub: Hub, config_loader: Any) -> None:
    hub.files = {f"owner/tiny-vl/resolve/{COMMIT}/config.json": CONFIG}
    model = Pretrained("owner/tiny-vl", COMMIT)
    assert model.load(config_loader).hidden_size == 24
    asked = len(hub.asked)
    assert model.load(config_loader).hidden_size == 24
    assert asked
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, "RepoNotFound"), (403, "GatedRepo"), (404, "RepoNotFound"), (404, "RevisionNotFound")],
)
def test_what_the_hub_will_not_give_is_for_whoever_configured_it(
    hub: Hub, config_loader: Any, status: int, code: str
) -> None:
    hub.status, hub.error_code = status, code
    with pytest.raises(
        ConfigError, match=f"the hub answered {status} to owner/tiny-vl at {COMMIT}"
    ):
        Pretrained("owner/tiny-vl", COMMIT).load(config_loader)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_may_answer_later(hub: Hub, config_loader: Any, status: int) -> None:
    hub.status = status
    with pytest.raises(TransientError, match="hub"):
        Pretrained("owner/tiny-vl", COMMIT).load(config_loader)


def test_a_hub_that_is_not_there_may_come_back(
    hub: Hub, config_loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(TransientError, match=f"cannot reach the hub for owner/tiny-vl at {COMMIT}"):
        Pretrained("owner/tiny-vl", COMMIT).load(config_loader)
    assert hub.asked == []


def test_offline_the_error_says_how_to_get_the_files(
    hub: Hub, config_loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=f"run `hf download owner/tiny-vl --revision {COMMIT}`"):
        Pretrained("owner/tiny-vl", COMMIT).load(config_loader)
    assert hub.asked == []


def test_a_folder_is_not_taken_for_a_model_of_the_hub(
    hub: Hub, config_loader: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As transformers would, whatever commit is pinned."""
    (tmp_path / "owner" / "tiny-vl").mkdir(parents=True)
    (tmp_path / "owner" / "tiny-vl" / "config.json").write_bytes(CONFIG)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the folder 'owner/tiny-vl' here would be loaded"):
        Pretrained("owner/tiny-vl", COMMIT).load(config_loader)
    assert hub.asked == []


def test_where_a_model_runs() -> None:
    need("torch")
    has_gpu = import_models("torch").cuda.is_available()
    assert device_of("auto") == ("cuda" if has_gpu else "cpu")
    assert device_of("cpu") == "cpu"
    if not has_gpu:
        with pytest.raises(ConfigError, match="torch sees no GPU; choose cpu or auto"):
            device_of("cuda")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"pip install 'frames-pipeline\[models\]'"):
        import_models("transformers")
