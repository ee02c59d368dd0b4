"""The format of a decoded frame: colours, samples, interlacing, and HDR metadata."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from typing import Final, Literal

from av.filter import Graph
from av.video.frame import VideoFrame

from frames_pipeline.container.picture_format import with_colours, with_samples
from frames_pipeline.decoding.side_data import side_data
from frames_pipeline.frames import PictureFormat

_MASTERING: Final = struct.Struct("<20i2i")
"""AVMasteringDisplayMetadata: ten rationals, of which the last is the maximum luminance, and two
flags, of which the second is set if luminance is declared."""
_LIGHT: Final = struct.Struct("<II")
"""AVContentLightMetadata: MaxCLL, MaxFALL."""
_RPU: Final = struct.Struct("<4xB10x2B")
"""AVDOVIRpuDataHeader: vdr_rpu_profile, and later el_spatial_resampling_filter_flag and
disable_residual_flag."""
_RPU_FULL_RANGE, _RPU_DEPTH = 10, 13
"""Bytes with bl_video_full_range_flag and vdr_bit_depth."""


def frame_format(frame: VideoFrame, declared: PictureFormat) -> PictureFormat:
    """Return the format of a frame, with the stream's declared facts where the frame has none.

    A frame that is flagged interlaced decides the order of fields. A progressive one does not:
    telecine flags some frames.
    """
    seen = with_samples(with_colours(declared, frame), frame.sw_format or frame.format)
    return replace(
        seen,
        field_order=field_order(frame) if frame.interlaced_frame else declared.field_order,
        peak_luminance=peak_luminance(frame) or declared.peak_luminance,
        max_content_light=max_content_light(frame) or declared.max_content_light,
        dolby_vision=declared.dolby_vision or dolby_vision(frame),
    )


def field_order(frame: VideoFrame) -> Literal["tff", "bff"]:
    """Return the field of an interlaced frame that is shown first.

    PyAV does not expose the flag, and FFmpeg's filter `select` does.
    """
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1)
    )
    select = graph.add("select", "expr=eq(interlace_type\\,TOPFIRST)")
    graph.link_nodes(source, select, graph.add("buffersink")).configure()
    graph.vpush(frame)
    try:
        graph.vpull()
    except BlockingIOError:
        return "bff"
    return "tff"


def peak_luminance(frame: VideoFrame) -> Fraction | None:
    """Return the peak of the mastering display in cd/m²; `None` without one, or without sense."""
    data = side_data(frame, "MASTERING_DISPLAY_METADATA")
    if data is None or len(data) < _MASTERING.size:
        return None
    *_, numerator, denominator, _, has_luminance = _MASTERING.unpack_from(data)
    is_declared = has_luminance and numerator > 0 and denominator > 0
    return Fraction(numerator, denominator) if is_declared else None


def max_content_light(frame: VideoFrame) -> int | None:
    """Return the maximum content light level in cd/m²; `None` without one, or for zero."""
    data = side_data(frame, "CONTENT_LIGHT_LEVEL")
    if data is None or len(data) < _LIGHT.size:
        return None
    maximum, _ = _LIGHT.unpack_from(data)
    return maximum or None


def dolby_vision(frame: VideoFrame) -> int | None:
    """Return the Dolby Vision profile by a frame's metadata; `None` if there is none.

    The metadata lacks the profile, so it is inferred as FFmpeg's encoders do (libavcodec/dovi_rpu).
    """
    data = side_data(frame, "DOVI_METADATA")
    if data is None:
        return None
    header = data[int.from_bytes(data[:8], "little") :]
    if len(header) < _RPU.size:
        return None
    profile, is_enhanced, has_no_residual = _RPU.unpack_from(header)
    if profile == 0:
        return 5 if header[_RPU_FULL_RANGE] else None
    if profile != 1:
        return None
    if is_enhanced and not has_no_residual:
        return 7 if header[_RPU_DEPTH] == 12 else 4
    return 8
