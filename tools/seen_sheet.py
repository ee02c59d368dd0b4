"""`python tools/seen_sheet.py VIDEO… -o docs/images/seen.jpg`: frames as coded, and as seen.

Each tile is the middle frame of a video, without and with the fields that presets set.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from frames_pipeline import FrameExtractionSignature, extract_frames
from frames_pipeline.pictures.contact_sheet import Tile, contact_sheet

AS_CODED = FrameExtractionSignature(policy="middle", target_res=(360, -1))
AS_SEEN = FrameExtractionSignature(
    policy="middle",
    target_res=(360, -1),
    colour="sdr",
    deinterlace="bwdif",
    pixel_aspect="square",
    crop="container",
)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    tiles = []
    for video in arguments.videos:
        found = extract_frames(video, [AS_CODED, AS_SEEN])
        pair = [found[signature].frames[0] for signature in (AS_CODED, AS_SEEN)]
        tiles.append(Tile(np.concatenate(pair, axis=1), video.name, time="as coded | as seen"))
    sheet = contact_sheet(tiles, title="Frames as coded, and as a person sees them")
    arguments.output.write_bytes(sheet)


if __name__ == "__main__":
    main()
