"""Many small clips in few large objects, for training: `pack_frames` and `open_pack`.

    {to}/parts/{part}/frames/zarr.json  frames/c/…    frames of many clips, in a row
    {to}/parts/{part}/index.parquet                   clip -> [start, stop), and its lineage
    {to}/parts/{part}/part.json                       its files with size and hash, after those
    {to}/pack.json                                    the parts of the pack; written last

        | clip a | clip b | clip c  …                 frames
        |       shard 0       |       shard 1  …      objects, 64 MiB of raw frames each

A pack is an additional copy of a store's frames. A part holds frames of one size, is named after
its content and codec, and never changes. Packing again writes only the missing parts. A pack
becomes visible with its last object, `pack.json`; the next writer takes up the parts of a killed
one. Write from one process at a time: of two, the last one's `pack.json` stands. `prune_pack`
deletes parts that have been unreferenced for a while.
"""

from __future__ import annotations

from frames_pipeline.clips import Progress
from frames_pipeline.readers.packs.documents import Part
from frames_pipeline.readers.packs.layout import INDEX, PACK, PACK_FORMAT, PART_FORMAT, Listing
from frames_pipeline.readers.packs.pruning import PruneReport, prune_pack
from frames_pipeline.readers.packs.reading import PackedFrames, open_pack
from frames_pipeline.readers.packs.writing import PackReport, pack_frames

__all__ = [
    "INDEX",
    "PACK",
    "PACK_FORMAT",
    "PART_FORMAT",
    "Listing",
    "PackReport",
    "PackedFrames",
    "Part",
    "Progress",
    "PruneReport",
    "open_pack",
    "pack_frames",
    "prune_pack",
]
