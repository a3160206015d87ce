"""Pruning of a trial that rules watch, and that may die and be taken up at any moment."""

import math
from collections.abc import Collection, Iterator, Mapping
from statistics import median
from typing import Any, cast

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.repair.health import spread
from smart_tuner.store.attributes import ended_by, is_number, is_of_the_search, measures, repairs
from smart_tuner.store.optuna_private import id_of, latest, storage_of

GRACE = "grace_until"  # user attribute of a trial: the step at which its newest repair is judged
LEAST_PEERS = 4  # with fewer measures at a step, their median says nothing
SPARED = "smart_tuner:spared"  # system attribute: the steps at which it was not judged, because of that
VERDICT = "smart_tuner:verdict"  # system attribute: step and outcome of the newest one, the pruner's notes


def should_prune(trial: optuna.Trial) -> bool:
    """As trial.should_prune(), but a repair has time to show its effect, and a kill changes no verdict.

    A trial that goes on from another one, or repeats it, is no part of the search, and not judged.

    Some pruners note in the trial what they have judged, and say "go on" when they are asked again. Such
    notes are held back until the verdict is kept with them: a trial that dies before is judged anew, as if
    nobody had asked, and one that dies later has the verdict that it got.
    """
    frozen, pruner = latest(trial), trial.study.pruner
    step = frozen.last_step or 0
    if not is_of_the_search(frozen):
        return False
    if step < _grace_until(frozen):
        if step not in (spared := _spared(frozen)):
            storage_of(trial.study).set_trial_system_attr(id_of(trial), SPARED, [*spared, step])
        return False
    return pruner.prune(trial.study, frozen) if isinstance(pruner, NOTING_NOTHING) else _kept(trial, frozen)


def medians(study: optuna.Study) -> dict[int, float]:
    """By step, the median of what the search's ended trials were measured at, where enough of them were."""
    found: dict[int, list[float]] = {}
    for trial in study.get_trials(deepcopy=False):
        if trial.state.is_finished() and is_of_the_search(trial):
            for step, value in trial.intermediate_values.items():
                if math.isfinite(value):
                    found.setdefault(step, []).append(value)
    return {step: median(values) for step, values in sorted(found.items()) if len(values) >= LEAST_PEERS}


def peers(
    study: optuna.Study, names: Collection[str], also: Collection[tuple[optuna.Study, float]] = ()
) -> dict[str, dict[int, tuple[float, float]]]:
    """By measure and step, median and spread of the search's sound trials, where enough were measured.

    Sound ones have ended, no rule changed them or gave them up, and they did not fail.

    Args:
        also: studies whose trials are peers, too, each with how many steps here one of its own is.
    """
    found: dict[tuple[str, int], list[float]] = {}
    for of, times in ((study, 1.0), *also):
        for trial in of.get_trials(deepcopy=False):
            if not is_of_the_search(trial) or not _is_sound(trial):
                continue
            for measured in measures(trial):
                step = round(times * measured["step"])
                for name in measured.keys() & set(names):
                    if is_number(value := measured[name]) and math.isfinite(value):
                        found.setdefault((name, step), []).append(float(value))
    told: dict[str, dict[int, tuple[float, float]]] = {}
    for (name, step), values in sorted(found.items()):
        if len(values) >= LEAST_PEERS:
            told.setdefault(name, {})[step] = median(values), spread(np.array(values))
    return told


def _is_sound(trial: FrozenTrial) -> bool:
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return ended and not repairs(trial) and ended_by(trial) is None


def _kept(trial: optuna.Trial, frozen: FrozenTrial) -> bool:
    """The verdict of a pruner that may note something in the trial: the one that it gave, if it gave any."""
    study, held = trial.study, _Held(storage_of(trial.study), id_of(trial))
    step, verdict, notes = _verdict(frozen.system_attrs.get(VERDICT))
    held.write({key: note for key, note in notes.items() if frozen.system_attrs.get(key) != note})
    if step == frozen.last_step:
        return verdict
    seen = optuna.load_study(
        study_name=study.study_name,
        storage=cast(BaseStorage, held),
        sampler=study.sampler,
        pruner=study.pruner,
    )
    verdict = seen.pruner.prune(seen, latest(trial))
    if held.notes:
        held.write({VERDICT: [frozen.last_step, verdict, held.notes], **held.notes})
    return verdict


def _grace_until(trial: FrozenTrial) -> int:
    """Who queued the trial may have written anything in place of this and of what follows."""
    found = trial.user_attrs.get(GRACE)
    return found if isinstance(found, int) else 0


def _spared(trial: FrozenTrial) -> list[Any]:
    found = trial.system_attrs.get(SPARED)
    return found if isinstance(found, list) else []


def _verdict(found: Any) -> tuple[int, bool, dict[str, Any]]:
    if isinstance(found, list) and [type(part) for part in found] == [int, bool, dict]:
        return found[0], found[1], found[2]
    return -1, False, {}


class _Held:
    """A storage that holds back what a pruner notes in the trial which it judges."""

    def __init__(self, storage: BaseStorage, trial_id: int) -> None:
        self._storage, self._trial_id = storage, trial_id
        self.notes: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if trial_id == self._trial_id:
            self.notes[key] = value
        else:
            self._storage.set_trial_system_attr(trial_id, key, value)

    def write(self, attributes: Mapping[str, Any]) -> None:
        """Set the trial's attributes, one after the other."""
        for key, value in attributes.items():
            self._storage.set_trial_system_attr(self._trial_id, key, value)


class SuccessiveHalving(BasePruner):
    """Asynchronous successive halving (Li et al., 2020, arXiv:1810.05934) that notes nothing.

    The rungs are at `min_resource` times powers of `reduction_factor` steps. With its first value at or past
    a rung a trial is pruned unless that is among the best 1/`reduction_factor` of all trials' first values
    there, or the best of fewer. Values from the grace after a repair do not count. Values are minimized; what
    is asked twice is answered alike. Where no value passes two rungs at once, it agrees with Optuna's
    SuccessiveHalvingPruner, which notes the rungs that a trial passed.
    """

    def __init__(self, min_resource: int, reduction_factor: int = 3) -> None:
        self._first, self._factor = min_resource, reduction_factor

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        step = trial.last_step or 0
        before = max((earlier for earlier in _judged(trial) if earlier < step), default=-1)
        if not (rungs := [rung for rung in self._rungs(step) if rung > before]):
            return False
        value = trial.intermediate_values[step]
        trials = study.get_trials(deepcopy=False)
        others = [t for t in trials if t.number != trial.number and is_of_the_search(t)]
        return math.isnan(value) or any(self._is_behind(value, rung, others) for rung in rungs)

    def _rungs(self, step: int) -> Iterator[int]:
        rung = self._first
        while rung <= step:
            yield rung
            rung *= self._factor

    def _is_behind(self, value: float, rung: int, others: list[FrozenTrial]) -> bool:
        found = [v for other in others if not math.isnan(v := _value_at(other, rung))]
        return value > sorted([*found, value])[max((len(found) + 1) // self._factor, 1) - 1]


def _judged(trial: FrozenTrial) -> list[int]:
    spared = _spared(trial)
    return [step for step in trial.intermediate_values if step not in spared]


def _value_at(trial: FrozenTrial, rung: int) -> float:
    """NaN where the trial did not come so far."""
    steps = [step for step in _judged(trial) if step >= rung]
    return trial.intermediate_values[min(steps)] if steps else math.nan


NOTING_NOTHING = (SuccessiveHalving, NopPruner)
