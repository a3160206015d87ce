from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.network.alignment import measure

SYMBOLS = 100
STEPS = (566, 114)  # the same sentence at r = 1 and r = 5
MEASURES = ("diagonal_score", "penalty", "corr", "coverage", "back", "leap", "dwell")
TOLERANCE = 0.02 + 1e-9


def gauss(centres, sigma=0.5):
    weights = np.exp(-((np.arange(SYMBOLS) - centres[:, None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(axis=1, keepdims=True)


def times(steps):
    return (np.arange(steps) + 0.5) / steps


def walk(steps, sigma=0.5):
    return gauss(times(steps) * SYMBOLS - 0.5, sigma)


def two_halves(steps, first, second):
    y = times(steps)
    return gauss(np.where(y < 0.5, np.interp(2 * y, (0, 1), first), np.interp(2 * y - 1, (0, 1), second)))


def normalised(weights):
    return weights / weights.sum(axis=1, keepdims=True)


SHAPES = {
    "sharp diagonal": walk,
    "soft, 3 tokens": lambda steps: walk(steps, 3),
    "soft, 10 tokens": lambda steps: walk(steps, 10),
    "soft, 20 tokens": lambda steps: walk(steps, 20),
    "15 % silence per end": lambda steps: gauss(np.clip((times(steps) - 0.15) / 0.7 * 100 - 0.5, 0, 99)),
    "skips 35 to 65": lambda steps: two_halves(steps, (0, 35), (65, 99)),
    "repeats 60 to 30": lambda steps: two_halves(steps, (0, 60), (30, 99)),
    "half, then stuck": lambda steps: gauss(np.minimum(times(steps) * SYMBOLS - 0.5, 50)),
    "uniform": lambda steps: np.full((steps, SYMBOLS), 1 / SYMBOLS),
    "stuck on last token": lambda steps: gauss(np.full(steps, SYMBOLS - 1)),
    "anti-diagonal": lambda steps: walk(steps)[::-1],
}
#                         D     P    corr  cover. back  leap  dwell aligned
KNOWN = {
    "sharp diagonal": (1.00, 0.00, 1.00, 1.00, 0.00, 0.01, 0.01, True),
    "soft, 3 tokens": (1.00, 0.01, 1.00, 1.00, 0.00, 0.01, 0.01, True),
    "soft, 10 tokens": (0.84, 0.10, 1.00, 1.00, 0.00, 0.01, 0.01, True),
    "soft, 20 tokens": (0.46, 0.25, 1.00, 1.00, 0.00, 0.01, 0.01, False),
    "15 % silence per end": (1.00, 0.08, 0.99, 1.00, 0.00, 0.01, 0.16, True),
    "skips 35 to 65": (0.98, 0.08, 0.98, 0.71, 0.00, 0.30, 0.02, False),
    "repeats 60 to 30": (0.83, 0.09, 0.95, 1.00, 0.00, 0.30, 0.01, False),
    "half, then stuck": (0.52, 0.25, 0.90, 0.52, 0.00, 0.01, 0.50, False),
    "uniform": (0.00, 0.58, 0.00, 1.00, None, None, None, False),
    "stuck on last token": (0.00, 0.74, 0.00, 0.02, 0.00, 0.00, 1.00, False),
    "anti-diagonal": (0.00, 0.75, -1.00, 1.00, {566: 0.18, 114: 0.88}, 0.01, 0.01, False),
}
DISORDER = {
    "permuted rows": lambda steps, random: random.permutation(walk(steps)),
    "flat noise": lambda steps, random: normalised(random.random((steps, SYMBOLS))),
    "peaked noise": lambda steps, random: normalised(np.exp(random.normal(size=(steps, SYMBOLS)))),
}


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", KNOWN)
def test_known_shapes_have_known_measures(shape, steps):
    *expected, aligned = KNOWN[shape]
    found = measure(SHAPES[shape](steps))
    for name, value in zip(MEASURES, expected, strict=True):
        value = value[steps] if isinstance(value, dict) else value
        assert getattr(found, name) == (value if value is None else pytest.approx(value, abs=TOLERANCE)), name
    assert found.aligned is aligned


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("shape", DISORDER)
def test_disorder_is_no_alignment(shape, steps, seed):
    found = measure(DISORDER[shape](steps, np.random.default_rng(seed)))
    assert found.diagonal_score <= 0.2
    assert 0.5 <= found.penalty <= 0.7
    assert abs(found.corr) <= 0.4
    assert found.coverage >= 0.7
    assert 0.4 <= found.back <= 0.6
    assert found.leap > 0.7
    assert found.dwell < 0.05
    assert not found.aligned


GOOD = replace(
    measure(walk(566)), diagonal_score=0.6, corr=0.9, coverage=0.9, back=0.05, leap=0.15, jumps=9.0, dwell=0.9
)


def test_an_item_at_every_limit_is_aligned():
    assert GOOD.aligned


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("diagonal_score", 0.59),
        ("corr", 0.89),
        ("coverage", 0.89),
        ("back", 0.06),
        ("leap", 0.16),
        ("back", None),
    ],
)
def test_an_item_beyond_one_limit_is_not_aligned(name, value):
    assert not replace(GOOD, **{name: value}).aligned


@pytest.mark.parametrize(("symbols", "aligned"), [(10, True), (11, False)])
def test_short_texts_may_leap_three_symbols(symbols, aligned):
    assert replace(GOOD, leap=0.3, n_symbols=symbols).aligned is aligned


def test_focus_is_the_mean_over_steps():
    assert measure(np.array([[1.0, 0.0], [0.5, 0.5]])).focus == 0.75


def test_stuck_attention_is_focused_and_jumps_nowhere():
    found = measure(SHAPES["stuck on last token"](566))
    assert found.focus == pytest.approx(0.88, abs=0.01)
    assert found.jumps == 0.0


@pytest.mark.parametrize(("shape", "jumps"), [("sharp diagonal", 0.0), ("skips 35 to 65", 1.0)])
def test_jumps_are_counted_per_hundred_symbols(shape, jumps):
    assert measure(SHAPES[shape](566)).jumps == jumps
    doubled = np.repeat(SHAPES[shape](566), 2, axis=1) / 2
    assert measure(doubled).jumps == jumps / 2


@pytest.mark.parametrize("steps", STEPS)
def test_a_slice_of_a_padded_batch_measures_like_the_item_alone(steps):
    item = walk(steps)
    batch = np.full((3, steps + 70, SYMBOLS + 40), 7.0)
    batch[1, :steps, :SYMBOLS] = item
    sliced, alone = measure(batch[1, :steps, :SYMBOLS]), measure(item)
    for name in (*MEASURES, "jumps", "focus", "n_symbols", "aligned"):
        assert getattr(sliced, name) == pytest.approx(getattr(alone, name), abs=1e-12), name


def test_symbols_that_are_not_heard_need_no_weight():
    alignment = two_halves(566, (0, 35), (65, 99))
    spoken = np.ones(SYMBOLS, bool)
    spoken[36:65] = False
    assert measure(alignment, spoken).coverage == 1.0
    assert measure(alignment, ~spoken).coverage == 0.0


def test_where_nothing_is_heard_every_symbol_counts():
    alignment = two_halves(566, (0, 35), (65, 99))
    assert measure(alignment, np.zeros(SYMBOLS, bool)) == measure(alignment)


def test_a_symbol_is_due_half_a_step_or_half_its_share_of_few_steps():
    assert measure(np.array([[0.75, 0.25], [0.75, 0.25]])).coverage == 1.0
    assert measure(np.array([[0.76, 0.24], [0.76, 0.24]])).coverage == 0.5
    assert measure(np.array([[0.75, 0.25]])).coverage == 1.0
    assert measure(np.array([[0.76, 0.24]])).coverage == 0.5


def test_half_the_rows_with_a_clear_maximum_are_enough_and_fewer_are_not():
    clear, vague = np.eye(4), np.full((4, 4), 0.25)
    assert measure(np.concatenate([clear, vague])).back == 0.0
    assert measure(np.concatenate([clear[:3], vague])).back is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (7, 1), (2, 2)])
def test_where_all_is_near_nothing_is_better_than_chance(shape):
    stuck = np.zeros(shape)
    stuck[:, 0] = 1.0
    assert measure(stuck).diagonal_score == 0.0
    assert not measure(stuck).aligned


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_an_empty_alignment_is_refused(shape):
    with pytest.raises(ValueError, match=f"{shape[0]} steps and {shape[1]} symbols"):
        measure(np.zeros(shape))


@st.composite
def alignments(draw):
    steps, symbols = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    peaks = draw(st.sampled_from([0.0, 1.0, 30.0, 1000.0]))  # from uniform to one-hot rows
    logits = peaks * random.normal(size=(steps, symbols))
    return normalised(np.exp(logits - logits.max(axis=1, keepdims=True)))


@given(alignments())
def test_measures_stay_in_range_for_any_alignment(alignment):
    found = measure(alignment)
    symbols = alignment.shape[1]
    for name in ("diagonal_score", "penalty", "coverage"):
        assert 0.0 <= getattr(found, name) <= 1.0, name
    assert -1.0 <= found.corr <= 1.0
    assert 1 / symbols - 1e-9 <= found.focus <= 1.0 + 1e-9
    walked = (found.back, found.leap, found.dwell)
    assert walked == (None,) * 3 or all(0.0 <= value <= 1.0 for value in walked)
    assert (found.jumps is None) == (found.back is None)


@given(alignments())
def test_speech_and_text_reversed_together_measure_alike(alignment):
    forward, reverse = measure(alignment), measure(alignment[::-1, ::-1])
    assert reverse.n_symbols == forward.n_symbols
    for name in ("diagonal_score", "penalty", "corr", "coverage", "focus"):
        assert getattr(reverse, name) == pytest.approx(getattr(forward, name), abs=1e-9), name


@pytest.mark.parametrize("size", [5, 6, 20])
def test_a_diagonal_one_band_aside_is_still_near(size):
    aside = round(max(0.15, 1 / size) * size)  # 1, 1 and 3 symbols, all of exactly the band's width
    shifted = np.eye(size)[np.minimum(np.arange(size) + aside, size - 1)]
    assert measure(shifted).diagonal_score == 1.0


@given(st.integers(0, 2**32 - 1), st.integers(3, 6))
@example(1, 3)  # weights that add up to 1 + 2e-16
def test_all_weight_in_the_band_scores_one_and_no_more(seed, size):
    weights = np.random.default_rng(seed).random((size, size))
    near = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) <= 1
    score = measure(normalised(weights * near)).diagonal_score
    assert 1.0 - 1e-12 <= score <= 1.0
