"""What a study's past adds up to, asked of the database: its trials are not built one by one."""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, Select, func, select

from objectives import distance
from smart_tuner.store.attributes import (
    GOES_ON,
    REPEATS,
    GoesOn,
    best_measure,
    count,
    goes_on_from,
    goes_on_in,
    is_number,
    is_of_the_search,
    measures,
    yardstick,
)
from smart_tuner.store.leases import Leases
from smart_tuner.store.loading import POINTS, TRIALS, USER_ATTRS, VALUES, parsed
from smart_tuner.store.optuna_private import models, storage_of, study_id_of
from smart_tuner.store.tables import LEASES
from studies.file.search import EXHAUSTED
from studies.file.spec import Spec
from studies.run.study import rdb

Kind = models.TrialValueModel.TrialValueType


def states(study: optuna.Study) -> Counter[str]:
    """How many trials of the search are in each state, by its name in small letters."""
    of_search = TRIALS.study_id == study_id_of(study), ~_has(GOES_ON), ~_has(REPEATS)
    counts = select(TRIALS.state, func.count()).where(*of_search)
    return Counter(
        {state.name.lower(): count for state, count in _rows(study, counts.group_by(TRIALS.state))}
    )


def started(study: optuna.Study) -> int:
    """Trials that count against the budget: every number that was ever started."""
    return sum(count for state, count in states(study).items() if state != "waiting")


def going_on(study: optuna.Study) -> dict[int, GoesOn]:
    """The trials, by their numbers, that train the best one of a search on; oldest first."""
    told = _told(study, GOES_ON).items()
    return {number: found for number, value in told if (found := goes_on_in(value))}


def repeating(study: optuna.Study) -> dict[int, int]:
    """The trials, by their numbers, that repeat another one, with that one's number; oldest first."""
    told = _told(study, REPEATS).items()
    return {number: found for number, value in told if (found := count(value)) is not None}


def beside_the_search(study: optuna.Study) -> set[int]:
    """The trials that do not count in the budget: those that go on from the best one, or repeat it."""
    return {*going_on(study), *repeating(study)}


def _told(study: optuna.Study, key: str) -> dict[int, Any]:
    """What a user attribute says, by the numbers of the trials that have it; oldest first."""
    query = (
        select(TRIALS.number, USER_ATTRS.value_json)
        .join_from(USER_ATTRS.trial_id.table, TRIALS.trial_id.table)
        .where(TRIALS.study_id == study_id_of(study), USER_ATTRS.key == key)
        .order_by(TRIALS.number)
    )
    return {number: parsed(text) for number, text in _rows(study, query)}


def first_of_line(study: optuna.Study, number: int) -> int:
    """The trial of the search whose training a trial goes on with; itself, where it goes on from none."""
    line = going_on(study)
    while number in line and line[number].trial < number:
        number = line[number].trial
    return number


def before(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any] | None:
    """Number and value of the trial that this one goes on from, and its step then; None where it does not."""
    goes_on, trials = goes_on_from(trial), study.get_trials(deepcopy=False)
    if goes_on is None or goes_on.trial >= len(trials):
        return None
    return {"number": goes_on.trial, "value": trials[goes_on.trial].value, "step": goes_on.step}


def to_train_on(study: optuna.Study, spec: Spec) -> tuple[FrozenTrial, GoesOn] | None:
    """The search's best trial and how it is to be trained on, if the study wants that, and it was not yet.

    Where it was trained on to fewer steps, the trial that did so goes on, if it was better.
    """
    steps = spec.finish.steps
    best = best_trial(study, ~_has(GOES_ON)) if steps else None
    if steps is None or best is None:
        return None
    line, trials = {best.number: best}, study.get_trials(deepcopy=False)  # it, and what goes on from it
    for number, goes_on in going_on(study).items():
        if goes_on.trial in line:
            if goes_on.steps >= steps:
                return None
            line[number] = trials[number]
    came_to = [t for t in line.values() if t.state == TrialState.COMPLETE and t.value is not None]
    best = min(came_to, key=lambda trial: (trial.value, trial.number))
    measured = best_measure(best)
    if measured is None or measured["step"] >= steps:
        return None
    return best, GoesOn(best.number, measured["step"], steps)


def to_repeat(study: optuna.Study, spec: Spec) -> FrozenTrial | None:
    """The search's best trial, if the study wants its values tried more often than they were."""
    best = best_trial(study, ~_has(GOES_ON)) if spec.search.repeats else None
    if best is None or list(repeating(study).values()).count(best.number) >= spec.search.repeats:
        return None
    return best


def best_trial(study: optuna.Study, *conditions: ColumnElement[bool]) -> FrozenTrial | None:
    """The completed trial with the smallest value, or None before there is one.

    One that was trained here: whoever adds a known result to a study adds no training. And none that repeats
    another one: it tells what that one's values are worth.
    """
    smallest = _smallest_first(study, _has("measures"), *conditions)
    found = _rows(study, smallest.limit(1)) or []
    if found and not measures(storage_of(study).get_trial(found[0][0])):
        found = _rows(study, smallest)
    trials = (storage_of(study).get_trial(trial) for (trial,) in found)
    return next((trial for trial in trials if measures(trial)), None)


def best_measured(study: optuna.Study) -> tuple[int, float] | None:
    """Number and value of the search's trial that was measured best, among those which completed or may go
    on."""
    found = [
        (min(measured), trial.number)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.RUNNING))
        if is_of_the_search(trial)
        and (measured := [value for value in trial.intermediate_values.values() if math.isfinite(value)])
    ]
    return min(found)[::-1] if found else None


def paused(study: optuna.Study) -> list[tuple[int, int]]:
    """Number of each trial with which the search may go on, and the last step at which it was measured."""
    numbers = Leases(rdb(study).ours, study.user_attrs.get("uid", "")).paused()
    return [(number, step) for number, step in unfinished(study) if number in numbers]


def best_from_elsewhere(study: optuna.Study) -> FrozenTrial | None:
    """The completed trial that is better than `best_trial`, but was not trained here; None as a rule."""
    found = _rows(study, _smallest_first(study).limit(1))
    trial = storage_of(study).get_trial(found[0][0]) if found else None
    return None if trial is None or measures(trial) else trial


def _smallest_first(study: optuna.Study, *conditions: ColumnElement[bool]) -> Select[Any]:
    """The ids of completed trials, by their values; without those that are infinite, and without repeats."""
    mine = TRIALS.study_id == study_id_of(study), TRIALS.state == TrialState.COMPLETE
    return (
        select(TRIALS.trial_id)
        .join_from(TRIALS.trial_id.table, VALUES.trial_id.table)
        .where(*mine, VALUES.value_type == Kind.FINITE, ~_has(REPEATS), *conditions)
        .order_by(VALUES.value, TRIALS.number)
    )


def no_speech_yet(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether a completed trial's distance says that it is no speech yet; never, where none can be told."""
    mismatch = yardstick(study).get("mismatch")
    return mismatch is not None and trial.value is not None and distance.no_speech_yet(trial.value, mismatch)


def three_bests(study: optuna.Study) -> dict[str, FrozenTrial | None]:
    """The search's best trial that no rule changed, the best that one did, and the best that began with the
    values to which repairs had led another, and then needed none: only the last proves those values."""
    repaired, fresh, searched = _has("repairs"), _has("fresh_of"), ~_has(GOES_ON)
    return {
        "unassisted": best_trial(study, searched, ~repaired),
        "assisted": best_trial(study, searched, repaired),
        "verified_fresh": best_trial(study, searched, ~repaired, fresh),
    }


def twin(study: optuna.Study, number: int) -> tuple[int, list[str]] | None:
    """An earlier trial of the search that was measured exactly as this one, and the names of the parameters
    in which they differ all the same; None where there is none."""
    trials = {t.number: t for t in study.get_trials(deepcopy=False) if is_of_the_search(t)}
    for other in trials.values() if number in trials else ():
        mine = trials[number]
        either = mine.params.keys() | other.params.keys()
        names = sorted(name for name in either if mine.params.get(name) != other.params.get(name))
        if other.number < number and names and _same_curve(mine, other):
            return other.number, names
    return None


def _same_curve(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Two values at least, and no single one again and again: that may be the worst there is."""
    both = [
        (value, other.intermediate_values[step])
        for step, value in one.intermediate_values.items()
        if step in other.intermediate_values
    ]
    return len({mine for mine, _ in both}) >= 2 and all(mine == theirs for mine, theirs in both)


def repaired(study: optuna.Study) -> int:
    """How many trials were repaired."""
    count = select(func.count()).where(TRIALS.study_id == study_id_of(study), _has("repairs"))
    return int(_rows(study, count)[0][0])


def consumed(study: optuna.Study) -> tuple[int, float]:
    """Optimizer steps and hours of training that the study's trials took so far: see `_consumed`."""
    found = _consumed(study).values()
    return sum(steps for steps, _ in found), sum(seconds for _, seconds in found) / 3600


def consumed_by_search(study: optuna.Study) -> tuple[int, float]:
    """The same, without the trials that go on from the best one, or repeat it."""
    others = beside_the_search(study)
    found = [used for number, used in _consumed(study).items() if number not in others]
    return sum(steps for steps, _ in found), sum(seconds for _, seconds in found) / 3600


def _consumed(study: optuna.Study) -> dict[int | str, tuple[int, float]]:
    """Optimizer steps and seconds of training that each trial took so far: those also that a killed attempt
    took and another took again, and those of trials that were never measured. A trial that goes on from
    another one has that one's measures, too: of it only the lease knows what it took."""
    stored = (
        select(TRIALS.number, USER_ATTRS.value_json)
        .join_from(USER_ATTRS.trial_id.table, TRIALS.trial_id.table)
        .where(TRIALS.study_id == study_id_of(study), USER_ATTRS.key == "measures")
    )
    others, rows = going_on(study), _rows(study, stored)
    last = {n: row for n, text in rows if n not in others and (row := _last(parsed(text)))}
    found: dict[int | str, tuple[int, float]]
    found = {number: (measured["step"], measured.get("seconds", 0.0)) for number, measured in last.items()}
    for lease, number, steps, seconds in _noted(study):  # at renewals: what came after is not in it
        measured = found.get(number, (0, 0.0))
        trial = f"deleted, lease {lease}" if number is None else number
        found[trial] = max(steps, measured[0]), max(seconds, measured[1])
    return found


def _noted(study: optuna.Study) -> list[Any]:
    """Id, number of the trial (none of a deleted one), steps and seconds of the leases that know them."""
    mine = LEASES.c.study_uid == study.user_attrs.get("uid"), LEASES.c.steps.is_not(None)
    columns = (LEASES.c[name] for name in ("id", "number", "steps", "seconds"))
    query = select(*columns).where(*mine)
    with rdb(study).ours.connect() as connection:
        return list(connection.execute(query))


def _last(found: Any) -> dict[str, Any] | None:
    """The newest of a trial's measures."""
    row = found[-1] if isinstance(found, list) and found else None
    if not isinstance(row, dict) or count(row.get("step")) is None:
        return None
    return row if is_number(row.get("seconds", 0.0)) else None


def training_left(study: optuna.Study, spec: Spec) -> bool:
    """Whether the sampler has something left to try, and the budget's steps and hours, if it has any, are not
    used up; trials are counted by leases."""
    if is_exhausted(study):
        return False
    steps, hours = most_steps(spec), spec.budget.hours or math.inf
    if math.isinf(steps) and math.isinf(hours):
        return True
    took, lasted = consumed_by_search(study)
    return took < steps and lasted < hours


def is_exhausted(study: optuna.Study) -> bool:
    """Whether its sampler has nothing left to try."""
    return EXHAUSTED in storage_of(study).get_study_system_attrs(study_id_of(study))


def most_steps(spec: Spec) -> float:
    """Optimizer steps that the search may take; where trials are paused, those of so many whole ones."""
    if spec.budget.consumed_steps is not None:
        return spec.budget.consumed_steps
    return spec.budget.trials * spec.objective.steps if spec.freezes else math.inf


def left_to_do(study: optuna.Study, spec: Spec, leases: Mapping[str, int]) -> bool:
    """Whether a worker would find something to do. Args: leases: how many there are in each state."""
    begun = sum(leases.values()) - len(beside_the_search(study))
    return (
        bool(leases.get("released") or leases.get("paused"))
        or ((spec.freezes or spec.budget.trials > begun) and training_left(study, spec))
        or to_repeat(study, spec) is not None
        or to_train_on(study, spec) is not None
    )


def is_worked_on(leases: Mapping[str, int]) -> bool:
    """Whether a trial is being asked for, run or told. Args: leases: as above."""
    return any(leases.get(state) for state in ("held", "asking", "decided"))


def unfinished(study: optuna.Study) -> list[tuple[int, int]]:
    """Number of each trial that runs, or was interrupted, and the last step at which it was measured."""
    query = (
        select(TRIALS.number, func.coalesce(func.max(POINTS.step), 0))
        .join_from(TRIALS.trial_id.table, POINTS.trial_id.table, isouter=True)
        .where(TRIALS.study_id == study_id_of(study), TRIALS.state == TrialState.RUNNING)
        .group_by(TRIALS.number)
        .order_by(TRIALS.number)
    )
    return [(number, step) for number, step in _rows(study, query)]


def _has(key: str) -> ColumnElement[bool]:
    of_trial = USER_ATTRS.trial_id == TRIALS.trial_id
    return select(USER_ATTRS.trial_id).where(of_trial, USER_ATTRS.key == key).exists()


def _rows(study: optuna.Study, query: Select[Any]) -> list[Any]:
    with rdb(study).engine.connect() as connection:
        return list(connection.execute(query))
