"""A trial of a made-up run, stopped at any step and taken up again: nothing is lost or doubled."""

import json
import math
import time
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import optuna
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from objectives.attempt import Attempt, Callback, Measured, Plan, Start
from objectives.base import NonFinite, Objective, ObjectiveError, OutOfMemory, Parameter, Run
from objectives.trial import Interrupted, Trial, best
from smart_tuner.repair.pruning import SuccessiveHalving
from smart_tuner.repair.rules.numerics import NonFinite as NonFiniteRule
from smart_tuner.repair.rules.numerics import OutOfMemory as OutOfMemoryRule
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
    parameters = {"rate": Parameter(1.0, 0.0, 2.0), "learning_rate": Parameter(1.0, 0.0, 2.0)}  # noqa: RUF012

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


def run_of(storage, folder, run, rules=(), study=None, stops=(), heard=None, plan=PLAN):
    """The value of a trial whose run is given. Args: heard: gets what its rules said."""
    study = study or optuna.create_study(storage=storage)
    trial = study.ask()
    ledger = TrialRepairs(storage, study.study_name, trial.number, "policy")
    doing = Attempt(
        trial, folder, ledger, Outage(print), asked_to_stop=lambda: 0 if run.step in stops else None
    )
    told = Callback()
    told.repaired = [].append if heard is None else heard.append
    plan = replace(plan, rules=tuple(rules))
    return Trial(Start(doing, Walks(), run, {}, plan, 0), told).value()


def returning(method, told):
    """A run of which one method returns something else."""
    return type("Wrong", (Walk,), {method: lambda self, *_: told})()


class Standing(Walk):
    def advance(self):
        return {"loss": 1.0}


WRONG = [
    (returning("advance", None), "advance"),
    (returning("advance", {"grad_norm": 1.0}), '"loss" is expected'),
    (returning("advance", {"loss": 1.0, "grad_norm": None}), "numbers by name"),
    (Standing(), "it must add 1, to 1"),
    (returning("measure", {}), '"value" is expected'),
    (returning("measure", {"value": None}), "measure"),
    (returning("measure", {"value": 1.0, "picture": b"x"}), "only what JSON knows"),
    (returning("measure", {"value": 1.0, "seconds": 3.0}), "seconds, which is kept anyway"),
    (returning("measure", {"value": 1.0, "step": 3}), "step, which is kept anyway"),
]


@pytest.mark.parametrize(("run", "said"), WRONG)
def test_what_a_run_does_wrong_is_said(storage, tmp_path, run, said):
    with pytest.raises(ObjectiveError, match=said):
        run_of(storage, tmp_path, run)


def test_a_validation_that_returns_no_numbers_is_said(storage, tmp_path):
    with pytest.raises(ObjectiveError, match="validate"):
        run_of(storage, tmp_path, returning("validate", None), [NonFiniteRule()])


def test_a_run_that_forgets_its_step_is_not_trained_on(storage, tmp_path):
    class Forgetful(Walk):
        def restore(self, folder):
            self.place = 1.0

    with pytest.raises(Interrupted):
        run_of(storage, tmp_path, Forgetful(), stops={7})
    with pytest.raises(ObjectiveError, match="at 0: it must be 7"):
        run_of(storage, tmp_path, Forgetful())


def test_numbers_of_numpy_and_torch_are_numbers(storage, tmp_path):
    class Foreign(Walk):
        def advance(self):
            return {name: torch.tensor(value) for name, value in super().advance().items()}

        def measure(self):
            return {"value": np.float32(3.0), "share": np.float64(0.5), "count": np.int64(3)}

    assert run_of(storage, tmp_path, Foreign()) == 3.0


def test_a_value_that_is_no_number_is_called_so_and_not_behind(storage, tmp_path):
    study = optuna.create_study(storage=storage, pruner=SuccessiveHalving(6))
    with pytest.raises(optuna.TrialPruned, match="its value is nan"):
        run_of(storage, tmp_path, returning("measure", {"value": math.nan}), study=study)


class Unsound(Walk):
    """One of its items is bad; what it is saved with does not say that it was left out."""

    n_clips = 60

    def __init__(self):
        super().__init__()
        self.settings, self.bad, self.log = {"learning_rate": 1.0}, {"clip"}, []

    def advance(self):
        if self.bad and self.step >= 8:
            raise NonFinite(self.step + 1, loss=math.nan)
        told = super().advance()
        return {"loss": math.nan} if self.step == 9 and "restored" not in self.log else told

    def skip(self):
        return ("clip",)

    def exclude(self, clips):
        self.log.append("excluded")
        self.bad -= set(clips)

    def restore(self, folder):
        super().restore(folder)
        self.log.append("restored")
        self.bad = {"clip"}


def test_what_was_left_out_stays_so_where_weights_go_back(storage, tmp_path):
    run, heard = Unsound(), []
    with suppress(optuna.TrialPruned):
        run_of(storage, tmp_path, run, [NonFiniteRule()], heard=heard)
    assert run.log[:3] == ["excluded", "restored", "excluded"]
    assert sum(bool(entry.clips) for entry in heard if entry.kind == "repair") == 1


def test_a_step_that_does_not_fit_the_second_time_is_repaired_as_well(storage, tmp_path):
    class Once(Walk):
        tried = 0

        def advance(self):
            if self.step == 4 and self.tried < 2:
                self.tried += 1
                raise (NonFinite(5, loss=math.nan) if self.tried == 1 else OutOfMemory("too large"))
            return super().advance()

    with pytest.raises(optuna.TrialPruned, match="nothing is left"):
        run_of(storage, tmp_path, Once(), [NonFiniteRule(), OutOfMemoryRule()])


@pytest.mark.parametrize(("waited", "times"), [(0.9, 1), (0.0, 0)])
def test_an_input_that_starves_the_training_is_told_once(storage, tmp_path, monkeypatch, waited, times):
    class Starving(Walk):
        def advance(self):
            time.sleep(0.002)
            self.waited = waited * 0.002
            return super().advance()

    texts = []
    monkeypatch.setattr(Callback, "warned", lambda _, text: texts.append(text))
    run_of(storage, tmp_path, Starving(), plan=replace(PLAN, steps=160, measure_every=80))
    assert sum("waiting for its data" in text for text in texts) == times
