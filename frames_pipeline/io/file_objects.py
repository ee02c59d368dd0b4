"""Read a caller's file object, with typed errors.

A short read is fine. Any other fault is a typed error: `ConfigError` while the object is checked,
since the caller can fix it, and `SourceError` with the cause after that.
"""

from __future__ import annotations

import io
import os
from typing import Any, BinaryIO, Final, NoReturn, cast

from frames_pipeline.errors import ConfigError, FramesPipelineError, SourceError

_UNUSABLE: Final = (AttributeError, NotImplementedError, TypeError, ValueError)
"""Errors of the caller's object if it is unusable, as opposed to a failed read.

`ValueError`: it is closed, or cannot seek (`io.UnsupportedOperation` is a `ValueError`).
`AttributeError`: it has no such method. `NotImplementedError`: the method is a stub of its base
class. `TypeError`: the method takes other arguments.
"""


class CallersFile:
    """A binary file object without its name. It remembers its first fault."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        """Check that the file can be read and can seek.

        Raises:
            ConfigError: The file is closed, is open as text, or cannot seek or be read.
            SourceError: Reading it failed.
        """
        self._file = file
        self._name = name
        self._started = False
        self.fault: FramesPipelineError | None = None
        """The first fault; `None` until then."""
        if isinstance(cast(object, file), io.TextIOBase):
            self._fail("it was opened as text; open it with mode 'rb'")
        self.size = self.seek(0, os.SEEK_END)
        """Bytes of the file."""
        self.seek(0)
        self.read(1)
        self.seek(0)
        self._started = True

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; return none at the end of the file."""
        try:
            data: object = self._file.read(size)
        except Exception as error:
            self._fail(f"reading it failed: {type(error).__name__}: {error}", error)
        if not isinstance(data, bytes | bytearray | memoryview):
            self._fail(f"its read() gave {type(data).__name__}, not bytes; open it with mode 'rb'")
        if len(data) > size:
            self._fail(f"its read() gave {len(data)} bytes for a request of {size}")
        return bytes(data)

    def read_fully(self, size: int) -> bytes:
        """Read `size` bytes, fewer only at the end of the file."""
        parts = [self.read(size)]
        left = size - len(parts[0])
        while left and parts[-1]:
            parts.append(self.read(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset, and return the position from the start."""
        try:
            place: Any = self._file.seek(offset, whence)
            return int(self._file.tell() if place is None else place)
        except Exception as error:
            self._fail(f"seeking failed: {type(error).__name__}: {error}", error)

    def tell(self) -> int:
        """Return the position from the start."""
        try:
            return int(self._file.tell())
        except Exception as error:
            self._fail(f"tell() failed: {type(error).__name__}: {error}", error)

    def _fail(self, problem: str, cause: Exception | None = None) -> NoReturn:
        is_misuse = not self._started and (cause is None or isinstance(cause, _UNUSABLE))
        if is_misuse:
            message = f"cannot read a video from {self._name}: {problem}"
            advice = "give an open, seekable, binary file, or the bytes"
            fault: FramesPipelineError = ConfigError(f"{message}; {advice}")
        else:
            fault = SourceError(f"{self._name}: {problem}")
        self.fault = self.fault or fault
        raise fault from cause
