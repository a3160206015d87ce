"""Texts that belong to the recordings beside theirs are found by lengths; texts in their places are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.corpora import sentences
from model.data.pairing import LEAST_ROWS, SHIFTS, find_shift

NOISES = {
    "normal": lambda random, rows: random.normal(size=rows),
    "long tails": lambda random, rows: random.laplace(size=rows),
    "drifting": lambda random, rows: np.cumsum(random.normal(size=rows)) / np.sqrt(rows),
    "sorted": lambda random, rows: np.sort(random.normal(size=rows)),
}


def lengths(seed, rows, spread, noise, kinds=("normal", "normal")):
    """Symbols of texts, and seconds of recordings that fit them but for some noise."""
    random = np.random.default_rng(seed)
    symbols = np.maximum(3, np.round(np.exp(3.5 + spread * NOISES[kinds[0]](random, rows)))).astype(int)
    seconds = 0.3 + symbols / 14 * np.exp(noise * NOISES[kinds[1]](random, rows))
    return symbols, seconds


@given(
    st.integers(0, 2**32),
    st.integers(LEAST_ROWS, 200),
    st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.7]),
    st.sampled_from([0.01, 0.05, 0.1, 0.3]),
    st.tuples(st.sampled_from(list(NOISES)), st.sampled_from(list(NOISES))),
)
def test_texts_in_their_places_are_left_alone(seed, rows, spread, noise, kinds):
    symbols, seconds = lengths(seed, rows, spread, noise, kinds)
    assert find_shift(symbols.tolist(), seconds.tolist()) is None


@given(st.sampled_from(SHIFTS), st.integers(0, 2**32), st.integers(0, 80))
def test_a_third_that_slipped_is_found_where_it_is(by, seed, begin):
    symbols, seconds = lengths(seed, 120, 0.4, 0.1)
    shifted = symbols.copy()
    shifted[begin : begin + 40] = np.roll(symbols, by)[begin : begin + 40]
    found = find_shift(shifted.tolist(), seconds.tolist())
    assert found is not None and found.by == by
    assert all(0 <= row + by < 120 for row in found.rows)
    inside = [row for row in found.rows if begin <= row < begin + 40]
    assert len(inside) > 25 and len(found.rows) - len(inside) < 10


def test_single_swapped_texts_are_found_among_many():
    symbols, seconds = lengths(0, 900, 0.4, 0.1)
    swapped = symbols.copy()
    swapped[0::6], swapped[1::6] = symbols[1::6], symbols[0::6]
    found = find_shift(swapped.tolist(), seconds.tolist())
    assert found is not None
    places = [row % 6 for row in found.rows]
    assert places.count(0 if found.by == 1 else 1) > 0.7 * len(places) > 40


def test_what_is_not_known_counts_for_nothing():
    symbols, seconds = lengths(1, 200, 0.4, 0.1)
    some = [None if row % 7 == 3 else value for row, value in enumerate(symbols.tolist())]
    heard = [None if row % 5 == 1 else value for row, value in enumerate(seconds.tolist())]
    assert find_shift(some, heard) is None
    found = find_shift(some, [*heard[1:], None])
    assert found is not None and found.by == 1 and len(found.rows) > 190
    assert find_shift(some, [None] * 200) is None
    assert find_shift([], []) is None


@pytest.mark.parametrize("language", ["en", "ru"])
def test_sentences_of_like_lengths_are_told_apart_by_many(language):
    texts = sentences.sentences(language, 400, seed=1)
    symbols = np.array([len(text) for text in texts])
    seconds = symbols / 14 * np.exp(np.random.default_rng(0).normal(size=400) * 0.09)
    assert find_shift(symbols.tolist(), seconds.tolist()) is None
    off = np.concatenate([symbols[:266], symbols[267:], symbols[:1]])
    assert find_shift(off.tolist(), seconds.tolist()) is not None
