"""Trials that are loaded in bulk are those that Optuna itself loads."""

import gc
import math
from functools import partial
from pprint import pformat

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from smart_tuner.store import loading
from smart_tuner.store.storage import open_storage

SPACE = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "half": FloatDistribution(0, 4, step=0.5),
    "size": IntDistribution(1, 64),
    "kind": CategoricalDistribution((None, True, 1, 1.5, "eins")),
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
attributes = st.dictionaries(st.sampled_from("abc"), json_values)
params = st.fixed_dictionaries(
    {},
    optional={
        "rate": st.floats(1e-4, 1e-1),
        "half": st.integers(0, 8).map(lambda k: k / 2),
        "size": st.integers(1, 64),
        "kind": st.sampled_from(SPACE["kind"].choices),
    },
)


@st.composite
def trials(draw):
    state, drawn = draw(st.sampled_from(TrialState)), draw(params)
    ended = draw(st.floats(allow_nan=False)) if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    return create_trial(
        state=state,
        value=ended,
        params=drawn,
        distributions={name: SPACE[name] for name in drawn},
        user_attrs=draw(attributes),
        system_attrs=draw(attributes),
        intermediate_values=draw(st.dictionaries(st.integers(0, 99), st.floats(), max_size=4)),
    )


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    storage = open_storage(f"sqlite:///{tmp_path_factory.mktemp('loading') / 'study.db'}")
    yield storage
    storage.engine.dispose()


def both(storage, *question):
    """As text, in which NaN equals NaN, 1 is neither 1.0 nor True, and dictionaries are sorted."""
    loaders = (storage._get_trials, partial(RDBStorage._get_trials, storage))
    return tuple([pformat(vars(trial)) for trial in load(*question)] for load in loaders)


@settings(max_examples=20)
@given(st.lists(trials(), max_size=5), st.sets(st.sampled_from(TrialState)) | st.none(), st.data())
def test_bulk_loading_gives_what_optuna_gives(storage, found, states, data):
    study = optuna.create_study(storage=storage)
    study.add_trials(found)
    ids = [trial._trial_id for trial in study.get_trials(deepcopy=False)]
    newest = data.draw(st.sampled_from([-1, *ids]))
    included = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
    ours, optunas = both(storage, study._study_id, states, included, newest)
    assert ours == optunas


@pytest.fixture
def study(storage):
    """Every way in which a trial comes to be and ends."""
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(0))
    pruned, failed, complete, running = (study.ask(SPACE) for _ in range(4))
    for step, value in enumerate((math.nan, math.inf, -math.inf, 1.0)):
        pruned.report(value, step)
    pruned.report(2.0, 1000)
    pruned.report(3.0, 500)  # late
    study.tell(pruned, state=TrialState.PRUNED)
    failed.set_user_attr("reason", "NaN")
    study.tell(failed, state=TrialState.FAIL)
    complete.set_user_attr("measures", [{"step": 1, "value": math.nan, "failures": {}}])
    complete.storage.set_trial_system_attr(complete._trial_id, "constraints", [0.5, -1.0])
    study.tell(complete, math.inf)
    running.report(1.0, 1)
    study.enqueue_trial({"rate": 1e-3, "kind": None}, user_attrs={"fresh_of": 0})
    return study


@pytest.mark.parametrize("at_once", [1, 2, 5000])
def test_trials_of_all_kinds_come_back_whatever_is_asked_for_at_once(study, storage, at_once, monkeypatch):
    monkeypatch.setattr(loading, "AT_ONCE", at_once)
    ids = [trial._trial_id for trial in study.trials]
    for states in (None, (), (TrialState.RUNNING, TrialState.WAITING), tuple(TrialState)):
        for question in ((set(), -1), ({ids[3], ids[0], ids[4]}, ids[2]), (set(ids), ids[-1])):
            ours, optunas = both(storage, study._study_id, states, *question)
            assert ours == optunas
    assert [trial.number for trial in storage._get_trials(study._study_id, None, set(), -1)] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_several_values_keep_their_order(storage):
    study = optuna.create_study(storage=storage, directions=["minimize", "maximize", "minimize"])
    study.tell(study.ask(), [3.0, -math.inf, 1.0])
    [trial] = study.get_trials(deepcopy=False)
    assert trial.values == [3.0, -math.inf, 1.0]
    ours, optunas = both(storage, study._study_id, None, set(), -1)
    assert ours == optunas


def test_a_study_that_is_not_there_is_told_as_by_optuna(storage):
    with pytest.raises(KeyError):
        storage._get_trials(10_000, None, set(), -1)


def test_the_garbage_collector_is_left_as_it_was(study, storage):
    for switch, collects in ((gc.disable, False), (gc.enable, True)):
        switch()
        storage._get_trials(study._study_id, None, set(), -1)
        assert gc.isenabled() is collects


def test_a_curve_comes_in_the_order_of_its_steps(storage):
    trial = optuna.create_study(storage=storage).ask()
    for step in (27, 9, 18):
        trial.report(1.0, step)
    [loaded] = storage.get_all_trials(trial.study._study_id)
    assert list(loaded.intermediate_values) == [9, 18, 27]
