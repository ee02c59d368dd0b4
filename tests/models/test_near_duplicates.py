"""Which vectors are kept: told from every pair by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from frames_pipeline.errors import ConfigError
from frames_pipeline.models.near_duplicates import find_near_duplicates


def clustered(n: int, *, seed: int, spread: float = 0.2, centres: int = 8) -> NDArray[np.float32]:
    """Unit vectors around some centres, so that many are alike."""
    rng = np.random.default_rng(seed)
    around = rng.normal(size=(centres, 12))[rng.integers(0, centres, n)]
    vectors = around + spread * rng.normal(size=(n, 12))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


@given(st.integers(0, 300), st.integers(0, 2**32), st.floats(0.5, 1))
def test_no_two_kept_ones_are_alike_and_every_other_is_like_a_kept_one_before_it(
    n: int, seed: int, threshold: float
) -> None:
    vectors = clustered(n, seed=seed)
    found = find_near_duplicates(vectors, min_similarity=threshold)

    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    kept = np.flatnonzero(found.kept == np.arange(n))
    among = cosines[np.ix_(kept, kept)]
    assert (among[~np.eye(len(kept), dtype=bool)] < threshold + 1e-6).all()
    others = np.flatnonzero(found.kept != np.arange(n))
    assert np.isin(found.kept[others], kept).all()
    assert (found.kept[others] < others).all()
    assert (cosines[others, found.kept[others]] >= threshold - 1e-6).all()
    np.testing.assert_allclose(
        found.similarity[others], cosines[others, found.kept[others]], atol=1e-6
    )


def test_what_is_decided_stands_whatever_comes_after_it() -> None:
    vectors = clustered(2500, seed=3)
    first = find_near_duplicates(vectors[:1300], min_similarity=0.9)
    all_of_them = find_near_duplicates(vectors, min_similarity=0.9)
    np.testing.assert_array_equal(first.kept, all_of_them.kept[:1300])


def test_equal_vectors_are_one_and_zeros_are_like_nothing() -> None:
    vectors = np.zeros((3000, 5), np.float32)
    vectors[:2000, 2] = 1
    found = find_near_duplicates(vectors, min_similarity=1)
    assert (found.kept[:2000] == 0).all()
    np.testing.assert_array_equal(found.kept[2000:], np.arange(2000, 3000))


def test_an_index_says_how_much_it_finds() -> None:
    vectors = clustered(4000, seed=5, spread=0.1, centres=1500)
    exact = find_near_duplicates(vectors, min_similarity=0.95)
    searched = find_near_duplicates(vectors, min_similarity=0.95, exact_up_to=100)

    assert (exact.search, exact.recall) == ("exact", 1)
    assert searched.search.startswith("ivf, 32 of ")
    found = np.count_nonzero(searched.kept != np.arange(4000))
    there = np.count_nonzero(exact.kept != np.arange(4000))
    assert there > 1000
    assert searched.recall == pytest.approx(found / there, abs=0.05)


@pytest.mark.parametrize("nonsense", [0, -0.5, 1.01, float("nan")])
def test_a_similarity_that_everything_or_nothing_has_is_refused(nonsense: float) -> None:
    with pytest.raises(ConfigError, match=r"min_similarity=.* must be above 0 and at most 1"):
        find_near_duplicates(np.zeros((1, 2), np.float32), min_similarity=nonsense)
