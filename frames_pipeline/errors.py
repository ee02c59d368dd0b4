"""The one family of errors raised on purpose, grouped by what a handler would do.

```
FramesPipelineError
├── ConfigError                  the request is wrong: change it; nothing was decoded
│   └── DecoderUnavailableError  the decoder asked for is not on this machine
├── SourceError                  these bytes cannot give it, now or later: record it, go on
│   ├── SourceNotFoundError      there is no such file or object
│   ├── SourceChangedError       it was written while it was worked on
│   ├── UnsupportedSourceError   not a video, or not one that may be opened
│   ├── NoVideoStreamError       a media file without moving pictures
│   ├── NoFramesError            not a single frame of the clip decodes
│   ├── TooShortError            shorter than the shortest clip that is wanted
│   ├── SingleShotError          one shot, and only videos of several are wanted
│   ├── LimitExceededError       larger than the limits allow
│   ├── DecoderUnsupportedError  the decoder that was chosen lacks this codec or format
│   └── CaptionError             a model has nothing to say of it (in `models.captioning`)
├── WorkerError                  the process that did the work is gone: record it, go on
│   ├── WorkerCrashedError       it died
│   ├── WorkerMemoryError        it needed more memory than a worker may have
│   └── WorkerTimeoutError       it ran past its limit of time and was killed
├── TransientError               try again: network, throttling, an unreachable store
└── StoreError                   the store cannot do its part: look at it
    ├── StoreAccessError         permission, a full disk, a missing bucket
    ├── CommitNotFoundError      nothing is committed under that name
    ├── IntegrityError           an object is missing, or is not the one committed
    └── ConflictError            the place is taken by something else
```

Messages are for people, and go to terminals, logs, tables and pages. They name what strangers
named, so every message is made safe to show as it is raised: see `plain_text`.
"""

from __future__ import annotations

from typing import ClassVar

from frames_pipeline.plain_text import fit_to_show


class FramesPipelineError(Exception):
    """The base of every error raised on purpose. Its message may be shown as it is."""

    reason: ClassVar[str] = "error"
    """How an outcome table names this kind of failure."""

    def __init__(self, *args: object) -> None:
        """Take a message; control characters become visible, and URLs lose what signs them."""
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


class SourceChangedError(SourceError):
    """The bytes are not those that were observed: it was written while it was worked on."""

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


class TransientError(FramesPipelineError):
    """A fault that may pass: network, throttling, an unreachable store."""

    reason = "transient"


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
