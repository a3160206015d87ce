"""Trials that are paused and go on later are as if nobody had paused them, whoever dies when."""

import os
import signal

import pytest
from faults.toys import ToyStudy, is_stopped, wait_for

from benchmarks.chaos import FREEZE_THAW, MEASURE_EVERY, STEPS, toy_spec
from dashboards.pages.records import Records
from model.failpoint import PLACES
from studies.file.spec import Spec
from studies.report import history
from studies.report.summary import status_record
from studies.run.study import open_study

TRIALS = 4  # whole ones, whose steps the search may take
SEARCH = {"method": FREEZE_THAW}


def told(toy):
    """All that is known of each trial, but times."""
    trials = toy.study.get_trials()
    return [(t.state.name, t.value, t.intermediate_values, t.params, t.system_attrs) for t in trials]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    toy = ToyStudy(f"sqlite:///{workdir / 'study.db'}", workdir, TRIALS, search=SEARCH)
    toy.finish()
    yield toy
    toy.close()


@pytest.fixture
def frozen(begin_study):
    return begin_study(trials=TRIALS, search=SEARCH)


def test_trials_wait_and_go_on_until_their_steps_are_used_up(undisturbed):
    trials = undisturbed.study.trials
    assert undisturbed.faults() == []
    assert sum(undisturbed.steps(trial.number) for trial in trials) == TRIALS * STEPS
    assert len(trials) > TRIALS  # some were not trained to their end
    assert any(undisturbed.lease(trial.number)["attempt_no"] > 1 for trial in trials)  # and some were paused
    best = min(min(trial.intermediate_values.values()) for trial in trials)
    complete = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert best == min(trial.value for trial in complete)
    whole = [trial for trial in trials if max(trial.intermediate_values) == STEPS]
    assert len(complete) <= len(whole) + 1
    others = [trial for trial in trials if trial not in complete]
    assert others
    assert {trial.user_attrs["reason"] for trial in others} == {"the search's steps went to other trials"}
    assert all(trial.value == trial.intermediate_values[max(trial.intermediate_values)] for trial in others)


@pytest.mark.parametrize("place", [*PLACES, "thawed"])
def test_a_worker_killed_at_any_point_changes_nothing(frozen, undisturbed, place):
    frozen.kill_at(place, 0, nth=1 if place in ("released", "thawed") else 3)
    frozen.finish()
    assert told(frozen) == told(undisturbed)
    assert frozen.faults() == []


def test_a_worker_asked_to_stop_leaves_its_trial_to_the_next(frozen, undisturbed):
    worker = frozen.begin(seconds=0.02)
    wait_for(lambda: frozen.steps(1) > 2, alive=[worker])
    status = status_record(frozen.study, frozen.spec)
    assert status["paused"] == f"0 (step {MEASURE_EVERY}, may go on)"
    assert status["unfinished"].startswith("1 (step")
    os.kill(worker.pid, signal.SIGTERM)
    assert frozen.end(worker) != 0
    records = Records(frozen.storage, frozen.workdir)
    shown = records.study("toy")
    assert (shown["paused"], shown["most_steps"]) == (1, TRIALS * STEPS)
    assert [trial["number"] for trial in shown["running"]] == [1]
    assert [trial["state"] for trial in records.trials("toy")["trials"]] == ["paused", "running"]
    assert records.trial("toy", 0)["state"] == "paused"
    assert history.left_to_do(frozen.study, frozen.spec, {"released": 1, "paused": 1})
    frozen.finish()
    assert told(frozen) == told(undisturbed)


def test_workers_that_share_a_search_pause_and_take_up_each_trial_once(frozen):
    workers = [frozen.begin(linger=True) for _ in range(3)]
    assert [frozen.end(worker) for worker in workers] == [0, 0, 0], frozen.said
    assert frozen.faults() == []
    trained = sum(frozen.steps(trial.number) for trial in frozen.study.trials)
    assert TRIALS * STEPS <= trained <= TRIALS * STEPS + 3 * MEASURE_EVERY


def test_a_trial_that_another_worker_has_just_taken_up_is_not_trained_by_two(frozen):
    first = frozen.begin(failpoint="thawed:stop")
    wait_for(lambda: is_stopped(first))
    frozen.finish()
    os.kill(first.pid, signal.SIGCONT)
    assert frozen.end(first) == 0
    frozen.finish()
    assert frozen.faults() == []


def test_more_steps_later_search_on(frozen):
    frozen.finish()
    before = len(frozen.study.trials)
    frozen.spec = toy_spec(2 * TRIALS, search=SEARCH)
    frozen.study = open_study(frozen.spec, frozen.storage)
    frozen.finish()
    assert frozen.faults() == []
    assert len(frozen.study.trials) > before
    assert history.consumed(frozen.study)[0] == 2 * TRIALS * STEPS


def test_where_the_study_prunes_from_now_on_what_waits_is_trained_to_its_end(frozen):
    worker = frozen.begin(seconds=0.02)
    wait_for(lambda: frozen.steps(2) > 2, alive=[worker])
    os.kill(worker.pid, signal.SIGTERM)
    assert frozen.end(worker) != 0
    assert frozen.lease(0)["state"] == "paused"
    tables = {name: table for name, table in toy_spec(3).model_dump(mode="json").items() if name != "pruner"}
    frozen.spec = Spec.parse({**tables, "sampler": {"name": "tpe"}}, "the same study")
    frozen.study = open_study(frozen.spec, frozen.storage)
    frozen.finish()
    assert frozen.faults() == []


def test_the_best_is_trained_on_though_it_was_paused(begin_study):
    toy = begin_study(trials=TRIALS, search=SEARCH, finish={"steps": 2 * STEPS})
    toy.finish()
    [(number, goes_on)] = history.going_on(toy.study).items()
    searched = [t for t in toy.study.trials if t.number != number]
    best = min(searched, key=lambda trial: min(trial.intermediate_values.values()))
    assert goes_on.trial == best.number and toy.study.trials[number].state.name == "COMPLETE"
    assert max(toy.study.trials[number].intermediate_values) == 2 * STEPS
