"""Errors of other libraries, as causes of ours: tracebacks print them, URLs in full and all."""

from __future__ import annotations

from collections.abc import Iterable

from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.plain_text import fit_to_show


class ForeignError(Exception):
    """What another library raised, in a text that may be shown."""


def presentable(error: BaseException, *, hide: Iterable[str] = ()) -> BaseException:
    """The error where its text and those of its causes may be shown; otherwise a copy that may.

    Tracebacks print every cause, and other libraries name URLs in full.

    Args:
        error: What was raised.
        hide: Values that no text may repeat.
    """
    hide = tuple(hide)
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    clean_cause = None if cause is None else presentable(cause, hide=hide)
    text = str(error).replace("\n", " ")
    is_fit = fit_to_show(text, hide=hide) == text
    if is_fit and clean_cause is cause:
        return error
    if isinstance(error, FramesPipelineError) and is_fit:
        error.__cause__ = clean_cause
        return error
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    copy = ForeignError(f"{kind}: {fit_to_show(text, hide=hide)}")
    copy.__cause__ = clean_cause
    return copy.with_traceback(error.__traceback__)
