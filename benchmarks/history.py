"""What a long history costs: how soon `status`, `best` and a new trial answer on a study of many trials.

Each time is that of a fresh process, from its start: a command until its end, `resume` until its trial is
asked for (without loading the corpus). Beside it the same question put to plain Optuna.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import insert

from smart_tuner.store import open_storage
from studies import space, worker
from studies.report import formatted
from studies.spec import Spec, load

ROOT = Path(__file__).parent.parent
NAME = "history"
RUNGS = 10
AT_ONCE = 500  # trials written in one transaction
BEGAN = datetime(2026, 1, 1)
YARDSTICK = {"floor": 2.0, "ceiling": 4.0, "cap": 20.0}

PLAIN = """
import optuna
study = optuna.load_study(study_name="{name}", storage="{url}")
study.get_trials()
print(study.best_trial.number)
"""


def written(url: str, trials: int) -> Spec:
    """A study of ours with that many finished trials; its rows go into Optuna's tables in bulk."""
    storage = open_storage(url)
    spec = load("quickstart").with_changes(trials + 1, None)
    spec = spec.model_copy(update={"name": NAME})
    study = worker.open_study(spec, storage)
    study.set_user_attr("corpus", "made up")
    study.set_user_attr("yardstick", YARDSTICK)
    policy, chance = study.user_attrs["policy"], random.Random(0)
    for first in range(0, trials, AT_ONCE):
        tables: dict[Any, list[dict[str, Any]]] = {}
        for number in range(first, min(first + AT_ONCE, trials)):
            for model, row in _rows(study._study_id, number, spec, policy, chance):
                tables.setdefault(model, []).append(row)
        with storage.engine.begin() as connection:
            for model, rows in tables.items():
                connection.execute(insert(model.__table__), rows)
    storage.engine.dispose()
    return spec


def _rows(
    study: int, number: int, spec: Spec, policy: str, chance: random.Random
) -> Iterator[tuple[Any, dict[str, Any]]]:
    state = chance.choices((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL), (50, 45, 5))[0]
    began = BEGAN + timedelta(minutes=number)
    of = {"trial_id": number + 1}
    times = {"datetime_start": began, "datetime_complete": began + timedelta(minutes=chance.uniform(1, 9))}
    yield models.TrialModel, {**of, "number": number, "study_id": study, "state": state, **times}
    params = dict[str, Any]()
    for name, source in space.distributions(spec).items():
        if all(parent in params and c.holds(params[parent]) for parent, c in spec.space[name].when.items()):
            params[name] = value = _drawn(source, chance)
            text = distribution_to_json(source)
            stored = {"param_name": name, "param_value": source.to_internal_repr(value)}
            yield models.TrialParamModel, {**of, **stored, "distribution_json": text}
    measures = [_measured(spec.objective.measure_every * rung, chance) for rung in range(1, RUNGS + 1)]
    finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    for measured in measures:
        value = {"intermediate_value": measured["value"], "intermediate_value_type": finite}
        yield models.TrialIntermediateValueModel, {**of, "step": measured["step"], **value}
    for key, value in _attributes(spec, params, measures, policy, state, chance).items():
        yield models.TrialUserAttributeModel, {**of, "key": key, "value_json": json.dumps(value)}
    if state != TrialState.FAIL:
        best = min(measured["value"] for measured in measures)
        kind = models.TrialValueModel.TrialValueType.FINITE
        yield models.TrialValueModel, {**of, "objective": 0, "value": best, "value_type": kind}


def _drawn(source: Any, chance: random.Random) -> Any:
    if isinstance(source, optuna.distributions.CategoricalDistribution):
        return chance.choice(source.choices)
    return space.nearest_in(source, chance.uniform(source.low, source.high))


def _measured(step: int, chance: random.Random) -> dict[str, Any]:
    """As objectives/tacotron2.py stores a Measured."""
    return {
        "step": step,
        "value": chance.uniform(5, 20),
        "spread": chance.random(),
        "failure_share": chance.random(),
        "failures": {"skipped": chance.randrange(9), "endless": chance.randrange(9)},
        "shortest": chance.random(),
        "longest": 1 + chance.random(),
        "aligned_share": chance.random(),
        "diagonal_score": chance.random(),
        "gate_accuracy": chance.random(),
        "mel_l1": chance.random(),
        "seconds": step * 0.1,
    }


def _attributes(
    spec: Spec,
    params: dict[str, Any],
    measures: list[dict[str, Any]],
    policy: str,
    state: TrialState,
    chance: random.Random,
) -> dict[str, Any]:
    found = {"settings": asdict(spec.settings(params)), "policy": policy, "measures": measures}
    if chance.random() < 0.2:
        found |= {"repairs": 2, "effective": {"learning_rate": 1e-3}, "grace_until": 200}
    elif chance.random() < 0.05:
        found["fresh_of"] = 0
    if state != TrialState.COMPLETE:
        found["reason"] = "step 300: behind the other trials"
    return found


def ask(url: str, plain: str | None) -> None:
    """What `resume` does until a trial is asked for; says so, and takes the trial back."""
    if plain:
        sampler = space.sampler(load("quickstart"))
        study = optuna.load_study(study_name=NAME, storage=url, sampler=sampler)
        spec = Spec.parse_json(study.user_attrs["spec"])
        trial = study.ask()
    else:
        storage = open_storage(url)
        spec = worker.stored_spec(NAME, storage)
        study = worker.open_study(spec, storage)
        worker.started(study), worker.best_value(study), worker.budget_left(study, spec)
        trial = study.ask()
    space.suggest(trial, spec)
    print("asked", flush=True)
    study.tell(trial, state=TrialState.FAIL)
