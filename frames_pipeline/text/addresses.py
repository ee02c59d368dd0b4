"""Secrets in URLs: signing parameters of the query, and a user name and password before the host.

A presigned URL is a key to its object for as long as it is valid. Use it, but never store or print
it: `without_secrets` removes the signing parameters from every URL in a text.

    https://host/a.mp4?versionId=3&X-Amz-Date=…&X-Amz-Signature=…
    https://host/a.mp4?versionId=3                                   the same without secrets
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

_SECRET_WORD: Final = re.compile(
    r"""^(x-(amz|goog|oss|obs|cos|tos|ms)-.+ | q-(sign|ak|sig).*
        | .*(signature|token|secret|passw|credential|authori[sz]ation|hmac|jwt|passphrase).*
        | .*(access|api|account|private|shared|encryption|subscription|sas|pair)[-_]?key.*
        | (aws|google|oss)?access(key)?id | key-pair-id
        | sig | sign | auth | auth[-_]?key | key | pwd | pass | policy | sas | session | sid | code
        | hash | md5 | hd(nea|nts|ntl) | ticket | wssecret )$""",
    re.IGNORECASE | re.VERBOSE,
)
"""Names of parameters and options that hold secrets."""
_BESIDE: Final = frozenset(
    {
        "date", "e", "exp", "expire", "expires", "expiry", "kid", "nonce", "oi", "rscc", "scid",
        "se", "si", "sip", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "srt",
        "ss", "st", "sv", "timestamp", "ts", "sdd", "ses", "deadline", "valid_until", "x-id",
    }
)  # fmt: skip
"""Parameters beside a signature, such as its expiry time. They are removed along with it."""
_USER: Final = re.compile(r"(?<=://)[^/\s?#'\"<>]*@")
_QUERY: Final = re.compile(r"[?#]([^\s'\"<>`]*[^\s'\"<>`:,;.)\]}])")
_ENCODED: Final = re.compile(r"%(25)*3f[^\s'\"<>`&]+", re.IGNORECASE)
"""The query of a URL that is itself a parameter, encoded once or more often."""
_BETWEEN: Final = re.compile(r"(&amp;|&|;|\\u0026)")
_CONTAINERS: Final = re.compile(r"(abfss?|wasbs?)://$", re.IGNORECASE)
"""Azure writes its container names where other URLs have a user name."""
_SHORTEST: Final = 4
"""Length from which an option's value counts as a secret. Shorter values occur in other text."""


def is_secret_name(name: str) -> bool:
    """Return whether a parameter or option with this name holds a secret.

    >>> [is_secret_name(name) for name in ("X-Amz-Signature", "sig", "secret", "max_frames")]
    [True, True, True, False]
    """
    return _SECRET_WORD.match(name.strip()) is not None


def signing_names(url: str) -> list[str]:
    """Return the names of a URL's signing parameters, in their order.

    >>> signing_names("https://host/a.mp4?v=1&Expires=9&Signature=c2ln&Key-Pair-Id=K1")
    ['Signature', 'Key-Pair-Id']
    """
    if "?" not in url and "#" not in url and "%3f" not in url.lower():
        return []
    return [
        name
        for query in _QUERY.findall(url)
        for name, value in _parameters(query)
        if _is_secret(name, value)
    ] or ["its query"] * (_ENCODED.sub(_without_encoded, url) != url)


def without_secrets(text: str) -> str:
    """Return the text with signing parameters, user names and passwords removed from its URLs.

    >>> without_secrets("403 for https://me:pw@host/a.mp4?v=1&sig=c2ln&se=2030, gone")
    '403 for https://host/a.mp4?v=1, gone'
    """
    if "@" in text and "://" in text:
        text = _USER.sub(_without_user, text)
    if "?" in text or "#" in text:
        text = _QUERY.sub(_without_signature, text)
    if "%" in text:
        text = _ENCODED.sub(_without_encoded, text)
    return text


def folder_and_name(url: str) -> tuple[str, str]:
    """Split a path or URL into folder and file name; a query belongs to the name.

    >>> folder_and_name("https://host/a/b.mp4?at=1/2"), folder_and_name("b.mp4")
    (('https://host/a', 'b.mp4?at=1/2'), ('', 'b.mp4'))
    """
    has_query = url.lower().startswith(("http://", "https://")) or bool(signing_names(url))
    address, mark, query = url.partition("?") if has_query and "://" in url else (url, "", "")
    folder, _, name = address.rpartition("/")
    return folder, name + mark + query


def secret_values(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield the secret values of options, including nested ones. No message may repeat them."""
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from secret_values(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST and is_secret_name(name):
            yield value


def _parameters(query: str) -> list[tuple[str, str]]:
    """Return names and values as written, still encoded."""
    parts = [part for part in _BETWEEN.split(query) if not _BETWEEN.fullmatch(part)]
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def _is_secret(name: str, value: str) -> bool:
    """Return whether a parameter signs: by its name, or by the URL that is its value."""
    if not value:
        return False
    if is_secret_name(_decoded(name).rpartition("?")[2]):
        return True
    inner = _decoded(value)
    return without_secrets(inner) != inner


def _decoded(text: str) -> str:
    for _ in range(3):
        if "%" not in text:
            break
        text = unquote_plus(text)
    return text


def _without_user(found: re.Match[str]) -> str:
    return found[0] if _CONTAINERS.search(found.string[: found.start()]) else ""


def _without_signature(found: re.Match[str]) -> str:
    parameters = _parameters(found[1])
    if not any(_is_secret(name, value) for name, value in parameters):
        return found[0]
    kept = [
        f"{name}={value}" if value else name
        for name, value in parameters
        if not _is_secret(name, value) and _decoded(name).lower() not in _BESIDE
    ]
    return found[0][0] + "&".join(kept) if any(kept) else ""


def _without_encoded(found: re.Match[str]) -> str:
    inner = _decoded(found[0])
    return found[0] if _QUERY.sub(_without_signature, inner) == inner else ""
