"""What a chat is told of a study, as plain facts: from the database alone."""

from collections.abc import Iterator
from statistics import median
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import Catalogue
from smart_tuner.store import attributes
from smart_tuner.store.records import repairs_of
from studies.file.spec import Spec
from studies.report import fixes, history
from studies.run.study import rdb

Facts = dict[str, Any]
ENTRY = {"step", "rule", "priority", "reason", "evidence", "action", "action_values", "changes", "back_to"}
ENTRY |= {"ramp", "clips", "remedy", "verify_at", "verdict", "before", "after"}
KINDS = {"unit", "rule", "measure", "setting"}  # of words


def entries(study: optuna.Study) -> list[tuple[int, Entry]]:
    """Trial numbers and what rules did there that counts."""
    return list(fixes.counting(repairs_of(rdb(study).ours, study.user_attrs["uid"], None)))


def of_entry(entry: Entry) -> Facts:
    """A repair, verdict, alarm or end."""
    return {"entry": entry.kind, **{name: getattr(entry, name) for name in ENTRY}}


def used(words: Catalogue, told: Facts) -> Catalogue:
    """Those that are of use to tell these facts."""
    names = {name.partition("/")[0] for name in _names(told)} | KINDS
    return {key: said for key, said in words.items() if names.issuperset(key.split(".", 1))}


def _names(told: object) -> Iterator[str]:
    """All texts in facts, keys included."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        yield from (name for pair in told.items() for part in pair for name in _names(part))
    elif isinstance(told, list | tuple):
        yield from (name for part in told for name in _names(part))


def of_study(study: optuna.Study, spec: Spec) -> Facts:
    """How it is: its trials and its bests."""
    bests, states = history.three_bests(study), history.states(study)
    return {
        "done": history.started(study),
        "budget": spec.budget.trials,
        "states": {name: states[name] for name in ("complete", "pruned", "fail", "running")},
        "repaired": history.repaired(study),
        "hours": history.consumed(study)[1],
        "best": of_best(study, history.best_trial(study)),
        "unassisted": of_best(study, bests["unassisted"]),
        "fresh": of_best(study, bests["verified_fresh"]),
        "copy_synthesis": attributes.yardstick(study).get("copy_synthesis"),
    }


def of_best(study: optuna.Study, trial: FrozenTrial | None) -> Facts | None:
    if trial is None:
        return None
    found: Facts = {"number": trial.number, "value": trial.value, "repairs": attributes.repairs(trial)}
    heard = attributes.heard(study, trial)
    said: Facts = {"letters": heard.letters, "recordings": heard.recordings_letters} if heard else {}
    if heard and heard.mos is not None and heard.recordings_mos is not None:
        said |= {"mos": f"{heard.mos:.1f}", "recordings_mos": f"{heard.recordings_mos:.1f}"}
    found |= {"before": before} if (before := history.before(study, trial)) else {}
    return {**found, **said, "no_speech_yet": history.no_speech_yet(study, trial)}


def of_repairs(study: optuna.Study) -> dict[str, int]:
    """How many there were, and what came of them."""
    rows = entries(study)
    verdicts = [entry for _, entry in rows if entry.kind == "verdict" and entry.verdict != "eased"]
    made = [entry for _, entry in rows if entry.kind == "repair"]
    judged = sum(entry.verify_at is not None for entry in made)
    return {
        "fixes": len(made),
        "improved": sum(entry.verdict == "improved" for entry in verdicts),
        "undone": sum(bool(entry.changes) or entry.back_to is not None for entry in verdicts),
        "pending": max(0, judged - len(verdicts)),
    }


def of_digest(study: optuna.Study, whole: Facts) -> Facts:
    """Args: whole: what `of_study` found."""
    counts = {"done": whole["done"], "budget": whole["budget"], "running": whole["states"]["running"]}
    return {"counts": {**counts, **of_repairs(study)}, "best": whole["best"]}


def of_new_best(study: optuna.Study, number: int) -> Facts | None:
    """None where this trial is not the best."""
    best = history.best_trial(study)
    if best is None or best.number != number:
        return None
    others = [v for n, v in _values(study) if n != number]
    at = attributes.best_measure(best)
    at_step = at["step"] if at else 0
    return {**of_best(study, best), "was": min(others, default=None), "at_step": at_step}  # type: ignore[dict-item]


def of_bad_end(study: optuna.Study, number: int, state: str, reason: str) -> Facts:
    """Why a trial was pruned or failed, and how good it was then."""
    trial = study.get_trials(deepcopy=False)[number]
    measures = attributes.measures(trial)
    values = [value for _, value in _values(study)]
    ended = attributes.ended(trial)
    return {
        "state": state,
        "reason": reason,
        "ended": ended.record() if ended else {},
        "rule": ended.rule if ended else None,
        "value": measures[-1]["value"] if measures else None,
        "median": median(values) if values else None,
    }


def _values(study: optuna.Study) -> list[tuple[int, float]]:
    """Numbers and values of the completed trials that have a voice."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    found = (trial for trial in complete if attributes.repeats(trial) is None)
    voices = ((trial.number, trial.value) for trial in found if attributes.measures(trial))
    return [(number, value) for number, value in voices if value is not None and attributes.is_number(value)]
