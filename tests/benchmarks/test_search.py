"""Simulated searches: surrogates that are like their table, and searches that pay for what they train."""

import json
from functools import cache

import numpy as np
import optuna
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.search.__main__ import TABLES, main
from benchmarks.search.figures import PARTS, measures_to, middle, steps, values
from benchmarks.search.ledger import Spent, searched
from benchmarks.search.policies import POLICIES
from benchmarks.search.table import CUBE, QUICKSTART, TINY
from benchmarks.search.trainings import parts
from benchmarks.search.worlds import WORLDS
from studies.file.search import pruner
from studies.search.curves import CurveModel, Points

NAMED = sorted(TABLES)
LEVELS, STEPPED = np.array([9, 3]), [1, 4]  # how many values the tiny stage's stepped settings have; places


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
def world(table, kind):
    return kind(TABLES[table])


ALL = [(table, kind, name) for table in TABLES for kind in WORLDS for name in POLICIES]
NAMES = [f"{name} on {kind.name} of {table}" for table, kind, name in ALL]


@pytest.mark.parametrize("table", NAMED)
@pytest.mark.parametrize("kind", WORLDS)
def test_a_surrogate_is_like_its_table(table, kind):
    """At the points of the table its curves lie around what was measured, as far as seeds lie apart."""
    made, real = world(table, kind), TABLES[table]
    off = made.mean(real.points) - real.distances
    assert np.abs(off.mean(0)).max() < 0.5
    explained = 1 - off.var(0) / real.distances.var(0)
    assert explained[-1] > 0.9 and explained.min() > 0.7  # the quickstart's first measure is mostly chance
    good = real.distances[:, -1] < np.median(real.distances[:, -1])
    assert np.sqrt((off[good, -1] ** 2).mean()) < 2 * real.deviation
    chance = np.random.default_rng(0)
    curves = [[made.curve(point, chance) for _ in range(20)] for point in real.points]
    assert np.abs(np.mean(curves, 1) - real.distances).mean() < 1.5
    assert np.std(np.array(curves)[good][..., -1], 1).mean() < 1.5 * real.deviation


@given(st.sampled_from(NAMED), st.sampled_from(WORLDS), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_curve_is_one_that_a_training_may_measure(table, kind, seed):
    chance, real = np.random.default_rng(seed), TABLES[table]
    [point] = real.cube.drawn(1, chance)
    if real is TINY:
        assert np.array_equal(on_levels(point[None]), point[None])
    curve = world(table, kind).curve(point, chance)
    assert curve.shape == (real.measures,)
    assert (curve >= real.least).all() and (curve <= real.largest).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_what_optuna_draws_is_a_point_of_the_unit_cube(seed):
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed)).ask(CUBE.sources)
    point = CUBE.point(trial.params)
    assert ((point >= 0) & (point <= 1)).all()
    assert np.allclose(on_levels(point[None])[0], point)


@pytest.mark.parametrize(("table", "kind", "name"), ALL, ids=NAMES)
def test_a_search_pays_for_every_measure_and_repeats(table, kind, name):
    made, measures = world(table, kind), 24
    ledger = searched(POLICIES[name], made, 3, measures)
    measured = [value for trial in ledger.trials for value in trial.values]
    assert len(ledger.best) == len(measured) == measures
    assert ledger.best[-1] == min(measured)
    assert ledger.best == sorted(ledger.best, reverse=True)
    assert searched(POLICIES[name], made, 3, measures).best == ledger.best
    assert searched(POLICIES[name], made, 4, measures).best != ledger.best
    assert searched(POLICIES[name], made, 3, measures // 2).best == ledger.best[: measures // 2]


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_no_order_of_training_is_cheaper(order, measures):
    """Whatever is begun and paused: what was trained is paid for, and nothing more is trained."""
    made = world("tiny", WORLDS[1])

    def policy(ledger, seed):
        trials = [ledger.begin(point) for point in TINY.cube.drawn(6, np.random.default_rng(seed))]
        for index in order:
            if not trials[index].is_whole:
                trials[index].go_on()
        raise Spent

    ledger = searched(policy, made, 0, measures)
    assert len(ledger.best) == sum(len(trial.values) for trial in ledger.trials) <= measures


@pytest.mark.parametrize(("table", "measures"), [("tiny", 1), ("quickstart", 2)])
def test_ours_is_what_the_quickstart_ships(table, measures):
    spec = TABLES[table].study(0)
    assert (spec.sampler.name, spec.sampler.n_startup_trials) == ("tpe", 4)
    assert (spec.pruner.name, spec.pruner.reduction_factor) == ("asha", 3)
    assert next(pruner(spec)._rungs(TABLES[table].plan)) == measures * spec.objective.measure_every


def test_the_model_of_curves_knows_what_it_was_told():
    chance = np.random.default_rng(0)
    settings, measures = np.repeat(TINY.cube.drawn(10, chance), TINY.measures, 0), TINY.measures
    points = Points(
        settings, np.tile(np.arange(1, measures + 1) / measures, 10), np.repeat(range(10), measures)
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
def test_measures_to_a_target_are_those_of_the_first_value_that_is_as_good(values, target):
    best = np.minimum.accumulate(values)
    [found] = measures_to(best[None], target)
    hits = [at for at, value in enumerate(best) if value <= target]
    assert found == (hits[0] + 1 if hits else len(best))


def test_a_search_that_is_twice_as_fast_has_half_of_the_steps():
    chance = np.random.default_rng(0)
    slow = np.minimum.accumulate(27 - 20 * chance.random((40, 2 * TINY.budget)), 1)
    fast = slow[:, 1::2]
    best = {"random": slow, "Optuna's default": slow, "fast": fast}
    found = {row["search"]: row["of random"] for row in steps(best, TINY)}
    assert found["random"] == (1, 1, 1)
    assert found["fast"].low <= found["fast"].found <= found["fast"].high
    assert found["fast"].found == pytest.approx(0.5, abs=0.02)
    [*_, last] = values(best, TINY)
    assert last["seeds"] == 40 and len(last) == 2 + len(PARTS)


@given(st.lists(st.floats(0, 9), min_size=1, max_size=9))
def test_the_middle_is_a_value_that_half_do_not_exceed(found):
    assert middle(np.array(found)) in found
    assert 2 * sum(value <= middle(np.array(found)) for value in found) >= len(found)


def test_the_command_compares_every_search_on_every_surrogate():
    ran = CliRunner().invoke(main, ["--seeds", "1", "-f", "json"], catch_exceptions=False)
    found = json.loads(ran.stdout)
    of = {(row["trainings"], row["surrogate"], row["search"]) for row in found["values"]}
    assert of == {(table, kind.name, name) for table, kind, name in ALL}
    assert len(found["steps"]) == 2 * len(ALL)
    assert all(row["of random"] == [1, 1, 1] for row in found["steps"] if row["search"] == "random")


@given(st.integers(0, 2**32 - 1), st.randoms())
@settings(max_examples=20, deadline=None)
def test_what_is_trained_is_the_same_when_it_goes_on(seed, order):
    """Wherever the making of a table was interrupted, and in whatever order its trainings ended."""
    ends = np.random.default_rng(seed).random(100)
    done: list[dict] = []
    for part in parts(done.copy):
        done += [{**row, "distances": [ends[len(done) + at]]} for at, row in enumerate(part)]
    assert len({row["key"] for row in done}) == len(done) == 64
    assert len({(row["seed"], json.dumps(row["settings"])) for row in done}) == 64
    assert all(QUICKSTART.cube.is_drawn(row["settings"]) for row in done)
    shuffled = order.sample(done, len(done))
    again = [row for part in parts(shuffled.copy) for row in part]
    assert again == [{name: row[name] for name in ("key", "seed", "settings")} for row in done]
