"""Whether a repair helped, by what the run is worth."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_tuner.repair.outcome import HELD_OUT, LEAST, VALUE, Outcome

WORST, BOTH = 10.0, (VALUE, HELD_OUT)


def nobody(name, age):
    return None


def outcome(name=VALUE, **points):
    """Points before a repair, then those since, by ages."""
    found = Outcome()
    for age, value in points["before"].items():
        found.note(name, age, value)
    last = max(points["before"], default=0)
    found.begin(1, last, 20, points.get("back_to"), None)
    for age, value in points["since"].items():
        found.note(name, age, value)
    return found


def told(found, by=BOTH, worst=WORST, peers=nobody, over=False):
    said = found.told(by, worst, peers, over)
    return said and said.verdict


CURVE = {20: 9.0, 40: 8.0, 60: 7.2}


@pytest.mark.parametrize(
    ("since", "verdict"),
    [
        ({40: 7.1}, "improved"),
        ({40: 7.3}, None),
        ({40: 8.7}, None),
        ({40: 8.9}, "harm"),
        ({30: 8.7, 40: 8.9}, "harm"),
        ({10: 8.0}, "improved"),
        ({10: 9.9}, None),
    ],
)
def test_weights_that_began_anew_are_held_against_the_old_ones_at_their_age(since, verdict):
    assert told(outcome(before=CURVE, since=since, back_to=0)) == verdict


@pytest.mark.parametrize(
    ("since", "verdict"),
    [({40: 8.2}, "harm"), ({30: 8.1, 40: 8.2}, None), ({30: 8.2, 40: 8.2}, "harm")],
)
def test_one_of_two_held_out_losses_may_be_worse_by_chance(since, verdict):
    assert told(outcome(HELD_OUT, before=CURVE, since=since, back_to=0), by=(HELD_OUT,)) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(4.9, "improved"), (5.6, None), (7.8, None), (8.0, "harm")])
def test_what_lies_beyond_is_held_against_a_trend_and_is_harm_only_below_what_was_reached(value, verdict):
    assert told(outcome(before=CURVE, since={80: value})) == verdict


def test_a_value_that_only_goes_on_as_before_is_no_improvement():
    falling = {age: 20 * age**-0.3 for age in range(20, 200, 20)}
    later = {age: 20 * age**-0.3 for age in (200, 220, 240)}
    assert told(outcome(before=falling, since=later)) == "no effect"


def test_the_first_value_that_says_something_is_an_improvement_where_none_did_before():
    silent = {20: 10.0, 40: 9.9}
    assert told(outcome(before=silent, since={60: 7.0})) == "improved"
    assert told(outcome(before=silent, since={60: 9.9}), by=(VALUE,)) is None
    assert told(outcome(before=silent, since={60: 9.9}), by=(VALUE,), over=True) == "unknown"


def test_before_a_value_says_anything_the_held_out_loss_does_where_it_may():
    found = outcome(HELD_OUT, before={20: 2.0, 40: 1.5}, since={60: 1.0})
    assert told(found) == "improved"
    assert told(found, by=(VALUE,)) is None
    found.note(VALUE, 60, 9.99)
    assert told(found) == "improved"
    found.note(VALUE, 62, 5.0)  # and where one says something, it alone counts
    assert told(found, over=True) in ("improved", "no effect", "harm")


def test_a_single_value_is_no_trend_and_others_are_asked():
    alone = outcome(before={40: 8.0}, since={60: 6.0})
    assert told(alone) is None
    assert told(alone, over=True) == "unknown"
    assert told(alone, peers=lambda name, age: 7.0) == "improved"
    assert told(alone, peers=lambda name, age: 5.0) == "harm"


def test_without_a_worst_value_the_first_one_is():
    assert told(outcome(before={20: 3.0, 40: 3.0}, since={60: 2.99}), worst=None) is None
    assert told(outcome(before={20: 3.0, 40: 2.8}, since={60: 1.0}), worst=None) == "improved"


def test_what_is_undecided_has_no_effect_in_the_end():
    found = outcome(before=CURVE, since={80: 7.0, 90: 7.0})
    assert told(found) is None
    found.note(VALUE, 100, 7.0)
    assert told(found) == "no effect"


values = st.floats(0.1, 100) | st.just(math.nan)


@given(
    st.lists(st.tuples(st.integers(1, 300), values), max_size=12),
    st.lists(st.tuples(st.integers(1, 300), values), max_size=6),
    st.none() | st.integers(0, 100),
    st.none() | st.floats(1, 50),
    st.booleans(),
)
def test_it_goes_on_from_its_state_and_knows_no_other_verdicts(before, since, back_to, worst, over):
    found = Outcome()
    for age, value in sorted(before):
        found.note(VALUE, age, value)
        found.note(HELD_OUT, age, value)
    found.begin(3, max((age for age, _ in before), default=0), 20, back_to, 7)
    for age, value in since:
        found.note(VALUE, age, value)
    again = Outcome.from_state(json.loads(json.dumps(found.state())))
    assert again == found
    one, other = (of.told(BOTH, worst, nobody, over) for of in (found, again))
    assert one == other
    assert one is None or one.verdict in ("improved", "no effect", "harm", "unknown")
    if one is not None and one.measure:
        assert math.isfinite(one.found)
        assert math.isfinite(one.expected)
        if one.verdict == "improved":
            assert one.found < one.expected * (1 - LEAST[one.measure]) + 1e-9


@given(st.lists(st.integers(1, 50), unique=True, min_size=1), st.integers(0, 60))
def test_weights_that_are_gone_back_to_know_nothing_of_what_came_after(ages, back_to):
    found = Outcome()
    for age in sorted(ages):
        found.note(VALUE, age, 1.0 / age)
    found.go_back(back_to)
    assert [age for age, _ in found.now[VALUE]] == [age for age in sorted(ages) if age <= back_to]
    assert found.best == min((1.0 / age for age in ages if age <= back_to), default=None)
