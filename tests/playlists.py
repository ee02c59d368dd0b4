"""Files that refer to other files or the network, in every way that FFmpeg supports."""

# ruff: noqa: E501 - a playlist is written as it is

from __future__ import annotations

import struct
from pathlib import Path

from tests.videos import X264, make_video

MP4_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")


def playlists(folder: Path, server: str) -> dict[str, bytes]:
    """Return playlists by file name. Their targets exist: `other.ts` beside them, and the server.

    Args:
        folder: Folder of `other.ts` and the other targets.
        server: `host:port` that answers HTTP.
    """
    near, far = str(folder / "other.ts"), f"http://{server}/other.ts"
    hls = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:9\n"
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\na=control:rtsp://{server}/x\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    texts = {
        "local.m3u8": f"{hls}#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
        "absolute.m3u8": f"{hls}#EXTINF:1,\n{near}\n#EXT-X-ENDLIST\n",
        "hls.mp4": f"{hls}#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
        "hls.ts": f"{hls}#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n",
        "remote.m3u8": f"{hls}#EXTINF:1,\n{far}\n#EXT-X-ENDLIST\n",
        "key.m3u8": f'{hls}#EXT-X-KEY:METHOD=AES-128,URI="http://{server}/key"\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n',
        "map.m3u8": f'{hls}#EXT-X-MAP:URI="http://{server}/map"\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n',
        "master.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlocal.m3u8\n",
        "concat-protocol.m3u8": f"{hls}#EXTINF:1,\nconcat:other.ts|other.ts\n#EXT-X-ENDLIST\n",
        "plain.m3u": f"{near}\n{far}\n",
        "relative.ffconcat": "ffconcat version 1.0\nfile other.ts\n",
        "absolute.ffconcat": f"ffconcat version 1.0\nfile {near}\n",
        "remote.ffconcat": f"ffconcat version 1.0\nfile {far}\n",
        "concat.mp4": "ffconcat version 1.0\nfile other.ts\n",
        "concat.txt": "file other.ts\n",
        "stream.sdp": sdp,
        "sdp.mp4": sdp,
        "manifest.mpd": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{far}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        "dash.mp4": f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{far}</BaseURL></MPD>',
        "list.xspf": f'<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track><location>{far}</location></track></trackList></playlist>',
        "list.pls": f"[playlist]\nFile1={far}\nNumberOfEntries=1\nVersion=2\n",
        "list.asx": f'<asx version="3.0"><entry><ref href="{far}"/></entry></asx>',
        "reference.asf": f"[Reference]\nRef1={far}\n",
        "list.smil": f'<smil><body><video src="{far}"/></body></smil>',
        "stream.ram": f"{far}\nrtsp://{server}/x\n",
        "text.rtsp": f"rtsp://{server}/x\n",
        "cpl.xml": f'<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>{far}</Id></CompositionPlaylist>',
        "manifest.ism": f'<SmoothStreamingMedia MajorVersion="2"><StreamIndex Type="video" Url="{far}"/></SmoothStreamingMedia>',
        "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" width="9" height="9"><image x:href="{far}" width="9" height="9"/></svg>',
        "script.avs": f'DirectShowSource("{near}")\n',
        "script.vpy": f'import vapoursynth\nvapoursynth.core.ffms2.Source("{near}")\n',
        "metadata.ffmeta": ";FFMETADATA1\ntitle=x\n",
        "graph.lavfi": "movie=other.ts\n",
    }  # fmt: skip
    found = {name: text.encode() for name, text in texts.items()}
    whole = make_video(folder / "whole.mp4", frames=3, options=X264).read_bytes()
    found["reference.mov"] = reference_movie(far)
    found["alias.mov"] = with_data_reference(whole, alias_of(near))
    return found


def reference_movie(url: str) -> bytes:
    """Return a QuickTime movie that contains only the address of another."""
    reference = box(b"rdrf", b"\0\0\0\0url " + struct.pack(">I", len(url) + 1), url.encode(), b"\0")
    return box(b"ftyp", b"qt  \0\0\0\0qt  ") + box(b"moov", box(b"rmra", box(b"rmda", reference)))


def alias_of(path: str) -> bytes:
    """Return a classic Mac OS alias record, as in `dref`: volume, name, and the path."""
    name = path.rpartition("/")[2].encode()
    record = bytearray(150)
    record[6] = len(b"volume")  # libavformat expects it here, after the flags
    record[10 : 10 + 27] = b"\6volume".ljust(27, b"\0")
    record[50 : 50 + 64] = (bytes([len(name)]) + name).ljust(64, b"\0")
    for kind in (2, 18):
        data = path.encode()
        record += struct.pack(">HH", kind, len(data)) + data + b"\0" * (len(data) % 2)
    return b"alis\0\0\0\0" + bytes(record) + struct.pack(">hH", -1, 0)


def with_data_reference(mp4: bytes, entry: bytes) -> bytes:
    """Return an MP4, with `moov` after `mdat`, with a reference to samples in another file."""
    data = bytearray(mp4)
    own = data.index(b"url \0\0\0\1") - 4
    data[own : own + 12] = struct.pack(">I", len(entry) + 4) + entry
    grown = len(entry) + 4 - 12
    for name in MP4_PARENTS:
        at = data.rindex(name, 0, own + 8) - 4
        size = struct.unpack_from(">I", data, at)[0]
        struct.pack_into(">I", data, at, size + grown)
    return bytes(data)


def linked_matroska(path: Path, *, to: str) -> Path:
    """Write a Matroska file that refers to another one as its continuation."""
    make_video(path, frames=3, options=X264)
    data = path.read_bytes()
    at = data.index(b"\x4d\x80")  # MuxingApp, in whose place NextFilename comes
    size = data[at + 2] & 0x7F
    name = to.encode().ljust(size - 1, b"\0")
    link = b"\x3e\x83\xbb" + bytes([0x80 | len(name)]) + name
    path.write_bytes(data[:at] + link + data[at + 3 + size :])
    return path


def box(name: bytes, *parts: bytes) -> bytes:
    """Return an MP4 box."""
    content = b"".join(parts)
    return struct.pack(">I4s", len(content) + 8, name) + content
