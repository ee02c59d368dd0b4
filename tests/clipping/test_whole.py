"""A whole video as one clip."""

from __future__ import annotations

from frames_pipeline.clipping import WholeVideo
from frames_pipeline.container.media import Media


def test_a_whole_video_is_one_clip(media: Media) -> None:
    (clip,) = WholeVideo().cut(media, "a.mp4")
    assert (clip.start_seconds, clip.duration_seconds) == (0, 25)
    assert clip.num_frames == media.index.num_frames == 125
    assert clip.clip_id == f"a.mp4#{clip.start}-{clip.stop}"
