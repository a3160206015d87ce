"""Asking Optuna for a trial so that it is known from its first instant on whose it is.

A worker may die before it can say in its lease which trial it got. Such a trial is taken up; one that a
notebook asked for in the same study is the notebook's.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.store.attributes import GOES_ON, REPEATS, GoesOn
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
    return optuna.trial.Trial(study, storage.create_new_trial(study_id_of(study), _template({}, {})))


def ask_to_go_on(study: optuna.Study, best: FrozenTrial, goes_on: GoesOn) -> optuna.Trial:
    """A new trial with the values of `best`, which it goes on from."""
    return _ask_for(study, best, {GOES_ON: asdict(goes_on)})


def ask_to_repeat(study: optuna.Study, best: FrozenTrial) -> optuna.Trial:
    """A new trial with the values of `best`; its own number gives it another seed."""
    return _ask_for(study, best, {REPEATS: best.number})


def _ask_for(study: optuna.Study, best: FrozenTrial, attributes: Mapping[str, Any]) -> optuna.Trial:
    """Like one that was queued with these values."""
    forget_trials(study)
    template = _template({"fixed_params": best.params}, attributes)
    return optuna.trial.Trial(study, storage_of(study).create_new_trial(study_id_of(study), template))


def is_ours(trial: FrozenTrial) -> bool:
    """Whether a worker asked for it; one of before there was this mark shows it by its settings."""
    return ASKED in trial.system_attrs or "settings" in trial.user_attrs


def _template(system_attrs: Mapping[str, Any], user_attrs: Mapping[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        number=-1,  # the storage gives the next one
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs=dict(user_attrs),
        system_attrs={ASKED: True, **system_attrs},
        intermediate_values={},
        trial_id=-1,
    )
