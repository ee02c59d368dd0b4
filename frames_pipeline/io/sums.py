"""Checksums within JSON documents and Parquet files, so that flipped bits are found.

A document's last member is the SHA-256 of its bytes without that member. A Parquet file has the
SHA-256 of its other bytes between its data and its footer, where readers never look:

    | {"format":"…",…  | ,"sha256":"…" | } |
    | PAR1 data | mark, SHA-256 | footer | length of the footer | PAR1 |

Version 0.1 wrote no checksums. A document without one must have exactly the members of its format;
a Parquet file without one has a footer that announces none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors that parsers and codecs raise for invalid bytes."""

FOOTER_KEY: Final = b"frames_pipeline.sum"
"""Key in the schema's metadata that announces a checksum; its value is the name of the hash."""
FOOTER_VALUE: Final = b"sha256"

_MEMBER: Final = "sha256"
_TAIL: Final = re.compile(rb',(\n )?"sha256": ?"([0-9a-f]{64})"(\n?)}')
_TAIL_BYTES: Final = 96
_MAGIC: Final = b"PAR1"
_MARK: Final = b"FRAMES-SUM/1:"
_GAP_BYTES: Final = len(_MARK) + 32
_END_BYTES: Final = 4 + len(_MAGIC)


def with_sum(document: bytes) -> bytes:
    r"""Return a JSON object, compact or with an indent of 1, with its checksum as the last member.

    >>> with_sum(b'{"a":1}')[:22], with_sum(b'{\n "a": 1\n}')[:24]
    (b'{"a":1,"sha256":"015ab', b'{\n "a": 1,\n "sha256": "4')
    """
    digest = hashlib.sha256(document).hexdigest()
    if document.endswith(b"\n}"):
        return document[:-2] + f',\n "{_MEMBER}": "{digest}"\n}}'.encode()
    return document[:-1] + f',"{_MEMBER}":"{digest}"}}'.encode()


def checked_document(data: bytes, *, before: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return the members of a JSON object after checking its checksum, which is left out.

    Args:
        data: The object's bytes.
        before: Members of documents written without a checksum, by their `format`.

    Raises:
        TypeError: The document is a JSON value other than an object.
        ValueError: The bytes are not JSON, or differ from the written ones.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        message = f"it is a JSON {type(document).__name__}, not an object"
        raise TypeError(message)
    tail = _TAIL.fullmatch(data, max(0, len(data) - _TAIL_BYTES) + _tail_offset(data))
    if tail is None:
        _check_old(document, before.get(str(document.get("format", ""))))
        return document
    rest = hashlib.sha256(data[: tail.start()])
    rest.update(tail[3] + b"}")
    if rest.hexdigest() != tail[2].decode():
        message = "its checksum does not match its bytes"
        raise ValueError(message)
    del document[_MEMBER]
    return document


def with_footer_sum(parquet: bytes) -> bytes:
    """Insert the checksum into a Parquet file with a footer that announces it."""
    start = _footer_start(parquet)
    digest = hashlib.sha256(parquet).digest()
    return b"".join([parquet[:start], _MARK, digest, parquet[start:]])


def check_footer_sum(data: bytes) -> bool:
    """Check the checksum of a Parquet file, and return whether it has one.

    Raises:
        ValueError: The bytes differ from the written ones.
    """
    start = _footer_start(data)
    gap = data[max(0, start - _GAP_BYTES) : start]
    is_marked = gap.startswith(_MARK) and len(gap) == _GAP_BYTES
    if is_marked:
        rest = hashlib.sha256(memoryview(data)[: start - _GAP_BYTES])
        rest.update(memoryview(data)[start:])
        if rest.digest() != gap[len(_MARK) :]:
            message = "its checksum does not match its bytes"
            raise ValueError(message)
    elif _MARK in data or FOOTER_KEY in data[start:]:
        message = "its footer announces a checksum, and there is none"
        raise ValueError(message)
    return is_marked


def check_members(document: Mapping[str, Any], expected: Mapping[str, type]) -> None:
    """Check the types of members in documents that may lack a checksum.

    Raises:
        TypeError: A member is missing or has another type.
    """
    for name, kind in expected.items():
        if not isinstance(document.get(name), kind):
            message = f"its {name} is {document.get(name)!r}, not a {kind.__name__}"
            raise TypeError(message)


def _tail_offset(data: bytes) -> int:
    """Return the offset of the checksum member within the last bytes, or 0."""
    last = data[-_TAIL_BYTES:]
    return max(0, last.rfind(b',\n "sha256"'), last.rfind(b',"sha256"'))


def _check_old(document: Mapping[str, Any], before: Collection[str] | None) -> None:
    """Refuse a document that lost its checksum. Leaves other formats to their reader."""
    if before is None:
        return
    if odd := set(document) ^ set(before):
        message = f"it has no checksum, and its members differ from 0.1's: {', '.join(sorted(odd))}"
        raise ValueError(message)


def _footer_start(data: bytes) -> int:
    """Return the offset of a Parquet file's footer.

    Raises:
        ValueError: The file is not a complete Parquet file.
    """
    length = int.from_bytes(data[-_END_BYTES:-4], "little")
    start = len(data) - _END_BYTES - length
    if data[:4] != _MAGIC or data[-4:] != _MAGIC or start < len(_MAGIC):
        message = f"{len(data)} bytes are not a complete Parquet file"
        raise ValueError(message)
    return start
