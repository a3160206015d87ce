"""Pruning of a trial that rules watch, and that may die and be taken up at any moment."""

import copy
import re
from typing import Any

from optuna import Study
from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

GRACE = "grace_until"  # user attribute of a trial: the step at which its newest repair is judged
VERDICT = "verdict"  # user attribute of a trial: the step of the newest verdict, what it was, rungs passed
RUNG = "completed_rung_"  # by which successive halving keeps a trial's value at a rung


class GracePruner(BasePruner):
    """Lets another pruner wait while a repair shows its effect; then that one judges the newest value.

    Successive halving answers once a rung: asked again at the same step, it says "go on". So a verdict is
    kept before it is acted upon, and a rung that was passed in a life that ended before its verdict was
    kept is judged anew.
    """

    def __init__(self, wrapped_pruner: BasePruner) -> None:
        self._wrapped_pruner = wrapped_pruner

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        step = trial.last_step or 0
        grace = trial.user_attrs.get(GRACE)
        if isinstance(grace, int) and step < grace:
            return False
        known_step, known, max_remedies = _verdict(trial.user_attrs.get(VERDICT))
        if known_step == step:
            return bool(known)
        passed_before = [key for key in trial.system_attrs if re.fullmatch(rf"{RUNG}\d+", key, re.ASCII)]
        lost = [key for key in passed_before if int(key[len(RUNG) :]) >= max_remedies]
        if lost:
            study, trial = _without(study, trial), copy.copy(trial)
            trial._system_attrs = {k: v for k, v in trial.system_attrs.items() if k not in lost}
        study, passed = copy.copy(study), {key for key in trial.system_attrs if key.startswith(RUNG)}
        storage, before = study._storage, len(passed)
        study._storage = _Noting(storage, passed)  # type: ignore[assignment]
        pruned = self._wrapped_pruner.prune(study, trial)
        if pruned or len(passed) > before:  # else asked again, it says "go on" again
            verdict = [step, pruned, len(passed)]
            storage.set_trial_user_attr(trial._trial_id, VERDICT, verdict)
            trial.user_attrs[VERDICT] = verdict  # the running trial reads its attributes only once
        return pruned


def _verdict(found: Any) -> tuple[int, bool, int]:
    """The newest one that was kept; who queued the trial may have written anything in its place."""
    if isinstance(found, list) and [type(part) for part in found] == [int, bool, int]:
        return found[0], found[1], found[2]
    return -1, False, 0


class _Noting:
    """A storage that notes at which rungs a trial leaves its value."""

    def __init__(self, storage: BaseStorage, passed: set[str]) -> None:
        self._storage, self._passed = storage, passed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._storage.set_trial_system_attr(trial_id, key, value)
        if key.startswith(RUNG):
            self._passed.add(key)


def _without(study: Study, trial: FrozenTrial) -> Study:
    """The study as it was before the trial left its value at a rung."""

    def others(*args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return [t for t in study.get_trials(*args, **kwargs) if t.number != trial.number]

    seen = copy.copy(study)
    seen.get_trials = others  # type: ignore[method-assign]
    return seen
