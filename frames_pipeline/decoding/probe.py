"""Size, rotation and format of a video's pictures, from the first frame that decodes."""

from __future__ import annotations

from dataclasses import replace

from av.video.frame import VideoFrame

from frames_pipeline.container.index import PacketIndex
from frames_pipeline.container.media import Media
from frames_pipeline.decoding.backends import open_decoder
from frames_pipeline.decoding.convert import orientation
from frames_pipeline.decoding.decode_pass import DecodedFrame
from frames_pipeline.decoding.frame_format import frame_format
from frames_pipeline.decoding.row_decode import Restarted, RowDecode


def probe_media(media: Media) -> PacketIndex:
    """Return the index of an open video, with the size, rotation and format of its first frame.

    If that frame does not decode, they come from the container.
    """
    frame = _first_frame(media)
    if frame is None:
        return media.index
    return replace(
        media.index,
        width=frame.width,
        height=frame.height,
        rotation=orientation(frame).degrees,
        pixel_format=frame.format.name,
        picture=frame_format(frame, media.index.picture),
    )


def _first_frame(media: Media) -> VideoFrame | None:
    """Return the first decoded frame of a pass to the first shown one; `None` if it is damaged."""
    decode = RowDecode(media, media.index.presentation[:1], open_decoder())
    for event in decode.events():
        match event:
            case DecodedFrame(_, frame):
                return frame
            case Restarted():
                return None
    return None
