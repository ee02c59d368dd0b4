"""Nothing gets in but a video, and nothing it says leads anywhere else."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from frames_pipeline import (
    FrameExtractionSignature,
    FramesPipelineError,
    SourceError,
    SourceNotFoundError,
    UnsupportedSourceError,
    extract_frames,
    probe,
)
from frames_pipeline.workers.local import Workers
from tests.entries import within
from tests.oracle import CORPUS, needs_corpus
from tests.playlists import linked_matroska, playlists, with_data_reference
from tests.slowness import slowness
from tests.videos import X264, make_video, numbers_in

FIRST = FrameExtractionSignature(policy="first")
SMALL = FrameExtractionSignature(target_fps=1, target_res=(32, 48))
ONE_SMALL = FrameExtractionSignature(policy="first", target_res=(32, 48))
EVERY = FrameExtractionSignature(target_fps=25)

NAMES = sorted([  # spelled out, so that each is a test of its own
    "local.m3u8", "absolute.m3u8", "hls.mp4", "hls.ts", "remote.m3u8", "key.m3u8", "map.m3u8",
    "master.m3u8", "concat-protocol.m3u8", "plain.m3u", "relative.ffconcat", "absolute.ffconcat",
    "remote.ffconcat", "concat.mp4", "concat.txt", "stream.sdp", "sdp.mp4", "manifest.mpd",
    "dash.mp4", "list.xspf", "list.pls", "list.asx", "reference.asf", "list.smil", "stream.ram",
    "text.rtsp", "cpl.xml", "manifest.ism", "picture.svg", "script.avs", "script.vpy",
    "metadata.ffmeta", "graph.lavfi", "reference.mov", "alias.mov",
])  # fmt: skip


class Server:
    """Counts who connects, and hangs up."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._socket.getsockname())

    def close(self) -> None:
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """A folder with playlists, and what they name."""
    folder = tmp_path_factory.mktemp("trap")
    make_video(folder / "other.ts", options=X264)
    for name, data in playlists(folder, server.address).items():
        (folder / name).write_bytes(data)
    return folder


def test_the_list_of_playlists_is_whole(trap: Path, server: Server) -> None:
    assert sorted(playlists(trap, server.address)) == NAMES
    assert len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_a_playlist_is_refused_however_it_is_given(trap: Path, server: Server, name: str) -> None:
    path = trap / name
    with path.open("rb") as file:
        for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), file):
            for call in (lambda s=source: probe(s), lambda s=source: extract_frames(s, [FIRST])):
                assert_nothing_is_read(call)
    assert server.connections == 0


def assert_nothing_is_read(call: Any) -> None:
    """No frame at all: an error, or an index of nothing."""
    try:
        index = call()
    except SourceError:
        return
    assert index.num_frames == 0


def test_the_traps_would_work(trap: Path) -> None:
    """With the door open, FFmpeg follows them: the tests above show more than broken files."""
    for name in ("local.m3u8", "relative.ffconcat", "concat.mp4"):
        with av.open(str(trap / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 48
    with av.open(str(trap / "alias.mov"), container_options={"enable_drefs": "1"}) as container:
        assert container.streams.video


def test_a_server_would_have_heard_of_it(trap: Path) -> None:
    mine = Server()
    (trap / "mine.m3u8").write_bytes(playlists(trap, mine.address)["remote.m3u8"])
    with (trap / "mine.m3u8").open("rb") as file, pytest.raises(av.FFmpegError):
        av.open(file)
    mine.close()
    assert mine.connections > 0


def test_a_linked_matroska_segment_gives_its_own_frames_only(tmp_path: Path) -> None:
    make_video(tmp_path / "next.mkv", frames=5, options=X264)
    path = linked_matroska(tmp_path / "linked.mkv", to="next.mkv")
    assert numbers_in(extract_frames(path, [EVERY])[EVERY].frames) == [0, 1, 2]


def test_a_movie_whose_samples_are_at_an_address_gives_its_own_bytes_only(
    tmp_path: Path, server: Server
) -> None:
    """libavformat passes over such an entry, and looks where the samples are in the file itself."""
    path = tmp_path / "url.mov"
    whole = make_video(tmp_path / "whole.mp4", frames=3, options=X264).read_bytes()
    entry = b"url \0\0\0\0" + f"http://{server.address}/other.ts".encode() + b"\0"
    path.write_bytes(with_data_reference(whole, entry))
    assert numbers_in(extract_frames(path, [EVERY])[EVERY].frames) == [0, 1, 2]
    assert server.connections == 0


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tiff", ".webp", ".mp4"])
def test_a_picture_is_not_a_video_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture-%03d{suffix}"
    codec = {".jpg": "mjpeg", ".bmp": "bmp", ".tiff": "tiff"}.get(suffix, "png")
    context = VideoCodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height = 16, 16
    context.pix_fmt = {"mjpeg": "yuvj420p", "bmp": "bgr24"}.get(codec, "rgb24")
    context.time_base = Fraction(1)
    frame = VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), "rgb24")
    frame = frame.reformat(format=context.pix_fmt)
    path.write_bytes(b"".join(map(bytes, [*context.encode(frame), *context.encode(None)])))
    (tmp_path / f"picture-001{suffix}").write_bytes(path.read_bytes())
    with pytest.raises(UnsupportedSourceError):
        extract_frames(path, [FIRST])


PROTOCOLS = [
    "file:other.mp4", "concat:other.mp4|other.mp4", "concatf:list.txt", "cache:other.mp4",
    "async:other.mp4", "crypto:other.mp4", "crypto+file:other.mp4", "pipe:0", "pipe:", "fd:", "-",
    "subfile,,start,0,end,0,,:other.mp4", "data:video/mp4;base64,AAAA", "md5:", "lavfi:testsrc",
    "hls+file:local.m3u8", "tcp:127.0.0.1:1", "http:127.0.0.1", "unix:socket", "testsrc", "*.mp4",
    "frame%03d.png", "http:/127.0.0.1/x.mp4", "--help", "-i",
]  # fmt: skip


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_name_is_a_path_and_never_a_protocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, name: str
) -> None:
    shutil.copy(video, tmp_path / "other.mp4")
    (tmp_path / "list.txt").write_text("file other.mp4\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceNotFoundError, match="No such file or directory"):
        extract_frames(name, [FIRST])


@pytest.mark.parametrize("scheme", ["tcp", "rtmp", "rtsp", "udp", "concat", "subfile", "hls", "x"])
def test_an_address_of_no_known_store_is_refused(server: Server, scheme: str) -> None:
    with pytest.raises(FramesPipelineError, match=scheme):
        extract_frames(f"{scheme}://{server.address}/x.mp4", [FIRST])
    assert server.connections == 0


ODD = [
    b"-i.mp4", b"--help", b"-", b"a b.mp4", b"a\nb.mp4", b"\xff\xfe.mp4", b"frame%03d.mp4",
    b"http:x.mp4", b"concat:a|b.mp4", b"subfile,,start,1,end,2,,:x.mp4", b"file:x.mp4", b"*.mp4",
    "née 動画.mp4".encode(), b"a'b\"c\\d.mp4", b"#?.mp4", b"x" * 250 + b".mp4", b"$(id).mp4", b"~",
    b"list.m3u8", b"pipe:0", b"a\x01\x7f.mp4",
]  # fmt: skip


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_a_video_of_any_name_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    path = os.fsdecode(name)
    shutil.copy(video, tmp_path / path)
    expected = extract_frames(video, [FIRST])[FIRST].digest()
    assert extract_frames(path, [FIRST])[FIRST].digest() == expected
    assert extract_frames(tmp_path / path, [FIRST])[FIRST].digest() == expected


def test_what_is_not_a_regular_file_is_refused_without_being_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "nowhere.mp4").symlink_to("gone.mp4")
    (tmp_path / "zero.mp4").symlink_to("/dev/zero")
    (tmp_path / "through.mp4").symlink_to("fifo.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.mp4"))
    others: list[str | Path] = [
        "/dev/zero",
        "/dev/random",
        "/dev/stdin",
        "/proc/self/fd/0",
        "a\0b.mp4",
    ]
    others += ["x" * 9999, *sorted(tmp_path.iterdir()), tmp_path / "loop.mp4" / "x.mp4", ""]
    for source in others:
        with pytest.raises(SourceNotFoundError, match="cannot read"):
            within(partial(extract_frames, source, [FIRST]))


def test_a_decode_needs_no_network(trap: Path, video: Path) -> None:
    """Without any network, videos are read and playlists refused as ever."""
    script = (
        "import sys; from frames_pipeline import *\n"
        "first = FrameExtractionSignature(policy='first')\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(extract_frames(path, [first])[first].digest())\n"
        "    except SourceError as error: print(type(error).__name__)\n"
    )
    unshare = ["unshare", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    paths = [str(video), *(str(trap / name) for name in NAMES)]
    command = [*unshare, sys.executable, "-c", script, *paths]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert lines[0] == extract_frames(video, [FIRST])[FIRST].digest()
    assert len(lines) == 1 + len(NAMES)
    assert all(line.endswith("Error") for line in lines[1:])


HOSTILE = (
    "audio_only.mp4", "bitflip_mdat.mp4", "bitflip_moov.mp4", "bomb_16000.mp4",
    "bomb_many_8k.mkv", "cover_only.m4a", "ftyp_only.mp4", "header_lies_16384.mp4", "html.mp4",
    "long_1fps_3h.mkv", "offset10h.mkv", "offset10h.ts", "png.mp4", "random.mp4", "reschange.h264",
    "reschange.ts", "stsz_268M_entries.mp4", "stts_2e9_samples.mp4", "text.mp4", "trunc.mkv",
    "trunc_frag.mp4", "trunc_mdat.mp4", "trunc_nomoov.mp4", "ts_backwards.ts", "ts_wrap.ts",
    "zero_bytes.mp4", "zeroed_middle.mp4", "zeros_64k.mp4",
)  # fmt: skip
HONEST_8K = {"bomb_many_8k.mkv"}
"""Within the limits of pixels: 12 s of it are 300 frames to decode. One is asked for."""
SECONDS, MEGABYTES = 2, 300


def measured(name: str) -> dict[str, Any]:
    """What becomes of a file, and what it takes; runs in a worker process."""
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before, wall, cpu = memory("VmRSS"), time.monotonic(), time.process_time()
    result: str
    try:
        wanted = ONE_SMALL if name in HONEST_8K else SMALL
        result = extract_frames(CORPUS / "hard" / name, [wanted])[wanted].outcome.status
    except FramesPipelineError as error:
        result = error.reason
    return {
        "result": result,
        "wall_s": round(time.monotonic() - wall, 2),
        "cpu_s": round((time.process_time() - cpu) / slowness(), 2),
        "more_mb": memory("VmHWM") - before,
    }


def memory(field: str) -> int:
    """Megabytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) >> 10


@needs_corpus
def test_hostile_files_cost_little() -> None:
    """Measures processor time, in units that are longer on a slower or busier machine."""
    found = dict(Workers(1).map(measured, HOSTILE))
    for name, cost in sorted(found.items()):
        print(json.dumps({"file": name} | (cost if isinstance(cost, dict) else {"is": str(cost)})))  # noqa: T201 - for `pytest -s`
    for name, cost in found.items():
        assert isinstance(cost, dict), f"{name}: {cost}"
        assert cost["cpu_s"] <= SECONDS, name
        assert cost["more_mb"] <= MEGABYTES, name
