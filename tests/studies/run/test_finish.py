"""How a search's best trial is trained on, by any objective."""

import json
import math
from dataclasses import dataclass

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.settings import Settings
from model.training import learning_rate_at
from objectives.signals import PARAMETERS
from objectives.tacotron2 import HALVINGS, Tacotron2
from objectives.trial import no_better
from smart_tuner import Objective, Parameter, Run, run_study
from smart_tuner.repair.pruning import SuccessiveHalving
from studies.report import history

RATES = {"rate": optuna.distributions.CategoricalDistribution((0.1, 0.2, 0.3))}


class Descent(Run):
    def __init__(self, rate, start):
        self.settings, self.place, self.start = {"rate": rate}, start, start

    def advance(self):
        self.place *= 1 - 0.1 * self.settings["rate"]
        self.step += 1
        return {"loss": self.place}

    def measure(self):
        return {"value": self.place}

    def save(self, folder):
        (folder / "place.json").write_text(
            json.dumps([self.place, self.step, self.start, dict(self.settings)])
        )

    def restore(self, folder):
        self.place, self.step, start, self.settings = json.loads((folder / "place.json").read_text())
        if start != self.start:
            raise ValueError("of another seed")


@dataclass
class Descents(Objective):
    parameters = {"rate": Parameter(0.1, 0.0, 1.0)}  # noqa: RUF012

    def finishing(self, parameters, step, steps):
        return {"rate": parameters["rate"] / 2}

    def run(self, parameters, seed, device):
        return Descent(parameters["rate"], 1.0 + seed % 1000 / 1000)


def studied(folder, n_trials=3, objective=None, **tables):
    plan = {"steps": 20, "measure_every": 5, "n_trials": n_trials, "name": "descents", "workdir": folder}
    return run_study(objective or Descents(), RATES, **plan, sampler={"name": "random"}, **tables)


@pytest.mark.parametrize("mode", ["on", "off"])
def test_it_goes_on_with_the_settings_of_its_objective(tmp_path, mode):
    study = studied(tmp_path, finish={"steps": 100}, rules={"mode": mode}, pruner={"name": "none"})
    *searched, last = study.trials
    [(number, goes_on)] = history.going_on(study).items()
    origin = searched[goes_on.trial]
    assert (number, goes_on.step, last.params) == (3, 20, origin.params)
    rate = last.user_attrs["settings"]["rate"]
    assert rate == origin.params["rate"] / 2
    assert last.value == pytest.approx(origin.value * (1 - 0.1 * rate) ** 80)
    assert list(last.intermediate_values) == [5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100]


def test_no_pruner_judges_it(tmp_path):
    pruner = {
        "use": "optuna.pruners:ThresholdPruner",
        "args": {"lower": 0.4},
    }  # which no trial reaches so soon
    study = studied(tmp_path, finish={"steps": 400}, pruner=pruner)
    assert study.trials[-1].state.name == "COMPLETE"
    assert study.trials[-1].value < 0.4


def test_no_trial_is_held_against_it():
    study = optuna.create_study()
    values, on = (1.0, 3.0, 4.0), {"trial": 0, "step": 1, "steps": 9}
    study.add_trials([optuna.trial.create_trial(value=v, intermediate_values={1: v}) for v in values])
    kept = optuna.trial.create_trial(value=2.0, intermediate_values={1: 2.0})
    kept.number = 9
    assert not SuccessiveHalving(1, 2).prune(study, kept)
    study.add_trial(
        optuna.trial.create_trial(value=1.0, intermediate_values={1: 1.0}, user_attrs={"goes_on_from": on})
    )
    assert not SuccessiveHalving(1, 2).prune(study, kept)


def test_it_ends_when_its_hours_are_over(tmp_path):
    study = studied(tmp_path, finish={"steps": 100, "hours": 1e-9})
    assert list(study.trials[-1].intermediate_values)[-1] == 30
    assert study.trials[-1].state.name == "COMPLETE"


@dataclass
class Stays(Objective):
    """Its value falls to step 40, and what is heard of it, if anything, to a later step."""

    parameters = {"rate": Parameter(0.1, 0.0, 1.0)}  # noqa: RUF012
    heard_to: int = 0

    def run(self, parameters, seed, device):
        run, heard_to = Descent(parameters["rate"], 1.0), self.heard_to

        def later(folder, seconds):
            return {step: {"cer": 1 / step} for step in range(5, min(run.step, heard_to) + 1, 5)}

        run.measure = lambda: {"value": 1 / min(run.step, 40)}
        if self.heard_to:
            run.later = later
        return run


@pytest.mark.parametrize(("heard_to", "last"), [(0, 60), (40, 60), (70, 90), (500, 100)])
def test_it_ends_where_it_gets_no_better(tmp_path, heard_to, last):
    study = studied(tmp_path, objective=Stays(heard_to), finish={"steps": 100, "patience": 2})
    assert list(study.trials[-1].intermediate_values)[-1] == last
    assert study.trials[-1].state.name == "COMPLETE"


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, math.nan, math.inf])), st.integers(1, 5))
def test_what_gets_no_better_had_its_best_before(values, last):
    known = [math.inf if math.isnan(value) else value for value in values]
    before, after = known[:-last], known[-last:]
    assert no_better(values, last) == (bool(before) and all(value >= min(before) for value in after))


def test_without_a_wish_nothing_is_trained_on_and_with_one_what_is_there(tmp_path):
    assert len(studied(tmp_path).trials) == 3
    assert len(studied(tmp_path, finish={"steps": 30}).trials) == 4
    assert len(studied(tmp_path, finish={"steps": 30}).trials) == 4
    assert len(studied(tmp_path, finish={"steps": 40}).trials) == 5


def test_it_uses_up_no_budget_of_the_search(tmp_path):
    budget = {"consumed_steps": 70}
    study = studied(tmp_path, n_trials=3, budget=budget, finish={"steps": 500}, pruner={"name": "none"})
    assert history.consumed(study)[0] == 60 + 480
    study = studied(tmp_path, n_trials=4, budget=budget, finish={"steps": 500}, pruner={"name": "none"})
    assert history.started(study) == 4


def test_a_voice_s_learning_rate_is_halved_on_the_way():
    parameters = {name: known.default for name, known in PARAMETERS.items()}
    found = Tacotron2.finishing(None, parameters, 400, 2400)
    settings = Settings(**found)
    assert learning_rate_at(1400, settings) == settings.learning_rate
    assert math.log2(learning_rate_at(1400, settings) / learning_rate_at(2400, settings)) == pytest.approx(
        HALVINGS, rel=0.01
    )
    assert Tacotron2.finishing(None, parameters | {"decay_start_step": 300}, 400, 2400) == {}
