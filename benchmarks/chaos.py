"""Whether a study survives: workers are killed at random moments and at the worst ones, and started again.

The study, its leases, its worker and its objective are the real ones. For three quarters of the kills the
network is a toy, whose state and curve are a pure function of its parameters and step; for the others it is
a real one, tiny, and trained. Either way a step which is lost, doubled or trained by two shows in the value.
At the end every trial must have one terminal state and the value of a run that nobody disturbed, at most one
checkpoint interval was trained again after each death, and nothing is left behind. Prints one row a
configuration and network; the exit code is 1 when anything of that does not hold.
"""

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import click
import optuna
import torch
from optuna.trial import FrozenTrial

from benchmarks import postgresql_server
from benchmarks.faults.language import Shape
from benchmarks.faults.stage import TINY, dimensions, judge, prepare, spoken
from model import checkpoint
from model.data.staging import PREFIX
from model.failpoint import VARIABLE
from model.training import Training
from objectives.attempt import Attempt, Callback, Start
from objectives.base import Objective, Run
from objectives.signals import PARAMETERS
from objectives.tacotron2 import Tacotron2Run
from objectives.trial import Trial
from smart_tuner.store.attributes import goes_on_from
from smart_tuner.store.leases import Leases
from smart_tuner.store.optuna_private import latest
from smart_tuner.store.outage import BUDGET_SECONDS
from smart_tuner.store.storage import open_storage
from studies.file.space import suggest
from studies.file.spec import Spec, load
from studies.report.summary import formatted
from studies.run.artifacts import Artifacts
from studies.run.folders import trial_folder
from studies.run.study import load_study, open_study, rdb, stored_spec
from studies.run.training import plan_of, trained_on
from studies.run.worker import Worker

STEPS, MEASURE_EVERY, CHECKPOINT_EVERY = 45, 9, 3
STEP_SECONDS = 0.01
WORST = ("reserved", "asked", "bound", "ckpt-written", "ckpt-renamed", "row-written", "reported", "verdict")
WORST_ENDS = ("decided", "telling")
FREEZE_THAW = "freeze-thaw"
TOY, REAL = "toy", "real"  # studies, by what their trials train
REAL_SHARE = 0.25  # of the kills
LIVES = 0.3, 4.0  # seconds, of a worker that is killed at a random moment
FORKED = multiprocessing.get_context("forkserver")  # from a process that has imported everything
PRELOADED = ["benchmarks.faults.stage", "psycopg", "studies.run.worker", "torch._dynamo"]


class Noted(Run):
    """A run that writes down what it does."""

    _log: Path

    def note(self, what: str) -> None:
        with self._log.open("a") as file:
            file.write(f"{os.getpid()} {what} {self.step}\n")


class Toy(Noted):
    """A training of nothing: its state goes through a fixed chain of numbers, one link a step."""

    def __init__(self, params: Mapping[str, Any], log: Path, seconds: float) -> None:
        self._log, self._wait = log, seconds
        self._key: int = int(1e9 * params["learning_rate"]) + params["batch_size"]
        self._state: int = self._key

    def advance(self) -> dict[str, float]:
        self._state = (self._state * 6364136223846793005 + self._key) % 2**61
        self.step += 1
        self.note("step")
        time.sleep(self._wait)
        return {"loss": 1.0}

    def measure(self) -> dict[str, float]:
        return {"value": 10.0 / (1 + self.step) + self._state % 1000 / 500 + self._key % 7}

    def save(self, folder: Path) -> None:
        (folder / "toy.json").write_text(json.dumps([self.step, self._state]))

    def restore(self, folder: Path) -> None:
        self.step, self._state = json.loads((folder / "toy.json").read_text())


class Real(Tacotron2Run, Noted):
    """A tiny network that learns a made-up language."""

    shows: ClassVar[dict[str, str]] = {}  # type: ignore[misc, assignment]

    def __init__(self, params: Mapping[str, Any], log: Path) -> None:
        shape = Shape(clips=42)
        corpus = spoken(shape).corpus
        searched = {name: params[name] for name in ("learning_rate", "batch_size")}
        settings = replace(TINY.settings, **searched)
        super().__init__(Training(corpus, dimensions(corpus), settings, seed=1), judge(shape))
        self._log = log

    def advance(self) -> dict[str, float]:
        measures = super().advance()
        self.note("step")
        return measures

    def measure(self) -> dict[str, float]:
        """Every weight, and so every step, changes it."""
        return {"value": self.training.validate(self.training.corpus.held_out).mel_l2}

    def show(self, folder: Path, title: str) -> None: ...


def network(name: str, params: Mapping[str, Any], log: Path, seconds: float) -> Noted:
    """By the name of its study."""
    return Real(params, log) if name == REAL else Toy(params, log, seconds)


class Toys(Objective):
    """Runs of a study of toys; each writes down its steps in a file of its trial."""

    parameters = PARAMETERS

    def run(self, parameters: Mapping[str, int | float], seed: int, device: str) -> Run:
        raise NotImplementedError("a trial's run is made with its log")


class NotedTrial(Trial):
    def _train(self) -> float:
        self._run.note("start")  # type: ignore[attr-defined]
        return super()._train()


class Warnings(Callback):
    def warned(self, text: str) -> None:
        click.echo(text, err=True)


def toy_spec(trials: int, name: str = TOY, **tables: Any) -> Spec:
    """Args: tables: of the study file, instead of the toy's."""
    data = load("quickstart").model_dump(mode="json")
    data |= {"name": name, "rules": {"mode": "off"}, "finish": {}}
    data["budget"] |= {"trials": trials, "retries": 1_000_000}
    data["pruner"] = {"name": "asha", "min_resource": MEASURE_EVERY, "reduction_factor": 3}
    data["objective"] |= {
        "steps": STEPS,
        "measure_every": MEASURE_EVERY,
        "checkpoint_every": CHECKPOINT_EVERY,
    }
    data |= tables
    if data["search"].get("method") == FREEZE_THAW:
        del data["sampler"], data["pruner"]
    return Spec.parse(data, "the toy study")


def one_worker(
    url: str,
    workdir: Path,
    seconds: float = STEP_SECONDS,
    linger: bool = False,
    patience: float = BUDGET_SECONDS,
    artifacts: Artifacts | None = None,
    name: str = TOY,
) -> None:
    """A worker's whole life; a step of the toy takes so many seconds."""
    storage = open_storage(url)
    spec, told = stored_spec(load_study(name, storage)), Warnings()
    study = open_study(spec, storage)
    plan = replace(plan_of(spec), rules=())

    def run(attempt: Attempt) -> float:
        params = attempt.outage.wait_for(lambda: suggest(attempt.trial, spec))
        made = network(name, params, workdir / f"steps-{attempt.trial.number}.log", seconds)
        goes_on = goes_on_from(latest(attempt.trial))
        own = plan if goes_on is None else trained_on(plan, goes_on, spec, {})
        return NotedTrial(Start(attempt, Toys(), made, params, own, 0), told).value()

    try:
        Worker(spec, study, run, workdir / name, told, linger, patience, artifacts).work()
    finally:
        storage.close()


def live(url: str, workdir: Path, name: str, environment: dict[str, str]) -> None:
    """The whole life of a worker's process."""
    os.environ.update(environment)
    said = os.open(workdir / "workers.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    torch.set_num_threads(1)
    prepare()
    one_worker(url, workdir, name=name)


@dataclass
class Loop:
    """Starts workers, kills them, starts others."""

    url: str
    workdir: Path
    count: int
    kills: int
    rng: random.Random
    name: str = TOY
    method: str = "prune"
    died: int = 0
    trials: int = 0
    faults: list[str] = field(default_factory=list)
    deadline: float = field(default_factory=lambda: time.monotonic() + 3600)

    def run(self) -> None:
        storage = open_storage(self.url)
        self.trials = max(4, self.kills // 2)
        study = open_study(self._spec(), storage)
        self._work()
        while self.died < self.kills and time.monotonic() < self.deadline:  # all trials ended too soon
            self.trials += 4
            study = open_study(self._spec(), storage)
            self._work()
        self.faults += check(study, self._spec(), self.workdir)
        self.trials = len(study.trials)
        storage.close()

    def _spec(self) -> Spec:
        return toy_spec(self.trials, self.name, search={"method": self.method})

    def _work(self) -> None:
        """Until every worker ended by itself; those that die are replaced."""
        workers = [self._start() for _ in range(self.count)]
        while workers:
            for pair in list(workers):
                worker, when = pair
                code = worker.exitcode
                if code is None:
                    if time.monotonic() > min(when, self.deadline):
                        worker.kill()
                    continue
                workers.remove(pair)
                if code == -9:
                    self.died += 1
                    workers += [self._start()] if time.monotonic() < self.deadline else []
                elif code:
                    self.faults.append(f"a worker ended with {code}")
            time.sleep(0.02)

    def _start(self) -> tuple[Any, float]:
        """With the instant at which it is killed, if it is not to kill itself."""
        environment, when = {VARIABLE: ""}, float("inf")
        if self.died < self.kills:
            if self.rng.random() < 0.6:
                place, nth = self.rng.choice(WORST), self.rng.randint(1, 4)
                if self.rng.random() < 0.3:
                    place, nth = self.rng.choice(WORST_ENDS), 1
                environment[VARIABLE] = f"{place}:kill:{nth}"
            else:
                when = time.monotonic() + self.rng.uniform(*LIVES)
        worker = FORKED.Process(
            target=live, args=(self.url, self.workdir, self.name, environment), daemon=True
        )
        worker.start()
        return worker, when


def check(study: optuna.Study, spec: Spec, workdir: Path) -> Iterator[str]:
    """Everything that does not hold."""
    trials = [t for t in study.get_trials() if t.state.name != "WAITING"]
    if not spec.freezes and len(trials) != spec.budget.trials:
        yield f"{len(trials)} trials instead of {spec.budget.trials}"
    counts = Leases(rdb(study).ours, study.user_attrs["uid"]).counts()
    if counts != {"done": len(trials)}:
        yield f"leases are left: {counts}"
    for trial in trials:
        yield from check_trial(study.study_name, trial, workdir, whole=not spec.freezes)
    left = (*workdir.rglob("*.tmp"), *workdir.rglob("*.tmp.*"), *workdir.rglob(f"{PREFIX}*"))
    yield from (f"left behind: {path.relative_to(workdir)}" for path in left)


def check_trial(study_name: str, trial: FrozenTrial, workdir: Path, whole: bool) -> Iterator[str]:
    """Args: whole: whether only one that came to its last step completes."""
    name = f"trial {trial.number}"
    if trial.state.name not in ("COMPLETE", "PRUNED"):
        yield f"{name} ended as {trial.state.name}: {trial.user_attrs.get('reason')}"
        return
    expected = dict(undisturbed(study_name, trial.params))
    values = trial.intermediate_values
    if any(expected[step] != value for step, value in values.items()):
        yield f"{name} reported {values}, undisturbed {expected}"
    last = max(values)
    complete = trial.state.name == "COMPLETE"
    wanted = min(value for step, value in expected.items() if step <= last) if complete else values[last]
    if trial.value != wanted or (complete and whole and last != STEPS):
        yield f"{name} has the value {trial.value} at step {last}, undisturbed {wanted}"
    if list(values) != [step for step in expected if step <= last]:
        yield f"{name} reported at steps {list(values)}"
    yield from check_steps(name, workdir / f"steps-{trial.number}.log")
    if checkpoint.newest(trial_folder(workdir / study_name, trial.number), lambda _: None) is None:
        yield f"{name} has no sound checkpoint"


def check_steps(name: str, log: Path) -> Iterator[str]:
    """One process at a time trained it, and each went on from where the one before had saved."""
    before, furthest, owner = 0, 0, ""
    for line in log.read_text().splitlines():
        process, what, text = line.split()
        step = int(text)
        if what == "start":
            owner, before = process, step
            if furthest - step > CHECKPOINT_EVERY:
                yield f"{name} went back from step {furthest} to {step}"
        elif process != owner or step != before + 1:
            yield f"{name} was trained by two: {line} after step {before} by {owner}"
        before, furthest = step, max(furthest, step)


def undisturbed(study_name: str, params: dict[str, Any]) -> Iterator[tuple[int, float]]:
    trained = network(study_name, params, Path(os.devnull), 0.0)
    while trained.step < STEPS:
        trained.advance()
        if trained.step % MEASURE_EVERY == 0:
            yield trained.step, trained.measure()["value"]


@click.command(help=__doc__)
@click.option("--kills", default=60, show_default=True, help="In each configuration.")
@click.option("--workers", default="1,2,4", show_default=True)
@click.option("--databases", default="sqlite,postgresql", show_default=True, help="On servers of its own.")
@click.option("--method", type=click.Choice(["prune", FREEZE_THAW]), default="prune", show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(kills: int, workers: str, databases: str, method: str, seed: int, form: str) -> None:
    FORKED.set_forkserver_preload(PRELOADED)
    torch.set_num_threads(1)
    prepare()
    rows: list[dict[str, Any]] = []
    for database in databases.split(","):
        for count in map(int, workers.split(",")):
            for row in configuration(database, count, kills, method, seed):
                for fault in row.pop("faults"):
                    click.echo(f"{database}, {count} workers, seed {seed}: {fault}", err=True)
                click.echo(json.dumps(row), err=True)
                rows.append(row)
    click.echo(formatted(rows, form))
    sys.exit(any(row["exceptions"] for row in rows))


def configuration(database: str, count: int, kills: int, method: str, seed: int) -> Iterator[dict[str, Any]]:
    workdir = Path(tempfile.mkdtemp(prefix="chaos-"))
    real = round(REAL_SHARE * kills)
    with nullcontext(f"sqlite:///{workdir}/study.db") if database == "sqlite" else postgresql_server() as url:
        for name, share in ((TOY, kills - real), (REAL, real)):
            began, place = time.monotonic(), workdir / name
            place.mkdir()
            loop = Loop(url, place, count, share, random.Random(seed), name, method)
            loop.run()
            yield {
                "database": database,
                "workers": count,
                "method": method,
                "network": name,
                "kills": loop.died,
                "trials": loop.trials,
                "exceptions": len(loop.faults),
                "seconds": round(time.monotonic() - began),
                "faults": [*loop.faults, *([f"see {place}"] if loop.faults else [])],
            }


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--worker":
        store = os.environ.get("SMART_TUNER_ARTIFACTS")
        shared = Artifacts.at(store) if store else None
        one_worker(os.environ["OPTUNA_STORAGE"], Path(sys.argv[2]), artifacts=shared)
    else:
        main()
