import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from smart_tuner.repair.health import KEPT, Health, Pace, Series, Signal, Trend, spread, theil_sen

PACE = Pace(400, 25)
numbers = st.floats(-1e6, 1e6)


def test_what_was_not_measured_is_missing():
    health = Health(PACE)
    health.note(5, {"loss": 1.0})
    assert health.last("gate_accuracy") is None
    assert len(health.values("gate_accuracy")) == 0
    assert health.last("loss") == 1.0


@given(st.lists(numbers, min_size=1, max_size=30), st.integers(1, 40))
def test_a_window_is_whole_or_empty(values, count):
    health = Health(PACE)
    for step, value in enumerate(values, 1):
        health.note(step, {"loss": value})
    assert health.values("loss", count).tolist() == (values[-count:] if count <= len(values) else [])


@given(st.lists(numbers, min_size=1, max_size=20), st.lists(numbers, max_size=20))
def test_after_a_restart_windows_hold_only_what_came_since(before, after):
    health = Health(PACE)
    for step, value in enumerate(before, 1):
        health.note(step, {"loss": value})
    health.restart(health.step)
    for step, value in enumerate(after, len(before) + 1):
        health.note(step, {"loss": value})
    assert health.values("loss").tolist() == after


@given(st.lists(numbers, min_size=1, max_size=3 * KEPT), st.integers(-1, 3 * KEPT))
def test_a_series_keeps_the_newest_values_whole(values, after):
    series = Series()
    for step, value in enumerate(values):
        series.append(step, value)
    expected = [(s, v) for s, v in enumerate(values) if s > after][-KEPT:]
    assert list(zip(*(row.tolist() for row in series.after(after)), strict=True)) == expected


@given(st.integers(1, 200_000), st.integers(1, 10_000), st.integers(1, 100))
def test_windows_shrink_with_the_plan_to_a_floor_and_never_grow(planned, steps, floor):
    found = Pace(planned, 25)(steps, floor)
    assert found <= steps
    assert found == steps or found >= floor
    assert Pace(planned * 2, 25)(steps, floor) >= found
    assert Pace(50_000, 25)(steps, floor) == max(steps, 0)


def test_clips_are_compared_with_the_median_of_their_batch_and_only_the_last_passes_are_kept():
    health = Health(PACE)
    for k in range(5):
        health.note_clips({"a": (1.0, 0.1), "b": (2.0 + k, 0.4), "c": (1.0, 0.1)})
    assert health.clips["a"] == [(0.0, 0.0)] * 3
    assert health.clips["b"] == [pytest.approx((np.log(2.0 + k), 0.3)) for k in (2, 3, 4)]


def test_it_survives_its_state():
    health = Health(PACE)
    for step in range(1, 40):
        health.note(step, {"loss": 1.0 / step})
        health.note_clips({"a": (1.0, 0.1), "b": (2.0, 0.4)})
    health.improve("held_out", 0.5)
    health.restart(20)
    other = Health(PACE)
    other.take(json.loads(json.dumps(health.state())))
    assert other.state() == health.state()
    assert other.values("loss").tolist() == health.values("loss").tolist()


@pytest.mark.parametrize(
    ("signal", "before", "after", "harm"),
    [
        (Signal("smaller", max_worse=0.05, judged=True), 2.0, 2.11, True),
        (Signal("smaller", max_worse=0.05, judged=True), 2.0, 2.09, False),
        (Signal("smaller", max_worse=0.05, judged=True), -2.0, -1.89, True),  # such as a log-likelihood
        (Signal("smaller", max_worse=0.05, judged=True), -2.0, -1.91, False),
        (Signal("larger", max_worse=0.1, judged=True), 0.5, 0.39, True),
        (Signal("larger", max_worse=0.1, judged=True), 0.5, 0.41, False),
        (Signal("smaller", judged=True), 0.0, 9.0, False),
    ],
)
def test_what_counts_as_harm(signal, before, after, harm):
    assert signal.is_harm(before, after) == harm


@pytest.mark.parametrize("wrong", [{"judged": True}, {"better": "smaller"}])
def test_what_may_be_harm_is_judged_and_has_a_better(wrong):
    with pytest.raises(ValueError, match="max_worse needs"):
        Signal(max_worse=0.1, **wrong)


def test_the_best_is_that_of_the_signals_direction_and_never_nan():
    health = Health(PACE, {"accuracy": Signal("larger", of_weights=True)})
    for value in (math.nan, 0.5, 0.7, math.nan, 0.6):
        health.improve("accuracy", value)
        health.improve("value", value)
    assert health.best == {"accuracy": 0.7, "value": 0.5}
    health.forget_weights()
    assert health.best == {"value": 0.5}


def test_a_start_over_forgets_the_best_of_the_run():
    signals = {"gain": Signal("larger", of_run=True), "kept": Signal("larger")}
    health = Health(PACE, signals)
    for name in signals:
        health.improve(name, 1.0)
    health.forget_weights()
    assert health.best == {"gain": 1.0, "kept": 1.0}
    health.start_over()
    assert health.best == {"kept": 1.0}


def test_without_a_milestone_a_run_is_there_from_its_start():
    health, aiming = Health(PACE), Health(PACE, milestone="aligned")
    assert (health.milestone_at, aiming.milestone_at) == (0, None)
    for each in (health, aiming):
        each.note(9, {})
        each.milestone_at = 5
        each.start_over()
    assert (health.milestone_at, aiming.milestone_at) == (9, None)


def test_steps_never_fall():
    health = Health(PACE)
    health.note(5, {})
    with pytest.raises(ValueError, match="never fall"):
        health.note(4, {})


@given(st.floats(-10, 10), st.integers(3, 40), st.integers(0, 2**31))
def test_a_trend_is_the_slope_and_an_outlier_does_not_move_it(slope, count, seed):
    health, random = Health(PACE), np.random.default_rng(seed)
    bad = random.integers(count) if count >= 8 else None
    for k in range(count):
        health.note(10 * k, {}) if k == bad else health.note(10 * k + 1, {"loss": slope * (10 * k + 1)})
    assert (trend := health.trend("loss", count - (bad is not None))) is not None
    assert trend.slope == pytest.approx(slope, abs=1e-6)
    assert trend.low <= trend.slope + 1e-9
    assert trend.high >= trend.slope - 1e-9
    assert health.trend("loss", count + 1) is None


def test_the_spread_is_a_standard_deviation_that_outliers_do_not_move():
    values = np.random.default_rng(1).normal(3.0, 2.0, 4001)
    values[:300] = 1e6
    assert spread(values) == pytest.approx(2.0, rel=0.15)


@given(st.lists(st.integers(-5, 5) | st.floats(-1e6, 1e6), min_size=3, max_size=40), st.integers(1, 50))
def test_a_trend_is_what_scipy_calls_theilslopes(values, apart):
    steps = apart * np.arange(len(values), dtype=float) + 7
    found = theilslopes(np.array(values, dtype=float), steps)
    expected = Trend(found.slope, found.low_slope, found.high_slope)
    assert theil_sen(steps, np.array(values, dtype=float)) == expected
