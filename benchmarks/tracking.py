"""What tracking costs: the same training with MLflow's outbox and TensorBoard, and without, in turns.

A block of 50 steps holds one batch for the outbox, in SQLite, and one checkpoint's flush; the checkpoint
itself, pictures and sounds are left out, since they come at measures. The median of all blocks counts. What
the process that sends to MLflow takes is given apart: it runs beside the training.
"""

import statistics
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from benchmarks.chaos import Toys
from benchmarks.train_step import CASES, timed, training
from model.training import Training
from objectives.base import Step
from objectives.tacotron2 import step_signals
from objectives.trial import Attempt, Start
from smart_tuner.notify.sender import publishers
from smart_tuner.notify.tracking import BATCH
from smart_tuner.store.outage import Outage
from smart_tuner.store.storage import open_storage
from studies.callbacks.trackers import Trackers
from studies.file.spec import load
from studies.report.summary import formatted
from studies.run.study import open_study
from studies.run.training import plan_of


def compare(name: str, blocks: int) -> dict[str, Any]:
    plain, other = training(CASES[name]), training(CASES[name])
    ratios: list[float] = []
    steps: list[float] = []
    own: list[float] = []
    with tempfile.TemporaryDirectory() as place:
        workdir, url = Path(place), f"sqlite:///{place}/study.db"
        storage = open_storage(url)
        spec = load("quickstart")
        trackers = Trackers(open_study(spec, storage), workdir, click.echo)
        trial: Any = SimpleNamespace(number=0, user_attrs={"settings": asdict(other.settings)})
        nothing: Any = None
        attempt = Attempt(trial, workdir / "trial-0000", nothing, Outage(click.echo))
        trackers.started(Start(attempt, Toys(), nothing, {}, plan_of(spec), 0))
        for _ in track(range(blocks + 1), name, console=Console(stderr=True), transient=True):
            alone, told, telling = block(plain, other, trackers)
            ratios.append(told / alone)
            steps.append(alone / BATCH)
            own.append(telling / BATCH)
        trackers.left(None)
        began = time.process_time()
        publisher, first = publishers(storage, url, workdir)[0], iter((True, False))
        publisher.drain(lambda: next(first))  # makes MLflow's tables
        loading = time.process_time() - began
        publisher.drain()
        sending = time.process_time() - began - loading
        storage.close()
    del ratios[0], steps[0], own[0]  # the first allocate
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "case": name,
        "step_ms": round(1000 * statistics.median(steps), 1),
        "tracking": f"{statistics.median(ratios) - 1:+.2%}",
        "quartiles": f"{quarters[0] - 1:+.2%} to {quarters[2] - 1:+.2%}",
        "own_ms_a_step": round(1000 * statistics.median(own), 2),
        "blocks": blocks,
        "publisher_start_s": round(loading, 1),
        "publisher_ms_a_step": round(1000 * sending / (BATCH * (blocks + 1)), 2),
    }


def block(plain: Training, other: Training, trackers: Trackers) -> tuple[float, float, float]:
    """Seconds of the untold steps, of the told ones, and of telling alone."""
    alone = told = telling = 0.0
    for _ in range(BATCH):
        alone += timed(plain.advance)
        began = time.perf_counter()
        measures = other.advance()
        told += time.perf_counter() - began
        done = Step(measures.step, measures.seconds, step_signals(measures))
        telling += timed(partial(trackers.stepped, done))
    telling += timed(lambda: trackers.saving(other.step))
    return alone, told + telling, telling


@click.command(help=__doc__)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Default: quickstart.")
@click.option("--blocks", default=15, show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(names: tuple[str, ...], blocks: int, form: str) -> None:
    click.echo(formatted([compare(name, blocks) for name in names or ("quickstart",)], form))


if __name__ == "__main__":
    main()
