"""Every arm on a stage of a few steps: what is shared is the same, bit by bit, as if it were run alone."""

from dataclasses import replace

import optuna
import pytest
import torch

from benchmarks.faults.arms import ARMS, RANDOM, Bout, random_change, weights_hash
from benchmarks.faults.case import Case, all_cases
from benchmarks.faults.course import Course, MemoryLedger
from benchmarks.faults.language import Shape
from benchmarks.faults.replay import replay
from benchmarks.faults.search import one
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import TINY, prepare
from model import checkpoint
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.rules import RULES

SHORT = replace(TINY, planned=20, measure_every=10, checkpoint_every=5)
CASES = all_cases()


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    prepare()


def spoilt(name, onset=0, repairable=True, **patch):
    return Case(name, "", {"held_out": (patch,)}, Shape(), frozenset(), onset, 100, repairable)


def bout(tmp_path, case, stage=SHORT):
    return Bout(stage, case, "held_out", 0, 0, tmp_path)


def test_a_clip_with_an_infinity_under_every_arm(tmp_path):
    stage = replace(SHORT, planned=10)
    found = bout(tmp_path, spoilt("F05", infinite_clips=1), stage).all()
    assert set(found) == set(ARMS)
    states = {arm: found[arm]["state"] for arm in ("B0", "B1", "B5", "B6", "B7")}
    assert states == {"B0": "FAIL", "B1": "PRUNED", "B5": "FAIL", "B6": "COMPLETE", "B7": "COMPLETE"}
    assert found["B6"]["replayed"] is True
    assert [row["rule"] for row in found["B6"]["rows"]] == ["non_finite"]
    assert all(run["consumed"] <= stage.budget for run in found.values())
    assert found["B6"]["consumed"] == found["B7"]["consumed"] == stage.budget


def alone(tmp_path, case):
    """The whole run without rules, from its start."""
    setup = case.setup(SHORT, "held_out", 0)
    (tmp_path / "alone").mkdir()
    course = Course(SHORT, setup, case.onset, setup.training(0), tmp_path / "alone", MemoryLedger()).watch(())
    course.go(SHORT.budget)
    return course


@pytest.mark.parametrize("onset", [3, 12])
def test_a_run_that_goes_on_without_rules_is_the_one_that_never_had_any(tmp_path, onset):
    case = spoilt("F27", onset=onset, repairable=False, rate_times_later=30.0)
    whole = alone(tmp_path, case)
    going_on = bout(tmp_path, case)
    going_on.ours()
    going_on._first = going_on._first or object()
    saved = [checkpoint.step_of(path) for path in checkpoint.all_in(tmp_path / "B6")]
    going_on._resumes_at = max(step for step in saved if step <= 15)  # as if something was seen there
    found = going_on.unwatched()
    assert found["weights"] == weights_hash(whole.training)


def test_where_nothing_is_seen_the_arms_are_one_run(tmp_path):
    found = bout(tmp_path, spoilt("F21", clips=30)).all()
    assert {arm for arm, run in found.items() if run.get("same_as") == "B6"} == {"B0", "B1", "B2", "B3", "B4"}
    assert found["B5"]["consumed"] == SHORT.budget


def test_a_fault_that_lasts_is_not_rolled_back_with_the_weights(tmp_path):
    weights = set()
    for onset in (3, 2 * SHORT.budget):  # the second never comes
        folder = tmp_path / str(onset)
        folder.mkdir()
        going_on = bout(folder, spoilt("F02", onset=onset, rate_times_later=30.0))
        going_on.ours()
        going_on._first = Entry("repair", 10, "overgrown_steps", 1, 1, "")
        weights.add(going_on.rolled_back()["weights"])
    assert len(weights) == 2


def test_a_healthy_recipe_is_run_once_as_long_as_nothing_touches_it(tmp_path):
    found = bout(tmp_path, CASES["H01"]).all()
    assert set(found) == {"B6", "B0"}
    assert found["B6"]["consumed"] == SHORT.planned
    assert found["B0"]["same_as"] == "B6"


def test_what_cannot_be_repaired_is_only_run_by_ours_and_without_rules(tmp_path):
    found = bout(tmp_path, CASES["F07"]).all()
    assert set(found) == {"B6", "B0"}
    assert (found["B6"]["state"], found["B6"]["consumed"]) == ("FAIL", 20)
    assert found["B0"]["consumed"] == SHORT.budget


def test_a_known_run_is_not_run_again(tmp_path):
    known = {"B0": {"state": "COMPLETE", "weights": "as earlier"}}
    assert bout(tmp_path, CASES["F07"]).all(known)["B0"] == known["B0"]


def test_a_known_run_of_other_code_is_noticed(tmp_path):
    with pytest.raises(ValueError, match="other code"):
        bout(tmp_path, CASES["H01"]).all({"B0": {"weights": "of other code"}})


def test_a_replay_of_other_rows_is_noticed(tmp_path):
    setup = spoilt("F05", infinite_clips=1).setup(SHORT, "held_out", 0)
    for name in ("run", "again"):
        (tmp_path / name).mkdir()
    course = Course(SHORT, setup, 0, setup.training(0), tmp_path / "run", MemoryLedger()).watch(RULES)
    course.go(15)
    course.ledger.entries.clear()
    with pytest.raises(ValueError, match="no row says"):
        replay(course, setup.training(0), tmp_path / "again")


def test_a_random_change_is_of_one_setting_within_its_bounds():
    setup = Setup.of(TINY, Shape())
    changed = set()
    for seed in range(40):
        new = random_change(setup, seed).settings
        [name] = [n for n in RANDOM if getattr(new, n) != getattr(setup.settings, n)] or [None]
        changed.add(name)
        if name:
            low, high = RANDOM[name]
            assert 0.9 * low <= getattr(new, name) / getattr(setup.settings, name) <= 1.1 * high
    assert len(changed) > 5


@pytest.mark.parametrize(("rules", "end"), [("off", "FAIL"), ("prune", "PRUNED"), ("full", "COMPLETE")])
def test_a_spoilt_trial_of_a_study_ends_as_its_rules_let_it(tmp_path, rules, end):
    stage = replace(SHORT, planned=10)
    setup = spoilt("F05", infinite_clips=1).setup(stage, "held_out", 0)
    trial = optuna.create_study().ask()
    steps, value, state = one(stage, trial, setup, 0, rules, 0, tmp_path, told := [])
    assert [entry for _, entry in told] == [] if rules == "off" else told
    assert (state, value is None) == (end, rules != "full")
    assert (steps == stage.planned) == (rules == "full")
