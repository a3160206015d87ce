"""A study in the database: created or taken up, its stored file, its budget, and its desired state."""

import json
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import optuna
from optuna.distributions import check_distribution_compatibility
from optuna.exceptions import DuplicatedStudyError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection

from objectives.base import Objective
from objectives.signals import SIGNALS
from smart_tuner.repair.autofix import policy_hash
from smart_tuner.store.attributes import AUTO, BEGINS_AS, is_ours
from smart_tuner.store.optuna_private import below_cache, storage_of, study_id_of
from smart_tuner.store.storage import Storage
from studies.file.code import place_of
from studies.file.named import Named
from studies.file.search import pruner, sampler
from studies.file.space import distributions
from studies.file.spec import Spec, SpecError, objective_class
from studies.run.earlier import best_values, queue

SAMPLING = (
    "before_trial",
    "infer_relative_search_space",
    "sample_relative",
    "sample_independent",
    "after_trial",
)
# What arguments lead to that a class was not made for; a database, and Optuna itself, raise other errors.
FAULTY = (TypeError, ValueError, AttributeError, ArithmeticError, AssertionError, IndexError)
Made = TypeVar("Made", BaseSampler, BasePruner)
WISHES = ("run", "pause", "stop")


class StudyError(RuntimeError):
    """A study cannot start or go on; the message says what, why and what to do."""


class StudyGone(RuntimeError):
    """A study was deleted or renamed while its workers ran."""


class TooManyFailures(StudyError):
    """So many trials failed in a row that going on would waste the machine."""


def open_study(
    spec: Spec,
    storage: Storage,
    allowed: Collection[str] = (),
    own: Objective | None = None,
    device: str = AUTO,
) -> optuna.Study:
    """Create the study, or take it up when what it stored agrees with `spec`.

    Args:
        allowed: code of the user's that may be imported, as "module:Name".
        own: the objective itself, where it is at hand.
        device: kept with a study that begins now, for whoever goes on with it.

    Raises:
        SpecError: its sampler or pruner cannot be used here.
        StudyError: the stored study is not ours, or searches something else; says which keys differ.
        CodeError: a rule of the user's may not be, or cannot be, imported.
    """
    draws = _in_words(spec, "sampler", sampler(spec, allowed), SAMPLING)
    prunes = _in_words(spec, "pruner", pruner(spec, allowed), ("prune",))
    policies = _policies(spec, allowed, own)
    known = optuna.get_all_study_names(storage)
    if spec.name not in known:
        _refuse_unknown(spec, known)
        with suppress(DuplicatedStudyError):  # another process has just made it
            marks = {"policy": policies[0], "uid": uuid.uuid4().hex, "spec": spec.model_dump_json()}
            first = best_values(spec, storage)
            storage.create_study(spec.name, {**marks, "device": device, BEGINS_AS: first})
    study = optuna.load_study(study_name=spec.name, storage=storage, sampler=draws, pruner=prunes)
    _refuse_foreign(study, spec)
    if changed := stored_spec(study).differences(spec):
        raise StudyError(
            f'Cannot continue study "{spec.name}".\n'
            f"Its file and the study differ: {', '.join(changed)}.\n"
            f"Undo the change of the file, go on with the study as it is by run_study.py resume {spec.name}, "
            "or give the file's study another name."
        )
    if (policy := study.user_attrs.get("policy", policies[-1])) not in policies:
        raise StudyError(
            f'Cannot continue study "{spec.name}".\n'
            "The rules that repair its trials are others than when it began; its values would not compare.\n"
            "Go on with the version of the program that it began with, or start it under another name."
        )
    _refuse_clashes(study, spec)
    study.set_user_attr("policy", policy)
    study.set_user_attr("spec", spec.model_dump_json())
    queue(study)
    return study


def _refuse_unknown(spec: Spec, known: Collection[str]) -> None:
    """Raises StudyError where a study that begins would learn from one that is not there."""
    if missing := [name for name in spec.search.learn_from if name not in known]:
        raise StudyError(
            f'Cannot begin study "{spec.name}".\n'
            f"By [search] learn_from it learns from {', '.join(missing)}; the database has: "
            f"{', '.join(known) or 'none yet'}.\n"
            "Correct the names, or choose the database of those studies with --storage."
        )


def _in_words(spec: Spec, table: str, made: Made, methods: Collection[str]) -> Made:
    """Let a sampler or pruner of the file's choice say what its arguments lead to as a StudyError.

    It stays the object that it is: Optuna asks of what class it is.
    """
    if isinstance(chosen := getattr(spec, table), Named):
        for method in methods:
            setattr(made, method, _asked(spec.name, table, chosen, getattr(made, method)))
    return made


def _asked(study: str, table: str, chosen: Named, method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def asked(*given: Any, **named: Any) -> Any:
        try:
            return method(*given, **named)
        except FAULTY as error:
            raise StudyError(
                f'Cannot go on with study "{study}".\n'
                f"Its {table} {chosen.use}, made with [{table}.args] {json.dumps(chosen.args)}, failed: "
                f"{type(error).__name__}: {error} ({place_of(error)}).\n"
                "Start it under another name with other arguments; if the class is yours, correct it there."
            ) from error

    return asked


def _policies(spec: Spec, allowed: Collection[str], own: Objective | None) -> tuple[str, ...]:
    """What tells one set of rules, with what they conclude from an objective's signals, from another: in a
    study that begins now, and in one that began when every rule acted on every setting, and goes on so."""
    rules = spec.rules.chosen(allowed)
    if not rules:
        return ("off",)
    used = spec.objective.use
    made_by = own or (used and objective_class(used, allowed))
    signals = made_by.signals if made_by else SIGNALS
    return policy_hash(rules, signals, spec.rules.advises(rules)), policy_hash(rules, signals)


def load_study(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """An existing study of ours, for reading. Raises StudyError for any other name."""
    known = optuna.get_all_study_names(storage)
    if name not in known:
        raise StudyError(
            f'There is no study "{name}".\n'
            f"The database has: {', '.join(known) or 'none yet'}.\n"
            "Run: run_study.py list   or start one: run_study.py start quickstart"
        )
    study = optuna.load_study(study_name=name, storage=storage)
    _refuse_foreign(study)
    stored_spec(study)
    return study


def stored_spec(study: optuna.Study) -> Spec:
    """The study's file as it was stored. Raises StudyError for one that this program cannot read."""
    stored = study.user_attrs["spec"]
    try:
        return Spec.parse_json(stored)
    except (SpecError, TypeError, json.JSONDecodeError) as error:
        raise StudyError(
            f'Cannot use study "{study.study_name}".\n'
            f"The study file that it stored was changed, or is of another version of this program: {error}\n"
            "Use the version that started it, or start it again under another name."
        ) from error


def _refuse_foreign(study: optuna.Study, spec: Spec | None = None) -> None:
    """Raises StudyError for a study of somebody else, before anything of it is changed."""
    if is_ours(study.user_attrs) and study.directions == [StudyDirection.MINIMIZE]:
        return
    raise StudyError(
        f'Cannot use study "{study.study_name}": this program did not make it.\n'
        f"It {'; it '.join(_otherness(study, spec))}. Nothing of it was changed.\n"
        "Give your own study another name, or another database with --storage; "
        "look at this one with Optuna's own tools."
    )


def _otherness(study: optuna.Study, spec: Spec | None) -> Iterator[str]:
    """In what a study differs from ours, in words."""
    if not is_ours(study.user_attrs):
        yield "holds no study file to go on with"
    goals = [direction.name.lower() for direction in study.directions]
    if goals != ["minimize"]:
        yield f"has the goals {', '.join(goals)}, where ours minimize one distance"
    trials = study.get_trials(deepcopy=False)
    names = sorted({name for trial in trials for name in trial.params})
    if spec is not None and names and set(names) != spec.space.keys():
        yield f"searches {', '.join(names)}, and not {', '.join(sorted(spec.space)) or 'nothing'}"
    yield f"has {len(trials)} trials"


def _refuse_clashes(study: optuna.Study, spec: Spec) -> None:
    """Raises StudyError where a trial from outside drew a parameter so that none of ours can any more."""
    ours = distributions(spec)
    for trial in study.get_trials(deepcopy=False):
        for name in ours.keys() & trial.distributions.keys():
            theirs = trial.distributions[name]
            if theirs == ours[name]:
                continue
            try:
                check_distribution_compatibility(ours[name], theirs)
            except ValueError as error:
                raise StudyError(
                    f'Cannot continue study "{spec.name}".\n'
                    f"Its trial {trial.number} drew {name} from {theirs}, this study draws it from "
                    f"{ours[name]}: Optuna lets no study do both.\n"
                    "Start it under another name, without that trial."
                ) from error


def under_its_name(study: optuna.Study) -> Spec:
    """The study's file, under the name that the study has now. Raises StudyError for a copy of a study."""
    spec = stored_spec(study)
    if spec.name == study.study_name:
        return spec
    if other := name_of(storage_of(study), study.user_attrs["uid"], but=study.study_name):
        raise StudyError(
            f'Cannot use study "{study.study_name}".\n'
            f'It is a copy of "{other}", whose trials and files it would share.\n'
            f'Use "{other}", or delete it if the copy is to take its place.'
        )
    stored = json.loads(study.user_attrs["spec"])
    return Spec.parse({**stored, "name": study.study_name}, "the study under its new name", True)


def gone(study: optuna.Study, uid: str) -> StudyGone:
    """The error for a study that the database no longer has under its id: deleted, or renamed."""
    new = name_of(storage_of(study), uid)
    if new is None:
        return StudyGone(
            f'Study "{study.study_name}" was deleted while it ran.\n'
            "Its workers stopped; the files of its trials are kept.\n"
            "Remove them by hand, if they are not wanted either."
        )
    return StudyGone(
        f'Study "{study.study_name}" was renamed to "{new}" while it ran.\n'
        "Its workers stopped; what they trained is in its checkpoints.\n"
        f"Go on with: run_study.py resume {new}"
    )


def name_of(storage: optuna.storages.BaseStorage, uid: str, but: str = "") -> str | None:
    """The name of the study with this uid, whatever its id is by now; None where there is none."""
    known = (s for s in storage.get_all_studies() if is_ours(s.user_attrs))
    return next((s.study_name for s in known if s.user_attrs["uid"] == uid and s.study_name != but), None)


def desired_state(study: optuna.Study) -> str:
    """What people want of a study's workers: run; pause (start no more trials); stop (save and end)."""
    found = storage_of(study).get_study_user_attrs(study_id_of(study)).get("wish")
    return found if found in WISHES else "run"


def set_desired_state(study: optuna.Study, wanted: str) -> None:
    study.set_user_attr("wish", wanted)


def refuse_undesired(study: optuna.Study) -> None:
    """Raises StudyError where somebody paused or stopped the study."""
    if (wanted := desired_state(study)) != "run":
        raise StudyError(
            f'Study "{study.study_name}" does not run.\n'
            f"Somebody asked its workers to {wanted}.\n"
            f"Go on with: run_study.py resume {study.study_name}"
        )


def rdb(study: optuna.Study) -> Storage:
    """Our storage, below Optuna's cache."""
    storage = below_cache(storage_of(study))
    assert isinstance(storage, Storage)
    return storage
