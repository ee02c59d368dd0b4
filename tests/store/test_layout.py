"""Names of batches, clips and attempts."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frames_pipeline.errors import ConfigError
from frames_pipeline.signature import FrameExtractionSignature
from frames_pipeline.store import layout
from frames_pipeline.store.layout import AttemptPath

SIGNATURE = FrameExtractionSignature()


@dataclass(frozen=True)
class Thing:
    """What has a key and a clip id."""

    key: str = "batch"
    clip_id: str = "clip"


@pytest.mark.parametrize("key", ["2024-05", "videos.2024", "tâches 1", "x" * 128, "a=1&b#2"])
def test_batch_keys(key: str) -> None:
    """What can be a folder and a partition is a batch key."""
    assert layout.batch_key(key) == key


@pytest.mark.parametrize(
    "key",
    ["", ".", "..", "a..b", ".hidden", "a/b", "a\\b", "a,b", "a\nb", "a\0", "\ud800", "x" * 129],
)
def test_refused_batch_keys(key: str) -> None:
    """The message shows the key and says what is wrong with it."""
    with pytest.raises(ConfigError, match=r"^batch key '.*' cannot be used: it .*; choose another"):
        layout.batch_key(key)


def test_things_stand_for_their_keys() -> None:
    """A batch or a clip may be given itself."""
    assert layout.batch_key(Thing()) == "batch"
    assert layout.clip_id(Thing()) == "clip"
    assert layout.signature_folder(Thing(), SIGNATURE).path == f"frames/batch/{SIGNATURE.key}"
    assert layout.signature_folder("batch", SIGNATURE.key).path == f"frames/batch/{SIGNATURE.key}"


@pytest.mark.parametrize("key", ["", "x", "../x-0123456789abcdef", "a/b-0123456789abcdef"])
def test_refused_signature_keys(key: str) -> None:
    """A key that is no key cannot lead out of the batch's folder."""
    with pytest.raises(
        ConfigError, match="is not a signature key; it should look like sequence-2fps"
    ):
        layout.signature_folder("b", key)


def test_empty_clip_id() -> None:
    """A clip has a name."""
    with pytest.raises(ConfigError, match="clip id '' is empty; give each clip"):
        layout.clip_id("")


@given(st.text(min_size=1))
def test_clip_key_is_a_name_everywhere(clip: str) -> None:
    """Whatever an id holds, half a surrogate pair included, its key is plain."""
    assert re.fullmatch(r"[A-Za-z0-9-]{1,32}-[0-9a-f]{16}", layout.clip_key(clip))


@given(st.lists(st.text(min_size=1), unique=True, max_size=20))
def test_clip_keys_differ(clips: list[str]) -> None:
    """Slugs may be alike, keys are not."""
    assert len({layout.clip_key(clip) for clip in clips}) == len(clips)


@given(st.text(min_size=1))
def test_attempt_is_parsed_back(clip: str) -> None:
    """An attempt says which clip it is of and when it was begun."""
    before = time.time()
    path = layout.new_attempt(clip)
    parsed = AttemptPath.parse(path)
    assert parsed is not None
    assert (parsed.path, parsed.clip_key) == (path, layout.clip_key(clip))
    assert before - 0.001 <= parsed.started <= time.time()  # milliseconds are rounded down
    assert AttemptPath.parse(f"{path}/frames/c/0/0/0/0") == parsed


@pytest.mark.parametrize(
    "path",
    [
        "clips/a-1/0198c3a4b5c6-89abcdef/",
        "clips/a/b/0198c3a4b5c6-89abcdef",
        "clips/a-1/notes.txt",
        "commits/a-1.json",
        "clips/a-1/0198c3a4b5c6-89abcdef.bak",
        "/clips/a-1/0198c3a4b5c6-89abcdef",
    ],
)
def test_no_attempt(path: str) -> None:
    """What does not look exactly like an attempt is none."""
    assert AttemptPath.parse(path) is None


def test_hash_is_that_of_signatures() -> None:
    """A key is known for its document without making a signature of it."""
    document = SIGNATURE.canonical_json().encode()
    assert layout.is_document_of(SIGNATURE.key, document)
    assert not layout.is_document_of(SIGNATURE.key, document + b" ")


@given(st.dictionaries(st.text(min_size=1), st.text(alphabet="0123456789abcdef")), st.randoms())
def test_digest_of_clips_has_no_order(digests: dict[str, str], random: Random) -> None:
    """Only which clip has which frames counts."""
    pairs = list(digests.items())
    expected = layout.digest_of_clips(pairs)
    random.shuffle(pairs)
    assert layout.digest_of_clips(pairs) == expected
    assert layout.digest_of_clips([*pairs, ("\0", "more")]) != expected
