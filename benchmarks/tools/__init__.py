"""The tools to compare, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.tools.base import Request, Tool, request
from benchmarks.tools.decord import Decord
from benchmarks.tools.engine import Engine
from benchmarks.tools.floor import Bare, OnePass
from benchmarks.tools.opencv import OpenCv
from benchmarks.tools.pyav import PlainPyav
from benchmarks.tools.torchcodec import TorchCodec

__all__ = ["TOOLS", "Request", "Tool", "request"]

TOOLS: Final[dict[str, Callable[[], Tool]]] = {
    "frames-pipeline": Engine,
    "bare": Bare,
    "one pass": OnePass,
    "torchcodec": lambda: TorchCodec("approximate"),
    "torchcodec exact": lambda: TorchCodec("exact"),
    "decord": Decord,
    "OpenCV": OpenCv,
    "PyAV": PlainPyav,
}
"""Every tool, by its name in the tables."""
