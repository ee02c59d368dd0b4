r"""Keys of files: their names as text.

A file's key is its path below a folder. File names are bytes: a byte that is not UTF-8 is written
as `\udcXX`, as Python does. In a name that already has such an escape, the backslash is written
as `\u005c`. So every file has a key of its own that any table or document can hold.
"""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = r"\\(?:u005c|udc[89a-f][0-9a-f])"
_TO_ESCAPE: Final = re.compile(rf"(?={_ESCAPE})\\|[\udc80-\udcff]")
_ESCAPED: Final = re.compile(_ESCAPE)


def key_of(name: str) -> str:
    r"""Return the key of a path that `os.fsdecode` decoded.

    >>> key_of("a.mp4"), key_of("caf\udce9.mp4"), key_of(r"caf\udce9.mp4")
    ('a.mp4', 'caf\\udce9.mp4', 'caf\\u005cudce9.mp4')
    """
    return _TO_ESCAPE.sub(_escaped, name)


def as_text(key: str) -> str:
    r"""Escape the surrogates of a key that was typed as a name, or stored as one by version 0.1.

    >>> as_text("caf\udce9.mp4"), as_text(r"caf\udce9.mp4")
    ('caf\\udce9.mp4', 'caf\\udce9.mp4')
    """
    return key.encode("utf-8", "backslashreplace").decode()


def name_of(key: str) -> str:
    r"""Return the path of a key.

    >>> name_of(key_of("caf\udce9.mp4")) == "caf\udce9.mp4"
    True
    """
    return _ESCAPED.sub(lambda found: chr(int(found[0][2:], 16)), key)


def _escaped(found: re.Match[str]) -> str:
    return r"\u005c" if found[0] == "\\" else rf"\u{ord(found[0]):04x}"
