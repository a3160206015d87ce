"""The one place that touches what Optuna keeps to itself, and so may change in any of its versions."""

from collections.abc import Callable

from optuna import Study, Trial
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial


def storage_of(study: Study) -> BaseStorage:
    """Where the study is kept, with Optuna's cache before it."""
    return study._storage


def id_of(trial: Trial | FrozenTrial) -> int:
    """By which the storage knows the trial; unlike its number, no other study has it."""
    return trial._trial_id


def study_id_of(study: Study) -> int:
    """By which the storage knows the study."""
    return study._study_id


def stops(call: Callable[[], None]) -> bool:
    """Whether what is called asks for the end of study.optimize(), which nobody runs here."""
    try:
        call()
    except RuntimeError as error:
        if "`Study.stop`" not in str(error):
            raise
        return True
    return False
