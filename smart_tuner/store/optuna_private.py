"""The one place that touches what Optuna keeps to itself, and so may change in any of its versions.

Beside these functions: the classes of its tables, `models`; `session_of`, a transaction in them; and
`CachedStorage`, which remembers the trials that have ended.
"""

from collections.abc import Callable, Container
from typing import Any

from optuna import Study, Trial
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage
from optuna.storages._rdb import models as models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState

CachedStorage, session_of = _CachedStorage, _create_scoped_session


def storage_of(study: Study) -> BaseStorage:
    """Where the study is kept, with Optuna's cache before it."""
    return study._storage


def below_cache(storage: BaseStorage) -> BaseStorage:
    """The storage that asks the database."""
    while isinstance(storage, CachedStorage):
        storage = storage._backend
    return storage


def study_id_of(study: Study) -> int:
    """By which the storage knows the study."""
    return study._study_id


def id_of(trial: Trial | FrozenTrial) -> int:
    """By which the storage knows the trial; unlike its number, no other study has it."""
    return trial._trial_id


def latest(trial: Trial) -> FrozenTrial:
    """With what this object told of it; its system attributes are read anew, once they are asked for."""
    return trial._get_latest_trial()


def forget_trials(study: Study) -> None:
    """Let the study, which remembers all trials while it asks for one, ask for them again."""
    study._thread_local.cached_all_trials = None


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value, as Optuna stores it, is one of the distribution's."""
    return distribution._contains(value)


def stops(call: Callable[[], None]) -> bool:
    """Whether what is called asks for the end of study.optimize(), which nobody runs here."""
    try:
        call()
    except RuntimeError as error:
        if "`Study.stop`" not in str(error):
            raise
        return True
    return False


class LoadingStorage(RDBStorage):
    """Optuna's storage, which loads many trials by a method that may be replaced."""

    def load_trials(
        self, study_id: int, states: Container[TrialState] | None, included: set[int], greater_than: int
    ) -> list[FrozenTrial]:
        """A study's trials in these states, or in all: those with such ids, and those with greater ones."""
        return super()._get_trials(study_id, states, included, greater_than)

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        return self.load_trials(study_id, states, included_trial_ids, trial_id_greater_than)
