"""The searches that are compared. Their values are minimized; a whole trial's is its best measure."""

from collections.abc import Callable

import optuna
from optuna.pruners import MedianPruner, NopPruner
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from benchmarks.search.freeze_thaw import freeze_thaw
from benchmarks.search.ledger import Ledger, Policy, Trial
from smart_tuner.repair.pruning import should_prune
from studies.file.search import pruner, sampler
from studies.file.space import suggest

Judge = Callable[[optuna.Trial], bool]


def by_optuna(ledger: Ledger, searching: optuna.Study, judge: Judge = optuna.Trial.should_prune) -> None:
    """One trial after the other, by Optuna itself."""
    cube, spec = ledger.table.cube, ledger.table.spec
    while True:
        asked = searching.ask()
        trial = ledger.begin(cube.point(suggest(asked, spec)))
        if is_pruned(asked, trial, ledger.table.quantum, judge):
            searching.tell(asked, state=TrialState.PRUNED)
        else:
            searching.tell(asked, trial.best)


def is_pruned(asked: optuna.Trial, trial: Trial, quantum: int, judge: Judge) -> bool:
    """Train a trial to its end, or until it is pruned."""
    while not trial.is_whole:
        asked.report(trial.go_on(), len(trial.values) * quantum)
        if not trial.is_whole and judge(asked):
            return True
    return False


def at_random(ledger: Ledger, seed: int) -> None:
    by_optuna(ledger, optuna.create_study(sampler=RandomSampler(seed), pruner=NopPruner()))


def by_default(ledger: Ledger, seed: int) -> None:
    """As optuna.create_study makes it when nothing is said, but for the seed."""
    by_optuna(ledger, optuna.create_study(sampler=TPESampler(seed=seed), pruner=MedianPruner()))


def as_shipped(ledger: Ledger, seed: int) -> None:
    """By the quickstart's sampler and pruner, made and asked as a worker does. No rule acts."""
    spec = ledger.table.study(seed)
    by_optuna(ledger, optuna.create_study(sampler=sampler(spec), pruner=pruner(spec)), should_prune)


RANDOM, DEFAULT = "random", "Optuna's default"
POLICIES: dict[str, Policy] = {
    RANDOM: at_random,
    DEFAULT: by_default,
    "ours, as shipped": as_shipped,
    "freeze-thaw": freeze_thaw,
}
