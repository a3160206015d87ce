"""What a freeze-thaw search draws and chooses."""

import math
from itertools import combinations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from benchmarks.chaos import FREEZE_THAW, MEASURE_EVERY, STEPS, toy_spec
from objectives.distance import NO_SPEECH
from smart_tuner.store.attributes import yardstick
from studies.file.distributions import contains
from studies.file.search import sampler
from studies.file.space import check_drawn, suggest
from studies.file.spec import Spec, SpecError
from studies.search.freeze_thaw import (
    MOST,
    STARTUP,
    Curve,
    FreezeThaw,
    curves_of,
    looked_at,
    next_trial,
)
from studies.search.silence import say_nothing
from studies.search.space import Space

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
    "batch_size": {"type": "categorical", "choices": [4, 8, 16]},
    "guided_attention_weight": {"type": "float", "low": 0.0, "high": 4.0, "step": 0.5},
    "guided_attention_sigma": {
        "type": "float",
        "low": 0.1,
        "high": 0.4,
        "when": {"guided_attention_weight": {"above": 0.0}},
    },
    "warmup_steps": {"type": "int", "low": 1, "high": 10, "log": True},
}
SPEC = toy_spec(4, space=SPACE, search={"method": FREEZE_THAW})
CUBE = Space(SPEC)
seeds = st.integers(0, 2**32 - 1)


@given(seeds)
@settings(max_examples=100, deadline=None)
def test_what_is_drawn_lies_in_the_space_and_has_a_place_in_the_cube(seed):
    chance = np.random.default_rng(seed)
    points = CUBE.drawn(5, chance)
    for drawn in (points, CUBE.near(points, chance)):
        places = CUBE.places(drawn)
        assert places.shape == (5, CUBE.dimensions) and (places >= 0).all() and (places <= 1).all()
        for point in drawn:
            values = CUBE.values(point)
            check_drawn(values, SPEC)
            assert CUBE.is_drawn(values)
            assert ("guided_attention_sigma" in values) == (values["guided_attention_weight"] > 0)
            assert CUBE.values(CUBE.point(values)) == pytest.approx(values)
            assert not any(CUBE.is_drawn({k: v for k, v in values.items() if k != name}) for name in values)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_neighbours_are_near_and_everywhere_is_drawn(seed):
    chance = np.random.default_rng(seed)
    points = np.repeat(CUBE.drawn(1, chance), 50, 0)
    near, far = (
        np.abs(found - points)[:, 0] for found in (CUBE.near(points, chance), CUBE.drawn(50, chance))
    )
    assert np.mean(near) < 0.15 < np.mean(far)
    drawn = [CUBE.values(point) for point in CUBE.drawn(200, chance)]
    assert {d["guided_attention_weight"] for d in drawn} == {0.5 * step for step in range(9)}
    assert {d["batch_size"] for d in drawn} == {4, 8, 16}


def test_choices_that_are_no_numbers_are_all_equally_far_apart():
    space = {"batch_size": {"type": "categorical", "choices": [4, 8, 16]}}
    named = Space(toy_spec(4, space=space, search={"method": FREEZE_THAW}))
    named.sources = {"kind": optuna.distributions.CategoricalDistribution(("a", "b", True))}
    places = named.places(np.array([named.point({"kind": kind}) for kind in ("a", "b", True)]))
    apart = {round(float(np.linalg.norm(a - b)), 6) for a, b in combinations(places, 2)}
    assert len(apart) == 1 and named.dimensions == 3
    assert named.places(named.point({})[None]).shape == (1, 3)


def curve(chance, rate, measured, **more):
    values = {**CUBE.values(CUBE.drawn(1, chance)[0]), "learning_rate": rate}
    progress = tuple((at + 1) / 4 for at in range(len(measured)))
    return Curve(CUBE.point(values), progress, tuple(measured), **more)


def test_the_trial_goes_on_that_promises_most_and_none_that_may_not():
    chance = np.random.default_rng(1)
    curves = [curve(chance, 1e-3, [9.0, 7.0, 5.0, 4.5]), curve(chance, 1e-3, [8.5, 6.5, 4.7], waits=True)]
    curves += [curve(chance, 9e-3, [20.0, 20.0, 20.0], waits=True) for _ in range(4)]
    assert FreezeThaw(CUBE, 0.25).choice(curves, chance) == 1
    nobody = [Curve(c.point, c.progress, c.measured) for c in curves]
    chosen = FreezeThaw(CUBE, 0.25).choice(nobody, chance)
    assert isinstance(chosen, dict)
    check_drawn(chosen, SPEC)


@given(
    st.lists(st.lists(st.floats(5, 12) | st.just(math.nan), min_size=1, max_size=3), min_size=1, max_size=9),
    st.floats(6, 13),
    seeds,
)
@settings(max_examples=100, deadline=None)
def test_no_trial_is_left_where_not_even_the_best_say_anything(measured, mismatch, seed):
    """As the quickstart's are after 100 steps: what they measure there says nothing of their end."""
    chance = np.random.default_rng(seed)
    curves = [curve(chance, 1e-3, values, waits=True) for values in measured]

    def is_silent(progress):
        there = [c.measured[c.progress.index(progress)] for c in curves if progress in c.progress]
        return len(there) >= STARTUP and sum(v <= NO_SPEECH * mismatch for v in there) < max(
            1, len(there) // 3
        )

    unjudged = [index for index, c in enumerate(curves) if is_silent(c.progress[-1])]
    chosen = FreezeThaw(CUBE, 0.25, mismatch).choice(curves, np.random.default_rng(seed))
    if unjudged:
        assert chosen == unjudged[0]
    else:
        without = FreezeThaw(CUBE, 0.25).choice(curves, np.random.default_rng(seed))
        assert chosen == without


@pytest.mark.parametrize(
    ("unit", "value", "goes_on"), [("dB", 11.0, True), ("dB", 10.0, False), ("CER", 11.0, False)]
)
def test_what_says_nothing_is_known_by_the_studys_own_yardstick(unit, value, goes_on):
    study = optuna.create_study()
    study.set_user_attr("objective", {"unit": unit})
    study.set_user_attr("yardstick", {"mismatch": 12.5, "copy_synthesis": 2.0})
    for _ in range(STARTUP):
        study.ask(dict(CUBE.sources)).report(value, MEASURE_EVERY)
    waiting, mismatch = range(STARTUP), yardstick(study).get("mismatch", math.inf)
    assert say_nothing([value] * STARTUP, mismatch) is goes_on
    curves = list(curves_of(study.trials, SPEC, waiting).values())
    assert (FreezeThaw(CUBE, 0.25, mismatch)._unjudged(curves) == 0) is goes_on
    if goes_on:
        assert next_trial(study, SPEC, waiting) == 0


def test_a_trial_that_runs_is_not_tried_twice():
    """Where nothing is known yet of one that runs, candidates near it promise less."""
    chance = np.random.default_rng(2)
    curves = [
        curve(chance, rate, [value])
        for rate, value in ((1e-4, 20.0), (1e-3, 9.0), (9e-3, 20.0), (4e-4, 12.0))
    ]
    first = FreezeThaw(CUBE, 0.25).choice(curves, np.random.default_rng(3))
    running = Curve(CUBE.point(first), (), (), runs=True)
    second = FreezeThaw(CUBE, 0.25).choice([*curves, running], np.random.default_rng(3))
    assert first != second and isinstance(second, dict)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=STARTUP, max_size=8), seeds)
@settings(max_examples=50, deadline=None)
def test_whatever_is_measured_something_is_chosen(values, seed):
    chance = np.random.default_rng(seed)
    curves = [curve(chance, 1e-3, [value], waits=True) for value in values]
    chosen = FreezeThaw(CUBE, 0.25).choice(curves, chance)
    assert isinstance(chosen, dict) or 0 <= chosen < len(curves)


def test_of_many_measures_the_newest_and_the_best_trials_are_looked_at():
    chance = np.random.default_rng(0)
    curves = [curve(chance, 1e-3, [50.0 + at, 40.0 + at, 30.0 + at]) for at in range(60)]
    found = looked_at(curves)
    assert len(found) == MOST
    assert {index for index, _ in found} == set(range(60))
    assert [at for index, at in found if index == 0] == [0, 1, 2]


def study_of(trials):
    study = optuna.create_study(sampler=sampler(SPEC))
    for number, (state, values) in enumerate(trials):
        trial = study.ask()
        suggest(trial, SPEC)
        for at, value in enumerate(values):
            trial.report(value, MEASURE_EVERY * (at + 1))
        if state != TrialState.RUNNING:
            study.tell(trial, values[-1] if state == TrialState.COMPLETE else None, state)
        assert trial.number == number
    return study


def test_a_study_draws_its_trials_and_chooses_the_same_again():
    waiting = [TrialState.RUNNING] * 3
    study = study_of([(TrialState.RUNNING, [9.0 - n]) for n in range(len(waiting))])
    assert next_trial(study, SPEC, [0, 1, 2]) is None  # too few to choose from
    study = study_of([(TrialState.RUNNING, [9.0 - n]) for n in range(5)])
    assert all(contains(CUBE.sources[k], v) for trial in study.trials for k, v in trial.params.items())
    chosen = next_trial(study, SPEC, range(5))
    assert chosen == next_trial(study, SPEC, range(5)) == next_trial(study, SPEC, [4, 3, 2, 1, 0])
    assert next_trial(study, SPEC, []) is None
    again = study_of([(TrialState.RUNNING, [9.0 - n]) for n in range(5)])
    assert [t.params for t in again.trials] == [t.params for t in study.trials]
    study.enqueue_trial(study.trials[0].params)
    assert next_trial(study, SPEC, range(5)) is None  # somebody's values come first


def test_a_failure_before_the_first_measure_counts_as_the_worst():
    states = [(TrialState.RUNNING, [9.0 - n]) for n in range(4)]
    study = study_of([*states, (TrialState.FAIL, [])])
    curves = curves_of(study.trials, SPEC, [0])
    assert math.isnan(curves[4].measured[0]) and curves[4].progress == (MEASURE_EVERY / STEPS,)
    assert (curves[0].waits, curves[0].runs, curves[1].runs, curves[4].runs) == (True, False, True, False)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"sampler": {"name": "tpe", "n_startup_trials": 4}}, "leave [sampler] out"),
        ({"sampler": {"name": "random"}, "pruner": {"name": "none"}}, "leave [sampler] and [pruner] out"),
        ({"space": {}}, "nothing is searched"),
    ],
)
def test_what_does_not_go_with_it_is_refused(tables, said):
    data = SPEC.model_dump(mode="json")
    for table in ("sampler", "pruner"):
        del data[table]
    with pytest.raises(SpecError, match=r"search\.method") as refused:
        Spec.parse(data | tables, "a file")
    assert said in str(refused.value)
    assert Spec.parse_json(SPEC.model_dump_json()).freezes
    assert SPEC.without_fixes().freezes and SPEC.with_changes(8, None).freezes
