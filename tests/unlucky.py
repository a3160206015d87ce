"""The command line on a study whose second trial is pruned at its first rung and whose third one fails.

Everything is real but those two ends.
"""

import math
import sys
from pathlib import Path

import optuna

sys.path.insert(0, str(Path(__file__).parent.parent))

import run_study
from model.training import NonFinite
from objectives.monitored import MonitoredTraining
from studies.run import training

PRUNED, FAILED = 1, 2
running = [0]
trainings, advance = training.trainings, MonitoredTraining.advance


def noted(*arguments):
    job = trainings(*arguments)

    def run(attempt):
        running[0] = attempt.trial.number
        return job(attempt)

    return run


def breaks(watched):
    if running[0] == FAILED and watched.training.step == 7:
        raise NonFinite(8, math.nan, math.nan, ())
    return advance(watched)


if __name__ == "__main__":
    training.trainings, MonitoredTraining.advance = noted, breaks
    optuna.Trial.should_prune = lambda trial: trial.number == PRUNED
    sys.exit(run_study.main())
