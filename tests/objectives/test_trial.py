"""A trial of a made-up run, stopped at any step and taken up again: nothing is lost or doubled."""

import json
import math
from contextlib import closing

import optuna
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objectives.attempt import Attempt, Callback, Measured, Plan, Start
from objectives.base import Objective, Parameter, Run
from objectives.trial import Interrupted, Trial, best
from smart_tuner.store.outage import Outage
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage


class Walk(Run):
    def __init__(self):
        self.settings, self.place = {"rate": 1.0}, 100.0

    def advance(self):
        self.place *= 0.99
        self.step += 1
        return {"loss": self.place}

    def measure(self):
        return {"value": self.place}

    def save(self, folder):
        (folder / "place.json").write_text(json.dumps([self.place, self.step]))

    def restore(self, folder):
        self.place, self.step = json.loads((folder / "place.json").read_text())


class Walks(Objective):
    parameters = {"rate": Parameter(1.0, 0.0, 2.0)}  # noqa: RUF012

    def run(self, parameters, seed, device):
        return Walk()


PLAN = Plan(steps=20, measure_every=6, validate_every=5, rules=(), searched=frozenset(), checkpoint_every=4)


@example([math.nan, 1.0])
@given(st.lists(st.floats(), min_size=1))
def test_a_value_that_is_no_number_is_never_the_best_of_several(values):
    found = best([Measured(step, value, 0.0) for step, value in enumerate(values)]).value
    numbers = [value for value in values if not math.isnan(value)]
    assert found == min(numbers) if numbers else math.isnan(found)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    with closing(open_storage(f"sqlite:///{tmp_path_factory.mktemp('walks') / 'study.db'}")) as opened:
        yield opened


@settings(max_examples=20)
@given(st.sets(st.integers(1, 20), max_size=6))
def test_wherever_it_is_stopped_every_measure_is_made_once(storage, tmp_path_factory, stops):
    study = optuna.create_study(storage=storage)
    trial, folder = study.ask(), tmp_path_factory.mktemp("trial")
    told, left = [], sorted(stops)

    class Told(Callback):
        def measured(self, measured):
            told.append(measured.step)

    def attempt():
        ledger = TrialRepairs(storage, "uid", trial.number, "policy")
        run = Walk()

        def asked():
            if left and run.step >= left[0]:
                left.pop(0)
                return 0
            return None

        doing = Attempt(trial, folder, ledger, Outage(print), asked_to_stop=asked)
        return Trial(Start(doing, Walks(), run, {}, PLAN, 0), Told()).value()

    for _ in stops:
        try:
            attempt()
        except Interrupted:
            continue
        break
    value = attempt() if len(told) < 4 else None
    assert told == [6, 12, 18, 20]
    assert [*study.trials[0].intermediate_values] == [6, 12, 18, 20]
    assert value is None or value == study.trials[0].intermediate_values[20]
