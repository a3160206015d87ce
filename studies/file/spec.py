"""A study file, read and checked; wrong input names its key.

A relative path in it is looked for beside the file, then in the working directory (of a shipped study only
there). The study keeps it as an absolute one, and so goes on from anywhere.
"""

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import isabstract
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, ValidationError, ValidationInfo, field_validator

from model.data.preflight import CorpusSettings
from model.settings import GRIFFIN_LIM, PRECISION, SIZES, Dimensions
from objectives.attempt import Callback
from objectives.base import Objective as OwnObjective
from objectives.base import Parameter as Known
from objectives.signals import NOBODY, PARAMETERS
from studies.file.code import CodeError, load_class, look_in
from studies.file.faults import described
from studies.file.named import Named, Unbuildable, argument_faults, names_in, pruner_recipe, sampler_recipe
from studies.file.parameters import (
    AnyParameter,
    Choice,
    Number,
    Parameter,
    nearest,
    space_faults,
)
from studies.file.sections import (
    DIMENSIONS,
    OF_STUDY,
    Asha,
    Budget,
    Ear,
    Espeak,
    FestvoxRu,
    Finish,
    Folder,
    Model,
    NoPruner,
    Notify,
    Objective,
    Random,
    Recordings,
    Rules,
    Search,
    Speech,
    Tpe,
    Training,
    fixed_faults,
)
from studies.file.table import Fault, Table, refuse

FOLDER = Path(__file__).parents[1]
LONGEST_NAME = 64  # of a study, in characters
NAME = re.compile(rf"\w[\w.-]{{0,{LONGEST_NAME - 1}}}")
# When a study goes on.
MAY_DIFFER = {"name", "question", "budget", "search", "finish", "notify", "callbacks", "speech", "ear"}
NEWER: dict[str, dict[str, Any]] = {  # keys that version 0.1 did not have, with what it did
    "corpus": {"input": "letters", "words": "few", "normalise": False, "stress": False, "lexicon": None},
    "objective": {"use": None, "args": {}, "value": "distance"},
    "rules": {"extra": [], "modes": {}, "controls": 0},
    "training": {"precision": PRECISION},
}
PRUNE = "prune"  # the method of a search that ends trials, and pauses none
MOST_HALVINGS = 7  # of the learning rate in the first half of a plan: below a hundredth nothing is learned
PATHS = (("corpus", "path"), ("corpus", "lexicon"), ("model", "warm_start"), ("speech", "vocoder"))  # keys


class SpecError(ValueError):
    """A study file that cannot be used; the message says what, why and what to do."""


BY_USE = 'use = "module:Class"'


def name(table: Any) -> str | None:
    """Which kind of table it is; called as the key is that says it."""
    given = dict(table) if isinstance(table, Mapping | Table) else {}
    return BY_USE if "use" in given else given.get("name")


ByUse = Annotated[Named, Tag(BY_USE)]


class Spec(Table):
    """A whole study. A field's checks may look at the fields above it."""

    name: str
    question: str = Field(min_length=1)
    seed: int = Field(ge=0, lt=2**63)
    corpus: Annotated[Espeak | FestvoxRu | Folder, Field(discriminator="source")] | None = None
    model: Model | None = None
    fixed: dict[str, Number] = Field({}, alias="settings")
    space: dict[str, Parameter] = Field({})
    sampler: Annotated[
        Annotated[Tpe, Tag("tpe")] | Annotated[Random, Tag("random")] | ByUse, Discriminator(name)
    ] = Tpe()
    pruner: Annotated[
        Annotated[Asha, Tag("asha")] | Annotated[NoPruner, Tag("none")] | ByUse, Discriminator(name)
    ] = Asha()
    rules: Rules = Rules()
    budget: Budget
    search: Search = Search()
    speech: Speech = Speech()
    ear: Ear = Ear()
    notify: Notify = Field(default_factory=Notify)
    callbacks: tuple[str, ...] = ()  # the user's own, each "module:Class"
    training: Training = Training()
    objective: Objective
    finish: Finish = Finish()

    @classmethod
    def parse(
        cls,
        data: Mapping[str, object],
        source: str,
        stored: bool = False,
        own: OwnObjective | type[OwnObjective] | None = None,
    ) -> Self:
        """Check a study file's content. Raises SpecError, which names `source` and every wrong key.

        Args:
            stored: it was checked when its study began, perhaps by a program that refused less.
            own: the objective that it uses, whose parameters it may name. Without it, those of a stored study
                are taken as they are, and a voice's are Tacotron 2's.
        """
        table = data.get("objective")
        uses = table.get("use") if isinstance(table, Mapping) else None
        known = _parameters_of(own, source) if own else None if uses is not None else PARAMETERS
        context = {"stored": stored, "known": known, "own": own}
        try:  # as JSON, so that files and stored studies are checked alike
            return cls.model_validate_json(json.dumps(data, default=str), context=context)
        except ValidationError as error:
            wrong = described(error, cls, data, context).items()
            shown = "\n".join(f"  {key}: {text}" for key, text in wrong)
            raise SpecError(f"Cannot use {source}.\n{shown}\nCorrect these keys; {_examples()}.") from error

    @classmethod
    def parse_json(cls, text: str) -> Self:
        """A spec as `model_dump_json` wrote it. Raises SpecError."""
        return cls.parse(json.loads(text), "the stored study", stored=True)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            refuse(
                [((), f'is "{name}", but names a folder: only letters, digits, ".", "-", "_"; 64 at most')]
            )
        return name

    @field_validator("fixed")
    @classmethod
    def _check_fixed(cls, fixed: dict[str, Number], info: ValidationInfo) -> dict[str, Number]:
        known = _known(info)
        if known is not None:
            names = [name for name, p in known.items() if p.setting or known is not PARAMETERS]
            refuse([*fixed_faults(fixed, names, known), *_frames_faults(info.data.get("model"), fixed)])
        return fixed

    @field_validator("space")
    @classmethod
    def _check_space(cls, space: dict[str, AnyParameter], info: ValidationInfo) -> dict[str, AnyParameter]:
        model = info.data.get("model")
        largest = {name: _largest(parameter) for name, parameter in space.items()}
        fixed = {"settings": info.data.get("fixed", {}), "model": model.overrides if model else {}}
        twice = [
            ((name,), f"is also fixed in [{table}]; keep one of them")
            for name in space
            for table, names in fixed.items()
            if name in names
        ]
        refuse([*space_faults(space, _known(info)), *twice, *_frames_faults(model, largest)])
        known = _known(info) or {}
        return {name: _typed(parameter, known.get(name)) for name, parameter in space.items()}

    @field_validator("callbacks")
    @classmethod
    def _check_callbacks(cls, callbacks: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """As `_check_named`."""
        for index, named in enumerate(() if (info.context or {}).get("stored") else callbacks):
            try:
                load_class(named, callbacks, "callback", Callback)
            except CodeError as error:
                refuse([((index,), " ".join(str(error).split()))])
        return callbacks

    @field_validator("sampler", "pruner")
    @classmethod
    def _check_named(cls, chosen: Table, info: ValidationInfo) -> Table:
        """Only of a file that the user gave: what the database says is not imported to be looked at."""
        if isinstance(chosen, Named) and not (info.context or {}).get("stored"):
            allowed = set(names_in(chosen.model_dump()))
            try:
                if info.field_name == "sampler":
                    sampler_recipe(chosen, info.data.get("space"), allowed)
                else:
                    pruner_recipe(chosen, allowed)
            except Unbuildable as error:
                refuse(error.faults)
        return chosen

    @field_validator("search")
    @classmethod
    def _check_search(cls, search: Search, info: ValidationInfo) -> Search:
        if search.method != PRUNE:
            refuse([(("method",), fault) for fault in _freeze_thaw_faults(info.data)])
        return search

    @field_validator("objective")
    @classmethod
    def _check_objective(cls, objective: Objective, info: ValidationInfo) -> Objective:
        corpus, pruner = info.data.get("corpus"), info.data.get("pruner")
        voice = {"corpus", "model"} & info.data.keys()  # one that is itself wrong is told already
        present = {name for name in voice if info.data[name] is not None}
        faults: list[Fault] = []
        if objective.use is None and present != voice:
            names = " and ".join(f"[{name}]" for name in sorted(voice - present))
            faults.append((("use",), f"is missing, and so are {names} of a voice: give either"))
        if objective.use is not None and present:
            names = " and ".join(f"[{name}]" for name in sorted(present))
            faults.append((("use",), f"is {objective.use}, which has no {names}: leave them out"))
        if objective.use is not None and info.data.get("training", Training()) != Training():
            faults.append((("use",), f"is {objective.use}, and [training] is of a voice: leave it out"))
        if corpus and objective.sentences > corpus.held_out:
            faults.append(
                (("sentences",), f"is {objective.sentences}, but corpus.held_out is {corpus.held_out}")
            )
        ear = info.data.get("ear")
        if ear and objective.value != "distance" and ear.recognizer == NOBODY:
            text = f'is "{objective.value}", which takes listening, but ear.recognizer is "{NOBODY}"'
            faults.append((("value",), text))
        if isinstance(pruner, Asha) and (pruner.min_resource or 0) >= objective.steps:
            text = f"is {objective.steps}, so that pruner.min_resource = {pruner.min_resource} never prunes"
            faults.append((("steps",), text))
        if isinstance(own := (info.context or {}).get("own"), type):
            faults += argument_faults(own, objective.args, (), ("args",))
        refuse([*faults, *_warmup_faults(objective, info), *_decay_faults(objective, info)])
        return objective

    @field_validator("finish")
    @classmethod
    def _check_finish(cls, finish: Finish, info: ValidationInfo) -> Finish:
        objective = info.data.get("objective")
        if objective and finish.steps is not None and finish.steps <= objective.steps:
            text = f"is {finish.steps}: must be more than the {objective.steps} of objective.steps"
            refuse([(("steps",), text)])
        return finish

    def differences(self, other: "Spec") -> list[str]:
        """The dotted keys that must be equal for one study to go on as the other, and are not.

        Where files lie may differ: studies/run/training.py holds against each other what is in them.
        """
        ours, theirs = (
            spec.with_paths(lambda _: "").model_dump(exclude=MAY_DIFFER) for spec in (self, other)
        )
        return list(_differing(ours, theirs))

    def found_in(self, *places: Path) -> "Spec":
        """The same study with absolute paths: each as it is found first, or would be in the first place."""

        def absolute(named: str) -> str:
            found = [Path(os.path.abspath(place / os.path.expanduser(named))) for place in places]
            return str(next((path for path in found if path.exists()), found[0]))

        return self.with_paths(absolute)

    def with_paths(self, changed: Callable[[str], str]) -> "Spec":
        """The same study with another word for each path."""
        tables: dict[str, Any] = {}
        for table, key in PATHS:
            content = tables.get(table, getattr(self, table))
            path = getattr(content, key, None)
            if path not in (None, GRIFFIN_LIM) and not path.startswith(OF_STUDY):
                tables[table] = content.model_copy(update={key: changed(path)})
        return self.model_copy(update=tables)

    @property
    def voice(self) -> "Voice":
        """What only a study of voices has. Raises SpecError for one of another objective."""
        if self.corpus is None or self.model is None or self.objective.speak is None:
            raise SpecError(
                f'Study "{self.name}" trains no voice.\nIts objective is {self.objective.use}.\n'
                "Give the name of a study of voices."
            )
        return Voice(self.corpus, self.model, self.objective.speak)

    @property
    def freezes(self) -> bool:
        """Whether trials of the search are paused, and go on later."""
        return self.search.method != PRUNE

    @property
    def code(self) -> tuple[str, ...]:
        """All code of the user's that it names; it may be imported where the user named this file."""
        tables = (table.model_dump() for table in (self.sampler, self.pruner) if isinstance(table, Named))
        objective = [self.objective.use] if self.objective.use else []
        named = (name for table in tables for name in names_in(table))
        return (*objective, *named, *self.rules.extra, *self.callbacks)

    def parameters(self, params: Mapping[str, Any], known: Mapping[str, Known]) -> dict[str, Number]:
        """A value for each of the objective's parameters: what is neither fixed nor among `params` is the
        default."""
        found = {name: parameter.default for name, parameter in known.items()}
        if self.model is not None:
            found |= {name: getattr(SIZES[self.model.size], name) for name in DIMENSIONS}
            found |= self.model.overrides
        found |= {**self.fixed, **params}
        return {name: parameter.type(found[name]) for name, parameter in known.items()}

    def without_fixes(self) -> "Spec":
        """The control arm: the same study under another name, without rules."""
        data = self.model_dump(mode="json")
        data["rules"]["mode"] = "off"
        data["name"] = derived_name(self.name, "-no-fixes")
        return Spec.parse(data, f'study "{self.name}" without fixes')

    def with_changes(self, n_trials: int | None, seed: int | None, finish: int | None = None) -> "Spec":
        """The same study with another total of trials, another seed, or its best trial trained on to so many
        steps; None leaves it. Raises SpecError."""
        data = self.model_dump(mode="json")
        if n_trials is not None:
            data["budget"]["trials"] = n_trials
        if seed is not None:
            data["seed"] = seed
        if finish is not None:
            data["finish"]["steps"] = finish
        return Spec.parse(data, f'study "{self.name}" with these options', stored=True)

    def with_ends(self, ends: Iterable[tuple[str, str, Number]]) -> "Spec":
        """The same study with other ends of ranges. Args: ends: parameter, "low" or "high", and value."""
        data = self.model_dump(mode="json")
        for name, side, end in ends:
            data["space"][name][side] = end
        return Spec.parse(data, f'study "{self.name}" with wider ranges', stored=True)


def _freeze_thaw_faults(known: Mapping[str, Any]) -> Iterator[str]:
    """What does not go with it. Args: known: the fields above it, without those that are themselves wrong."""
    own = {"sampler": Tpe(), "pruner": Asha()}
    if tables := [f"[{table}]" for table, default in own.items() if known.get(table, default) != default]:
        yield f'is "freeze-thaw", which draws and pauses trials itself: leave {" and ".join(tables)} out'
    if known.get("space") == {}:
        yield 'is "freeze-thaw", but nothing is searched: give a [space], or leave it out'


def load(name_or_path: str) -> Spec:
    """A study of this folder by its name, or any study file by its path. Raises SpecError."""
    path = _found(name_or_path)
    try:
        data = tomllib.loads(path.read_text("utf-8-sig"))  # some editors begin a file with a mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(
            f"Cannot read {path}.\nIt is not valid TOML: {error}.\nCorrect it there; {_examples()}."
        ) from error
    shipped = path.parent.resolve() == FOLDER.resolve()
    if not shipped:
        look_in(path.parent)  # where the code that it names may lie
    own = _own_objective(data, path)
    return Spec.parse(data, str(path), own=own).found_in(*([] if shipped else [path.parent]), Path())


def _own_objective(data: Mapping[str, Any], path: Path) -> type[OwnObjective] | None:
    """The class that a file names; whoever gave the file on the command line lets it run."""
    table = data.get("objective")
    if not isinstance(table, dict) or not isinstance(used := table.get("use"), str):
        return None
    try:
        return objective_class(used, (used,))
    except CodeError as error:
        raise SpecError(f"Cannot use {path}.\n  objective.use: {error}") from error


def objective_class(used: str, allowed: Collection[str]) -> type[OwnObjective]:
    """Raises CodeError: it may not be imported, is not there, or is no Objective."""
    return load_class(used, allowed, "objective", OwnObjective)


@dataclass(frozen=True)
class Voice:
    """What a study of voices is made of."""

    corpus: Espeak | FestvoxRu | Folder
    model: Model
    speak: str  # the sample sentence

    def corpus_settings(self) -> CorpusSettings:
        values = {name: getattr(self.corpus, name) for name in Recordings.model_fields}
        if self.corpus.trim_db == "none":
            values["trim_db"] = None
        return CorpusSettings(**values, n_frames_per_step=_max_frames(self.model))

    def dimensions(self, n_symbols: int) -> Dimensions:
        """The network's shapes where no trial chooses them."""
        return replace(SIZES[self.model.size], n_symbols=n_symbols, **self.model.overrides)  # type: ignore[arg-type]


def single_training(spec: Spec, params: Sequence[str], warm_start: str | None) -> Spec:
    """The study as one trial with nothing searched; each of `params` is KEY=NUMBER.

    Searched values that are not given are the defaults. The name tells the study it came from, and
    differs for different settings and seeds.

    Args:
        spec: as the user gave it: an objective that it names is imported.

    Raises:
        SpecError: a parameter is unknown or beyond its limits.
    """
    data = spec.model_dump(mode="json") | {
        "space": {},
        "pruner": {"name": "none"},
        "search": {},
        "finish": {},
    }
    data["budget"]["trials"] = 1
    if warm_start is not None:
        if spec.model is None:
            raise SpecError(f'--warm-start is for Tacotron 2, which study "{spec.name}" does not train.')
        of_study = warm_start.startswith(OF_STUDY)
        path = warm_start if of_study else os.path.abspath(os.path.expanduser(warm_start))
        data["model"]["warm_start"] = path
    for param in params:
        key, _, text = param.partition("=")
        data["model" if spec.model and key in DIMENSIONS else "settings"][key] = _number(param, text)
    known = {key: _of_before(key, table) for key, table in data.items() if key not in MAY_DIFFER}
    if not known["training"]:  # a table that studies before did not have
        del known["training"]
    content = json.dumps(known, sort_keys=True)
    data["name"] = derived_name(spec.name, f"-train-{hashlib.sha256(content.encode()).hexdigest()[:6]}")
    own = objective_class(spec.objective.use, spec.code) if spec.objective.use else None
    return Spec.parse(data, f'study "{spec.name}" with these parameters', own=own)


def _of_before(key: str, table: Any) -> Any:
    """Without newer keys where they have their defaults: so names stay what they were."""
    newer = NEWER.get(key)
    if not newer or table is None:
        return table
    return {name: value for name, value in table.items() if name not in newer or value != newer[name]}


def derived_name(name: str, ending: str) -> str:
    """The name with an ending; one that grows too long is cut, and gets a hash of the whole name."""
    if len(name) + len(ending) <= LONGEST_NAME:
        return name + ending
    mark = f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name[: LONGEST_NAME - len(mark) - len(ending)] + mark + ending


def _number(param: str, text: str) -> Number:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise SpecError(
        f'Cannot use the parameter "{param}".\nIt is not of the form KEY=NUMBER.\n'
        "Write, for example: --param learning_rate=0.002"
    )


def _found(name_or_path: str) -> Path:
    if name_or_path.endswith(".toml") or "/" in name_or_path:
        path, near = Path(os.path.expanduser(name_or_path)), []
    else:
        path, near = FOLDER / f"{name_or_path}.toml", nearest(name_or_path, _shipped())
    if not path.is_file():
        raise SpecError(
            f'Cannot find the study "{name_or_path}".\n'
            f"There is no file {path}{'; nearest: ' + ' or '.join(near) if near else ''}.\n"
            f"Give the path of a TOML file, or one of these names: {', '.join(_shipped())}."
        )
    return path


def _shipped() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _examples() -> str:
    return f"examples are the studies {', '.join(_shipped())}"


def _max_frames(model: Model) -> int:
    return int(model.overrides.get("max_frames_per_step", SIZES[model.size].max_frames_per_step))


def _frames_faults(model: Model | None, values: Mapping[str, Number]) -> Iterator[Fault]:
    frames = values.get("n_frames_per_step", 1)
    if model and frames > _max_frames(model):
        text = f"is up to {frames}, but the model's max_frames_per_step is {_max_frames(model)}"
        yield ("n_frames_per_step",), text


def _typed(parameter: AnyParameter, known: Known | None) -> AnyParameter:
    """Choices as numbers of the objective's kind: 8.0 may be written as 8."""
    if known is None or not isinstance(parameter, Choice):
        return parameter
    return parameter.model_copy(update={"choices": tuple(map(known.type, parameter.choices))})


def _parameters_of(own: OwnObjective | type[OwnObjective], source: str) -> Mapping[str, Known]:
    """Raises SpecError: the class does not say what may be fixed or searched, or cannot be made."""
    made_by = own if isinstance(own, type) else type(own)
    found = getattr(own, "parameters", None)
    if not (isinstance(found, Mapping) and all(isinstance(known, Known) for known in found.values())):
        wrong = "has no `parameters`: a table of smart_tuner.Parameter by name"
    elif isabstract(made_by):
        wrong = f"has no {' and no '.join(sorted(made_by.__abstractmethods__))}, which an objective needs"
    else:
        return found
    raise SpecError(
        f"Cannot use {source}.\n  objective.use: {made_by.__name__} {wrong}.\nAdd it to the class."
    )


def _known(info: ValidationInfo) -> Mapping[str, Known] | None:
    known: Mapping[str, Known] | None = (info.context or {}).get("known", PARAMETERS)
    return known


def _warmup_faults(objective: Objective, info: ValidationInfo) -> Iterator[Fault]:
    """Plans that are shorter than a warm-up which somebody chose; the default one is short."""
    chosen = {"settings.warmup_steps": info.data.get("fixed", {}).get("warmup_steps", 0)}
    if (searched := info.data.get("space", {}).get("warmup_steps")) is not None:
        chosen["space.warmup_steps"] = _largest(searched)
    for key, steps in chosen.items():
        if steps > objective.steps and not (info.context or {}).get("stored"):
            text = f"is {objective.steps}, below the {steps} of {key}, so that a trial never ends its warm-up"
            yield ("steps",), text


def _decay_faults(objective: Objective, info: ValidationInfo) -> Iterator[Fault]:
    """Plans of which most is trained at hardly any learning rate, whatever is drawn."""
    if objective.use is not None or (info.context or {}).get("stored"):
        return
    fixed, space = info.data.get("fixed", {}), info.data.get("space", {})
    names = ("decay_start_step", "decay_half_life")
    start, half_life = (
        _largest(space[name]) if name in space else fixed.get(name, PARAMETERS[name].default)
        for name in names
    )
    halvings = (objective.steps / 2 - start) / half_life
    if halvings > MOST_HALVINGS:
        text = (
            f"is {objective.steps}, for more than half of which the learning rate is below "
            f"{2.0**-MOST_HALVINGS:.1%} of what it was, halved every {half_life} steps (decay_half_life), "
            f"from step {start} on (decay_start_step)"
        )
        yield ("steps",), text


def _largest(parameter: AnyParameter) -> Number:
    return max(parameter.choices) if isinstance(parameter, Choice) else parameter.high


def _differing(ours: Any, theirs: Any, *keys: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in {**ours, **theirs}:
            yield from _differing(ours.get(key), theirs.get(key), *keys, key)
    elif ours != theirs:
        yield ".".join(keys)
