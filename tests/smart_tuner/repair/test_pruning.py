"""Whatever prunes: a repair has time to show its effect, and a kill at any moment changes no verdict."""

import math
import random
from itertools import count

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner
from optuna.storages import InMemoryStorage
from optuna.trial import Trial, TrialState

from smart_tuner.repair import pruning
from smart_tuner.repair.pruning import (
    GRACE,
    LEAST_PEERS,
    SPARED,
    VERDICT,
    SuccessiveHalving,
    medians,
    peers,
    should_prune,
)
from smart_tuner.store.storage import open_storage


class Always(optuna.pruners.BasePruner):
    def prune(self, study, trial):
        return True


class Killed(BaseException):
    """What no code of ours catches."""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/study.db"


@pytest.fixture
def trial(url):
    storage = open_storage(url)
    study = optuna.create_study(storage=storage, pruner=Always())
    yield study.ask()
    storage.close()


def told(study, values, every=100):
    """A trial that reports these values until it is pruned; how many it reported."""
    trial = study.ask()
    for number, value in enumerate(values, 1):
        trial.report(value, number * every)
        if should_prune(trial):
            study.tell(trial, state=TrialState.PRUNED)
            return number
    study.tell(trial, values[-1])
    return len(values)


def found(trial):
    return trial.storage.get_trial(trial._trial_id)


# Grace


def test_without_a_repair_the_studys_pruner_decides(trial):
    trial.report(1.0, 100)
    assert should_prune(trial)


@pytest.mark.parametrize(("step", "pruned"), [(199, False), (200, True)])
def test_it_waits_until_the_repair_is_judged(trial, step, pruned):
    trial.set_user_attr(GRACE, 200)
    trial.report(1.0, step)
    assert should_prune(trial) == pruned


@pytest.mark.parametrize("written", ["soon", None, [1], {"step": 3}, [1, True], ["a", True, {}], 0.5])
def test_what_somebody_wrote_in_place_of_its_notes_is_no_note(trial, written):
    trial.set_user_attr(GRACE, written)
    for key in (SPARED, VERDICT):
        trial.storage.set_trial_system_attr(trial._trial_id, key, written)
    trial.report(1.0, 100)
    assert should_prune(trial)


@pytest.mark.parametrize(
    "pruner", [SuccessiveHalving(100, 2), SuccessiveHalvingPruner(min_resource=100, reduction_factor=2)]
)
def test_a_rung_passed_in_grace_is_judged_after_it(pruner):
    study = optuna.create_study(pruner=pruner)
    for value in (1.0, 2.0, 3.0):
        told(study, [value])
    repaired = study.ask()
    repaired.set_user_attr(GRACE, 150)
    repaired.report(9.0, 100)
    assert not should_prune(repaired)
    assert not should_prune(repaired)
    repaired.report(8.0, 150)
    assert should_prune(repaired)
    assert found(repaired).system_attrs[SPARED] == [100]


def test_a_trial_that_stood_at_a_rung_before_its_repair_is_not_judged_there_again():
    study = optuna.create_study(pruner=SuccessiveHalving(100, 2))
    assert told(study, [1.0, 1.0]) == 2
    trial = study.ask()
    trial.report(0.5, 100)
    assert not should_prune(trial)
    trial.set_user_attr(GRACE, 130)
    for step in (120, 140, 199):
        trial.report(9.0, step)
        assert not should_prune(trial)
    trial.report(9.0, 200)
    assert should_prune(trial)


# Successive halving that notes nothing


class Studies:
    """The same trials under Optuna's pruner and under ours, in whatever order they report."""

    def __init__(self, first, factor):
        optunas = SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
        self.studies = [optuna.create_study(pruner=p) for p in (optunas, SuccessiveHalving(first, factor))]
        self.running = []
        self.rungs = [first * factor**number for number in range(9)]

    def ask(self):
        self.running.append([study.ask() for study in self.studies])

    def report(self, place, value, every, grace):
        """Args: grace: so many values long, but not past two rungs."""
        pair = self.running[place]
        last = found(pair[0])
        step, until = (last.last_step or 0) + every, last.user_attrs.get(GRACE, 0)
        before = max(set(last.intermediate_values) - set(last.system_attrs.get(SPARED, [])), default=0)
        until = max(until, step + grace * every)
        grace = grace and sum(before < rung <= until for rung in self.rungs) < 2
        verdicts = []
        for trial in pair:
            if grace:
                trial.set_user_attr(GRACE, until)
            trial.report(value, step)
            verdicts.append(should_prune(trial))
        assert verdicts[0] == verdicts[1], [t.intermediate_values for t in self.studies[0].trials]
        if verdicts[0]:
            self.end(place, TrialState.PRUNED)

    def end(self, place, state):
        for study, trial in zip(self.studies, self.running.pop(place), strict=True):
            study.tell(trial, state=state)


VALUES = st.integers(0, 6).map(float) | st.floats(-1e3, 1e3) | st.just(math.nan) | st.just(math.inf)


@given(st.data())
def test_it_agrees_with_optunas_on_all_histories(data):
    """Sequential ones, interleaved ones, with failures and repairs; no judged value passes two rungs."""
    every, factor = data.draw(st.integers(1, 30)), data.draw(st.integers(2, 5))
    studies = Studies(every * data.draw(st.integers(1, 3)), factor)
    together = data.draw(st.integers(1, 4))
    for _ in range(data.draw(st.integers(0, 60))):
        if len(studies.running) < together and (not studies.running or data.draw(st.booleans())):
            studies.ask()
        place = data.draw(st.integers(0, len(studies.running) - 1))
        grace = data.draw(st.sampled_from([0, 0, 0, 0, 1, 3]))
        if data.draw(st.integers(0, 12)):
            studies.report(place, data.draw(VALUES), every, grace)
        else:
            studies.end(place, TrialState.FAIL)


def test_it_agrees_with_optunas_on_long_studies():
    drawn = random.Random(3)
    studies = Studies(100, 3)
    for _ in range(1500):
        if len(studies.running) < 4:
            studies.ask()
        place = drawn.randrange(len(studies.running))
        if (found(studies.running[place][0]).last_step or 0) == 2700:
            studies.end(place, TrialState.FAIL)
        else:
            studies.report(place, drawn.gauss(0, 1), 100, 0)
    pruned = [t.last_step for t in studies.studies[0].trials if t.state == TrialState.PRUNED]
    assert {100, 300, 900, 2700} <= set(pruned)


@pytest.mark.parametrize("first", [10, 30, 90])
def test_rungs_that_one_value_passes_at_once_are_one(first):
    study = optuna.create_study(pruner=SuccessiveHalving(first, 3))
    assert [told(study, [value, value]) for value in (1.0, 2.0, 3.0)] == [2, 1, 1]


def test_it_writes_nothing(url):
    storage = open_storage(url)
    trial = optuna.create_study(storage=storage, pruner=SuccessiveHalving(100, 3)).ask()
    trial.report(1.0, 100)
    before = found(trial)
    assert not should_prune(trial)
    assert found(trial) == before
    storage.close()


# Pruners that note what they have judged


PRUNERS = {
    "halving": lambda: SuccessiveHalvingPruner(min_resource=100, reduction_factor=2),
    "hyperband": lambda: HyperbandPruner(min_resource=100, max_resource=900, reduction_factor=3),
}


def history(make):
    """What becomes of 14 trials, each taken up by a new process whenever it is killed."""
    drawn, ends, storage = random.Random(5), [], InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name="one", pruner=make())
    for _ in range(14):
        trial, end = study.ask(), "COMPLETE"
        for step in range(100, 1000, 100):
            trial.report(drawn.gauss(0, 1), step)
            while True:
                try:
                    pruned = should_prune(trial)
                    break
                except Killed:
                    study = optuna.load_study(study_name="one", storage=storage, pruner=make())
                    trial = Trial(study, trial._trial_id)
            if pruned:
                end = "PRUNED"
                break
        study.tell(trial, 0.0 if end == "COMPLETE" else None, TrialState[end])
        ends.append((end, step))
    notes = [{k: v for k, v in t.system_attrs.items() if k.startswith("completed")} for t in study.trials]
    return ends, notes


@pytest.mark.parametrize("kind", PRUNERS)
@pytest.mark.parametrize("place", ["asked", "noted", "verdict"])
def test_a_kill_at_any_moment_changes_no_verdict(monkeypatch, kind, place):
    whole, made, writes = history(PRUNERS[kind]), pruning.storage_of, count()
    assert {end for end, _ in whole[0]} == {"COMPLETE", "PRUNED"}

    class Deadly:
        """Every second write kills, before or after it."""

        def __init__(self, storage):
            self.storage = storage

        def __getattr__(self, name):
            return getattr(self.storage, name)

        def set_trial_system_attr(self, trial_id, key, value):
            deadly = place == ("verdict" if key == VERDICT else "noted") or (place, key) == ("asked", VERDICT)
            deadly = deadly and next(writes) % 2 == 0
            if deadly and place == "asked":
                raise Killed
            self.storage.set_trial_system_attr(trial_id, key, value)
            if deadly:
                raise Killed

    monkeypatch.setattr(pruning, "storage_of", lambda study: Deadly(made(study)))
    assert history(PRUNERS[kind]) == whole
    assert next(writes) > 10


# What others were measured at

CURVES = st.dictionaries(st.sampled_from([10, 20, 30]), st.floats(allow_infinity=False), max_size=3)
ENDS = st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING])


@given(st.lists(st.tuples(ENDS, CURVES, st.booleans()), max_size=12))
def test_medians_are_of_enough_ended_trials_of_the_search(trials):
    study, on = optuna.create_study(), {"goes_on_from": {"trial": 0, "step": 1, "steps": 9}}
    for state, values, goes_on in trials:
        value = 1.0 if state == TrialState.COMPLETE else None
        more = {"user_attrs": on if goes_on else {}, "intermediate_values": values, "value": value}
        study.add_trial(optuna.trial.create_trial(state=state, **more))
    ended = [values for state, values, goes_on in trials if state != TrialState.RUNNING and not goes_on]
    for step in (10, 20, 30):
        found = sorted(values[step] for values in ended if step in values and not math.isnan(values[step]))
        middle = None if len(found) < LEAST_PEERS else (found[(len(found) - 1) // 2], found[len(found) // 2])
        assert (step in medians(study)) == (middle is not None)
        if middle:
            assert middle[0] <= medians(study)[step] <= middle[1]


@given(st.lists(st.tuples(ENDS, CURVES, st.booleans(), st.booleans()), max_size=12))
def test_peers_are_sound_trials_alone_and_enough_of_them(trials):
    study = optuna.create_study()
    for state, values, repaired, given_up in trials:
        rows = [
            {"step": step, "value": value, "seconds": 1.0, "score": 2 * value}
            for step, value in values.items()
        ]
        attributes = {"measures": rows, **({"repairs": 1} if repaired else {})}
        attributes |= {"ended_by": {"rule": "collapse"}} if given_up else {}
        value = 1.0 if state == TrialState.COMPLETE else None
        study.add_trial(optuna.trial.create_trial(state=state, user_attrs=attributes, value=value))
    sound = [
        values
        for state, values, *ill in trials
        if state in (TrialState.COMPLETE, TrialState.PRUNED) and not any(ill)
    ]
    found = peers(study, ["value", "score", "other"])
    assert found.keys() <= {"value", "score"}
    for step in (10, 20, 30):
        known = sorted(values[step] for values in sound if step in values and math.isfinite(values[step]))
        if len(known) < LEAST_PEERS:
            assert step not in found.get("value", {})
        else:
            middle, scatter = found["value"][step]
            assert known[0] <= middle <= known[-1]
            assert scatter >= 0
