"""Exports of frames of every type and number of channels: exact, or refused before any work."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from frames_pipeline import ConfigError, StoredFrames, export, open_frames
from frames_pipeline.export import FORMATS, PIXELS, Encoding, ExportFormat
from frames_pipeline.frames import FrameBatch
from tests.libraries import need
from tests.stored import EVERY_SAMPLES, fill, noise, with_samples

PNG, JPEG, RAW = Encoding("png"), Encoding("jpeg", quality=90), Encoding("raw")
EIGHT = ("rgb8", "gray8")
every_samples = pytest.mark.parametrize("samples", EVERY_SAMPLES)
Pixels = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, dict[str, FrameBatch]]]:
    """A store for each."""
    made = {}
    for samples in EVERY_SAMPLES:
        root = str(tmp_path_factory.mktemp(samples))
        made[samples] = root, fill(root, samples=samples)
    return made


@pytest.fixture
def frames(roots: dict[str, tuple[str, dict[str, FrameBatch]]], samples: str) -> StoredFrames:
    return open_frames(roots[samples][0], signature=with_samples(samples))


def opened(png: bytes) -> Pixels:
    """Pixels of a PNG as another library reads them. Shape (height, width, 3 or 1)."""
    found: Pixels | None = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert found is not None
    return found[:, :, None] if found.ndim == 2 else found[:, :, ::-1]


def same(found: Pixels, expected: Pixels) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def expected(frames: StoredFrames) -> list[Pixels]:
    return [pixels for clip in frames for pixels in frames.read(clip).frames]


@st.composite
def some_pixels(draw: st.DrawFn) -> Pixels:
    dtype, channels = draw(st.sampled_from([np.uint8, np.uint16])), draw(st.sampled_from([1, 3]))
    return draw(npst.arrays(dtype, (draw(st.integers(1, 9)), draw(st.integers(1, 9)), channels)))


@given(some_pixels())
def test_png_and_raw_are_exact(pixels: Pixels) -> None:
    same(opened(PNG.encode(pixels)), pixels)
    order = pixels.dtype.newbyteorder("<")
    same(np.frombuffer(RAW.encode(pixels), order).reshape(pixels.shape), pixels)
    assert PNG.encode(pixels) == PNG.encode(pixels.copy())


def test_png_has_the_bits_of_the_samples() -> None:
    """Bit depth and colour type of the header: 2 is RGB, 0 is gray."""
    headers = {one: tuple(PNG.encode(noise(1, 0, one).frames[0])[24:26]) for one in EVERY_SAMPLES}
    assert headers == {"rgb8": (8, 2), "rgb16": (16, 2), "gray8": (8, 0), "gray16": (16, 0)}


def test_jpeg_of_gray_is_gray() -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)[None, :, None].repeat(64, 0)
    image = Image.open(io.BytesIO(JPEG.encode(ramp)))
    assert image.mode == "L"
    assert np.abs(np.asarray(image).astype(int) - ramp[:, :, 0]).mean() < 2


@pytest.mark.parametrize("samples", ["rgb16", "gray16"])
def test_jpeg_of_16_bits_is_refused(samples: str) -> None:
    with pytest.raises(ConfigError, match=f"^{samples}, and jpeg takes rgb8 or gray8; choose png"):
        JPEG.encode(noise(1, 0, samples).frames[0])


@pytest.mark.parametrize(
    ("one", "encoding"),
    [
        pytest.param(one, encoding, id=f"{one.name}-{encoding.format}")
        for one in FORMATS.values()
        for encoding in (PNG, JPEG, RAW)
        if encoding.format in one.pixels
    ],
)
@every_samples
def test_a_format_takes_the_samples_or_refuses_them_before_any_work(
    frames: StoredFrames, tmp_path: Path, one: ExportFormat, encoding: Encoding, samples: str
) -> None:
    if one.name == "lance":
        need("lance")
    if encoding is not JPEG or samples in EIGHT:
        one.write(frames, tmp_path / "out", encoding=encoding)
        assert any((tmp_path / "out").iterdir())
        return
    match = f"signature {frames.signature_key} has samples: {samples}, and jpeg takes rgb8 or gray8"
    with pytest.raises(ConfigError, match=re.escape(match)):
        one.write(frames, tmp_path / "out", encoding=encoding)
    assert not (tmp_path / "out").exists()


@every_samples
def test_images(frames: StoredFrames, tmp_path: Path) -> None:
    export.export_images(frames, tmp_path, encoding=PNG)
    rows = pd.read_parquet(tmp_path / "frames.parquet")
    for file, pixels in zip(rows.file, expected(frames), strict=True):
        same(opened((tmp_path / file).read_bytes()), pixels)


@every_samples
def test_webdataset(frames: StoredFrames, tmp_path: Path) -> None:
    export.export_webdataset(frames, tmp_path, encoding=PNG)
    with tarfile.open(tmp_path / "shard-000000.tar") as tar:
        pictures = [tar.extractfile(member) for member in tar if member.name.endswith(".png")]
        for file, pixels in zip(pictures, expected(frames), strict=True):
            assert file is not None
            same(opened(file.read()), pixels)


@pytest.mark.parametrize("encoding", [PNG, RAW], ids=lambda encoding: encoding.format)
@pytest.mark.parametrize("kind", ["parquet", "lance"])
@every_samples
def test_rows(
    frames: StoredFrames, tmp_path: Path, samples: str, encoding: Encoding, kind: str
) -> None:
    """Rows of rgb8 have the columns that they had; others name their samples."""
    if kind == "lance":
        need("lance")
        import lance

    FORMATS[kind].write(frames, tmp_path / "out", encoding=encoding)
    if kind == "lance":
        table = lance.dataset(tmp_path / "out").to_table()
    else:
        table = pq.read_table(tmp_path / "out" / "frames-000000.parquet")
    rows = table.to_pylist()
    more = [] if samples == "rgb8" else ["samples"]
    assert list(rows[0]) == [*PIXELS.names, *more]
    for row, pixels in zip(rows, expected(frames), strict=True):
        assert row.get("samples", "rgb8") == samples
        if encoding is PNG:
            same(opened(row["image"]), pixels)
        else:
            order = frames.dtype.newbyteorder("<")
            found = np.frombuffer(row["image"], order)
            same(found.reshape(row["height"], row["width"], frames.channels), pixels)


@every_samples
def test_the_manifest_has_the_signature(frames: StoredFrames, tmp_path: Path, samples: str) -> None:
    export.export_parquet(frames, tmp_path, encoding=RAW)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["signature"].get("samples", "rgb8") == samples


def test_nemo_curator_takes_rgb8() -> None:
    signature = with_samples("gray16")
    match = rf"signature {signature.key} has samples: gray16, and NeMo Curator takes rgb8; choose"
    with pytest.raises(ConfigError, match=match):
        export.seed_frames({signature: noise(1, 0, "gray16")})
