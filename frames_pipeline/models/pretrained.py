"""Models as the Hugging Face hub has them: pinned by commit, or in a folder, known by its bytes.

Nothing here runs code that comes with a model. torch and transformers come with the extra `models`
and are imported when a model is loaded.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal, Protocol, TypeVar

from frames_pipeline.errors import ConfigError, FramesPipelineError, TransientError

Device = Literal["auto", "cpu", "cuda"]
"""Where a model runs; `auto` is a GPU where torch finds one."""

T_co = TypeVar("T_co", covariant=True)


class Loader(Protocol[T_co]):
    """A class of transformers, such as `AutoProcessor`."""

    def from_pretrained(self, model: str, /, **options: object) -> T_co:
        """What the files of a model describe."""
        ...


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model at one commit of a hub, or in a folder. Making one reads no file."""

    model: str
    """Its id on the hub, `HuggingFaceTB/SmolVLM-256M-Instruct`, or the path of a folder."""
    revision: str | None = None
    """The commit on the hub: 40 hex digits. A folder has none."""

    def __post_init__(self) -> None:
        """Refuse what does not say exactly which weights."""
        if self.revision is None:
            if not self._folder.is_dir():
                message = f"no folder {self.model!r}; for a model of the hub, pin its commit (40 "
                message += "hex digits, which its page lists under Files, History)"
                raise ConfigError(message)
        elif not _COMMIT.fullmatch(self.revision):
            message = f"revision {self.revision!r} of {self.model!r} is no commit: a branch or tag "
            raise ConfigError(message + "may move; pin the commit it is at (40 hex digits)")
        elif not _HUB_ID.fullmatch(self.model):
            message = f"{self.model!r} is no id of the hub, which look like 'owner/name'; a folder "
            raise ConfigError(message + "takes no revision: its bytes identify it")

    def identity(self) -> dict[str, str]:
        """What tells it from any other model, as entries for a provider's `parameters()`.

        A folder is read for that, once while its files stay the same, and may be moved. Texts for
        people (`*.md`) and hidden files do not count.

        Raises:
            ConfigError: The folder is gone or empty, or cannot be read.
        """
        if self.revision is not None:
            return {"model": self.model, "model_revision": self.revision}
        return {"model": self._folder.resolve().name, "model_sha256": _folder_digest(self._folder)}

    def load(self, loader: Loader[T_co], **options: object) -> T_co:
        """What `loader` makes of its files, which are downloaded unless they are in the cache.

        Args:
            loader: A class of transformers.
            options: For its `from_pretrained`.

        Raises:
            ConfigError: There is no such model, it is not for this loader, or `HF_HUB_OFFLINE`
                is set and the files are not in the cache.
            TransientError: The hub did not answer.
        """
        if self.revision is None:
            where = str(self._folder)
        elif self._folder.is_dir():
            message = f"there is a folder {self.model!r} here, which would be taken for the model "
            raise ConfigError(message + "of the hub; run this elsewhere, or leave out revision")
        else:
            where, options = self.model, {**options, "revision": self.revision}
        try:
            return loader.from_pretrained(where, trust_remote_code=False, **options)
        except Exception as error:  # of transformers, the hub, httpx, safetensors, torch
            raise self._explained(error) from error

    def load_weights(self, loader: Loader[tuple[Any, Mapping[str, Any]]], **options: object) -> Any:  # noqa: ANN401
        """The model whose weights they are, every one of them read from its files.

        Args:
            loader: A model's class of transformers, which left to itself makes up what is missing.
            options: For its `from_pretrained`.

        Raises:
            ConfigError: As for `load`; or weights are missing.
            TransientError: The hub did not answer.
        """
        model, found = self.load(loader, output_loading_info=True, **options)
        if lacking := sorted(found["missing_keys"]):
            message = f"{self.model} has no weights for {', '.join(lacking[:3])}"
            raise ConfigError(f"{message}{' and more' * (len(lacking) > 3)}; is it all there?")
        return model

    @property
    def _folder(self) -> Path:
        return Path(self.model).expanduser()

    def _explained(self, error: Exception) -> FramesPipelineError:
        """What a handler should make of it that a model does not load."""
        constants = importlib.import_module("huggingface_hub.constants")
        errors = importlib.import_module("huggingface_hub.errors")
        named = self.model if self.revision is None else f"{self.model} at {self.revision}"
        said = f"{type(error).__name__}: {str(error)[:_EXCERPT]}"
        for cause in _causes(error):
            offline = isinstance(cause, errors.OfflineModeIsEnabled)
            missing = isinstance(cause, errors.LocalEntryNotFoundError)
            if offline or (missing and constants.HF_HUB_OFFLINE):
                message = f"{named} is not in the cache, and HF_HUB_OFFLINE is set: run `hf "
                message += f"download {self.model} --revision {self.revision}` where there is a "
                return ConfigError(f"{message}network, or name a folder that has its files")
            status = getattr(getattr(cause, "response", None), "status_code", None)
            if status in _BUSY or (status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return TransientError(f"the hub answered {status} to {named}: {said}")
            if status is not None:
                message = f"the hub answered {status} to {named}; is it the right id and commit, "
                return ConfigError(f"{message}and may it be read with this HF_TOKEN? {said}")
            # What httpx raises, whichever httpx the hub's client is built on.
            if isinstance(cause, errors.HTTPError | ConnectionError | TimeoutError) or missing:
                return TransientError(f"cannot reach the hub for {named}: {said}")
        if "trust_remote_code" in str(error):
            message = f"{named} comes with code of its own, which is not run; choose a model that "
            return ConfigError(message + "transformers has a class for")
        return ConfigError(f"cannot load {named}: {said}")


def device_of(device: Device) -> Literal["cpu", "cuda"]:
    """Where a model runs, when this is asked for.

    Raises:
        ConfigError: torch is not installed, or sees no GPU and one is asked for.
    """
    has_gpu = import_models("torch").cuda.is_available()
    if device == "cuda" and not has_gpu:
        message = "device 'cuda' is asked for, and torch sees no GPU; choose cpu or auto"
        raise ConfigError(message)
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def import_models(name: Literal["torch", "transformers"]) -> ModuleType:
    """A library of the extra `models`.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f"local models need {name}: pip install 'frames-pipeline[models]' ({error})"
        raise ConfigError(message) from error


_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HUB_ID: Final = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)
_BUSY: Final = frozenset({408, 429})
_EXCERPT: Final = 400
"""Characters of a library's complaint that a message quotes."""
_BLOCK: Final = 1 << 20


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _folder_digest(folder: Path) -> str:
    """SHA-256 over the names and bytes of the files in a folder."""
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        named = [(path.relative_to(folder), path) for path in files if path.suffix != ".md"]
        seen = [pair for pair in named if not any(part.startswith(".") for part in pair[0].parts)]
        sha = hashlib.sha256()
        for name, path in seen:
            state = path.stat()
            digest = _file_digest(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
            sha.update(f"{name.as_posix()}\0{digest}\n".encode())
    except OSError as error:
        message = f"cannot read the model in {folder}: {error}"
        raise ConfigError(message) from error
    if not seen:
        message = f"there is no model in {folder}: it has no files"
        raise ConfigError(message)
    return sha.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(path: Path, *_state: int) -> str:
    """SHA-256 of a file, read again when its size or times are others."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()
