"""A search's best trial is trained on at the end: once, whoever dies when, and nothing of it is lost."""

import os
import signal

import pytest
from faults.toys import ToyStudy, is_stopped, wait_for

from benchmarks.chaos import STEPS, check_steps, toy_spec
from model.failpoint import PLACES
from smart_tuner.store import attributes
from studies.report import history
from studies.run.study import open_study

FINISH = 90  # steps in all


def change(toy, trials=2, steps=FINISH):
    """What the study wants from now on."""
    toy.spec = toy_spec(trials, finish={"steps": steps})
    toy.study = open_study(toy.spec, toy.storage)


def told(toy):
    """All that is known of each trial, but times."""
    trials = toy.study.get_trials()
    return [(t.state.name, t.value, t.intermediate_values, t.params, t.user_attrs) for t in trials]


def finishing(toy):
    return history.going_on(toy.study)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    toy = ToyStudy(f"sqlite:///{workdir / 'study.db'}", workdir)
    change(toy)
    toy.finish()
    yield toy
    toy.close()


def without_seconds(found):
    """Durations differ."""
    if isinstance(found, dict):
        return {name: without_seconds(value) for name, value in found.items() if name != "seconds"}
    return [without_seconds(value) for value in found] if isinstance(found, list | tuple) else found


def test_the_best_trial_is_trained_on_and_counted_once(undisturbed):
    [(number, goes_on)] = finishing(undisturbed).items()
    first, second, last = undisturbed.study.trials
    assert (number, last.state.name) == (2, "COMPLETE")
    origin = min((first, second), key=lambda trial: trial.value or float("inf"))
    assert goes_on.trial == origin.number
    assert last.params == origin.params
    shared = {step: v for step, v in origin.intermediate_values.items() if step <= goes_on.step}
    assert shared.items() < last.intermediate_values.items()
    further = [step for step in last.intermediate_values if step > goes_on.step]
    assert further[-1] == FINISH
    assert len(further) <= 8
    assert undisturbed.steps(2) == FINISH - goes_on.step
    assert history.consumed(undisturbed.study)[0] == sum(undisturbed.steps(n) for n in range(3))
    assert history.started(undisturbed.study) == 2


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_killed_at_any_point_of_it_is_as_if_it_had_not_been(toy, undisturbed, place):
    toy.finish()
    change(toy)
    toy.kill_at(place, 2)
    toy.finish()
    assert without_seconds(told(toy)) == without_seconds(told(undisturbed))
    assert list(check_steps("trial 2", toy.workdir / "steps-2.log")) == []


def test_of_two_workers_one_trains_it(toy):
    toy.finish()
    change(toy)
    first = toy.begin(failpoint="reserved:stop")
    wait_for(lambda: is_stopped(first))
    toy.finish()  # finds that somebody is about to
    assert finishing(toy) == {}
    os.kill(first.pid, signal.SIGCONT)
    assert toy.end(first) == 0
    assert list(finishing(toy)) == [2]


def test_workers_that_share_a_study_train_it_once(toy, undisturbed):
    change(toy)
    for worker in [toy.begin(linger=True), toy.begin(linger=True)]:
        assert toy.end(worker) == 0, toy.said
    assert list(finishing(toy)) == [2]
    assert toy.study.trials[2].state.name == "COMPLETE"


def test_after_more_search_only_another_best_trial_is_trained_on(toy):
    toy.finish()
    outcomes = set()
    for trials in range(2, 9):
        before = finishing(toy)
        change(toy, trials)
        toy.finish()
        searched = [t for t in toy.study.trials if t.number not in finishing(toy)]
        assert len(searched) == trials
        best = min((t for t in searched if t.value is not None), key=lambda trial: trial.value)
        new = [on.trial for number, on in finishing(toy).items() if number not in before]
        known = best.number in [on.trial for on in before.values()]
        assert new == ([] if known else [best.number])
        outcomes.add(known)
    assert outcomes == {True, False}


def test_a_longer_one_later_goes_on_from_what_the_first_came_to(toy):
    change(toy)
    toy.finish()
    [(first, _)] = finishing(toy).items()
    change(toy, steps=2 * FINISH)
    toy.finish()
    [second] = finishing(toy).keys() - {first}
    goes_on = finishing(toy)[second]
    came_to = attributes.best_measure(toy.study.trials[first])
    assert (goes_on.trial, goes_on.step, goes_on.steps) == (first, came_to["step"], 2 * FINISH)
    assert toy.steps(second) == 2 * FINISH - goes_on.step
    assert max(toy.study.trials[second].intermediate_values) == 2 * FINISH
    toy.finish()
    assert len(finishing(toy)) == 2


def test_what_cannot_be_had_is_not_trained_on_and_can_be_later(toy, undisturbed):
    toy.finish()
    change(toy)
    folder = toy.workdir / "toy"
    folder.rename(toy.workdir / "away")
    toy.finish()
    assert finishing(toy) == {}
    assert "is not trained on. The checkpoint of trial" in toy.said
    (toy.workdir / "away").rename(folder)
    toy.finish()
    assert without_seconds(told(toy)) == without_seconds(told(undisturbed))


def test_a_finish_may_be_one_step_longer_than_the_search(toy):
    change(toy, steps=STEPS + 1)
    toy.finish()
    assert [on.steps for on in finishing(toy).values()] == [STEPS + 1]
