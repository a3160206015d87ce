"""Studies with other samplers and pruners: however often their workers are killed, they find the same."""

import os
import signal

import pytest
from faults.toys import ToyStudy, wait_for
from optuna.trial import TrialState

FREE = {"batch_size": {"type": "categorical", "choices": [8, 16, 32]}}
SPACE = FREE | {
    "learning_rate": {"type": "float", "low": 1e-3, "high": 8e-3, "log": True},
    "gate_positive_weight": {"type": "float", "low": 1.0, "high": 20.0, "log": True},
}
HYPERBAND = {"use": "optuna.pruners:HyperbandPruner", "args": {"reduction_factor": 2}}
STUDIES = {
    "gp": {"sampler": {"use": "optuna.samplers:GPSampler", "args": {"n_startup_trials": 3}}},
    "cma-es": {"sampler": {"use": "optuna.samplers:CmaEsSampler", "args": {"popsize": 3}}},
    "hyperband": {"pruner": HYPERBAND},
    "median": {"pruner": {"use": "optuna.pruners:MedianPruner", "args": {"n_startup_trials": 2}}},
}
KILLS = ("asked:kill:2", "verdict:kill:3", "telling:kill:1")


def told(toy):
    return [(t.params, t.state, t.values, t.intermediate_values) for t in toy.study.get_trials()]


@pytest.mark.parametrize("kind", STUDIES)
def test_killed_again_and_again_it_finds_what_one_straight_run_finds(begin_study, tmp_path, kind):
    tables = {"space": SPACE, "pruner": {"name": "none"}} | STUDIES[kind]
    (tmp_path / "straight").mkdir()
    straight = ToyStudy(f"sqlite:///{tmp_path}/straight.db", tmp_path / "straight", 8, **tables)
    straight.finish(seconds=0.0)
    killed = begin_study(trials=8, **tables)
    for failpoint in KILLS:
        assert killed.end(killed.begin(failpoint=failpoint, seconds=0.0)) == -signal.SIGKILL
    last = killed.begin(seconds=0.02)
    wait_for(lambda: killed.said.count("attempt") > 3 or killed.steps(5), alive=[last])
    os.kill(last.pid, signal.SIGKILL)
    killed.end(last)
    killed.finish(seconds=0.0)
    assert told(killed) == told(straight)
    assert killed.faults() == []
    if "pruner" in STUDIES[kind]:
        assert TrialState.PRUNED in {state for _, state, *_ in told(killed)}
    straight.close()


def test_a_study_ends_where_its_sampler_has_tried_everything(begin_study):
    steps = {"type": "float", "low": 0.001, "high": 0.003, "step": 0.001}
    grid = begin_study(
        trials=20,
        space=FREE | {"learning_rate": steps},
        sampler={"use": "optuna.samplers:GridSampler"},
        pruner={"name": "none"},
    )
    grid.study.enqueue_trial({"batch_size": 8, "learning_rate": 0.003})
    grid.finish(seconds=0.0)
    tried = [(t.params["learning_rate"], t.params["batch_size"]) for t in grid.study.trials]
    assert sorted(set(tried)) == [(rate, size) for rate in (0.001, 0.002, 0.003) for size in (8, 16, 32)]
    assert len(tried) == 10  # the one that was enqueued is none of the grid's
    grid.finish(seconds=0.0)
    assert len(grid.study.trials) == 10
