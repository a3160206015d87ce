"""The command line on a study whose second trial is pruned at its first rung and whose third one fails.

Everything is real but those two ends.
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import objectives.trial
import run_study
from objectives.base import NonFinite
from objectives.trial import Trial

PRUNED, FAILED = 1, 2
train = Trial._train


def breaks(trial):
    def advance():
        if trial._run.step == 7:
            raise NonFinite(8, loss=math.nan, grad_norm=math.nan)
        return whole()

    if trial._attempt.trial.number == FAILED:
        whole, trial._watch.advance = trial._watch.advance, advance
    return train(trial)


if __name__ == "__main__":
    Trial._train = breaks
    objectives.trial.should_prune = lambda trial: trial.number == PRUNED
    sys.exit(run_study.main())
