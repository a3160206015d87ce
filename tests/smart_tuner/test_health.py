import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_tuner.health import Health, spread

numbers = st.floats(-1e6, 1e6)


def test_what_was_not_measured_is_missing():
    health = Health()
    health.note(5, {"loss": 1.0})
    assert health.last("gate_accuracy") is None
    assert len(health.values("gate_accuracy")) == 0
    assert health.last("loss") == 1.0


@given(st.lists(numbers, min_size=1, max_size=30), st.integers(1, 40))
def test_a_window_is_whole_or_empty(values, count):
    health = Health()
    for step, value in enumerate(values, 1):
        health.note(step, {"loss": value})
    assert health.values("loss", count).tolist() == (values[-count:] if count <= len(values) else [])


@given(st.lists(numbers, min_size=1, max_size=20), st.lists(numbers, max_size=20), st.integers(0, 25))
def test_after_a_restart_windows_hold_only_what_came_since(before, after, back_to):
    health = Health()
    for step, value in enumerate(before, 1):
        health.note(step, {"loss": value})
    back_to = min(back_to, len(before))
    health.restart(back_to)
    for step, value in enumerate(after, back_to + 1):
        health.note(step, {"loss": value})
    assert health.values("loss").tolist() == after


def test_steps_never_fall_without_a_restart():
    health = Health()
    health.note(5, {})
    with pytest.raises(ValueError, match="restart"):
        health.note(4, {})


@given(st.floats(-10, 10), st.integers(3, 40), st.integers(0, 2**31))
def test_a_trend_is_the_slope_and_an_outlier_does_not_move_it(slope, count, seed):
    health, random = Health(), np.random.default_rng(seed)
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
