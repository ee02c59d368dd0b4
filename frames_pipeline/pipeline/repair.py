"""Find damaged documents, tables and notes under a root, and mend them from the rest.

    batches/{batch}.json      from the index, or from the table `videos` or `clips`
    batches/index.parquet     deleted: the registry writes it again
    signature.json            from the manifest, another batch, the frames, or the caller
    manifest.json             from the commits
    commits/{clip}.json       from the manifest; else a run with `repair` extracts the clip again
    tables/videos/…           from the table `clips`; a run looks at the videos again
    tables/…                  moved to `damaged/`; its step makes it again
    origins/…                 deleted: a run writes it again
    suspects/…                written again, without the findings

Pixels are not read: `FrameStore.verify(deep=True)` compares them, and `extract_batch(repair=True)`
extracts damaged clips again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.pipeline.content_index import parse_note
from frames_pipeline.pipeline.suspects import Suspects
from frames_pipeline.pipeline.workspace import Places, Row
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import NUMBERED, Batch
from frames_pipeline.store import Manifest
from frames_pipeline.tables.tables import FILE_KEY, ROOT, VIDEOS, table_of

ASIDE: Final = "damaged"
"""Folder under the root that damaged tables are moved to, by time and former name."""
_STEPS: Final = {
    "videos": "look at the videos again",
    "clips": "cut the clips again; a video that is gone needs the table from a backup",
    "outcomes": "run the extraction again",
}


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is missing, or not as it was written."""

    key: str
    """The object, relative to the root."""
    found: str
    """The damage."""
    remedy: str
    """The source it is mended from and the next step, or the object to restore."""
    can_mend: bool
    """Whether it can be mended from the rest."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    """Damage in a store. Unless this was a dry run, it was mended as far as possible."""

    damages: tuple[Damage, ...]
    """Every damaged document, table and note."""
    dry_run: bool
    """Whether everything was left as it was."""

    @property
    def left(self) -> tuple[Damage, ...]:
        """Damage that is left."""
        return tuple(one for one in self.damages if self.dry_run or not one.can_mend)


Mend = tuple[Damage, Callable[[], object] | None]
"""A damage, and the call that mends it."""


def repair_store(
    places: Places,
    batches: Iterable[str] = (),
    *,
    signatures: Iterable[FrameExtractionSignature] = (),
    dry_run: bool = True,
) -> RepairReport:
    """Find damaged documents, tables and notes, and unless it is a dry run mend them.

    Args:
        places: Where everything is. The source is not looked at.
        batches: Keys of batches; all of them, and all notes, if none is given.
        signatures: Signatures that the caller knows, to restore their documents.
        dry_run: Only report.
    """
    chosen = list(batches)
    found: list[Damage] = []
    for damage, mend in _damages(places, chosen, tuple(signatures)):
        found.append(damage)
        if mend is not None and not dry_run:
            mend()  # before the next is looked at: a manifest is rebuilt from mended commits
    return RepairReport(tuple(found), dry_run)


def _damages(
    places: Places, chosen: Sequence[str], signatures: Sequence[FrameExtractionSignature]
) -> Iterator[Mend]:
    yield from _of_batches(places, chosen)
    yield from _of_tables(places, chosen)
    stored = places.store.batches()
    for batch in chosen or stored:
        if batch in stored:
            yield from _of_frames(places, batch, signatures)
    if not chosen:
        yield from _of_notes(places)
        yield from _of_suspects(Suspects(places.store.objects))


def _of_batches(places: Places, chosen: Sequence[str]) -> Iterator[Mend]:
    objects, copies = places.store.objects, places.batches.indexed()
    names = set(objects.names("batches"))
    keys = {name.removeprefix("batches/").removesuffix(".json") for name in names if _is_json(name)}
    known = {*copies, *filter(NUMBERED.fullmatch, places.tables.batches("videos"))}
    for key in sorted((keys | known) & set(chosen) if chosen else keys | known):
        try:
            Batch.from_json(objects.get(f"batches/{key}.json"), name=key)
        except FileNotFoundError:
            yield _batch(places, key, "is missing", copies)
        except IntegrityError as error:
            yield _batch(places, key, str(error), copies)
    index = "batches/index.parquet"
    if not chosen and (found := places.batches.index_damage()):
        damage = Damage(index, found, "deleted: it is a hint", True)
        yield damage, partial(objects.delete, [index])


def _is_json(name: str) -> bool:
    return name.endswith(".json")


def _batch(places: Places, key: str, found: str, copies: Mapping[str, Batch]) -> Mend:
    name = f"batches/{key}.json"
    batch, source = copies.get(key), "the index"
    if batch is None:
        batch, source = _batch_of_tables(places, key), "its tables"
    if batch is None:
        return Damage(name, found, f"restore {name} from a backup", False), None
    damage = Damage(name, found, f"rebuilt from {source}", True)
    return damage, partial(places.batches.rebuild, batch)


def _batch_of_tables(places: Places, key: str) -> Batch | None:
    """The batch as its tables have it: each has every video of it."""
    for table in ("videos", "clips"):
        rows = _rows(places, table, key)
        if rows:
            videos = sorted({row["video_key"] for row in rows})
            return Batch(key, tuple(videos), _source(rows), _now().isoformat())
    return None


def _source(rows: Sequence[Row]) -> str:
    """Where the videos of a table were found; empty where it does not say."""
    uri, video = rows[0].get("uri", ""), rows[0]["video_key"]
    return uri.removesuffix(f"/{video}") if uri.endswith(f"/{video}") else ""


def _of_tables(places: Places, chosen: Sequence[str]) -> Iterator[Mend]:
    objects = places.store.objects
    for key in objects.list(ROOT):
        name = FILE_KEY.fullmatch(key)
        if name is None or (chosen and name["batch"] not in chosen):
            continue
        try:
            places.tables.check([key])
        except IntegrityError as error:
            yield _table(places, key, str(error), name["table"], name["batch"])


def _table(places: Places, key: str, found: str, table: str, batch: str) -> Mend:
    aside = f"{ASIDE}/{_now():%Y%m%dT%H%M%SZ}/{key}"
    todo = _STEPS.get(table, f"run the step of the table {table} again")
    known = _videos_of_clips(places, batch) if table == "videos" else []
    remedy = f"moved to {aside}" + (", rebuilt from the clips" if known else "") + f"; {todo}"

    def mend() -> None:
        objects = places.store.objects
        for name, data in objects.get_many([key]).items():
            objects.put(aside, data)
            objects.delete([name])
        if known:
            places.tables.write("videos", batch, table_of(known, VIDEOS))

    return Damage(key, found, remedy, True), mend


def _videos_of_clips(places: Places, batch: str) -> list[Row]:
    """Videos with the bytes that they had: a video that is gone keeps its clips by them."""
    try:
        source = places.batches.read(batch).source
    except (CommitNotFoundError, IntegrityError):
        source = ""
    rows = {row["video_key"]: row["fingerprint"] for row in _rows(places, "clips", batch)}
    same: dict[str, Any] = {"size": None, "modified": None, "etag": "", "status": "ok"}
    return [
        {**same, "video_key": key, "uri": f"{source}/{key}", "fingerprint": sha, "detail": ""}
        for key, sha in sorted(rows.items())
    ]


def _rows(places: Places, table: str, batch: str) -> list[Row]:
    """Rows of a table; none where it is damaged."""
    try:
        return places.rows(table, batch)
    except IntegrityError:
        return []


def _of_frames(
    places: Places, batch: str, signatures: Sequence[FrameExtractionSignature]
) -> Iterator[Mend]:
    known = {signature.key: signature for signature in signatures}
    for key in places.store.signatures(batch):
        signature = known.get(key)
        yield from _of_signature(places, batch, key, signature)
        yield from _of_commits(places, batch, key)
        yield from _of_manifest(places, batch, key)


def _of_signature(
    places: Places, batch: str, key: str, known: FrameExtractionSignature | None
) -> Iterator[Mend]:
    state = places.store.inspect(batch, key)
    if not state.signature_damage:
        return
    document = state.find_signature(_copies(places, batch, key, known))
    if document is None:
        remedy = "run the extraction with repair and that signature, or restore it from a backup"
        yield Damage(state.folder.signature, state.signature_damage, remedy, False), None
        return
    remedy = "restored from a copy that has the hash in its key"
    damage = Damage(state.folder.signature, state.signature_damage, remedy, True)
    yield damage, partial(places.store.objects.put, state.folder.signature, document)


def _copies(
    places: Places, batch: str, key: str, known: FrameExtractionSignature | None
) -> Iterator[bytes]:
    """Yield candidates for the signature's document: the caller's, and other batches' documents."""
    if known is not None:
        yield known.canonical_json().encode()
    for other in places.store.batches():
        if other != batch:
            with contextlib.suppress(FileNotFoundError):
                yield places.store.objects.get(f"frames/{other}/{key}/signature.json")


def _of_commits(places: Places, batch: str, key: str) -> Iterator[Mend]:
    state = places.store.inspect(batch, key)
    for name, found in sorted(state.commit_damage.items()):
        commit = state.published(name)
        if commit is None:
            remedy = "run the extraction with repair: the clip is extracted again"
            yield Damage(name, found, remedy, False), None
        else:
            damage = Damage(name, found, "rebuilt from the manifest", True)
            yield damage, partial(places.store.put_commit, batch, commit)


def _of_manifest(places: Places, batch: str, key: str) -> Iterator[Mend]:
    state = places.store.inspect(batch, key)
    if not state.manifest_damage:
        return
    promised = {row["clip_id"] for row in _outcomes(places, batch, key) if row["frames"]}
    clips = {
        clip: commit
        for clip, commit in sorted(state.commits.items())
        if not promised or clip in promised
    }
    document = state.find_signature()
    if not clips or document is None:
        remedy = "run the extraction with repair, or restore it from a backup"
        yield Damage(state.folder.manifest, state.manifest_damage, remedy, False), None
        return
    manifest = Manifest(batch, key, json.loads(document), clips, _now())
    remedy = f"rebuilt from {len(clips)} commits"
    damage = Damage(state.folder.manifest, state.manifest_damage, remedy, True)
    yield damage, partial(places.store.put_manifest, manifest)


def _outcomes(places: Places, batch: str, key: str) -> list[Row]:
    try:
        return places.rows("outcomes", batch, part=key)
    except IntegrityError:
        return []


def _of_notes(places: Places) -> Iterator[Mend]:
    objects = places.store.objects
    for key, data in objects.get_many(filter(_is_json, objects.list("origins"))).items():
        try:
            parse_note(data)
        except UNREADABLE as error:
            damage = Damage(key, f"is damaged ({error!r})", "deleted: it is a hint", True)
            yield damage, partial(objects.delete, [key])


def _of_suspects(suspects: Suspects) -> Iterator[Mend]:
    for path, fault in suspects.damaged().items():
        remedy = "written again without the findings; the family stays suspect"
        damage = Damage(path, f"is damaged ({fault})", remedy, True)
        yield damage, partial(suspects.write_anew, path)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
