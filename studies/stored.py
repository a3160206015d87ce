"""Studies as the database holds them: found by their names, or refused with what to do instead."""

from typing import cast

import optuna
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage

from studies.spec import Spec


class StudyError(RuntimeError):
    """A study cannot start or go on; the message says what, why and what to do."""


class StudyBusy(StudyError):
    """Another process works on the study."""


class TooManyFailures(StudyError):
    """So many trials failed in a row that going on would waste the machine."""


def stored_spec(name: str, storage: optuna.storages.BaseStorage) -> Spec:
    """The spec that study `name` was started with. Raises StudyError for an unknown name."""
    study = load_study(name, storage)
    return Spec.parse_json(study.user_attrs["spec"])


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


def database_of(study: optuna.Study) -> RDBStorage:
    """The storage below Optuna's cache."""
    storage = study._storage
    return cast(RDBStorage, storage._backend if isinstance(storage, _CachedStorage) else storage)
