"""The steps from a folder of videos to a catalog, each a function on one batch.

    discover -> observe_videos -> cut_clips -> extract_batch -> measure_batch -> catalog_batch
                                                             -> caption_batch
                                                             -> embed_batch   -> pool_batch

    mark_near_duplicates                             over the clips of all batches

Each Dagster asset calls one of them. You can also call them without Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from frames_pipeline._lazy import lazy_names
from frames_pipeline._renamed import old_names

if TYPE_CHECKING:
    from frames_pipeline.pipeline.catalog import CATALOG, catalog_batch
    from frames_pipeline.pipeline.changes import Estimate, estimate_changes, estimate_rows
    from frames_pipeline.pipeline.derive import (
        caption_batch,
        derive_batch,
        embed_batch,
        measure_batch,
        pool_batch,
    )
    from frames_pipeline.pipeline.duplicates import DuplicatesReport, mark_near_duplicates
    from frames_pipeline.pipeline.extraction import FramesReport, extract_batch
    from frames_pipeline.pipeline.families import Family, family_of
    from frames_pipeline.pipeline.family_sample import FamilyReport
    from frames_pipeline.pipeline.ingest import (
        Change,
        Discovery,
        clips_version,
        cut_clips,
        discover,
        find_changes,
        observe_videos,
        videos_version,
    )
    from frames_pipeline.pipeline.inspection import (
        BlankReport,
        Finding,
        SignatureFit,
        compare_with_signature,
        find_disorder,
        find_repeated,
        look_at_clips,
    )
    from frames_pipeline.pipeline.kinds import KINDS, DerivedKind, DerivedReport, kind_of
    from frames_pipeline.pipeline.kinds.quality import MEANS
    from frames_pipeline.pipeline.lineage import (
        DERIVED,
        FramesOrigin,
        RowOrigin,
        Uses,
        origins_of_rows,
        uses_of_frame,
        uses_of_video,
    )
    from frames_pipeline.pipeline.recheck import RecheckReport, recheck_frames
    from frames_pipeline.pipeline.recompression import RecompressReport, recompress_store
    from frames_pipeline.pipeline.repair import Damage, RepairReport, repair_store
    from frames_pipeline.pipeline.retirement import retire_batch
    from frames_pipeline.pipeline.sheet import sheet_of_batch, timeline_of_batch
    from frames_pipeline.pipeline.sizing import Amount, Prices, Sizing, estimate_extraction
    from frames_pipeline.pipeline.source_formats import (
        FormatReport,
        RemarkedClips,
        compare_formats,
        describe_format,
        format_columns,
    )
    from frames_pipeline.pipeline.suspects import Suspect, Suspects
    from frames_pipeline.pipeline.uris import UriReport, extract_uris
    from frames_pipeline.pipeline.views import open_views, view_names
    from frames_pipeline.pipeline.workspace import Workspace


__all__ = [
    "CATALOG",
    "DERIVED",
    "KINDS",
    "MEANS",
    "Amount",
    "BlankReport",
    "Change",
    "Damage",
    "DerivedKind",
    "DerivedReport",
    "Discovery",
    "DuplicatesReport",
    "Estimate",
    "Family",
    "FamilyReport",
    "Finding",
    "FormatReport",
    "FramesOrigin",
    "FramesReport",
    "Prices",
    "RecheckReport",
    "RecompressReport",
    "RemarkedClips",
    "RepairReport",
    "RowOrigin",
    "SignatureFit",
    "Sizing",
    "Suspect",
    "Suspects",
    "UriReport",
    "Uses",
    "Workspace",
    "caption_batch",
    "catalog_batch",
    "clips_version",
    "compare_formats",
    "compare_with_signature",
    "cut_clips",
    "derive_batch",
    "describe_format",
    "discover",
    "embed_batch",
    "estimate_changes",
    "estimate_extraction",
    "estimate_rows",
    "extract_batch",
    "extract_uris",
    "family_of",
    "find_changes",
    "find_disorder",
    "find_repeated",
    "format_columns",
    "kind_of",
    "look_at_clips",
    "mark_near_duplicates",
    "measure_batch",
    "observe_videos",
    "open_views",
    "origins_of_rows",
    "pool_batch",
    "recheck_frames",
    "recompress_store",
    "repair_store",
    "retire_batch",
    "sheet_of_batch",
    "timeline_of_batch",
    "uses_of_frame",
    "uses_of_video",
    "videos_version",
    "view_names",
]

_HOMES: Final = {
    "catalog": (
        "CATALOG",
        "catalog_batch",
    ),
    "changes": (
        "Estimate",
        "estimate_changes",
        "estimate_rows",
    ),
    "derive": (
        "caption_batch",
        "derive_batch",
        "embed_batch",
        "measure_batch",
        "pool_batch",
    ),
    "duplicates": (
        "DuplicatesReport",
        "mark_near_duplicates",
    ),
    "extraction": (
        "FramesReport",
        "extract_batch",
    ),
    "families": (
        "Family",
        "family_of",
    ),
    "family_sample": ("FamilyReport",),
    "ingest": (
        "Change",
        "Discovery",
        "clips_version",
        "cut_clips",
        "discover",
        "find_changes",
        "observe_videos",
        "videos_version",
    ),
    "inspection": (
        "BlankReport",
        "Finding",
        "SignatureFit",
        "compare_with_signature",
        "find_disorder",
        "find_repeated",
        "look_at_clips",
    ),
    "kinds": (
        "KINDS",
        "DerivedKind",
        "DerivedReport",
        "kind_of",
    ),
    "kinds.quality": ("MEANS",),
    "lineage": (
        "DERIVED",
        "FramesOrigin",
        "RowOrigin",
        "Uses",
        "origins_of_rows",
        "uses_of_frame",
        "uses_of_video",
    ),
    "recompression": (
        "RecompressReport",
        "recompress_store",
    ),
    "recheck": (
        "RecheckReport",
        "recheck_frames",
    ),
    "repair": (
        "Damage",
        "RepairReport",
        "repair_store",
    ),
    "retirement": ("retire_batch",),
    "sheet": (
        "sheet_of_batch",
        "timeline_of_batch",
    ),
    "sizing": (
        "Amount",
        "Prices",
        "Sizing",
        "estimate_extraction",
    ),
    "source_formats": (
        "FormatReport",
        "RemarkedClips",
        "compare_formats",
        "describe_format",
        "format_columns",
    ),
    "suspects": (
        "Suspect",
        "Suspects",
    ),
    "uris": (
        "UriReport",
        "extract_uris",
    ),
    "views": (
        "open_views",
        "view_names",
    ),
    "workspace": ("Workspace",),
}

__getattr__ = lazy_names(
    __name__,
    _HOMES,
    old_names(
        __name__,
        {"Places": "Workspace", "Sight": "BlankReport", "Fit": "SignatureFit"},
        values={"COPIED": ("copied from ", "DecodeReport.copied_from")},
    ),
)
