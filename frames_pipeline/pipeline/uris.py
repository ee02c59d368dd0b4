"""Extract frames of single files outside of any batch, for experiments."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from frames_pipeline._renamed import old_parameters
from frames_pipeline.clipping import Clipping, WholeVideo
from frames_pipeline.clips import Progress
from frames_pipeline.container.limits import Limits
from frames_pipeline.decoding.backends import Decoder
from frames_pipeline.errors import ConfigError
from frames_pipeline.pipeline.extraction import FramesReport, extract_batch
from frames_pipeline.pipeline.ingest import cut_clips, observe_videos
from frames_pipeline.pipeline.workspace import Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import Batch
from frames_pipeline.sources.videos import VideoSource
from frames_pipeline.store.chunk_codecs import compression_named
from frames_pipeline.text.addresses import folder_and_name, without_secrets
from frames_pipeline.text.keys import key_of
from frames_pipeline.workers.local import Workers

_FOLDER: Final = "adhoc"


class UriReport(NamedTuple):
    """Result for the videos of one folder."""

    workspace: Workspace
    """Workspace of the folder and its frames."""
    frames: Mapping[FrameExtractionSignature, FramesReport]
    """Report of the extraction, by signature."""


@old_parameters(cutting="clipping")
def extract_uris(
    uris: Iterable[str],
    signatures: Iterable[FrameExtractionSignature],
    root: str,
    *,
    clipping: Clipping | None = None,
    source_options: Mapping[str, Any] | None = None,
    root_options: Mapping[str, Any] | None = None,
    compression: str = "zstd",
    decoder: Decoder | str | None = None,
    limits: Limits | None = None,
    workers: Workers | None = None,
    progress: Progress | None = None,
) -> list[UriReport]:
    """Extract and store frames of videos by their paths or URLs, separate from all batches.

    The same URIs give the same batch, so finished work is not repeated. The videos of each folder
    are one batch, under `{root}/adhoc`. Signing parameters of a URL are used to read it. They are
    not part of its name and are not stored.

    Args:
        uris: Paths or URLs of videos.
        signatures: Signatures to extract.
        root: Path or URL of the folder that contains `adhoc`.
        clipping: Rule that cuts videos into clips; default: whole videos.
        source_options: fsspec options of the videos.
        root_options: fsspec options of the root.
        compression: Lossless compression of new frames, one of `COMPRESSIONS`.
        decoder: A decoder or its name; default: the CPU's.
        limits: Resource limits for one source and one clip of it.
        workers: Number of processes, and time limit for one clip.
        progress: Called whenever clips of a folder are done.

    Raises:
        ConfigError: There is no URI, a URI names no file, two URIs differ only in signing
            parameters, or the compression is not installed. Raised before anything is read.
    """
    compression_named(compression).require()
    wanted = list(signatures)
    reports = []
    for folder, names in _by_folder(uris).items():
        # The caller names each file, so links may lead anywhere.
        source = VideoSource(folder, source_options, signed=names, follow_links=True)
        workspace = Workspace.of(
            source, f"{root.rstrip('/')}/{_FOLDER}", root_options, compression=compression
        )
        batch = Batch(_key(folder, names), tuple(names), folder)
        observe_videos(batch, workspace)
        cut_clips(batch, workspace, clipping or WholeVideo(), limits=limits, workers=workers)
        extracted = extract_batch(
            batch, wanted, workspace, decoder=decoder, limits=limits, workers=workers,
            progress=progress,
        )  # fmt: skip
        reports.append(UriReport(workspace, extracted))
    return reports


def _by_folder(uris: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return sorted file names by folder, each with the name that reads it."""
    folders: dict[str, dict[str, str]] = {}
    for uri in uris:
        folder, asked = folder_and_name(uri)
        name = without_secrets(asked) if "://" in uri else asked
        if not name:
            message = f"{uri!r} names no file; give the path or URL of a video"
            raise ConfigError(message)
        names = folders.setdefault(folder or ("/" if uri.startswith("/") else "."), {})
        if names.setdefault(key_of(name), asked) != asked:
            message = f"two URIs differ only in signing parameters: {uri}; give each video once"
            raise ConfigError(message)
    if not folders:
        message = "no URI given; name at least one video"
        raise ConfigError(message)
    return {folder: dict(sorted(names.items())) for folder, names in folders.items()}


def _key(folder: str, names: Iterable[str]) -> str:
    """Return a batch's key: equal for the same videos."""
    text = "\n".join([folder, *names])
    return f"adhoc-{hashlib.sha256(text.encode(errors='surrogateescape')).hexdigest()[:16]}"
