"""What a long history costs: how soon `status`, `best` and a new trial answer on a study of many trials.

Each time is that of a fresh process, from its start: a command until its answer, `resume` until it has a new
trial (without loading the corpus). Beside it plain Optuna: all trials and the best one, or a trial asked for.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import optuna
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, insert

from benchmarks import postgresql_server
from objectives.signals import PARAMETERS
from smart_tuner.repair.words import reason
from smart_tuner.store.storage import OPTUNAS, open_storage
from smart_tuner.store.url import parse
from studies.file import space
from studies.file.spec import Spec, load
from studies.report import history
from studies.report.summary import formatted
from studies.run.study import load_study, open_study

ROOT = Path(__file__).parent.parent
NAME = "history"
RUNGS = 10
AT_ONCE = 500  # trials written in one transaction
BEGAN = datetime(2026, 1, 1)
YARDSTICK = {"copy_synthesis": 4.0, "mismatch": 20.0}

PLAIN_BEST = """
import sys
import optuna
study = optuna.load_study(study_name=sys.argv[2], storage=sys.argv[1])
study.get_trials()
print(study.best_trial.number)
"""
PLAIN_ASK = """
import json, sys, warnings
import optuna
from optuna.distributions import json_to_distribution
warnings.simplefilter("ignore")
sampler = optuna.samplers.TPESampler(multivariate=True, group=True, seed=0)
study = optuna.load_study(study_name=sys.argv[2], storage=sys.argv[1], sampler=sampler)
trial = study.ask({name: json_to_distribution(text) for name, text in json.loads(sys.argv[3]).items()})
print("asked", flush=True)
study.tell(trial, state=optuna.trial.TrialState.FAIL)
"""


def written(url: str, trials: int) -> Spec:
    """A study of ours with that many finished trials; its rows go into Optuna's tables in bulk."""
    storage = open_storage(url)
    spec = load("quickstart").with_changes(trials + 1, None)
    spec = spec.model_copy(update={"name": NAME})
    study = open_study(spec, storage)
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
            _count_on(connection, "trials", "trial_id")
    storage.close()
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
    found: dict[str, Any] = {
        "settings": {k: v for k, v in spec.parameters(params, PARAMETERS).items() if PARAMETERS[k].setting},
        "policy": policy,
        "measures": measures,
    }
    if chance.random() < 0.2:
        found |= {"repairs": 2, "effective": {"learning_rate": 1e-3}, "grace_until": 200}
    elif chance.random() < 0.05:
        found["fresh_of"] = 0
    if state != TrialState.COMPLETE:
        why = reason("behind", step=300)
        found |= {"reason": why.text, "ended": why.record()}
    return found


def _count_on(connection: Connection, table: str, column: str) -> None:
    """PostgreSQL numbers rows by itself, and has not seen those that were numbered here."""
    if connection.dialect.name == "postgresql":
        newest = f"(SELECT max({column}) FROM {table})"
        connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), {newest})")


def ask(url: str) -> None:
    """What `resume` does until it has a trial, without the corpus; says so, and ends the trial."""
    storage = open_storage(url)
    spec = Spec.parse_json(load_study(NAME, storage).user_attrs["spec"])
    study = open_study(spec, storage)
    history.started(study)
    history.best_trial(study)
    history.consumed(study)
    study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    trial = study.ask()
    space.suggest(trial, spec)
    print("asked", flush=True)
    study.tell(trial, state=TrialState.FAIL)


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall time until the command has written a line or ended, and CPU time of all of it."""
    used = os.times()
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        wall = time.perf_counter() - began
        process.communicate()
    if process.returncode or not line:
        raise click.ClickException(f"{command} ended with {process.returncode}")
    after = os.times()
    return wall, after.children_user + after.children_system - used.children_user - used.children_system


def compared(name: str, ours: list[str], plain: list[str], runs: int) -> dict[str, Any]:
    """Both in turns."""
    times = [(seconds(ours, ROOT), seconds(plain, ROOT)) for _ in range(runs)]
    wall, cpu, plain_wall, plain_cpu = (
        statistics.median(run[side][kind] for run in times) for side in (0, 1) for kind in (0, 1)
    )
    return {
        "what": name,
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "optuna_wall_s": round(plain_wall, 2),
        "optuna_cpu_s": round(plain_cpu, 2),
        "ratio": round(wall / plain_wall, 2),
        "runs": runs,
    }


def measured(url: str, spec: Spec, workdir: Path, runs: int) -> Iterator[dict[str, Any]]:
    program = [sys.executable, "run_study.py", "--storage", url, "--home", str(workdir)]
    sources = {name: distribution_to_json(source) for name, source in space.distributions(spec).items()}
    plain = parse(url).within(OPTUNAS)
    best = [sys.executable, "-c", PLAIN_BEST, plain, NAME]
    for verb in ("status", "best"):
        yield compared(verb, [*program, verb, NAME, "-f", "value"], best, runs)
    asked = [sys.executable, "-m", "benchmarks.history", "--ask", "--url", url]
    yield compared("ask", asked, [sys.executable, "-c", PLAIN_ASK, plain, NAME, json.dumps(sources)], runs)


@click.command(help=__doc__)
@click.option("--trials", default=10_000, show_default=True)
@click.option("--url", help="An empty database; default: a temporary SQLite file.")
@click.option("--postgres", is_flag=True, help="On a PostgreSQL server of its own.")
@click.option("--runs", default=3, show_default=True)
@click.option("--ask", "only_ask", is_flag=True, help="Only ask for a trial, in this process.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(trials: int, url: str | None, postgres: bool, runs: int, only_ask: bool, form: str) -> None:
    if only_ask and url:
        return ask(url)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as server:
        if postgres:
            url = server.enter_context(postgresql_server())
        url = url or f"sqlite:///{folder}/study.db"
        spec = written(url, trials)
        click.echo(formatted(list(measured(url, spec, Path(folder), runs)), form))


if __name__ == "__main__":
    main()
