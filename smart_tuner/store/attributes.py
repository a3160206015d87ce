"""What attributes say of a trial or a study: anybody may write any of them, so whatever is not as this
program writes it is as if it were not there.
"""

import re
import sys
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from smart_tuner.repair.words import LANGUAGES, Reason

Record = dict[str, Any]
GOES_ON = "goes_on_from"  # user attribute of a trial that trains another one on
MEDIANS = "medians"  # user attribute of a trial: of its study's measures, by step, as they were when it began
PEERS = "peers"  # user attribute of a trial: median and spread of sound trials, by measure and step, likewise
BEGINS_WITH = "begins_with"  # user attribute of a trial: settings that repairs of others led to
BEGINS_AS = "begins_as"  # user attribute of a study: the values of earlier ones that its first trials have
LEARNED_FROM = "learned_from"  # user attribute of a trial that has such values: the study and trial of them
AUTO = "auto"  # among the devices: a GPU if there is one
REPEATS = "repeats"  # user attribute of a trial with the values of another one, whose number it is
RECORDINGS = "recordings_"  # before the name of what is heard of a voice: the same of the recordings
WORST_CER = 0.15  # above the recordings': beyond, a voice is called not intelligible; no listeners were asked
DECIBEL = "dB"  # the unit of values that are distances
NAMES_BEFORE = {"cap": "mismatch", "ceiling": "copy_synthesis"}  # version 0.1 stored these


def with_unit(value: float, unit: str) -> str:
    """A value as a person reads it."""
    digits = f"{value:.2f}" if abs(value) >= 1 or value == 0 else f"{value:.4g}"
    return f"{digits} {unit}".rstrip()


def measures(trial: FrozenTrial) -> list[Record]:
    """What the trial's voice was measured at, oldest first; none of a trial that was not trained here."""
    return measured_in(trial.user_attrs.get("measures"))


def measured_in(found: Any) -> list[Record]:
    """The same, from the value of the attribute `measures`."""
    return [row for row in found if _is_measure(row)] if isinstance(found, list) else []


def best_measure(trial: FrozenTrial) -> Record | None:
    return min(measures(trial), key=lambda row: row["value"], default=None)


def repairs(trial: FrozenTrial) -> int:
    """How many repairs there were."""
    return count(trial.user_attrs.get("repairs")) or 0


def fresh_of(trial: FrozenTrial) -> int | None:
    """The trial whose repaired values this one began with."""
    return count(trial.user_attrs.get("fresh_of"))


@dataclass(frozen=True)
class GoesOn:
    """From which trial another one goes on, from which of its steps, and to which."""

    trial: int
    step: int
    steps: int


def goes_on_from(trial: FrozenTrial) -> GoesOn | None:
    """What a trial goes on from; None for a trial of the search."""
    return goes_on_in(trial.user_attrs.get(GOES_ON))


def goes_on_in(found: Any) -> GoesOn | None:
    """The same, from the value of the attribute."""
    values = [count(found.get(field.name)) for field in fields(GoesOn)] if isinstance(found, dict) else [None]
    numbers = [value for value in values if value is not None]
    return GoesOn(*numbers) if len(numbers) == len(values) else None


def repeats(trial: FrozenTrial) -> int | None:
    """The trial whose values this one tries again with another seed."""
    return count(trial.user_attrs.get(REPEATS))


def is_of_the_search(trial: FrozenTrial) -> bool:
    """Whether it was begun to find better values: not to train the best one on, nor to repeat it."""
    return goes_on_from(trial) is None and repeats(trial) is None


def reason(trial: FrozenTrial) -> str | None:
    """Why the trial ended."""
    return text(trial.user_attrs.get("reason"))


def ended(trial: FrozenTrial) -> Reason | None:
    """Why it ended; None where that is not known, or not as a code."""
    text, found = reason(trial), trial.user_attrs.get("ended")
    code, values = (found.get("code"), found.get("values")) if isinstance(found, dict) else (None, None)
    if text is None or not isinstance(code, str) or not isinstance(values, dict):
        return None
    return Reason(text, code, {k: v for k, v in values.items() if isinstance(v, str) or is_number(v)})


def settings(trial: FrozenTrial) -> dict[str, float]:
    """The settings that the trial began with."""
    return numbers(trial.user_attrs.get("settings"))


def effective(trial: FrozenTrial) -> dict[str, float]:
    """The settings that repairs led to."""
    return numbers(trial.user_attrs.get("effective"))


def medians(trial: FrozenTrial) -> dict[int, float] | None:
    """By step, what the study's other trials were measured at when this one began; None where it did not."""
    if MEDIANS not in trial.user_attrs:
        return None
    found = numbers(trial.user_attrs[MEDIANS])
    return {int(step): value for step, value in found.items() if step.isdecimal()}


def peers(trial: FrozenTrial) -> dict[str, dict[int, tuple[float, float]]] | None:
    """By measure and step, median and spread of the study's sound trials when this one began; None where it
    did not."""
    if PEERS not in trial.user_attrs:
        return None
    found, told = trial.user_attrs[PEERS], {}
    for name, steps in found.items() if isinstance(found, dict) else ():
        pairs = [(s, p) for s, p in steps.items() if _is_pair(p)] if isinstance(steps, dict) else []
        told[name] = {int(step): (pair[0], pair[1]) for step, pair in pairs if step.isdecimal()}
    return told


def _is_pair(found: Any) -> bool:
    return isinstance(found, list) and len(found) == 2 and all(is_number(value) for value in found)


def begins_with(trial: FrozenTrial) -> dict[str, float] | None:
    """The settings with which it begins because they helped others; None where it did not begin."""
    return numbers(trial.user_attrs[BEGINS_WITH]) if BEGINS_WITH in trial.user_attrs else None


def learned_from(trial: FrozenTrial) -> tuple[str, int] | None:
    """The earlier study, and its trial, whose values this one was given when the study began."""
    found = trial.user_attrs.get(LEARNED_FROM)
    return _named_trial(found) if isinstance(found, dict) else None


def begins_as(study: optuna.Study) -> list[Record]:
    """What the study's first trials are to have: each the study and trial that it is of, and the values."""
    found = study.user_attrs.get(BEGINS_AS)
    records = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return [row for row in records if _named_trial(row) and isinstance(row.get("values"), dict)]


def _named_trial(found: Record) -> tuple[str, int] | None:
    study, trial = text(found.get("study")), count(found.get("trial"))
    return None if study is None or trial is None else (study, trial)


def ended_by(trial: FrozenTrial) -> str | None:
    """The rule that gave the trial up."""
    found = trial.user_attrs.get("ended_by")
    return text(found.get("rule")) if isinstance(found, dict) else None


def yardstick(study: optuna.Study) -> dict[str, float]:
    """What values that are distances are held against; nothing where they are others."""
    told = study.user_attrs.get("objective")
    return distances(study) if not isinstance(told, dict) or told.get("unit") == DECIBEL else {}


def distances(study: optuna.Study) -> dict[str, float]:
    """Distances in dB ("mismatch", "copy_synthesis": objectives/quality.py), once they were measured."""
    found = numbers(study.user_attrs.get("yardstick"))
    return {NAMES_BEFORE.get(name, name): value for name, value in found.items()}


@dataclass(frozen=True)
class Heard:
    """What was understood of a trial's voice on held-out sentences, and of their recordings: error rates of
    letters and words, 0 to 1 (objectives/ear.py), and where they are known predicted MOS, 1 to 5, and speaker
    similarity, -1 to 1."""

    trial: int
    cer: float
    wer: float
    recordings_cer: float
    recordings_wer: float
    mos: float | None = None
    recordings_mos: float | None = None
    similarity: float | None = None
    recordings_similarity: float | None = None

    @property
    def letters(self) -> int:
        """Understood of a hundred."""
        return round(100 * (1 - self.cer))

    @property
    def recordings_letters(self) -> int:
        """The same of the recordings."""
        return round(100 * (1 - self.recordings_cer))

    @property
    def intelligible(self) -> bool:
        return self.cer <= self.recordings_cer + WORST_CER


def heard(study: optuna.Study, trial: FrozenTrial) -> Heard | None:
    """What is known of the trial; None where nobody listened to it."""
    found = numbers(study.user_attrs.get("heard"))
    needed = {field.name for field in fields(Heard) if field.default is MISSING}
    if not found.keys() >= needed or found["trial"] != trial.number:
        return None
    known = {field.name: found[field.name] for field in fields(Heard) if field.name in found}
    return Heard(**{**known, "trial": trial.number})  # type: ignore[arg-type]


def skipped(study: optuna.Study) -> str | None:
    """What of the speech data was left out."""
    return text(study.user_attrs.get("skipped"))


def device(study: optuna.Study) -> str:
    """The torch device that the study was begun with; "auto" where none was chosen or kept."""
    return text(study.user_attrs.get("device")) or AUTO


def words(study: optuna.Study) -> dict[str, list[str]]:
    """English and Russian of what is not built in: smart_tuner/repair/words.py."""
    found = study.user_attrs.get("words")
    if not isinstance(found, dict):
        return {}
    return {key: both for key, both in found.items() if _is_said(both)}


def _is_said(both: Any) -> bool:
    whole = isinstance(both, list) and len(both) == len(LANGUAGES)
    return whole and all(isinstance(text, str) and text.isprintable() for text in both)


def is_ours(attributes: Mapping[str, Any]) -> bool:
    """Whether a study with these attributes was made by this program."""
    uid = attributes.get("uid")
    return isinstance(uid, str) and bool(re.fullmatch("[0-9a-f]{32}", uid)) and "spec" in attributes


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def count(value: Any) -> int | None:
    """A whole number from 0 that every database can hold; None for anything else."""
    return value if type(value) is int and 0 <= value < 2**31 else None


def _is_measure(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and count(row.get("step")) is not None
        and is_number(row.get("value"))
        and is_number(row.get("seconds", 0.0))
    )


def numbers(found: Any) -> dict[str, float]:
    """The numbers in an attribute that should hold numbers by name."""
    return {k: v for k, v in found.items() if is_number(v)} if isinstance(found, dict) else {}


def text(found: Any) -> str | None:
    return found if isinstance(found, str) else None


def texts(found: Any) -> tuple[str, ...]:
    return tuple(text for text in found if isinstance(text, str)) if isinstance(found, list) else ()
