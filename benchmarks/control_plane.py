"""What a trial costs besides its training: the real worker beside plain Optuna on one database, in turns.

A trial of ours is taken (claim, reserve, ask, bind), draws six parameters, is reported and judged under ASHA
ten times with its measures, has its lease renewed once, is decided and told. Plain Optuna's is asked for,
draws, is reported and judged as often, gets the same user attributes, and is told. Nothing is trained and no
checkpoint is written. Without --url it runs on SQLite files; with --postgres on a server of its own
(in a checkout: that of the tests); with --url on an empty database of any server.
"""

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import optuna
from optuna.pruners import SuccessiveHalvingPruner
from sqlalchemy import Engine, event

from benchmarks import postgresql_server
from benchmarks.chaos import Toys, Warnings
from objectives.base import Measured, Run
from objectives.signals import PARAMETERS
from objectives.trial import Attempt, Start, Trial
from smart_tuner.store.leases import Lease
from smart_tuner.store.storage import OPTUNAS, Storage, open_storage
from smart_tuner.store.url import parse
from studies.file.space import suggest
from studies.file.spec import Spec, load
from studies.report.summary import formatted
from studies.run.study import desired_state, open_study
from studies.run.training import plan_of
from studies.run.worker import Worker

REPORTS = 10
STARTUP = 10
TARGET = 1.5


class Renewing(Worker):
    """Renews its lease when it is told, not by the clock."""

    def _run(self, lease: Lease, trial: optuna.Trial) -> bool:
        self.lease = lease
        return super()._run(lease, trial)

    def renew(self) -> None:
        self._leases.renew(self.lease)
        desired_state(self.study)


class Untrained(Run):
    """Measures what it is told, and saves nothing."""

    def __init__(self, number: int, settings: Mapping[str, float]) -> None:
        self._number, self.settings = number, settings

    def advance(self) -> dict[str, float]:
        self.step += 1
        return {"loss": 1.0}

    def measure(self) -> dict[str, Any]:
        return measured(self._number, self.step)

    def save(self, folder: Path) -> None: ...
    def restore(self, folder: Path) -> None: ...


class Unsaved(Trial):
    def _save(self) -> None: ...


def measured(number: int, step: int) -> dict[str, Any]:
    """Every trial is a little better than all before it, so that none is pruned."""
    numbers = {"aligned_share": 0.8, "diagonal_score": 0.7, "gate_accuracy": 0.9, "mel_l1": 0.2}
    return {"value": 100.0 - 0.01 * number - step, "spread": 0.1, "failures": {"skipped": 1}, **numbers}


def spec_of(trials: int) -> Spec:
    data = load("quickstart").model_dump(mode="json")
    data |= {"name": "ours", "rules": {"mode": "off"}}
    data["budget"] |= {"trials": trials}
    data["sampler"] |= {"n_startup_trials": STARTUP}
    data["pruner"] = {"name": "asha", "min_resource": 1, "reduction_factor": 3}
    data["objective"] |= {"steps": REPORTS, "measure_every": 1, "checkpoint_every": REPORTS}
    return Spec.parse(data, "the benchmark's study")


def ours(spec: Spec, storage: Storage, folder: Path) -> Callable[[], None]:
    """What runs one trial."""
    study, told, plan = open_study(spec, storage), Warnings(), plan_of(spec)

    def run(attempt: Attempt) -> float:
        trial = attempt.trial
        params = suggest(trial, spec)
        settings = settings_of(spec, params)
        trial.set_user_attr("settings", settings)
        trial.set_user_attr("policy", trial.study.user_attrs["policy"])
        made = Untrained(trial.number, settings)
        value = Unsaved(Start(attempt, Toys(), made, params, plan, 0), told).value()
        worker.renew()
        return value

    worker = Renewing(spec, study, run, folder, told)
    return lambda: worker.work(1)


def settings_of(spec: Spec, params: dict[str, Any]) -> dict[str, float]:
    return {name: v for name, v in spec.parameters(params, PARAMETERS).items() if PARAMETERS[name].setting}


def plain(spec: Spec, url: str) -> tuple[optuna.Study, Callable[[], None]]:
    """A study of Optuna's own, and what runs one trial of it."""
    study = optuna.create_study(
        study_name="plain",
        storage=url,
        sampler=optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, multivariate=True, group=True, seed=spec.seed
        ),
        pruner=SuccessiveHalvingPruner(min_resource=1, reduction_factor=3),
    )

    def run() -> None:
        trial = study.ask()
        trial.set_user_attr("settings", settings_of(spec, suggest(trial, spec)))
        trial.set_user_attr("policy", "off")
        history: list[Measured] = []
        for step in range(1, REPORTS + 1):
            found = measured(trial.number, step)
            history.append(Measured(step, found.pop("value"), 0.1 * step, found))
            trial.report(history[-1].value, step)
            trial.set_user_attr("measures", [row.record() for row in history])
            if trial.should_prune():
                raise click.ClickException("a trial was pruned; all were to be alike")
        study.tell(trial, min(row.value for row in history))

    return study, run


@contextmanager
def counting(*engines: Engine) -> Iterator[Counter[str]]:
    """Statements and transactions that pass meanwhile; statements also by their first words and table."""
    counts: Counter[str] = Counter()

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        counts["statements"] += 1
        counts[" ".join(statement.split())[:60]] += 1

    def committed(_: Any) -> None:
        counts["commits"] += 1

    for engine in engines:
        event.listen(engine, "after_cursor_execute", executed)
        event.listen(engine, "commit", committed)
    try:
        yield counts
    finally:
        for engine in engines:
            event.remove(engine, "after_cursor_execute", executed)
            event.remove(engine, "commit", committed)


def compared(url: str, plain_url: str, folder: Path, trials: int, show: int) -> list[dict[str, Any]]:
    spec = spec_of(trials + STARTUP + 2)
    storage = open_storage(url)
    study, run_plain = plain(spec, plain_url)
    kept: Any = study._storage
    runs = {"smart_tuner": ours(spec, storage, folder), "optuna": run_plain}
    engines = {"smart_tuner": {storage.engine, storage.ours}, "optuna": {kept._backend.engine}}
    for _ in range(STARTUP + 1):
        for run in runs.values():
            run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(trials):
        for name in sorted(runs, reverse=bool(turn % 2)):
            began = time.perf_counter()
            runs[name]()
            times[name].append(1000 * (time.perf_counter() - began))
    rows: list[dict[str, Any]] = []
    for name, run in runs.items():
        with counting(*engines[name]) as counts:
            run()
        rows.append({"trial of": name, **_quartiles(times[name])})
        rows[-1] |= {key: counts.pop(key) for key in ("statements", "commits")}
        for text, count in counts.most_common(show):
            click.echo(f"{name:12} {count:4} {text}", err=True)
    median = rows[1]["median_ms"]
    for row in rows:
        row["ratio"] = round(row["median_ms"] / median, 2)
    storage.close()
    kept._backend.engine.dispose()
    return rows


def _quartiles(times: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(times, n=4)
    return {"median_ms": round(median, 1), "q1_ms": round(low, 1), "q3_ms": round(high, 1)}


@click.command(help=__doc__)
@click.option("--url", help="An empty database; default: temporary SQLite files.")
@click.option("--postgres", is_flag=True, help="On a PostgreSQL server of its own.")
@click.option("--trials", default=100, show_default=True)
@click.option("--show", default=0, help="So many of the commonest statements.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(url: str | None, postgres: bool, trials: int, show: int, form: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if postgres:
            with postgresql_server() as url:
                rows = compared(url, parse(url).within(OPTUNAS), folder, trials, show)
        elif url:
            rows = compared(url, parse(url).within(OPTUNAS), folder, trials, show)
        else:
            files = f"sqlite:///{folder}/ours.db", f"sqlite:///{folder}/plain.db"
            rows = compared(*files, folder, trials, show)
    click.echo(formatted(rows, form))
    sys.exit(rows[0]["ratio"] > TARGET)


if __name__ == "__main__":
    main()
