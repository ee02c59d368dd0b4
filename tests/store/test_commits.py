"""Commits and manifests as JSON documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.errors import IntegrityError
from frames_pipeline.frames import DecodeReport, Outcome
from frames_pipeline.store import ClipCommit, Manifest, StoredObject
from frames_pipeline.store.commits import (
    dump,
    outcome_document,
    outcome_from_document,
    parse,
)
from frames_pipeline.store.layout import new_attempt

positions = st.lists(st.integers(0, 2**40), max_size=3).map(tuple)
counts = st.integers(0, 10**9)
outcomes = st.builds(
    Outcome,
    decode=st.builds(
        DecodeReport, st.text(), packets_fed=counts, fallback=st.text(), copied_from=st.text()
    ),
    candidates=counts,
    missing=positions,
    corrupt=positions,
    timestamps=st.sampled_from(["container", "repaired", "counted"]),
    detail=st.text(),
    timestamps_detail=st.text(),
)


@st.composite
def commits(draw: st.DrawFn) -> ClipCommit:
    """Any commit."""
    clip = draw(st.text(min_size=1))
    stored = st.builds(StoredObject, counts, st.text(alphabet="0123456789abcdef"))
    return ClipCommit(
        clip_id=clip,
        path=new_attempt(clip),
        objects=draw(st.dictionaries(st.text(), stored)),
        num_frames=draw(counts),
        height=draw(counts),
        width=draw(counts),
        digest=draw(st.text()),
        fingerprint=draw(st.text()),
        signature_key=draw(st.text()),
        outcome=draw(outcomes),
        created=draw(st.datetimes(timezones=st.just(UTC))),
    )


manifests = st.builds(
    Manifest,
    batch_key=st.text(),
    signature_key=st.text(),
    signature=st.dictionaries(st.text(), st.none() | st.integers() | st.text()),
    clips=st.lists(commits()).map(lambda found: {commit.clip_id: commit for commit in found}),
    created=st.datetimes(timezones=st.just(UTC)),
)


@given(commits())
def test_commit_comes_back(commit: ClipCommit) -> None:
    """Nothing is lost in JSON, and what later versions add is passed over."""
    document = json.loads(dump(commit.to_document()))
    assert ClipCommit.from_document(document) == commit
    document["outcome"]["decode"]["new"] = document["outcome"]["new"] = document["new"] = 1
    assert ClipCommit.from_document(document) == commit
    assert document["bytes"] == sum(stored.size for stored in commit.objects.values())


@given(manifests)
def test_manifest_comes_back(manifest: Manifest) -> None:
    """Digest included."""
    found = parse(dump(manifest.to_document()), Manifest.from_document, name="m")
    assert found == manifest
    assert found.digest == manifest.digest


@pytest.fixture
def document() -> dict[str, Any]:
    """A commit's document."""
    commit = ClipCommit(
        clip_id="clip",
        path=new_attempt("clip"),
        objects={},
        num_frames=1,
        height=1,
        width=1,
        digest="",
        fingerprint="",
        signature_key="",
        outcome=Outcome(DecodeReport("pyav"), candidates=1),
        created=datetime.now(UTC),
    )
    return dict(commit.to_document())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", "frames-commit/2"),
        ("path", "../../elsewhere"),
        ("path", "clips/x-0123456789abcdef/0198c3a4b5c6-89abcdef"),
        ("clip_id", "another"),
        ("objects", {"a": [1]}),
        ("objects", []),
        ("outcome", None),
        ("created", "yesterday"),
    ],
)
def test_no_commit(document: dict[str, Any], name: str, value: object) -> None:
    """A document that is not what it should be is refused, by the name of its object."""
    data = json.dumps(document | {name: value}).encode()
    with pytest.raises(IntegrityError, match=r"^commits/x is damaged or is another document"):
        parse(data, ClipCommit.from_document, name="commits/x")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\xff", b"null"])
def test_no_document(data: bytes) -> None:
    """So is what is no document at all."""
    for make in (ClipCommit.from_document, Manifest.from_document):
        with pytest.raises(IntegrityError, match="mend it with"):
            parse(data, make, name="commits/x")


def test_changed_manifest(document: dict[str, Any]) -> None:
    """A manifest whose clips are not those it was written with does not pass."""
    clip = ClipCommit.from_document(document)
    manifest = Manifest("b", "s", {}, {"clip": clip}, datetime.now(UTC)).to_document()
    changed = {**manifest, "digest": "0"}
    with pytest.raises(IntegrityError, match="digest 0 does not match its clips"):
        parse(dump(changed), Manifest.from_document, name="m")


def test_a_report_of_version_0_1_says_in_its_choice_where_frames_were_copied_from() -> None:
    origin = "batch-000001, b.mp4#0-12800"
    now = Outcome(DecodeReport("pyav", choice=f"copied from {origin}", copied_from=origin), 2)
    document = dict(outcome_document(now))
    document["decode"] = {k: v for k, v in document["decode"].items() if k != "copied_from"}
    assert outcome_from_document(document) == now
    chosen = Outcome(DecodeReport("pyav", choice="auto: there is no GPU 0"), 2)
    assert "copied_from" not in outcome_document(chosen)["decode"]
    assert outcome_from_document(outcome_document(chosen)) == chosen
