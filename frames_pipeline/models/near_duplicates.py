"""Find near-duplicates among vectors: kept ones differ, and every other is close to a kept one.

Leader clustering (Hartigan, "Clustering Algorithms", 1975): vectors are processed in order. A
vector close to a kept one belongs to it; any other is kept.

    a ──0.97── b ──0.96── c      d        a, c and d are kept, b is a's: a and c differ

A decision never depends on later vectors. The search is FAISS's (Johnson, Douze, Jegou,
"Billion-scale similarity search with GPUs", IEEE Trans. Big Data, 2019).
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from types import ModuleType
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError

EXACT_UP_TO: Final = 200_000
"""Number of vectors up to which each is compared with every kept one."""
_BLOCK: Final = 1024
"""Vectors per search, which are then compared with each other."""
_PROBED: Final = 32
"""Cells to search, of about four times the square root of the number of vectors."""
_SAMPLE: Final = 500
"""Vectors that are also searched exactly, to measure the recall of the index."""


@dataclass(frozen=True, slots=True, eq=False)
class NearDuplicates:
    """The kept vector that each of n vectors belongs to."""

    kept: NDArray[np.int64]
    """Index of the kept vector of each; its own if it is kept. Shape (n,)."""
    similarity: NDArray[np.float64]
    """Cosine similarity to the kept vector; 1 if it is kept. Shape (n,)."""
    search: str
    """Kind of search: `exact`, or an index that can miss some."""
    recall: float
    """Share of the near-duplicates that were found, from a sample; 1 if exact."""


def find_near_duplicates(
    vectors: NDArray[np.float32], *, min_similarity: float, exact_up_to: int = EXACT_UP_TO
) -> NearDuplicates:
    """Return the vectors to keep, and the kept vector of each other one.

    Args:
        vectors: Vectors of unit length, or zeros, which are similar to none. Shape (n, dimensions).
        min_similarity: Least cosine similarity of near-duplicates, above 0 and up to 1.
        exact_up_to: Number of vectors up to which each is compared with every kept one. Above it,
            an index of cells (IVF) is searched.

    Raises:
        ConfigError: `min_similarity` is out of range, or FAISS is not installed.
    """
    if not 0 < min_similarity <= 1:
        message = f"min_similarity={min_similarity!r} must be above 0 and at most 1"
        raise ConfigError(message)
    n = len(vectors)
    faiss = _import_faiss()
    is_exact = n <= exact_up_to
    index, search = (_flat(faiss, vectors), "exact") if is_exact else _cells(faiss, vectors)
    kept, similarity = np.arange(n), np.ones(n)
    leaders = np.empty(0, np.int64)
    for start in range(0, n, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, n))
        earlier = _nearest(index, leaders, vectors, block)
        kept[block], similarity[block] = _decide(vectors, block, earlier, min_similarity)
        new = block[kept[block] == block]
        index.add(np.ascontiguousarray(vectors[new]))
        leaders = np.append(leaders, new)
    recall = 1.0 if is_exact else _recall(faiss, vectors, kept, min_similarity)
    return NearDuplicates(kept, similarity, search, recall)


class _Index(Protocol):
    """The common methods of FAISS's indexes."""

    def add(self, vectors: NDArray[np.float32], /) -> None: ...

    def search(
        self, queries: NDArray[np.float32], k: int, /
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...


Nearest = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Index of a kept vector, and the cosine to it, per vector of a block. Shapes (block,)."""


def _nearest(
    index: _Index,
    leaders: NDArray[np.int64],
    vectors: NDArray[np.float32],
    block: NDArray[np.int64],
) -> Nearest:
    """Return the nearest vector kept before a block; -1 if there is none."""
    best, cosine = np.full(len(block), -1), np.full(len(block), -1.0)
    if len(leaders):
        _, hits = index.search(np.ascontiguousarray(vectors[block]), 1)
        found = np.flatnonzero(hits[:, 0] >= 0)
        best[found] = leaders[hits[found, 0]]
        # Repeat in double precision: results at the threshold must not depend on the machine.
        pairs = vectors[block[found]].astype(np.float64), vectors[best[found]].astype(np.float64)
        cosine[found] = np.einsum("ij,ij->i", *pairs)
    return best, cosine


def _decide(
    vectors: NDArray[np.float32], block: NDArray[np.int64], earlier: Nearest, threshold: float
) -> Nearest:
    """Return the vector that each one of a block belongs to: itself, or one kept before it."""
    own = vectors[block].astype(np.float64)
    among = own @ own.T
    best, cosine = earlier[0].copy(), earlier[1].copy()
    is_kept = np.zeros(len(block), np.bool_)
    for i in range(len(block)):
        if is_kept.any():
            inside = np.where(is_kept[:i], among[i, :i], -1.0)
            j = int(inside.argmax())
            if inside[j] > cosine[i]:
                best[i], cosine[i] = block[j], inside[j]
        # Unit vectors in single precision are inexact: limit the similarity to 1.
        cosine[i] = min(round(float(cosine[i]), 6), 1.0)
        is_kept[i] = cosine[i] < threshold
    return np.where(is_kept, block, best), np.where(is_kept, 1.0, cosine)


def _flat(faiss: ModuleType, vectors: NDArray[np.float32]) -> _Index:
    index: _Index = faiss.IndexFlatIP(vectors.shape[1])
    return index


def _cells(faiss: ModuleType, vectors: NDArray[np.float32]) -> tuple[_Index, str]:
    cells = min(4 * math.isqrt(len(vectors)), max(1, len(vectors) // 39))
    index = faiss.IndexIVFFlat(
        _flat(faiss, vectors), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT
    )
    index.train(np.ascontiguousarray(vectors))
    index.nprobe = min(_PROBED, cells)
    return index, f"ivf, {index.nprobe} of {cells} cells"


def _recall(
    faiss: ModuleType, vectors: NDArray[np.float32], kept: NDArray[np.int64], threshold: float
) -> float:
    """Return the share of near-duplicates that were found, from a sample."""
    leaders = np.flatnonzero(kept == np.arange(len(kept)))
    exact = _flat(faiss, vectors)
    exact.add(np.ascontiguousarray(vectors[leaders]))
    chosen = np.unique(np.linspace(0, len(vectors) - 1, _SAMPLE, dtype=np.int64))
    alone = chosen[kept[chosen] == chosen]
    cosines, hits = exact.search(np.ascontiguousarray(vectors[alone]), 2)
    missed = int(((cosines >= threshold) & (leaders[hits] < alone[:, None])).any(axis=1).sum())
    found = len(chosen) - len(alone)
    return found / (found + missed) if found + missed else 1.0


def _import_faiss() -> ModuleType:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        message = "near-duplicates need FAISS: pip install 'frames-pipeline[search]'"
        raise ConfigError(message) from error
