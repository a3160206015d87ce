"""Simulated searches: surrogates that are like their table, and searches that pay for what they train."""

import json
from functools import cache

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.search.__main__ import main
from benchmarks.search.figures import BUDGET, PARTS, middle, steps, steps_to, values
from benchmarks.search.ledger import Spent, searched
from benchmarks.search.policies import POLICIES
from benchmarks.search.table import (
    CUBE,
    LARGEST,
    MEASURES,
    PLAN,
    QUANTUM,
    read,
    study,
)
from benchmarks.search.worlds import LEAST, SEED_DEVIATION, WORLDS
from studies.file.search import pruner
from studies.search.curves import CurveModel, Points

TABLE = read()
STEPS = 6 * PLAN
LEVELS, STEPPED = np.array([9, 3]), [1, 4]  # how many values the stepped settings have, and their places


def on_levels(points):
    """Points of shape (n, 5), stepped settings at the nearest of their values."""
    found = np.clip(points, 0, 1)
    found[:, STEPPED] = np.round(found[:, STEPPED] * (LEVELS - 1)) / (LEVELS - 1)
    return found


@pytest.fixture(autouse=True)
def quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@cache
def world(kind):
    return kind(TABLE)


ALL = [(kind, name) for kind in WORLDS for name in POLICIES]
NAMES = [f"{name} on {kind.name}" for kind, name in ALL]


@pytest.mark.parametrize("kind", WORLDS)
def test_a_surrogate_is_like_its_table(kind):
    """At the points of the table its curves lie around what was measured, as far as seeds lie apart."""
    made = world(kind)
    off = made.mean(TABLE.points) - TABLE.distances
    assert np.abs(off.mean(0)).max() < 0.5
    assert (1 - off.var(0) / TABLE.distances.var(0)).min() > 0.9
    good = TABLE.distances[:, -1] < 10
    assert np.sqrt((off[good, -1] ** 2).mean()) < 2 * SEED_DEVIATION
    chance = np.random.default_rng(0)
    curves = [[made.curve(point, chance) for _ in range(20)] for point in TABLE.points]
    assert np.abs(np.mean(curves, 1) - TABLE.distances).mean() < 1.5
    assert np.std(np.array(curves)[good][..., -1], 1).mean() < 1.5 * SEED_DEVIATION


@given(st.sampled_from(WORLDS), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_curve_is_one_that_a_training_may_measure(kind, seed):
    chance = np.random.default_rng(seed)
    [point] = CUBE.drawn(1, chance)
    assert np.array_equal(on_levels(point[None]), point[None])
    curve = world(kind).curve(point, chance)
    assert curve.shape == (MEASURES,)
    assert (curve >= LEAST).all() and (curve <= LARGEST).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_what_optuna_draws_is_a_point_of_the_unit_cube(seed):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask(CUBE.sources)
    point = CUBE.point(trial.params)
    assert ((point >= 0) & (point <= 1)).all()
    assert np.allclose(on_levels(point[None])[0], point)


@pytest.mark.parametrize(("kind", "name"), ALL, ids=NAMES)
def test_a_search_pays_for_every_step_and_repeats(kind, name):
    ledger = searched(POLICIES[name], world(kind), 3, STEPS)
    assert ledger.paid == sum(trial.step for trial in ledger.trials) == STEPS
    measured = [value for trial in ledger.trials for value in trial.values]
    assert ledger.best[-1] == min(measured)
    assert ledger.best == sorted(ledger.best, reverse=True)
    assert searched(POLICIES[name], world(kind), 3, STEPS).best == ledger.best
    assert searched(POLICIES[name], world(kind), 4, STEPS).best != ledger.best
    assert searched(POLICIES[name], world(kind), 3, STEPS // 2).best == ledger.best[: len(ledger.best) // 2]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_no_order_of_training_is_cheaper(order, measures):
    """Whatever is begun and paused: what was trained is paid for, and nothing more is trained."""
    made, paid = world(WORLDS[1]), measures * QUANTUM

    def policy(ledger, seed):
        trials = [ledger.begin(point) for point in CUBE.drawn(6, np.random.default_rng(seed))]
        for index in order:
            if not trials[index].is_whole:
                trials[index].go_on()
        raise Spent

    ledger = searched(policy, made, 0, paid)
    assert ledger.paid == sum(trial.step for trial in ledger.trials) <= paid


def test_ours_is_what_the_quickstart_ships():
    spec = study(0)
    assert (spec.sampler.name, spec.sampler.n_startup_trials) == ("tpe", 4)
    assert (spec.pruner.name, spec.pruner.reduction_factor) == ("asha", 3)
    assert next(pruner(spec)._rungs(PLAN)) == spec.objective.measure_every == QUANTUM


def test_the_model_of_curves_knows_what_it_was_told():
    chance = np.random.default_rng(0)
    settings = np.repeat(CUBE.drawn(10, chance), MEASURES, 0)
    points = Points(
        settings, np.tile(np.arange(1, MEASURES + 1) / MEASURES, 10), np.repeat(range(10), MEASURES)
    )
    values = 2 + settings[:, 0] - points.progress
    model = CurveModel(settings.shape[1])
    model.tune(points, values)
    model.fit(points, values)
    means, deviations = model.predict(points)
    assert np.abs(means - values).max() < 0.1
    far = Points(1 - settings, points.progress, -1 - points.trials)
    assert (model.predict(far)[1] > deviations).mean() > 0.9


@given(st.lists(st.floats(4, 27), min_size=1, max_size=30), st.floats(3, 28))
def test_steps_to_a_target_are_those_of_the_first_value_that_is_as_good(values, target):
    best = np.minimum.accumulate(values)
    [found] = steps_to(best[None], target)
    hits = [at for at, value in enumerate(best) if value <= target]
    assert found == QUANTUM * (hits[0] + 1 if hits else len(best))


def test_a_search_that_is_twice_as_fast_has_half_of_the_steps():
    chance = np.random.default_rng(0)
    slow = np.minimum.accumulate(27 - 20 * chance.random((40, 2 * BUDGET // QUANTUM)), 1)
    fast = slow[:, 1::2]
    best = {"random": slow, "Optuna's default": slow, "fast": fast}
    found = {row["search"]: row["of random"] for row in steps(best)}
    assert found["random"] == (1, 1, 1)
    assert found["fast"].low <= found["fast"].found <= found["fast"].high
    assert found["fast"].found == pytest.approx(0.5, abs=0.02)
    [*_, last] = values(best)
    assert last["seeds"] == 40 and len(last) == 2 + len(PARTS)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=9))
def test_the_middle_is_a_value_that_half_do_not_exceed(found):
    assert middle(np.array(found)) in found
    assert 2 * sum(value <= middle(np.array(found)) for value in found) >= len(found)


def test_the_command_compares_every_search_on_every_surrogate():
    ran = CliRunner().invoke(main, ["--seeds", "1", "-f", "json"], catch_exceptions=False)
    found = json.loads(ran.stdout)
    assert {(row["surrogate"], row["search"]) for row in found["values"]} == {(k.name, n) for k, n in ALL}
    assert len(found["steps"]) == 2 * len(ALL)
    assert all(row["of random"] == [1, 1, 1] for row in found["steps"] if row["search"] == "random")
