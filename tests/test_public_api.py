"""The public names, spelled out: a new one costs a line of thought."""

from __future__ import annotations

import frames_pipeline
from frames_pipeline import errors
from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.models.captioning import CaptionError


def test_public_names() -> None:
    assert sorted(frames_pipeline.__all__) == sorted(
        [
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
            "WorkerMemoryError",
            "WorkerError",
            "WorkerTimeoutError",
            "extract_frames",
            "open_decoder",
            "open_frames",
            "probe",
            "select_frames",
            "signatures_from_seed",
        ]
    )
    assert all(hasattr(frames_pipeline, name) for name in frames_pipeline.__all__)


def test_the_tree_of_errors_is_the_one_drawn() -> None:
    """The picture in the docstring of `errors`, read back."""
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None:
            continue
        depth = (line.index(name) + 3) // 4
        path[depth:] = [name]
        drawn[name] = path[depth - 1] if depth else "Exception"

    def family(kind: type[FramesPipelineError]) -> set[type[FramesPipelineError]]:
        return {kind}.union(*(family(sub) for sub in kind.__subclasses__()))

    found = {
        kind.__name__: kind.__bases__[0].__name__
        for kind in family(FramesPipelineError)
        if kind.__module__.startswith("frames_pipeline")
    }
    assert drawn == found
    assert CaptionError.__name__ in found


def test_every_error_has_a_reason_of_its_own() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    reasons = [vars(kind)["reason"] for kind in kinds]
    assert len(set(reasons)) == len(reasons)
