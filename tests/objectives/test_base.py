"""What every objective, run and callback can rely on."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objectives.base import Callback, Callbacks, Measured, Parameter, Run

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


class Counter(Run):
    """A run whose whole state is a number, and how far it goes at a step."""

    def __init__(self, settings):
        self.settings, self.state = settings, 0

    def advance(self):
        self.state += self.settings["rate"]
        self.step += 1
        return {"loss": 1.0}

    def measure(self):
        return {"value": float(self.state)}

    def save(self, folder):
        (folder / "state.json").write_text(json.dumps([self.state, self.step]))

    def restore(self, folder):
        self.state, self.step = json.loads((folder / "state.json").read_text())


@given(st.integers(-5, 5), st.integers(-5, 5), NUMBERS)
def test_a_parameter_takes_what_lies_within_its_limits_and_says_why_not(low, high, value):
    parameter = Parameter(0.0, min(low, high), max(low, high))
    fault = parameter.fault(value)
    assert (fault is None) == (min(low, high) <= value <= max(low, high))
    assert fault is None or str(value) in fault


@given(st.integers(-100, 100))
def test_a_whole_number_may_have_to_be_odd_or_even(value):
    odd, even = (Parameter(1, -100, 100, parity=parity).fault(value) is None for parity in ("odd", "even"))
    assert (odd, even) == (value % 2 == 1, value % 2 == 0)
    assert Parameter(1, -100, 100).fault(value + 0.5) is not None
    assert Parameter(1.0, -100, 100).fault(math.nan) is not None


def test_without_a_way_of_its_own_a_run_goes_back_to_saved_weights_and_keeps_its_steps_and_settings(tmp_path):
    run = Counter({"rate": 1})
    run.advance()
    run.save(tmp_path)
    run.settings = {"rate": 5}
    run.advance()
    run.roll_back(tmp_path)
    assert (run.state, run.step, run.settings) == (1, 2, {"rate": 5})


def test_a_run_offers_the_ways_that_it_has():
    class Excluding(Counter):
        def exclude(self, clips): ...

    assert Counter({}).ways == {"roll_back"}
    assert Excluding({}).ways == {"roll_back", "exclude"}
    with pytest.raises(NotImplementedError):
        Counter({}).reinitialise("part")


@given(st.integers(0, 9), NUMBERS, st.dictionaries(st.sampled_from(["a", "spread", "b"]), NUMBERS))
def test_a_measure_is_read_as_it_was_kept(step, value, more):
    measured = Measured(step, value, 1.5, more)
    assert Measured.from_record(json.loads(json.dumps(measured.record()))) == measured


def test_several_callbacks_are_told_in_their_order_and_left_in_the_reverse_one():
    told = []

    class Told(Callback):
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            told.append(f"{self.name} in")
            return self

        def __exit__(self, *ended_by):
            told.append(f"{self.name} out")

        def stepped(self, step):
            told.append(f"{self.name} {step}")

    with Callbacks([Told("a"), Told("b")]) as both:
        both.stepped(7)
        both.warned("nobody listens")
    assert told == ["a in", "b in", "a 7", "b 7", "b out", "a out"]


def test_every_event_reaches_each_of_several_callbacks():
    events = [name for name in vars(Callback) if not name.startswith("_")]
    assert {"progressed", "started", "stepped", "repaired", "measured", "saved", "ended"} <= set(events)
    for event in events:
        told = []
        one = Callback()
        setattr(one, event, lambda *given, told=told: told.append(given))
        count = getattr(Callback, event).__code__.co_argcount - 1
        getattr(Callbacks([one, one]), event)(*range(count))
        assert told == [tuple(range(count))] * 2
