"""Videos in a folder or bucket become frames that models can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from frames_pipeline import _renamed
from frames_pipeline._lazy import lazy_names
from frames_pipeline.encodings.encoding import FrameEncoding
from frames_pipeline.errors import (
    CodecUnavailableError,
    CommitNotFoundError,
    ConfigError,
    ConflictError,
    DecoderUnavailableError,
    DecoderUnsupportedError,
    FramesPipelineError,
    IncompleteTransferError,
    IntegrityError,
    InternalError,
    LimitExceededError,
    NoFramesError,
    NoKeyFrameError,
    NoVideoStreamError,
    SingleShotError,
    SourceChangedError,
    SourceError,
    SourceNotFoundError,
    SourceUnreadableError,
    StoreAccessError,
    StoreError,
    TooShortError,
    TransientError,
    UnsupportedSourceError,
    WorkerCrashedError,
    WorkerError,
    WorkerMemoryError,
    WorkerTimeoutError,
)
from frames_pipeline.signature import (
    FrameExtractionPolicy,
    FrameExtractionSignature,
    FramePurpose,
    signatures_from_seed,
)

if TYPE_CHECKING:
    from frames_pipeline.container.index import PacketIndex
    from frames_pipeline.container.limits import Limits
    from frames_pipeline.decoding.backends import DECODERS, Decoder, PyavDecoder, open_decoder
    from frames_pipeline.extract import extract_frames, probe
    from frames_pipeline.frames import DecodeReport, FrameBatch, Outcome
    from frames_pipeline.readers.stored_frames import StoredFrames, open_frames
    from frames_pipeline.sampling import select_frames
    from frames_pipeline.store import FrameStore

_renamed.install()

__all__ = [
    "DECODERS",
    "CodecUnavailableError",
    "CommitNotFoundError",
    "ConfigError",
    "ConflictError",
    "DecodeReport",
    "Decoder",
    "DecoderUnavailableError",
    "DecoderUnsupportedError",
    "FrameBatch",
    "FrameEncoding",
    "FrameExtractionPolicy",
    "FrameExtractionSignature",
    "FramePurpose",
    "FrameStore",
    "FramesPipelineError",
    "IncompleteTransferError",
    "IntegrityError",
    "InternalError",
    "LimitExceededError",
    "Limits",
    "NoFramesError",
    "NoKeyFrameError",
    "NoVideoStreamError",
    "Outcome",
    "PacketIndex",
    "PyavDecoder",
    "SingleShotError",
    "SourceChangedError",
    "SourceError",
    "SourceNotFoundError",
    "SourceUnreadableError",
    "StoreAccessError",
    "StoreError",
    "StoredFrames",
    "TooShortError",
    "TransientError",
    "UnsupportedSourceError",
    "WorkerCrashedError",
    "WorkerError",
    "WorkerMemoryError",
    "WorkerTimeoutError",
    "extract_frames",
    "open_decoder",
    "open_frames",
    "probe",
    "select_frames",
    "signatures_from_seed",
]

__getattr__ = lazy_names(
    __name__,
    {
        "container.index": ("PacketIndex",),
        "container.limits": ("Limits",),
        "decoding.backends": ("DECODERS", "Decoder", "PyavDecoder", "open_decoder"),
        "extract": ("extract_frames", "probe"),
        "frames": ("DecodeReport", "FrameBatch", "Outcome"),
        "readers.stored_frames": ("StoredFrames", "open_frames"),
        "sampling": ("select_frames",),
        "store": ("FrameStore",),
    },
)
