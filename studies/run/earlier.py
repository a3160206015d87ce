"""What a search begins with of earlier ones on its database: their best values.

They are a good place to begin (Feurer, Springenberg and Hutter, 2015, Initializing Bayesian hyperparameter
optimization via meta-learning). They are tried here, as trials like any, so that where they do badly a search
has lost as many trials, and nothing else.
"""

from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from smart_tuner.store.attributes import LEARNED_FROM, begins_as, is_of_the_search, learned_from
from studies.file.distributions import contains
from studies.file.space import distributions
from studies.file.spec import Spec

Record = dict[str, Any]


def best_values(spec: Spec, storage: BaseStorage) -> list[Record]:
    """The best values of each study that this one learns from, as far as its space has them; none twice."""
    known, found = distributions(spec), list[Record]()
    for name in spec.search.learn_from:
        study = optuna.load_study(study_name=name, storage=storage)
        ended = [
            (trial.value, trial.number, trial.params)
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            if trial.value is not None and is_of_the_search(trial)
        ]
        if not ended:
            continue
        _, number, params = min(ended, key=lambda row: row[:2])
        values = {n: v for n, v in params.items() if n in known and contains(known[n], v)}
        if values and values not in [other["values"] for other in found]:
            found.append({"study": name, "trial": number, "values": values})
    return found


def queue(study: optuna.Study) -> None:
    """Enqueue a trial for each of the values that the study is to begin with, unless there is one already."""
    if not (first := begins_as(study)):
        return
    queued = [learned_from(trial) for trial in study.get_trials(deepcopy=False)]
    for record in first:
        if (record["study"], record["trial"]) not in queued:
            of = {name: record[name] for name in ("study", "trial")}
            study.enqueue_trial(record["values"], user_attrs={LEARNED_FROM: of})
