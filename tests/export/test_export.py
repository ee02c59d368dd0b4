"""Exports, read back with the tools that they are for."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, cast

import duckdb
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from frames_pipeline import (
    ConfigError,
    ConflictError,
    FrameExtractionSignature,
    FrameStore,
    IntegrityError,
    StoredFrames,
    export,
    open_frames,
)
from frames_pipeline.encodings.images import EncodedFrames
from frames_pipeline.export import FORMATS, Encoding, Export, ExportFormat
from frames_pipeline.frames import FrameBatch
from tests.libraries import need
from tests.s3 import S3
from tests.stored import SIGNATURE, fill, noise

PNG, JPEG, RAW = Encoding("png"), Encoding("jpeg", quality=90), Encoding("raw")
WITH_MANIFEST = [one for one in FORMATS.values() if one.has_manifest]


def by_name(formats: Iterable[ExportFormat]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("one", formats, ids=lambda one: one.name)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, FrameBatch]]:
    root = str(tmp_path_factory.mktemp("store"))
    return root, fill(root)


@pytest.fixture
def frames(written: tuple[str, dict[str, FrameBatch]]) -> StoredFrames:
    return open_frames(written[0], signature=SIGNATURE)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def picture(data: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(data)))


def expected(frames: StoredFrames) -> list[tuple[str, int, np.ndarray[Any, Any]]]:
    """Clip, position and pixels of every frame, in order."""
    return [
        (clip, int(position), pixels)
        for clip in frames
        for batch in [frames.read(clip)]
        for position, pixels in zip(batch.positions, batch.frames, strict=True)
    ]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
def test_webdataset_of_frames(frames: StoredFrames, tmp_path: Path) -> None:
    done = export.export_webdataset(frames, tmp_path / "out", encoding=PNG, shard_bytes=3000)
    shards = sorted(map(str, (tmp_path / "out").glob("*.tar")))
    assert len(shards) == len(done.files) > 2
    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8")
    samples = list(dataset)
    wanted = expected(frames)
    assert done.frames == len(wanted) == len(samples)
    assert len({sample["__key__"] for sample in samples}) == len(samples)
    for sample, (clip, position, pixels) in zip(samples, wanted, strict=True):
        assert (sample["json"]["clip_id"], sample["json"]["position"]) == (clip, position)
        assert np.array_equal(sample["png"], pixels)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # webdataset leaves shards open
def test_webdataset_of_clips(frames: StoredFrames, tmp_path: Path) -> None:
    done = export.export_webdataset(frames, tmp_path / "out", encoding=PNG, sample="clip")
    [shard] = [str(tmp_path / "out" / name) for name in done.files]
    samples = list(webdataset.WebDataset(shard, shardshuffle=False).decode("rgb8"))
    assert [sample["json"][0]["clip_id"] for sample in samples] == list(frames)
    for sample, clip in zip(samples, frames, strict=True):
        pixels = [sample[f"{number:06d}.png"] for number in range(len(sample["json"]))]
        assert np.array_equal(pixels, frames.read(clip).frames)


def test_images_and_their_rows(frames: StoredFrames, tmp_path: Path) -> None:
    export.export_images(frames, tmp_path / "out", encoding=PNG)
    rows = pd.read_parquet(tmp_path / "out" / "frames.parquet")
    for row, (clip, position, pixels) in zip(rows.itertuples(), expected(frames), strict=True):
        assert (row.clip_id, row.position, row.video_key) == (clip, position, clip.split("#")[0])
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / row.file)), pixels)
        assert row.commit == frames.locations[clip].commit.path
    assert rows.pts.tolist() == [1001 * position for position in rows.position]


@pytest.mark.parametrize("encoding", [PNG, RAW], ids=lambda encoding: encoding.format)
def test_parquet_with_pixels(frames: StoredFrames, tmp_path: Path, encoding: Encoding) -> None:
    export.export_parquet(frames, tmp_path / "out", encoding=encoding, file_bytes=2000)
    assert len(list((tmp_path / "out").glob("*.parquet"))) > 1
    query = (
        f"SELECT clip_id, position, height, width, format, image FROM '{tmp_path}/out/*.parquet'"
    )
    rows = duckdb.execute(f"{query} ORDER BY batch, clip_id, position").fetchall()
    for row, (clip, position, pixels) in zip(rows, expected(frames), strict=True):
        assert row[:5] == (clip, position, 6, 8, encoding.format)
        found = (
            picture(row[5])
            if encoding is PNG
            else np.frombuffer(row[5], np.uint8).reshape(row[2], row[3], 3)
        )
        assert np.array_equal(found, pixels)


def test_lance(frames: StoredFrames, tmp_path: Path) -> None:
    need("lance")
    import lance

    count = export.export_lance(frames, tmp_path / "out.lance", encoding=PNG)
    rows = lance.dataset(tmp_path / "out.lance").to_table().to_pylist()
    assert count == len(rows)
    for row, (clip, position, pixels) in zip(rows, expected(frames), strict=True):
        assert (row["clip_id"], row["position"]) == (clip, position)
        assert np.array_equal(picture(row["image"]), pixels)
    with pytest.raises(ConflictError, match=r"a Lance dataset is at .*already; delete it"):
        export.export_lance(frames, tmp_path / "out.lance", encoding=PNG)


def test_jpeg_is_near_and_as_asked(tmp_path: Path) -> None:
    """Smooth pixels come back within a few levels, fewer at a higher quality."""
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), -1)
    low, high = (Encoding("jpeg", quality=q, chroma="4:4:4").encode(pixels) for q in (50, 95))
    assert len(low) < len(high)
    assert np.abs(picture(high).astype(int) - pixels).mean() < 2
    factors = JpegImageFile(io.BytesIO(JPEG.encode(pixels))).layer
    assert [layer[1:3] for layer in factors] == [(2, 2), (1, 1), (1, 1)]


@by_name(WITH_MANIFEST)
def test_the_same_bytes_and_none_written_over(
    frames: StoredFrames, tmp_path: Path, one: ExportFormat
) -> None:
    seen: list[tuple[int, int]] = []
    done = one.write(frames, tmp_path / "a", encoding=JPEG, progress=lambda *now: seen.append(now))
    assert isinstance(done, Export)
    one.write(frames, tmp_path / "b", encoding=JPEG)
    files = files_in(tmp_path / "a")
    assert files == files_in(tmp_path / "b")
    assert seen == [(done, 6) for done in range(1, 7)]
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["signature_key"] == SIGNATURE.key
    assert manifest["encoding"] == {"format": "jpeg", "quality": 90, "chroma": "4:2:0"}
    assert (manifest["clips"], manifest["frames"]) == (done.clips, done.frames) == (6, 27)
    hashes = {name: [len(data), hashlib.sha256(data).hexdigest()] for name, data in files.items()}
    assert manifest["files"] == hashes
    assert done.bytes == sum(map(len, files.values()))
    with pytest.raises(ConflictError, match=r"an export is at .*already; delete it, or export to"):
        one.write(frames, tmp_path / "a", encoding=JPEG)


@by_name(WITH_MANIFEST)
def test_an_export_that_fails_has_no_manifest(tmp_path: Path, one: ExportFormat) -> None:
    fill(str(tmp_path / "store"))
    frames = open_frames(tmp_path / "store", signature=SIGNATURE)
    shard = sorted((tmp_path / "store").glob("frames/b2/*/clips/*/*/frames/c/0/0/0/0"))[-1]
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"not the .* committed"):
        one.write(frames, tmp_path / "out", encoding=PNG)
    assert not (tmp_path / "out" / "manifest.json").exists()
    if files_in(tmp_path / "out"):
        with pytest.raises(ConflictError, match="objects are at"):
            one.write(frames, tmp_path / "out", encoding=PNG)


@by_name(WITH_MANIFEST)
def test_no_clips_are_an_export_too(tmp_path: Path, one: ExportFormat) -> None:
    """As of a batch whose videos all failed."""
    FrameStore(tmp_path / "store").commit_batch("b", SIGNATURE)
    frames = open_frames(tmp_path / "store", signature=SIGNATURE)
    done = one.write(frames, tmp_path / "out", encoding=PNG)
    assert isinstance(done, Export)
    assert (done.clips, done.frames) == (0, 0)
    for file in (tmp_path / "out").glob("*.parquet"):
        assert pd.read_parquet(file).empty


def test_to_a_bucket(s3: S3, frames: StoredFrames, tmp_path: Path) -> None:
    export.export_images(frames, tmp_path / "out", encoding=PNG)
    done = export.export_images(frames, s3.url, encoding=PNG, storage_options=s3.options)
    local = files_in(tmp_path / "out")
    assert {name: size for name, (size, _) in done.files.items()} == {
        name: len(data) for name, data in local.items() if name != "manifest.json"
    }
    with pytest.raises(ConflictError, match="an export is at s3"):
        export.export_images(frames, s3.url, encoding=PNG, storage_options=s3.options)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"format": "gif"}, "no format 'gif'; choose one of jpeg, png, raw"),
        ({"format": "jpeg"}, "quality=None of JPEG must be a whole number from 1 to 95"),
        ({"format": "png", "quality": 90}, "quality=90 has no effect with png, which is exact"),
        ({"format": "jpeg", "quality": 90, "chroma": "4:1:1"}, "no chroma '4:1:1'; choose one"),
    ],
)
def test_encodings_that_there_are_not(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Encoding(**wrong)


@by_name(FORMATS.values())
@pytest.mark.parametrize("encoding", [PNG, JPEG, RAW], ids=lambda encoding: encoding.format)
def test_a_format_takes_the_pixels_that_it_says(
    frames: StoredFrames, tmp_path: Path, one: ExportFormat, encoding: Encoding
) -> None:
    if one.name == "lance":
        need("lance")
    if encoding.format in one.pixels:
        one.write(frames, tmp_path / "out", encoding=encoding)
        assert files_in(tmp_path / "out")
        return
    with pytest.raises(ConfigError, match="raw pixels are no picture file"):
        one.write(frames, tmp_path / "out", encoding=encoding)
    assert not (tmp_path / "out").exists()


def test_as_the_seed_keeps_them() -> None:
    one, two = FrameExtractionSignature(target_fps=1), FrameExtractionSignature(target_fps=2)
    batches = {one: noise(2, 1), two: noise(4, 2)}
    found = export.seed_frames(batches)
    assert list(found) == [
        "FrameExtractionPolicy.sequence-1000",
        "FrameExtractionPolicy.sequence-2000",
    ]
    assert found[one.seed_key()] is batches[one].frames
    with pytest.raises(
        ConfigError, match=r"two signatures are 'FrameExtractionPolicy\.sequence-2000'"
    ):
        export.seed_frames(batches | {SIGNATURE: noise(1, 3)})


def pictures_of(folder: Path, kind: str) -> list[bytes]:
    """The pictures of an export, in the order of clips and frames."""
    if kind == "webdataset":
        with tarfile.open(next(folder.glob("*.tar"))) as shard:
            members = [one for one in shard if not one.name.endswith(".json")]
            return [cast("IO[bytes]", shard.extractfile(one)).read() for one in members]
    if kind == "images":
        table = pq.read_table(folder / "frames.parquet")
        return [(folder / file).read_bytes() for file in table["file"].to_pylist()]
    images: list[bytes] = pq.read_table(next(folder.glob("*.parquet")))["image"].to_pylist()
    return images


@pytest.mark.parametrize("kind", ["webdataset", "images", "parquet"])
@pytest.mark.parametrize(
    ("quality", "chroma", "is_copied"),
    [(90, "4:4:4", True), (90, "4:2:0", False), (91, "4:4:4", False)],
)
def test_frames_stored_in_the_encoding_are_copied(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    quality: int,
    chroma: Any,
    is_copied: bool,
) -> None:
    need("imagecodecs")
    store = FrameStore(tmp_path / "store", durable=False)
    signature = replace(SIGNATURE, encoding={"codec": "jpeg", "chroma": "4:4:4"})
    for seed, clip in enumerate("ab"):
        store.write_clip("b", clip, {signature: noise(3, seed)})
    store.commit_batch("b", signature)
    frames = open_frames(tmp_path / "store", signature=signature)
    stored = [image for clip in frames for image in frames[clip].encoded()]
    decoded: list[EncodedFrames] = []
    decode = EncodedFrames.decode

    def counted(self: EncodedFrames) -> np.ndarray[Any, Any]:
        decoded.append(self)
        return decode(self)

    monkeypatch.setattr(EncodedFrames, "decode", counted)
    encoding = Encoding("jpeg", quality=quality, chroma=chroma)
    FORMATS[kind].write(frames, tmp_path / "out", encoding=encoding)
    written = pictures_of(tmp_path / "out", kind)
    assert (written == stored, decoded == []) == (is_copied, is_copied)
    assert len(written) == 6
