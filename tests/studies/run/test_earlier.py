"""A search that learns from earlier ones begins with their best values, and knows how sound trials go."""

import json
from typing import ClassVar

import optuna
import pytest

from smart_tuner import Callback, Objective, Parameter, Run, run_study
from smart_tuner.store.storage import open_storage
from studies.run.study import StudyError, open_study, stored_spec

RATES = optuna.distributions.FloatDistribution(0.1, 0.9)
STEPS = 40


class Descent(Run):
    def __init__(self, parameters):
        self.settings, self.place = dict(parameters), 1.0

    def advance(self):
        self.place *= 1 - 0.1 * self.settings["rate"] * self.settings.get("share", 1.0)
        self.step += 1
        return {"loss": self.place}

    def measure(self):
        return {"value": self.place}

    def save(self, folder):
        (folder / "place.json").write_text(json.dumps([self.place, self.step]))

    def restore(self, folder):
        self.place, self.step = json.loads((folder / "place.json").read_text())


class Descents(Objective):
    parameters: ClassVar = {"rate": Parameter(0.1, 0.0, 1.0), "share": Parameter(1.0, 0.0, 1.0)}

    def run(self, parameters, seed, device):
        return Descent(parameters)


class Told(Callback):
    def __init__(self):
        self.texts = []

    def warned(self, text):
        self.texts.append(text)


def studied(folder, name, learn_from=(), n_trials=5, space=None, steps=STEPS, callbacks=()):
    plan = {"steps": steps, "measure_every": steps // 4, "n_trials": n_trials, "workdir": folder}
    chosen = {"sampler": {"name": "random"}, "pruner": {"name": "none"}, "seed": len(name)}
    search = {"learn_from": list(learn_from)}
    return run_study(
        Descents(), space or {"rate": RATES}, name=name, callbacks=callbacks, search=search, **plan, **chosen
    )


def test_the_first_trials_have_the_best_values_of_each_earlier_study(tmp_path):
    first, second = studied(tmp_path, "first"), studied(tmp_path, "another")
    told = Told()
    third = studied(tmp_path, "third", ["first", "another"], callbacks=[told])
    assert [trial.params for trial in third.trials[:2]] == [first.best_params, second.best_params]
    assert third.trials[2].params not in (first.best_params, second.best_params)
    assert len(third.trials) == 5
    best = first.best_trial.number
    assert f'trial 0 has the best values of "first" (trial {best})' in told.texts
    assert third.trials[0].user_attrs["learned_from"] == {"study": "first", "trial": best}


def test_of_earlier_values_those_are_taken_that_the_space_has(tmp_path):
    wide = {"rate": RATES, "share": optuna.distributions.CategoricalDistribution((0.5, 1.0))}
    first = studied(tmp_path, "first", space=wide)
    narrow = {"rate": RATES, "share": optuna.distributions.CategoricalDistribution((0.7, 0.8))}
    second = studied(tmp_path, "second", ["first"], space=narrow)
    assert second.trials[0].params["rate"] == first.best_params["rate"]
    assert second.trials[0].params["share"] in (0.7, 0.8)
    beyond = {"rate": optuna.distributions.FloatDistribution(0.001, 0.01)}
    third = studied(tmp_path, "third", ["first"], space=beyond, n_trials=1)
    assert "learned_from" not in third.trials[0].user_attrs


def test_a_study_that_is_not_there_is_named_before_anything_begins(tmp_path):
    studied(tmp_path, "first", n_trials=1)
    with pytest.raises(StudyError, match=r"learns from firts; the database has: first"):
        studied(tmp_path, "second", ["firts"])
    assert optuna.get_all_study_names(open_storage(f"sqlite:///{tmp_path}/study.db")) == ["first"]


def test_what_a_study_begins_with_is_queued_once_however_often_it_was_killed(tmp_path):
    first = studied(tmp_path, "first")
    second = studied(tmp_path, "second", ["first"], n_trials=1)
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    spec = stored_spec(second)
    for _ in range(2):
        assert len(open_study(spec, storage, own=Descents()).trials) == 1
    with storage.engine.begin() as connection:  # as if it had been killed before it could queue them
        connection.exec_driver_sql("delete from trials where study_id = 2")
    for _ in range(2):
        [waiting] = open_study(spec, storage, own=Descents()).trials
        assert waiting.system_attrs["fixed_params"] == first.best_params


def test_rules_know_how_earlier_trials_went_by_their_part_of_the_plan(tmp_path):
    studied(tmp_path, "first")
    second = studied(tmp_path, "second", ["first"], n_trials=1, steps=2 * STEPS)
    known = second.trials[0].user_attrs["peers"]["value"]
    assert list(known) == [str(step) for step in (20, 40, 60, 80)]
    other = studied(tmp_path, "other", n_trials=1, steps=2 * STEPS)
    assert other.trials[0].user_attrs["peers"] == {}


def test_a_study_goes_on_without_an_earlier_one_that_was_deleted(tmp_path):
    studied(tmp_path, "first")
    studied(tmp_path, "second", ["first"], n_trials=1)
    optuna.delete_study(study_name="first", storage=open_storage(f"sqlite:///{tmp_path}/study.db"))
    assert len(studied(tmp_path, "second", ["first"], n_trials=3).trials) == 3
