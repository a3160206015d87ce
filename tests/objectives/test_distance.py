import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from objectives.distance import cepstra, mel_cepstral_distance, warped_mean


def mel(frames, seed):
    return np.random.default_rng(seed).normal(-5.0, 2.0, (frames, 80)).astype(np.float32)


frames = st.integers(1, 24)
seeds = st.integers(0, 2**32 - 1)
mels = st.builds(mel, frames, seeds)


def slow_cepstra(mel):
    return [
        [
            2 / 80 * sum(float(x) * math.cos(math.pi * d * (k + 0.5) / 80) for k, x in enumerate(row))
            for d in range(1, 14)
        ]
        for row in mel
    ]


def slow_costs(a, b):
    return np.array(
        [
            [10 / math.log(10) * math.sqrt(2) * math.dist(x, y) for y in slow_cepstra(b)]
            for x in slow_cepstra(a)
        ]
    )


def slow_warped_mean(costs):
    best = {}
    for i in range(costs.shape[0]):
        for j in range(costs.shape[1]):
            steps = [best[cell] for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if cell in best]
            total, length = min(steps, key=lambda step: step[0], default=(0.0, 0))  # the first of equals
            best[i, j] = total + costs[i, j], length + 1
    total, length = best[costs.shape[0] - 1, costs.shape[1] - 1]
    return total / length


def test_cepstra_are_thirteen_and_leave_out_the_level():
    flat, tilted = np.full((3, 80), -4.0), np.tile(np.cos(np.pi * (np.arange(80) + 0.5) / 80), (3, 1))
    assert cepstra(flat).shape == (3, 13)
    assert cepstra(flat) == pytest.approx(np.zeros((3, 13)), abs=1e-12)
    assert cepstra(tilted) == pytest.approx(np.eye(13)[[0, 0, 0]], abs=1e-12)


@given(seeds)
def test_with_all_coefficients_a_frame_is_as_far_as_its_log_difference_spreads(seed):
    a, b = mel(2, seed)[:1], mel(2, seed)[1:]
    spread = np.std(a.astype(np.float64) - b)
    assert mel_cepstral_distance(a, b, order=79) == pytest.approx(20 / math.log(10) * spread, rel=1e-9)


def test_one_cepstral_unit_is_six_decibels():
    tilt = np.cos(np.pi * (np.arange(80) + 0.5) / 80)[None]
    assert mel_cepstral_distance(tilt, np.zeros((1, 80))) == pytest.approx(6.1419, abs=1e-4)


@given(mels, mels)
def test_the_order_of_the_two_does_not_matter(a, b):
    assert mel_cepstral_distance(a, b) == pytest.approx(mel_cepstral_distance(b, a), abs=1e-9)


@given(mels)
def test_a_mel_is_at_no_distance_from_itself(a):
    assert mel_cepstral_distance(a, a) == 0.0


@given(mels, st.data())
def test_tempo_is_not_heard(a, data):
    repeats = data.draw(st.lists(st.integers(1, 4), min_size=len(a), max_size=len(a)))
    slower = np.repeat(a, repeats, axis=0)
    assert mel_cepstral_distance(slower, a) == pytest.approx(0.0, abs=1e-9)
    assert mel_cepstral_distance(a, slower) == pytest.approx(0.0, abs=1e-9)


@given(mels, mels, st.floats(-10, 10))
def test_loudness_is_not_heard(a, b, level):
    louder = a.astype(np.float64) + level
    assert mel_cepstral_distance(louder, b) == pytest.approx(mel_cepstral_distance(a, b), abs=1e-9)


@given(st.builds(mel, st.integers(1, 8), seeds), st.builds(mel, st.integers(1, 8), seeds))
def test_the_plain_definition_gives_the_same(a, b):
    assert mel_cepstral_distance(a, b) == pytest.approx(slow_warped_mean(slow_costs(a, b)), abs=1e-9)


small = st.integers(1, 12)


@given(st.tuples(small, small).flatmap(lambda shape: arrays(np.float64, shape, elements=st.integers(0, 2))))
def test_equal_sums_are_decided_as_in_the_plain_recursion(costs):
    assert warped_mean(costs) == slow_warped_mean(costs)


def test_of_equal_sums_the_diagonal_comes_first_then_up_then_left():
    assert (
        warped_mean(np.array([[1.0, 0.0], [0.0, 1.0]])) == 2 / 2
    )  # every other way is a sum of 2 in 3 cells
    costs = np.array([[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 2.0, 0.0], [2.0, 2.0, 0.0, 1.0]])
    assert warped_mean(costs) == 1 / 5  # from above, 4 cells behind it; from the left there are 3
    assert warped_mean(costs.T) == 1 / 4


@pytest.mark.parametrize("shape", [(0, 80), (5, 40)])
def test_mels_that_cannot_be_compared_are_refused(shape):
    with pytest.raises(ValueError, match="both need frames"):
        mel_cepstral_distance(np.zeros((5, 80)), np.zeros(shape))
