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
from typing import Final

from frames_pipeline._renamed import old_parameters
from frames_pipeline.errors import CommitNotFoundError, IntegrityError
from frames_pipeline.io.sums import UNREADABLE
from frames_pipeline.pipeline.content_index import parse_note
from frames_pipeline.pipeline.suspects import Suspects
from frames_pipeline.pipeline.workspace import R, Workspace
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.sources.batches import NUMBERED, Batch
from frames_pipeline.store import Manifest
from frames_pipeline.store.layout import SignatureFolder
from frames_pipeline.tables import FILE_KEY, ROOT, ClipRow, OutcomeRow, VideoRow

ASIDE: Final = "damaged"
"""Folder under the root for damaged tables, by time and former name."""
_STEPS: Final = {
    "videos": "look at the videos again",
    "clips": "cut the clips again; a video that is gone needs the table from a backup",
    "outcomes": "run the extraction again",
}


@dataclass(frozen=True, slots=True)
class Damage:
    """A missing or damaged object."""

    key: str
    """Key of the object, relative to the root."""
    found: str
    """Description of the damage."""
    remedy: str
    """Source for mending and the next step, or the object to restore."""
    can_mend: bool
    """Whether other objects suffice to mend it."""


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


@old_parameters(places="workspace")
def repair_store(
    workspace: Workspace,
    batches: Iterable[str] = (),
    *,
    signatures: Iterable[FrameExtractionSignature] = (),
    dry_run: bool = True,
) -> RepairReport:
    """Find damaged documents, tables and notes, and unless it is a dry run mend them.

    Args:
        workspace: Workspace of the batches. The source is not read.
        batches: Keys of batches; default: all batches, and all notes.
        signatures: Signatures with documents to restore, if you know them.
        dry_run: Only report.
    """
    chosen = list(batches)
    found: list[Damage] = []
    for damage, mend in _damages(workspace, chosen, tuple(signatures)):
        found.append(damage)
        if mend is not None and not dry_run:
            mend()  # at once: a manifest is rebuilt from mended commits
    return RepairReport(tuple(found), dry_run)


def _damages(
    workspace: Workspace, chosen: Sequence[str], signatures: Sequence[FrameExtractionSignature]
) -> Iterator[Mend]:
    yield from _of_batches(workspace, chosen)
    yield from _of_tables(workspace, chosen)
    stored = workspace.store.batches()
    for batch in chosen or stored:
        if batch in stored:
            yield from _of_frames(workspace, batch, signatures)
    if not chosen:
        yield from _of_notes(workspace)
        yield from _of_suspects(Suspects(workspace.store.objects))


def _of_batches(workspace: Workspace, chosen: Sequence[str]) -> Iterator[Mend]:
    objects, copies = workspace.store.objects, workspace.batches.indexed()
    names = set(objects.names("batches"))
    keys = {name.removeprefix("batches/").removesuffix(".json") for name in names if _is_json(name)}
    known = {*copies, *filter(NUMBERED.fullmatch, workspace.tables.batches("videos"))}
    wanted = sorted((keys | known) & set(chosen) if chosen else keys | known)
    found = objects.get_many(f"batches/{key}.json" for key in wanted)
    for key in wanted:
        data = found.get(f"batches/{key}.json")
        if data is None:
            yield _batch(workspace, key, "is missing", copies)
            continue
        try:
            Batch.from_json(data, name=key)
        except IntegrityError as error:
            yield _batch(workspace, key, str(error), copies)
    index = "batches/index.parquet"
    if not chosen and (fault := workspace.batches.index_damage()):
        damage = Damage(index, fault, "deleted: it is a hint", True)
        yield damage, partial(objects.delete, [index])


def _is_json(name: str) -> bool:
    return name.endswith(".json")


def _batch(workspace: Workspace, key: str, found: str, copies: Mapping[str, Batch]) -> Mend:
    name = f"batches/{key}.json"
    batch, source = copies.get(key), "the index"
    if batch is None:
        batch, source = _batch_of_tables(workspace, key), "its tables"
    if batch is None:
        return Damage(name, found, f"restore {name} from a backup", False), None
    damage = Damage(name, found, f"rebuilt from {source}", True)
    return damage, partial(workspace.batches.rebuild, batch)


def _batch_of_tables(workspace: Workspace, key: str) -> Batch | None:
    """Return the batch by one of its tables, each of which names every video."""
    videos = _rows(workspace, VideoRow, key)
    rows: Sequence[VideoRow | ClipRow] = videos or _rows(workspace, ClipRow, key)
    if not rows:
        return None
    keys = sorted({row.video_key for row in rows})
    source = _source(videos[0]) if videos else ""
    return Batch(key, tuple(keys), source, _now().isoformat())


def _source(row: VideoRow) -> str:
    """Return the source that a video was found in; empty if its URI does not end in its key."""
    tail = f"/{row.video_key}"
    return row.uri.removesuffix(tail) if row.uri.endswith(tail) else ""


def _of_tables(workspace: Workspace, chosen: Sequence[str]) -> Iterator[Mend]:
    names = {
        key: name
        for key in workspace.store.objects.list(ROOT)
        if (name := FILE_KEY.fullmatch(key)) and (not chosen or name["batch"] in chosen)
    }
    for key, error in workspace.tables.faults(names):
        yield _table(workspace, key, str(error), names[key]["table"], names[key]["batch"])


def _table(workspace: Workspace, key: str, found: str, table: str, batch: str) -> Mend:
    aside = f"{ASIDE}/{_now():%Y%m%dT%H%M%SZ}/{key}"
    todo = _STEPS.get(table, f"run the step of the table {table} again")
    known = _videos_of_clips(workspace, batch) if table == "videos" else []
    remedy = f"moved to {aside}" + (", rebuilt from the clips" if known else "") + f"; {todo}"

    def mend() -> None:
        objects = workspace.store.objects
        for name, data in objects.get_many([key]).items():
            objects.put(aside, data)
            objects.delete([name])
        if known:
            workspace.tables.write("videos", batch, VideoRow.to_table(known))

    return Damage(key, found, remedy, True), mend


def _videos_of_clips(workspace: Workspace, batch: str) -> list[VideoRow]:
    """Return videos with their last fingerprints, by which a missing video keeps its clips."""
    try:
        source = workspace.batches.read(batch).source
    except (CommitNotFoundError, IntegrityError):
        source = ""
    fingerprints = {row.video_key: row.fingerprint for row in _rows(workspace, ClipRow, batch)}
    return [
        VideoRow(
            video_key=key,
            uri=f"{source}/{key}",
            size=None,
            modified=None,
            etag="",
            fingerprint=fingerprint,
            status="ok",
            detail="",
        )
        for key, fingerprint in sorted(fingerprints.items())
    ]


def _rows(workspace: Workspace, kind: type[R], batch: str, *, part: str = "") -> list[R]:
    """Return the rows of a table; none if it is damaged."""
    try:
        return workspace.read(kind, batch, part=part)
    except IntegrityError:
        return []


def _of_frames(
    workspace: Workspace, batch: str, signatures: Sequence[FrameExtractionSignature]
) -> Iterator[Mend]:
    known = {signature.key: signature for signature in signatures}
    for key in workspace.store.signatures(batch):
        signature = known.get(key)
        yield from _of_signature(workspace, batch, key, signature)
        yield from _of_commits(workspace, batch, key)
        yield from _of_manifest(workspace, batch, key)


def _of_signature(
    workspace: Workspace, batch: str, key: str, known: FrameExtractionSignature | None
) -> Iterator[Mend]:
    state = workspace.store.inspect(batch, key)
    if not state.signature_damage:
        return
    document = state.find_signature(_copies(workspace, batch, key, known))
    if document is None:
        remedy = "run the extraction with repair and that signature, or restore it from a backup"
        yield Damage(state.folder.signature, state.signature_damage, remedy, False), None
        return
    remedy = "restored from a copy that has the hash in its key"
    damage = Damage(state.folder.signature, state.signature_damage, remedy, True)
    yield damage, partial(workspace.store.objects.put, state.folder.signature, document)


def _copies(
    workspace: Workspace, batch: str, key: str, known: FrameExtractionSignature | None
) -> Iterator[bytes]:
    """Yield candidates for the signature's document: the caller's, and other batches' documents."""
    if known is not None:
        yield known.canonical_json().encode()
    for other in workspace.store.batches():
        if other != batch:
            with contextlib.suppress(FileNotFoundError):
                yield workspace.store.objects.get(SignatureFolder(other, key).signature)


def _of_commits(workspace: Workspace, batch: str, key: str) -> Iterator[Mend]:
    state = workspace.store.inspect(batch, key)
    for name, found in sorted(state.commit_damage.items()):
        commit = state.published(name)
        if commit is None:
            remedy = "run the extraction with repair: the clip is extracted again"
            yield Damage(name, found, remedy, False), None
        else:
            damage = Damage(name, found, "rebuilt from the manifest", True)
            yield damage, partial(workspace.store.put_commit, batch, commit)


def _of_manifest(workspace: Workspace, batch: str, key: str) -> Iterator[Mend]:
    state = workspace.store.inspect(batch, key)
    if not state.manifest_damage:
        return
    outcomes = _rows(workspace, OutcomeRow, batch, part=key)
    promised = {row.clip_id for row in outcomes if row.frames}
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
    yield damage, partial(workspace.store.put_manifest, manifest)


def _of_notes(workspace: Workspace) -> Iterator[Mend]:
    objects = workspace.store.objects
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
