"""Models of the Hugging Face hub, pinned by commit, or of a folder, identified by its bytes.

Code that comes with a model is never run. torch and transformers belong to the extra `models` and
are imported when a model is loaded.
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
"""Device of a model; `auto` is a GPU if torch finds one."""

Precision = Literal["float32", "bfloat16", "float16"]
"""Precision of a model's weights."""

T_co = TypeVar("T_co", covariant=True)


class Loader(Protocol[T_co]):
    """A class of transformers, such as `AutoProcessor`."""

    def from_pretrained(self, model: str, /, **options: object) -> T_co:
        """Return the object described by a model's files."""
        ...


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A model at one commit of a hub, or in a folder. Construction reads no file."""

    model: str
    """Id on the hub, such as `HuggingFaceTB/SmolVLM-256M-Instruct`, or the path of a folder."""
    revision: str | None = None
    """Commit on the hub, 40 hex digits; `None` for a folder."""

    def __post_init__(self) -> None:
        """Check that model and revision identify exact weights."""
        if self.revision is None:
            if not self._folder.is_dir():
                message = f"no folder {self.model!r}; for a model of the hub, pin its commit (40 "
                message += "hex digits, which its page lists under Files, History)"
                raise ConfigError(message)
        elif not _COMMIT.fullmatch(self.revision):
            message = (
                f"revision {self.revision!r} of {self.model!r} is not a commit: a branch or tag "
            )
            raise ConfigError(message + "may move; pin its present commit (40 hex digits)")
        elif not _HUB_ID.fullmatch(self.model):
            message = f"{self.model!r} is not an id on the hub such as 'owner/name'; a folder "
            raise ConfigError(message + "takes no revision: its bytes identify it")

    def identity(self) -> dict[str, str]:
        """Return its identity, as entries for a provider's `parameters()`.

        A folder is read once while its files stay the same, and may be moved. Documentation
        (`*.md`) and hidden files are ignored.

        Raises:
            ConfigError: The folder is gone or empty, or cannot be read.
        """
        if self.revision is not None:
            return {"model": self.model, "model_revision": self.revision}
        return {"model": self._folder.resolve().name, "model_sha256": _folder_digest(self._folder)}

    def load(self, loader: Loader[T_co], **options: object) -> T_co:
        """Load it with a class of transformers, downloading the files if they are not in the cache.

        Args:
            loader: A class of transformers.
            options: For its `from_pretrained`.

        Raises:
            ConfigError: The model does not exist or is unsuitable for this loader, or
                `HF_HUB_OFFLINE` is set and the files are not in the cache.
            TransientError: The hub did not answer.
        """
        if self.revision is None:
            where = str(self._folder)
        elif self._folder.is_dir():
            message = f"the folder {self.model!r} here would be loaded instead of the model "
            raise ConfigError(
                message + "of the hub; run this in another directory, or omit the revision"
            )
        else:
            where, options = self.model, {**options, "revision": self.revision}
        try:
            return loader.from_pretrained(where, trust_remote_code=False, **options)
        except Exception as error:  # raised by transformers, the hub, httpx, safetensors or torch
            raise self._explained(error) from error

    def load_weights(self, loader: Loader[tuple[Any, Mapping[str, Any]]], **options: object) -> Any:  # noqa: ANN401
        """Load a model and check that all of its weights come from the files.

        Args:
            loader: A model class of transformers, which by itself would initialise missing weights
                at random.
            options: For its `from_pretrained`.

        Raises:
            ConfigError: As for `load`, or weights are missing.
            TransientError: The hub did not answer.
        """
        model, found = self.load(loader, output_loading_info=True, **options)
        if lacking := sorted(found["missing_keys"]):
            message = f"{self.model} has no weights for {', '.join(lacking[:3])}"
            raise ConfigError(
                f"{message}{' and more' * (len(lacking) > 3)}; check that all files are there"
            )
        return model

    @property
    def _folder(self) -> Path:
        return Path(self.model).expanduser()

    def _explained(self, error: Exception) -> FramesPipelineError:
        """Return the error for a failed load."""
        constants = importlib.import_module("huggingface_hub.constants")
        errors = importlib.import_module("huggingface_hub.errors")
        named = self.model if self.revision is None else f"{self.model} at {self.revision}"
        text = f"{type(error).__name__}: {str(error)[:_EXCERPT]}"
        for cause in _causes(error):
            offline = isinstance(cause, errors.OfflineModeIsEnabled)
            missing = isinstance(cause, errors.LocalEntryNotFoundError)
            if offline or (missing and constants.HF_HUB_OFFLINE):
                message = f"{named} is not in the cache, and HF_HUB_OFFLINE is set: run `hf "
                message += f"download {self.model} --revision {self.revision}` where there is a "
                return ConfigError(f"{message}network, or name a folder that has its files")
            status = getattr(getattr(cause, "response", None), "status_code", None)
            if status in _BUSY or (status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return TransientError(f"the hub answered {status} to {named}: {text}")
            if status is not None:
                message = f"the hub answered {status} to {named}; check id and commit, "
                return ConfigError(f"{message}and the access of HF_TOKEN: {text}")
            # httpx's errors, from either httpx that the hub's client may use
            if isinstance(cause, errors.HTTPError | ConnectionError | TimeoutError) or missing:
                return TransientError(f"cannot reach the hub for {named}: {text}")
        if "trust_remote_code" in str(error):
            message = f"{named} comes with its own code, which is not run; choose a model that "
            return ConfigError(message + "transformers has a class for")
        return ConfigError(f"cannot load {named}: {text}")


def device_of(device: Device) -> Literal["cpu", "cuda"]:
    """Return the device to use for a requested one.

    Raises:
        ConfigError: torch is not installed, or `cuda` is requested and torch sees no GPU.
    """
    has_gpu = import_models("torch").cuda.is_available()
    if device == "cuda" and not has_gpu:
        message = "device 'cuda' is requested, and torch sees no GPU; choose cpu or auto"
        raise ConfigError(message)
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def device_name(device: Literal["cpu", "cuda"]) -> str:
    """Return the name of a device: `cpu`, or the GPU's own name."""
    return "cpu" if device == "cpu" else str(import_models("torch").cuda.get_device_name())


def check_precision(dtype: Precision, device: Device) -> None:
    """Check that a device computes in a precision natively.

    Raises:
        ConfigError: `float16` on the CPU.
    """
    if dtype == "float16" and device == "cpu":
        message = "dtype 'float16' is for GPUs, and this runs on the CPU; choose float32 or "
        raise ConfigError(message + "bfloat16")


def import_models(name: Literal["torch", "transformers"]) -> ModuleType:
    """Import a library of the extra `models`.

    Raises:
        ConfigError: The library is not installed.
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
"""Maximum characters of a library's message in an error."""
_BLOCK: Final = 1 << 20


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its chain of causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the names and bytes of a folder's files."""
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
        message = f"cannot read the model in {folder}: {error}; check path and permissions"
        raise ConfigError(message) from error
    if not seen:
        message = f"there is no model in {folder}: it has no files; name the model's folder"
        raise ConfigError(message)
    return sha.hexdigest()


@lru_cache(maxsize=1024)
def _file_digest(path: Path, *_state: int) -> str:
    """Return the SHA-256 of a file, read again when its size or times change."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            sha.update(block)
    return sha.hexdigest()
