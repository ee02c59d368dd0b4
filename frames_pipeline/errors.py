"""The one family of errors raised on purpose, grouped by what a handler would do.

```
FramesPipelineError
├── ConfigError                  the request is wrong: change it; nothing was decoded
│   └── DecoderUnavailableError  the decoder asked for is not on this machine
├── SourceError                  these bytes cannot give it, now or later: record it, go on
│   ├── SourceNotFoundError      there is no such file or object
│   ├── SourceUnreadableError    it is there, and may not be read
│   ├── SourceChangedError       it was written while it was worked on
│   ├── UnsupportedSourceError   not a video, or not one that may be opened
│   ├── NoVideoStreamError       a media file without moving pictures
│   ├── NoFramesError            not a single frame of the clip decodes
│   ├── NoKeyFrameError          key frames are wanted, and the clip has none
│   ├── TooShortError            shorter than the shortest clip that is wanted
│   ├── SingleShotError          one shot, and only videos of several are wanted
│   ├── LimitExceededError       larger than the limits allow
│   ├── DecoderUnsupportedError  the decoder that was chosen lacks this codec or format
│   └── CaptionError             a model has nothing to say of it (in `models.captioning`)
├── WorkerError                  the process that did the work is gone: record it, go on
│   ├── WorkerCrashedError       it died
│   ├── WorkerMemoryError        it needed more memory than a worker may have
│   └── WorkerTimeoutError       it ran past its limit of time and was killed
├── InternalError                a bug of ours, which these bytes brought to light: record it, go on
├── TransientError               try again: network, throttling, an unreachable store
│   └── IncompleteTransferError  a source came short, or damaged, each time: record it, go on
└── StoreError                   the store cannot do its part: look at it
    ├── StoreAccessError         permission, a full disk, a missing bucket
    ├── CommitNotFoundError      nothing is committed under that name
    ├── IntegrityError           an object is missing, or is not the one committed
    └── ConflictError            the place is taken by something else
```

`ClipFault` is every error of one source alone: it becomes the outcome of its clips, and the others
go on. All others end the run.

Messages go to terminals, logs, tables and pages. They quote untrusted names, so every message is
made safe to show as it is raised: see `plain_text`.
"""

from __future__ import annotations

import errno
import traceback
from typing import ClassVar, Final

from frames_pipeline.text.plain import fit_to_show

_FRAMES: Final = 20
"""Calls that are kept of a traceback: the last ones."""
_MESSAGE_CHARACTERS: Final = 2000
"""Length to which messages of other libraries are cut."""
_MACHINE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Errors of the machine, not of the file that they name."""


class FramesPipelineError(Exception):
    """The base of every error raised on purpose. Its message may be shown as it is."""

    reason: ClassVar[str] = "error"
    """How an outcome table names this kind of failure."""

    def __init__(self, *args: object) -> None:
        """Take a message. Control characters are escaped, and secrets removed from its URLs."""
        super().__init__(*(fit_to_show(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(FramesPipelineError, ValueError):
    """The request is wrong. Raised before anything is decoded."""

    reason = "config"


class DecoderUnavailableError(ConfigError):
    """The decoder asked for cannot run on this machine."""

    reason = "decoder_unavailable"


class SourceError(FramesPipelineError):
    """The source cannot give what was asked, whatever is tried, while its bytes are the same."""

    reason = "source"


class SourceNotFoundError(SourceError):
    """There is no such file or object, or it is not a regular file."""

    reason = "not_found"


class SourceUnreadableError(SourceError):
    """The file is there, and may not be read: permissions, or a fault of the disk."""

    reason = "unreadable"


class SourceChangedError(SourceError):
    """The bytes differ from the observed ones: the file was written while it was worked on."""

    reason = "changed"


class UnsupportedSourceError(SourceError):
    """The bytes are not a video, or not one in a format and codec that may be opened."""

    reason = "unsupported"


class NoVideoStreamError(SourceError):
    """The media file has no moving pictures: audio alone, or a cover image."""

    reason = "no_video"


class NoFramesError(SourceError):
    """Not a single frame of the clip decodes, or no frame lies in its span."""

    reason = "no_frames"


class NoKeyFrameError(SourceError):
    """Key frames are wanted, and the clip has none: nothing is wrong with it."""

    reason = "no_key_frame"


class TooShortError(SourceError):
    """The video is shorter than the shortest clip that is wanted."""

    reason = "too_short"


class SingleShotError(SourceError):
    """No transition was found in the video, and only videos of several shots are wanted."""

    reason = "single_shot"


class LimitExceededError(SourceError):
    """The source, or what was asked of it, is larger than the limits allow."""

    reason = "too_large"


class DecoderUnsupportedError(SourceError):
    """The decoder that was chosen cannot decode this codec or pixel format; another may."""

    reason = "decoder_unsupported"


class WorkerError(FramesPipelineError):
    """The worker process that had the clip is gone."""

    reason = "worker"


class WorkerCrashedError(WorkerError):
    """The worker process died."""

    reason = "crashed"


class WorkerMemoryError(WorkerError):
    """The worker process needed more memory than it may have, and was replaced."""

    reason = "out_of_memory"


class WorkerTimeoutError(WorkerError):
    """The worker process ran past its limit of time, by the clock or of the CPU, and was killed."""

    reason = "timed_out"


class InternalError(FramesPipelineError):
    """An error of a type that is not raised on purpose: a bug of this library.

    It has the original's type, message and traceback as text, so it can always be pickled.
    """

    reason = "internal"
    raised_at: str = ""
    """Where the original was raised, by file, line and function."""

    @classmethod
    def of(cls, error: BaseException) -> InternalError:
        """Return the internal error that stands for another one."""
        try:
            text = " ".join("".join(traceback.format_exception_only(error)).split())
        except Exception:  # one that cannot even be printed
            text = type(error).__name__
        text = text[:_MESSAGE_CHARACTERS]
        made = cls(f"{text} (a bug: report it, with the traceback)")
        made.raised_at = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES)).rstrip()
        return made


class TransientError(FramesPipelineError):
    """A fault that may pass: network, throttling, an unreachable store."""

    reason = "transient"


class IncompleteTransferError(TransientError):
    """Other bytes of a source arrived than its store lists, each time that it was fetched."""

    reason = "incomplete"


class StoreError(FramesPipelineError):
    """The store cannot do its part."""

    reason = "store"


class StoreAccessError(StoreError):
    """The store may not be used, or cannot take more: permission, a full disk, no such bucket."""

    reason = "store_access"


class CommitNotFoundError(StoreError):
    """Nothing is committed under that name."""

    reason = "not_committed"


class IntegrityError(StoreError):
    """A committed object is missing, or is not the one that was committed."""

    reason = "integrity"


class ConflictError(StoreError):
    """The place is taken by something that is not the same."""

    reason = "conflict"


ClipFault = SourceError | WorkerError | InternalError | IncompleteTransferError
"""Errors of one source alone: an outcome of its clips. Every other error ends the run."""

RETRIED: Final = frozenset(
    error.reason
    for error in (
        SourceChangedError,
        SourceNotFoundError,
        SourceUnreadableError,
        IncompleteTransferError,
        DecoderUnsupportedError,
        InternalError,
    )
)
"""Reasons of outcomes that need not last as long as the bytes do: the next run tries again."""


def detail_of(error: FramesPipelineError) -> str:
    """The detail of an outcome: the message, and below it the traceback if there is one."""
    below = error.raised_at if isinstance(error, InternalError) else ""
    return f"{error}\n{below}" if below else str(error)


def typed(error: BaseException) -> FramesPipelineError:
    """The error of this family that stands for any error.

    A full disk or too many open files are the machine's fault, not the clip's.

    >>> typed(IndexError("list index out of range")).reason
    'internal'
    >>> typed(OSError(errno.ENOSPC, "No space left on device")).reason
    'store_access'
    """
    if isinstance(error, FramesPipelineError):
        return error
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return StoreAccessError(f"this machine cannot go on: {error}; make room, then run it again")
    return InternalError.of(error)
