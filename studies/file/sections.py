"""The tables of a study file, save for the search space."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from model.data.preflight import CorpusSettings
from model.settings import PRECISION, SIZES, Precision
from objectives.base import Parameter
from objectives.signals import PARAMETERS
from smart_tuner.repair.rule import ASKED, Rule
from smart_tuner.repair.rules import RULES
from studies.file.code import CodeError
from studies.file.code import load as load_code
from studies.file.parameters import Number, name_fault, value_fault
from studies.file.table import Fault, Table, refuse

MAX_REPORTS = 50  # per trial: each one reads the study's history from the database
QUIET = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"
Count = Annotated[int, Field(ge=1)]


class Recordings(Table):
    """The keys of every corpus; names and defaults are those of CorpusSettings."""

    language: Literal["en", "ru"] = "en"
    input: Literal["letters", "phonemes"] = "letters"  # what the network reads
    normalise: bool = CorpusSettings.normalise
    stress: bool | None = CorpusSettings.stress
    lexicon: Annotated[str, Field(min_length=1)] | None = CorpusSettings.lexicon
    resample_from: Count | None = CorpusSettings.resample_from
    min_seconds: float = Field(CorpusSettings.min_seconds, gt=0)
    max_seconds: float = Field(CorpusSettings.max_seconds, gt=0)
    trim_db: Annotated[float, Field(gt=0)] | Literal["none"] = CorpusSettings.trim_db or "none"
    held_out: int = Field(CorpusSettings.held_out, ge=2)
    max_bad_percent: float = Field(CorpusSettings.max_bad_percent, ge=0, le=100)

    @model_validator(mode="before")
    @classmethod
    def _as_it_began(cls, given: Any, info: ValidationInfo) -> Any:
        """A study that began when there was no such choice goes on to read as it did."""
        if isinstance(given, Mapping) and (info.context or {}).get("stored"):
            return {"normalise": False, "stress": False, **given}
        return given

    @model_validator(mode="after")
    def _some_length(self) -> Self:
        if self.stress and self.language != "ru":
            refuse([(("stress",), f'is true, but only Russian has marks of stress, not "{self.language}"')])
        if self.min_seconds >= self.max_seconds:
            refuse([(("min_seconds",), f"is {self.min_seconds}, not below max_seconds = {self.max_seconds}")])
        return self


class Espeak(Recordings):
    """Sentences of our own making, spoken by espeak-ng."""

    source: Literal["espeak"]
    clips: int = Field(720, ge=4)
    voice: str = ""
    seed: int = Field(0, ge=0)
    words: Literal["few", "many", "any"] = "few"  # model/data/corpora/sentences.py


class FestvoxRu(Recordings):
    """The Russian voice of Festvox."""

    source: Literal["festvox-ru"]
    language: Literal["ru"] = "ru"
    resample_from: Count | None = 16_000


class Folder(Recordings):
    """Recordings in LJSpeech layout: metadata.csv and wavs/."""

    source: Literal["folder"]
    path: str = Field(min_length=1)


DIMENSIONS = {name for name, parameter in PARAMETERS.items() if not parameter.setting}


OF_STUDY = "study:"  # before the name of the study whose voice it is
TRIAL_NAMED = re.compile(rf"{OF_STUDY}([^:]+)(?::([0-9]+))?")


def trial_named(start: str) -> tuple[str, int | None] | None:
    """Study and trial of "study:NAME" or "study:NAME:TRIAL"; None of a path.

    Raises ValueError for what begins so and is neither.
    """
    if not start.startswith(OF_STUDY):
        return None
    if (found := TRIAL_NAMED.fullmatch(start)) is None:
        raise ValueError(start)
    name, trial = found.groups()
    return name, None if trial is None else int(trial)


class Model(Table, extra="allow"):
    """A size, and dimensions that differ from it."""

    size: str
    warm_start: str | None = None  # a voice of ours, or a public checkpoint in NVIDIA's format
    __pydantic_extra__: dict[str, Number]

    @model_validator(mode="after")
    def _known(self) -> Self:
        faults = list(fixed_faults(self.overrides, DIMENSIONS, PARAMETERS))
        if self.size not in SIZES:
            faults.append((("size",), f'is "{self.size}", but must be one of {", ".join(SIZES)}'))
        try:
            trial_named(self.warm_start or "")
        except ValueError:
            text = f'is "{self.warm_start}", which is neither "study:NAME" nor "study:NAME:TRIAL"'
            faults.append((("warm_start",), text))
        refuse(faults)
        return self

    @property
    def overrides(self) -> dict[str, Number]:
        return self.__pydantic_extra__


class Tpe(Table):
    name: Literal["tpe"] = "tpe"
    n_startup_trials: Count = 10


class Random(Table):
    name: Literal["random"] = "random"


class Asha(Table):
    """Asynchronous successive halving over consumed steps."""

    name: Literal["asha"] = "asha"
    min_resource: Count | None = None  # the first rung; without it, the first measure
    reduction_factor: int = Field(default=3, ge=2)


class NoPruner(Table):
    name: Literal["none"] = "none"


class Budget(Table):
    """When a study has had enough: whatever comes first."""

    trials: Count
    hours: float | None = Field(None, gt=0)
    consumed_steps: Count | None = None
    failures: Count = 5  # as many failed trials in a row end the study
    retries: int = Field(3, ge=0)  # as often a trial is taken up after its worker died; then it fails


class Rules(Table):
    """Whether rules watch a trial, their thresholds, and what a repaired trial counts for."""

    mode: Literal["on", "advise", "off"] = "on"  # advise: they only say what they would do
    modes: dict[str, Literal["on", "advise"]] = Field(default={})  # by rule, where it has another one
    credit: Literal["policy", "pure"] = "policy"  # pure: a repair of a searched value prunes the trial
    fresh_share: float = Field(default=0.2, ge=0, le=1)  # of the budget, for fresh trials of repaired values
    controls: int = Field(default=0, ge=0)  # one trial in so many is left alone; 0: none
    extra: tuple[str, ...] = ()  # rules of the user's own, each "module:Class"
    thresholds: dict[str, dict[str, Number]] = Field(default={})  # by rule

    @model_validator(mode="after")
    def _known(self, info: ValidationInfo) -> Self:
        """A stored study is checked without importing its own rules, and so without their thresholds."""
        rules, thresholds, modes = {rule.name: rule for rule in RULES}, self.thresholds, self.modes
        if self.extra and (info.context or {}).get("stored"):
            thresholds = {name: values for name, values in thresholds.items() if name in rules}
            modes = {name: mode for name, mode in modes.items() if name in rules}
        else:
            refuse(_added_faults(self.extra, rules))
        places = {name: f"rules.modes.{name}" for name in rules}
        unknown = [(("modes", name), name_fault(name, places)) for name in modes if name not in rules]
        refuse([*_threshold_faults(thresholds, rules.values()), *unknown])
        return self

    def advises(self, rules: Iterable[Rule]) -> frozenset[str]:
        """Names of those of `rules` that only say what they would do."""
        modes = {rule.name: "advise" if rule.advises else self.mode for rule in rules} | self.modes
        return frozenset(name for name, mode in modes.items() if mode == "advise")

    def chosen(self, allowed: Collection[str] = ()) -> tuple[Rule, ...]:
        """The rules with this study's thresholds; none where they are off.

        Args:
            allowed: own rules that may be imported.

        Raises:
            CodeError: one of this study's may not, or is no rule.
        """
        if self.mode == "off":
            return ()
        rules = (*RULES, *(own_rule(named, allowed) for named in self.extra))
        return tuple(replace(rule, **self.thresholds.get(rule.name, {})) for rule in rules)


def own_rule(named: str, allowed: Collection[str]) -> Rule:
    """Raises CodeError: it may not be imported, is not there, or is no rule."""
    kind = load_code(named, allowed, "rule")
    if not (isinstance(kind, type) and issubclass(kind, Rule) and kind.sees is not Rule.sees):
        raise CodeError(f'"{named}" is no subclass of Rule that sees something.')
    if missing := [name for name in ("level", "priority") if not isinstance(getattr(kind, name, None), int)]:
        raise CodeError(f'"{named}" has no {" and no ".join(missing)}: a whole number each.')
    if kind.tier not in ASKED:
        raise CodeError(f'"{named}" is of the tier "{kind.tier}", which is none of {", ".join(ASKED)}.')
    try:
        return kind()
    except TypeError as error:
        raise CodeError(f'"{named}" cannot be made: {error}; each threshold needs a default.') from error


def _added_faults(extra: Collection[str], rules: dict[str, Rule]) -> Iterator[Fault]:
    """What is wrong with own rules; sound ones are added to `rules`, by name."""
    for index, named in enumerate(extra):
        try:
            rule = own_rule(named, extra)
        except CodeError as error:
            yield ("extra", index), str(error)
            continue
        if rule.name in rules:
            yield ("extra", index), f"there is a rule {rule.name} already: give the class another name"
        rules.setdefault(rule.name, rule)


def _threshold_faults(
    thresholds: Mapping[str, Mapping[str, Number]], rules: Collection[Rule]
) -> Iterator[Fault]:
    known = {rule.name: {f.name: type(getattr(rule, f.name)) for f in fields(rule)} for rule in rules}
    for name, values in thresholds.items():
        if name not in known:
            yield ("thresholds", name), name_fault(name, {k: f"rules.thresholds.{k}" for k in known})
            continue
        for key, value in values.items():
            if key not in known[name]:
                places = {k: f"rules.thresholds.{name}.{k}" for k in known[name]}
                yield ("thresholds", name, key), name_fault(key, places)
            elif known[name][key] is int and not isinstance(value, int):
                yield ("thresholds", name, key), f"must be a whole number, not {value}"


class Objective(Table):
    """What one trial does: trains a voice, or `use`s an objective of the user's own."""

    use: str | None = None  # "module:Class"; without it, Tacotron 2
    args: dict[str, Any] = Field(default={})  # of that class
    steps: Count
    measure_every: Count
    validate_every: Count | None = None  # for the rules; without it, a quarter of measure_every
    checkpoint_every: Count = 100
    sentences: int = Field(8, ge=2)  # held-out sentences that are judged
    draws: Count = 1
    value: Literal["distance", "cer", "mos", "heard"] = "distance"  # what trials are compared by
    speak: Annotated[str, Field(min_length=1)] | None = None  # the sample sentence

    @model_validator(mode="after")
    def _sound(self) -> Self:
        faults: list[Fault] = []
        if not self.steps <= self.measure_every * MAX_REPORTS <= self.steps * MAX_REPORTS:
            least = -(-self.steps // MAX_REPORTS)
            text = f"must lie between {least} and {self.steps}, for 1 to {MAX_REPORTS} measures a trial"
            faults.append((("measure_every",), f"{text}, not be {self.measure_every}"))
        if self.use is None:
            faults += [(("args",), "are those of an own objective: name it with use")] if self.args else []
            faults += [] if self.speak else [(("speak",), "is missing: the sentence that samples say")]
        else:
            voice = ("sentences", "draws", "value", "speak")
            faults += [
                ((name,), "is of a voice, not of an own objective")
                for name in voice
                if name in self.model_fields_set
                and getattr(self, name) != Objective.model_fields[name].default
            ]
        refuse(faults)
        return self


class Training(Table):
    """How every trial's voice is trained, whatever is searched.

    Args:
        precision: what products are computed in (model/settings.py).
    """

    precision: Precision = PRECISION


class Finish(Table):
    """How far the best trial is trained on when the search is over.

    Args:
        steps: in all, those of the search included; None: it is not.
        hours: of this training; then it ends with the next measure.
        patience: measures in a row without a better value, or a smaller CER where it is listened to; then it
            ends.
    """

    steps: Count | None = None
    hours: Annotated[float, Field(gt=0)] | None = None
    patience: Count | None = None


class Search(Table):
    """What belongs to the search as a whole.

    Args:
        method: "prune": the sampler draws each trial, and the pruner ends it. "freeze-thaw": it is drawn and
            paused by studies/search/freeze_thaw.py, and goes on when it promises most.
        repeats: trials of the best values with other seeds, once the search is over.
        learn_from: earlier studies on the same database; the search begins with their best values, and rules
            know how their sound trials went, where those trained the same.
    """

    method: Literal["prune", "freeze-thaw"] = "prune"
    repeats: int = Field(default=0, ge=0)
    learn_from: tuple[Annotated[str, Field(min_length=1)], ...] = ()


class Speech(Table):
    """How mel spectrograms become sound.

    Args:
        vocoder: "griffin-lim", or a HiFi-GAN checkpoint beside its config.json; None: the installed one.
    """

    vocoder: str | None = None


class Ear(Table):
    """What listens to a study's voices.

    Args:
        recognizer: the name of a Whisper model, the folder of one in CTranslate2's format, or "none".
        sentences: of those that are judged, how many are listened to beside training.
    """

    recognizer: Annotated[str, Field(min_length=1)] = "base"
    sentences: int = Field(default=2, ge=0)


class Notify(Table):
    """What is sent to a chat, and how; to which chat is in the environment (docs/telegram.md)."""

    language: Literal["en", "ru"] = "en"
    quiet: Annotated[str, Field(pattern=QUIET)] | Literal["none"] = "none"  # local time; such as 23:00-08:00
    digest_minutes: int = Field(default=0, ge=0)  # between messages on the progress; 0: none


def fixed_faults(
    values: Mapping[str, Number], names: Collection[str], known: Mapping[str, Parameter]
) -> Iterator[Fault]:
    """What is wrong with fixed settings or dimensions. Args: names: those of `known` that may stand there."""
    places = {
        name: f"{'settings' if parameter.setting else 'model'}.{name}" for name, parameter in known.items()
    }
    if known is PARAMETERS:
        places |= {name: f"model.{name}" for name in Model.model_fields}
    for name, value in values.items():
        text = value_fault(name, value, known) if name in names else name_fault(name, places)
        if text:
            yield (name,), text
