"""Errors that the library raises on purpose, grouped by how a caller handles them.

```
FramesPipelineError
├── ConfigError                  the request is wrong: change it; nothing was decoded
│   ├── DecoderUnavailableError  the chosen decoder is not on this machine
│   └── CodecUnavailableError    a codec of stored frames is not on this machine: install it
├── SourceError                  these bytes cannot give the result: record it, go on
│   ├── SourceNotFoundError      there is no such file or object
│   ├── SourceUnreadableError    the file exists and cannot be read
│   ├── SourceChangedError       the file was written during the work on it
│   ├── UnsupportedSourceError   not a video, or in a format or codec that is not allowed
│   ├── NoVideoStreamError       a media file without moving pictures
│   ├── NoFramesError            not a single frame of the clip decodes
│   ├── NoKeyFrameError          the signature asks for key frames; the clip has none
│   ├── TooShortError            shorter than the minimum clip length
│   ├── SingleShotError          one shot, where only videos with several are kept
│   ├── LimitExceededError       larger than the limits allow
│   ├── DecoderUnsupportedError  the chosen decoder lacks this codec or pixel format
│   └── CaptionError             a model gave no caption for the clip (in `models.captioning`)
├── WorkerError                  the worker process is gone: record it, go on
│   ├── WorkerCrashedError       it died
│   ├── WorkerMemoryError        it went over its memory limit
│   └── WorkerTimeoutError       it ran past its time limit and was killed
├── InternalError                a bug of this library, met on these bytes: record it, go on
├── TransientError               try again: network, throttling, an unreachable store
│   └── IncompleteTransferError  a source arrived short or damaged, at every try: record it, go on
└── StoreError                   the store needs attention
    ├── StoreAccessError         permission, a full disk, a missing bucket
    ├── CommitNotFoundError      no commit has that name
    ├── IntegrityError           an object is missing, or differs from the committed one
    └── ConflictError            another object has the place
```

`ClipFault` is the union of errors that concern one source alone. They become the outcome of its
clips, and the other clips go on. All other errors end the run.

Messages go to terminals, logs, tables and pages. They quote untrusted names, so every message is
made safe to show when it is raised: see `plain_text`.
"""

from __future__ import annotations

import errno
import traceback
from typing import ClassVar, Final

from frames_pipeline.text.plain import fit_to_show

_FRAMES: Final = 20
"""Number of innermost calls to keep of a traceback."""
_MESSAGE_CHARACTERS: Final = 2000
"""Maximum length of a message of another library; the rest is cut."""
_MACHINE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})
"""Errors of the machine rather than of the file that they name."""


class FramesPipelineError(Exception):
    """Base of every error that the library raises on purpose. Its message is safe to show."""

    reason: ClassVar[str] = "error"
    """Name of this kind of failure in outcome tables."""

    def __init__(self, *args: object) -> None:
        """Take a message. Control characters are escaped, and secrets removed from its URLs."""
        super().__init__(*(fit_to_show(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(FramesPipelineError, ValueError):
    """The request is wrong. Raised before anything is decoded."""

    reason = "config"


class DecoderUnavailableError(ConfigError):
    """The chosen decoder cannot run on this machine."""

    reason = "decoder_unavailable"


class CodecUnavailableError(ConfigError):
    """A codec of stored frames cannot run on this machine. The frames themselves are fine."""

    reason = "codec_unavailable"


class SourceError(FramesPipelineError):
    """The source cannot give the result.

    Another try fails too, as long as the bytes stay the same.
    """

    reason = "source"


class SourceNotFoundError(SourceError):
    """The file or object does not exist, or is not a regular file."""

    reason = "not_found"


class SourceUnreadableError(SourceError):
    """The file exists and cannot be read: missing permission, or a fault of the disk."""

    reason = "unreadable"


class SourceChangedError(SourceError):
    """The bytes differ from the observed ones: the file was written during the work on it."""

    reason = "changed"


class UnsupportedSourceError(SourceError):
    """The bytes are not a video, or its format or codec is not allowed."""

    reason = "unsupported"


class NoVideoStreamError(SourceError):
    """The media file has no moving pictures: audio alone, or a cover image."""

    reason = "no_video"


class NoFramesError(SourceError):
    """Not a single frame of the clip decodes, or no frame lies in its span."""

    reason = "no_frames"


class NoKeyFrameError(SourceError):
    """The signature asks for key frames and the clip has none. The clip itself is fine."""

    reason = "no_key_frame"


class TooShortError(SourceError):
    """The video is shorter than the minimum clip length."""

    reason = "too_short"


class SingleShotError(SourceError):
    """The video has a single shot, and only videos with several shots are kept."""

    reason = "single_shot"


class LimitExceededError(SourceError):
    """The source or the requested result is larger than the limits allow."""

    reason = "too_large"


class DecoderUnsupportedError(SourceError):
    """The chosen decoder cannot decode this codec or pixel format; another one may."""

    reason = "decoder_unsupported"


class WorkerError(FramesPipelineError):
    """The worker process that had the clip is gone."""

    reason = "worker"


class WorkerCrashedError(WorkerError):
    """The worker process died."""

    reason = "crashed"


class WorkerMemoryError(WorkerError):
    """The worker process went over its memory limit and was replaced."""

    reason = "out_of_memory"


class WorkerTimeoutError(WorkerError):
    """The worker process ran past its limit of wall-clock or CPU time and was killed."""

    reason = "timed_out"


class InternalError(FramesPipelineError):
    """An unexpected error: a bug of this library.

    Holds the original's type, message and traceback as text, so that it can always be pickled.
    """

    reason = "internal"
    raised_at: str = ""
    """Traceback of the original: file, line and function of each call."""

    @classmethod
    def of(cls, error: BaseException) -> InternalError:
        """Wrap another error in an internal error."""
        try:
            text = " ".join("".join(traceback.format_exception_only(error)).split())
        except Exception:  # its own __str__ fails
            text = type(error).__name__
        text = text[:_MESSAGE_CHARACTERS]
        made = cls(f"{text} (a bug: report it, with the traceback)")
        made.raised_at = "".join(traceback.format_tb(error.__traceback__, limit=-_FRAMES)).rstrip()
        return made


class TransientError(FramesPipelineError):
    """A temporary fault: network, throttling, an unreachable store."""

    reason = "transient"


class IncompleteTransferError(TransientError):
    """The bytes that arrived of a source differ from its listing, at every try."""

    reason = "incomplete"


class StoreError(FramesPipelineError):
    """The store failed or needs attention."""

    reason = "store"


class StoreAccessError(StoreError):
    """Access to the store failed: permission, a full disk, a missing bucket."""

    reason = "store_access"


class CommitNotFoundError(StoreError):
    """No commit has that name."""

    reason = "not_committed"


class IntegrityError(StoreError):
    """A committed object is missing, or differs from the committed one."""

    reason = "integrity"


class ConflictError(StoreError):
    """Another, different object has the place."""

    reason = "conflict"


ClipFault = SourceError | WorkerError | InternalError | IncompleteTransferError
"""Errors that concern one source alone and become the outcome of its clips. Every other error ends
the run."""

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
"""Outcome reasons that the next run tries again, although the bytes are the same."""


def detail_of(error: FramesPipelineError) -> str:
    """Return the detail of an outcome: the message, followed by any traceback."""
    below = error.raised_at if isinstance(error, InternalError) else ""
    return f"{error}\n{below}" if below else str(error)


def typed(error: BaseException) -> FramesPipelineError:
    """Return an error of this family for any error.

    A full disk or too many open files are faults of the machine, so they become a
    `StoreAccessError`.

    >>> typed(IndexError("list index out of range")).reason
    'internal'
    >>> typed(OSError(errno.ENOSPC, "No space left on device")).reason
    'store_access'
    """
    if isinstance(error, FramesPipelineError):
        return error
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return StoreAccessError(
            f"this machine cannot go on: {error}; free the resource, then run it again"
        )
    return InternalError.of(error)
