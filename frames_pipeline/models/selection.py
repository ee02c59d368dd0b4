"""Select the clips to keep by the measures of their frames. Deletes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from frames_pipeline.models import check_number


class Decision(NamedTuple):
    """Whether to keep a clip, with the reasons against it."""

    keep: bool
    """Whether it meets all rules."""
    score: float
    """Share of the rules that it meets, 0 to 1."""
    reasons: tuple[str, ...]
    """The rules that it breaks, each with the value found and the limit."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Bounds on means over a clip's frames; `None` sets no bound.

    >>> Selection(min_sharpness=50).decide({"sharpness": 12.3, "black_share": 0.0}).reasons
    ('sharpness 12.3 is below 50',)
    """

    max_black_share: float | None = 0.5
    """Share of black frames, 0 to 1."""
    max_duplicate_share: float | None = 0.9
    """Share of frames that repeat the previous one, 0 to 1. In a frozen clip all but the first
    do."""
    min_sharpness: float | None = None
    """Mean variance of the Laplacian. It depends on frame size and material."""
    min_exposure: float | None = None
    """Mean luma, 0 to 1."""
    max_exposure: float | None = None
    """Mean luma, 0 to 1."""
    min_motion: float | None = None
    """Mean absolute difference between consecutive frames, 0 to 1."""
    max_motion: float | None = None
    """Mean absolute difference between consecutive frames, 0 to 1. Higher values come from cuts or
    noise."""
    min_colourfulness: float | None = None
    """Hasler and Suesstrunk's M3."""
    min_aesthetic: float | None = None
    """Mean score of a model, on its own scale. A clip without a score passes."""

    def __post_init__(self) -> None:
        """Check that every bound is in its range."""
        for name, bound in asdict(self).items():
            if bound is not None:
                shares = "share" in name or "exposure" in name or "motion" in name
                least = -1e9 if name == "min_aesthetic" else 0
                check_number(name, bound, smallest=least, largest=1 if shares else 1e9)

    def parameters(self) -> dict[str, Any]:
        """Return every bound: the identity of the decisions."""
        return asdict(self)

    def decide(self, measures: Mapping[str, float]) -> Decision:
        """Return the decision on a clip.

        Args:
            measures: Means over its frames, by their names in the catalog. Missing measures are
                ignored.
        """
        bounds = {name: bound for name, bound in asdict(self).items() if bound is not None}
        reasons = []
        for name, bound in bounds.items():
            side, _, measure = name.partition("_")
            value = measures.get(measure)
            if value is None:
                continue
            if side == "min" and value < bound:
                reasons.append(f"{measure} {value:.3g} is below {bound:g}")
            if side == "max" and value > bound:
                reasons.append(f"{measure} {value:.3g} is above {bound:g}")
        met = len(bounds) - len(reasons)
        return Decision(not reasons, met / len(bounds) if bounds else 1.0, tuple(reasons))
