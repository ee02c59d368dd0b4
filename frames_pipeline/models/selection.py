"""Which clips are worth keeping, by what was measured of their frames. Nothing is deleted by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from frames_pipeline.models import check_number


class Decision(NamedTuple):
    """Whether a clip is kept, and why not."""

    keep: bool
    """Whether nothing speaks against it."""
    score: float
    """Share of the rules that it meets, 0 to 1."""
    reasons: tuple[str, ...]
    """What speaks against it, with the number found and the one allowed."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Bounds of means over a clip's frames; `None` asks for nothing.

    >>> Selection(min_sharpness=50).decide({"sharpness": 12.3, "black_share": 0.0}).reasons
    ('sharpness 12.3 is below 50',)
    """

    max_black_share: float | None = 0.5
    """Share of black frames, 0 to 1."""
    max_duplicate_share: float | None = 0.9
    """Share of frames that repeat the one before, 0 to 1: a frozen clip has all but the first."""
    min_sharpness: float | None = None
    """Mean variance of the Laplacian: it depends on the frame size and the material."""
    min_exposure: float | None = None
    """Mean luma, 0 to 1."""
    max_exposure: float | None = None
    """Mean luma, 0 to 1."""
    min_motion: float | None = None
    """Mean absolute difference of frames that follow each other, 0 to 1."""
    max_motion: float | None = None
    """The same: above it, cuts or noise."""
    min_colourfulness: float | None = None
    """Hasler and Suesstrunk's M3."""
    min_aesthetic: float | None = None
    """What a model thinks of the frames, as it counts; a clip that none was asked of passes."""

    def __post_init__(self) -> None:
        """Refuse bounds that nothing can meet."""
        for name, bound in asdict(self).items():
            if bound is not None:
                shares = "share" in name or "exposure" in name or "motion" in name
                least = -1e9 if name == "min_aesthetic" else 0
                check_number(name, bound, smallest=least, largest=1 if shares else 1e9)

    def parameters(self) -> dict[str, Any]:
        """Every bound: what identifies the decisions."""
        return asdict(self)

    def decide(self, measures: Mapping[str, float]) -> Decision:
        """The decision on a clip.

        Args:
            measures: Means over its frames, by the names that the catalog has; those that are not
                there speak neither for it nor against it.
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
