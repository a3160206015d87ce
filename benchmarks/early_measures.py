"""Which early measure of a trial tells best how well its voice will be understood.

Reads a study whose trials were all trained to their end and listened to at each measure: a random sampler,
no pruner, no rules, and enough [ear] sentences. Prints Spearman's rank correlation of each number of each
measure with the CER of the last measure that all trials have, with a bootstrap interval over trials; and what
stopping two thirds of nine random trials by it would have cost: the best last CER of those that go on, less
the best of all nine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from optuna.trial import TrialState
from scipy.stats import spearmanr

from smart_tuner.store import attributes
from smart_tuner.store.storage import open_storage
from studies.run.study import load_study

SIGNS = {  # of what is better: -1 where larger is
    "value": 1,
    "mel_l1": 1,
    "cer": 1,
    "mos": -1,
    "diagonal_score": -1,
    "gate_accuracy": -1,
    "failure_share": 1,
}
WORST = {"cer": 1.0, "mos": 1.0}  # of a voice that was not listened to, as it was not aligned
DRAWS = 2000
KEPT = 3  # one of so many goes on
AT_ONCE = 9  # trials of a small search, of which a third goes on

Measures = Sequence[Mapping[str, Any]]


def early(trials: Sequence[Measures], step: int, name: str) -> NDArray[np.float64]:
    """The number of the measure at `step` of each trial, smaller ones better."""
    found = [next(row for row in rows if row["step"] == step) for rows in trials]
    return np.array([SIGNS[name] * float(row.get(name, WORST.get(name, np.nan))) for row in found])


def correlation(early: NDArray[np.float64], last: NDArray[np.float64], chance: np.random.Generator) -> str:
    draws = chance.integers(len(last), size=(DRAWS, len(last)))
    drawn = np.array([_rank_correlation(early[row], last[row]) for row in draws])
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return f"{_rank_correlation(early, last):5.2f} ({low:5.2f} .. {high:5.2f})"


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:  # nothing is told apart
        return 0.0
    return float(spearmanr(one, other).statistic)


def cost(early: NDArray[np.float64], last: NDArray[np.float64], chance: np.random.Generator) -> float:
    """CER that is lost in the mean where only the best third by `early` goes on."""
    lost = []
    for _ in range(DRAWS):
        drawn = chance.choice(len(last), AT_ONCE, replace=False)
        kept = drawn[np.argsort(early[drawn], kind="stable")[: AT_ONCE // KEPT]]
        lost.append(last[kept].min() - last[drawn].min())
    return float(np.mean(lost))


@click.command(help=__doc__)
@click.argument("study")
@click.option("--home", default="runs", show_default=True, type=click.Path(path_type=Path))
def main(study: str, home: Path) -> None:
    storage = open_storage(f"sqlite:///{home / 'study.db'}", looking=True)
    complete = load_study(study, storage).get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [attributes.measures(trial) for trial in complete]
    steps = sorted(set.intersection(*({row["step"] for row in rows} for rows in trials)))
    last = early(trials, steps[-1], "cer")
    click.echo(f"{len(trials)} trials, CER at step {steps[-1]}: {last.min():.2f} .. {last.max():.2f}")
    for name in SIGNS:
        for step in steps[:-1]:
            numbers, chance = early(trials, step, name), np.random.default_rng(0)
            told = correlation(numbers, last, chance)
            click.echo(f"{name:15} step {step:5}: {told}, costs {cost(numbers, last, chance):.3f} CER")


if __name__ == "__main__":
    main()
