"""A search's best values are tried again with other seeds: so often as was wanted, whoever dies when."""

import os
import signal

import optuna
import pytest
from faults.test_finish import without_seconds
from faults.toys import ToyStudy, is_stopped, wait_for

from benchmarks.chaos import check_steps, toy_spec
from model.failpoint import PLACES
from smart_tuner.repair.pruning import should_prune
from studies.report import history
from studies.report import summary as report
from studies.run.study import open_study

REPEATS, FINISH = 2, 60


def change(toy, trials=2, repeats=REPEATS, **tables):
    """What the study wants from now on."""
    toy.spec = toy_spec(trials, search={"repeats": repeats}, **tables)
    toy.study = open_study(toy.spec, toy.storage)


def told(toy):
    """All that is known of each trial, but times."""
    trials = toy.study.get_trials()
    return without_seconds(
        [(t.state.name, t.value, t.intermediate_values, t.params, t.user_attrs) for t in trials]
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    toy = ToyStudy(f"sqlite:///{workdir / 'study.db'}", workdir)
    change(toy, finish={"steps": FINISH})
    toy.finish()
    yield toy
    toy.close()


def test_the_best_is_repeated_then_trained_on_and_neither_is_of_the_search(undisturbed):
    study, spec = undisturbed.study, undisturbed.spec
    trials = study.trials
    best = min(trials[:2], key=lambda trial: trial.value)
    assert history.repeating(study) == {2: best.number, 3: best.number}
    assert list(history.going_on(study)) == [4]
    for trial in trials[2:4]:
        assert (trial.state.name, trial.params) == ("COMPLETE", best.params)
        assert trial.last_step == spec.objective.steps  # no pruner judges it
    assert history.started(study) == 2
    assert history.states(study)["complete"] == 2
    status = report.status_record(study, spec)
    assert (status["trials"], status["repeats"]) == ("2/2", f"2 of trial {best.number}")
    assert history.three_bests(study)["unassisted"].number == best.number
    undisturbed.finish()
    assert len(study.get_trials()) == 5


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_killed_at_any_point_of_it_is_as_if_it_had_not_been(toy, undisturbed, place):
    toy.finish()
    change(toy, finish={"steps": FINISH})
    toy.kill_at(place, 2)
    toy.finish()
    assert told(toy) == told(undisturbed)
    for number in (2, 3, 4):
        assert list(check_steps(f"trial {number}", toy.workdir / f"steps-{number}.log")) == []


def test_of_two_workers_one_asks_for_it(toy):
    toy.finish()
    change(toy)
    first = toy.begin(failpoint="reserved:stop")
    wait_for(lambda: is_stopped(first))
    toy.finish()  # finds that somebody is about to
    assert history.repeating(toy.study) == {}
    os.kill(first.pid, signal.SIGCONT)
    assert toy.end(first) == 0
    assert list(history.repeating(toy.study)) == [2, 3]


def test_workers_that_share_a_study_repeat_it_as_often_as_is_wanted(toy, undisturbed):
    change(toy, finish={"steps": FINISH})
    for worker in [toy.begin(linger=True), toy.begin(linger=True)]:
        assert toy.end(worker) == 0, toy.said
    assert list(history.repeating(toy.study)) == [2, 3]
    assert list(history.going_on(toy.study)) == [4]


def test_more_can_be_wanted_later_and_another_best_is_repeated_anew(toy):
    change(toy, repeats=1)
    toy.finish()
    [first] = set(history.repeating(toy.study).values())
    change(toy, repeats=2)
    toy.finish()
    assert list(history.repeating(toy.study).values()) == [first, first]
    outcomes = set()
    for trials in range(3, 8):
        before = history.repeating(toy.study)
        change(toy, trials)
        toy.finish()
        searched = [t for t in toy.study.trials if t.number not in history.repeating(toy.study)]
        assert len(searched) == trials
        best = min((t for t in searched if t.value is not None), key=lambda trial: trial.value)
        new = [of for number, of in history.repeating(toy.study).items() if number not in before]
        known = best.number in before.values()
        assert new == ([] if known else 2 * [best.number])
        outcomes.add(known)
    assert outcomes == {True, False}


def test_where_none_is_wanted_none_is_run(toy):
    change(toy, repeats=0)
    toy.finish()
    assert len(toy.study.trials) == 2


@pytest.mark.parametrize(("attributes", "verdict"), [({}, True), ({"repeats": 0}, False)])
def test_no_pruner_judges_a_repeat(toy, attributes, verdict):
    study = optuna.load_study(
        study_name="toy", storage=toy.storage, pruner=optuna.pruners.ThresholdPruner(upper=1.0)
    )
    trial = study.ask()
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    trial.report(2.0, 9)
    assert should_prune(trial) is verdict
