"""Asking Optuna for a trial so that it is known from its first instant on whose it is.

A worker may die before it can say in its lease which trial it got. Such a trial is taken up; one that a
notebook asked for in the same study is the notebook's.
"""

from datetime import datetime

import optuna
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.store.optuna_private import forget_trials, id_of, storage_of, study_id_of
from studies.run.study import rdb

ASKED = "smart_tuner:asked"  # system attribute of the trials that workers asked for


def ask(study: optuna.Study) -> optuna.Trial:
    """As study.ask(): a trial that waits, else a new one."""
    forget_trials(study)
    storage = storage_of(study)
    for waiting in storage.get_all_trials(study_id_of(study), deepcopy=False, states=(TrialState.WAITING,)):
        if rdb(study).begin_waiting(id_of(waiting), ASKED):
            return optuna.trial.Trial(study, id_of(waiting))
    return optuna.trial.Trial(study, storage.create_new_trial(study_id_of(study), _template()))


def is_ours(trial: FrozenTrial) -> bool:
    """Whether a worker asked for it; one of before there was this mark shows it by its settings."""
    return ASKED in trial.system_attrs or "settings" in trial.user_attrs


def _template() -> FrozenTrial:
    return FrozenTrial(
        number=-1,  # the storage gives the next one
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={ASKED: True},
        intermediate_values={},
        trial_id=-1,
    )
