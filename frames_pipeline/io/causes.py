"""Errors of other libraries, made safe to show as causes in tracebacks.

Their messages hold full URLs.
"""

from __future__ import annotations

from collections.abc import Iterable

from frames_pipeline.errors import FramesPipelineError
from frames_pipeline.text.plain import fit_to_show


class ForeignError(Exception):
    """An error of another library, with a message that is safe to show."""


def presentable(error: BaseException, *, hide: Iterable[str] = ()) -> BaseException:
    """Return the error if its message and its causes are safe to show; otherwise a safe copy.

    Tracebacks print every cause, and messages of other libraries hold full URLs.

    Args:
        error: The raised error.
        hide: Values to remove from messages.
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
