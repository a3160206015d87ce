"""A study in the database: created or taken up, its stored file, its budget, and what people wish of it."""

import json
import uuid

import optuna
from optuna.storages._cached_storage import _CachedStorage

from smart_tuner.autofix import policy_hash
from smart_tuner.store import Storage
from studies.space import pruner, sampler
from studies.spec import Spec


class StudyError(RuntimeError):
    """A study cannot start or go on; the message says what, why and what to do."""


class StudyGone(RuntimeError):
    """A study was deleted or renamed while its workers ran."""


class TooManyFailures(StudyError):
    """So many trials failed in a row that going on would waste the machine."""


def open_study(spec: Spec, storage: optuna.storages.RDBStorage) -> optuna.Study:
    """Create the study, or take it up when what it stored agrees with `spec`.

    Raises:
        StudyError: the stored study searches something else; says which keys differ.
    """
    study = optuna.create_study(
        study_name=spec.name,
        storage=storage,
        sampler=sampler(spec),
        pruner=pruner(spec),
        direction="minimize",
        load_if_exists=True,
    )
    stored = study.user_attrs.get("spec")
    if stored is not None and (changed := Spec.parse_json(stored).differences(spec)):
        raise StudyError(
            f'Cannot continue study "{spec.name}".\n'
            f"Its file changed since it began: {', '.join(changed)}.\n"
            "Undo the change, or give the study another name."
        )
    policy = policy_hash(rules) if (rules := spec.rules.chosen()) else "off"
    if study.user_attrs.get("policy", policy) != policy:
        raise StudyError(
            f'Cannot continue study "{spec.name}".\n'
            "The rules that repair its trials are others than when it began; its values would not compare.\n"
            "Go on with the version of the program that it began with, or start it under another name."
        )
    study.set_user_attr("policy", policy)
    study.set_user_attr("uid", study.user_attrs.get("uid", uuid.uuid4().hex))
    study.set_user_attr("spec", spec.model_dump_json())
    return study


def load_study(name: str, storage: optuna.storages.BaseStorage) -> optuna.Study:
    """An existing study of ours, for reading. Raises StudyError for an unknown name."""
    known = optuna.get_all_study_names(storage)
    if name not in known:
        raise StudyError(
            f'There is no study "{name}".\n'
            f"The database has: {', '.join(known) or 'none yet'}.\n"
            "Run: run_study.py list   or start one: run_study.py start quickstart"
        )
    study = optuna.load_study(study_name=name, storage=storage)
    if "spec" not in study.user_attrs:
        raise StudyError(
            f'Study "{name}" was not started by run_study.py.\nIt holds no study file to go on with.\n'
            "Look at it with Optuna's own tools."
        )
    return study


def under_its_name(study: optuna.Study) -> Spec:
    """The study's file, under the name that the study has now. Raises StudyError for a copy of a study."""
    stored = study.user_attrs["spec"]
    spec = Spec.parse_json(stored)
    if spec.name == study.study_name:
        return spec
    if other := name_of(study._storage, study.user_attrs["uid"], but=study.study_name):
        raise StudyError(
            f'Cannot use study "{study.study_name}".\n'
            f'It is a copy of "{other}", whose trials and files it would share.\n'
            f'Use "{other}", or delete it if the copy is to take its place.'
        )
    return Spec.parse({**json.loads(stored), "name": study.study_name}, "the study under its new name", True)


def gone(study: optuna.Study, uid: str) -> StudyGone:
    """What to say of a study that the database has no more under its id."""
    new = name_of(study._storage, uid)
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
    """Of the study with this uid, whatever its id is by now."""
    known = optuna.get_all_study_summaries(storage, include_best_trial=False)
    return next((s.study_name for s in known if s.user_attrs.get("uid") == uid and s.study_name != but), None)


def wish(study: optuna.Study) -> str:
    """What people want of a study's workers: run; pause (start no more trials); stop (save and end)."""
    return str(study._storage.get_study_user_attrs(study._study_id).get("wish", "run"))


def set_wish(study: optuna.Study, wanted: str) -> None:
    study.set_user_attr("wish", wanted)


def refuse_unwanted(study: optuna.Study) -> None:
    """Raises StudyError where somebody paused or stopped the study."""
    if (wanted := wish(study)) != "run":
        raise StudyError(
            f'Study "{study.study_name}" does not run.\n'
            f"Somebody asked its workers to {wanted}.\n"
            f"Go on with: run_study.py resume {study.study_name}"
        )


def rdb(study: optuna.Study) -> Storage:
    """The storage that the database is reached by, below Optuna's cache."""
    storage = study._storage
    while isinstance(storage, _CachedStorage):
        storage = storage._backend
    assert isinstance(storage, Storage)
    return storage
