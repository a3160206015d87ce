"""Trains what benchmarks/search/quickstart.jsonl has: settings of the quickstart's space, to the plan's end.

Forty are drawn from all over the space (keys s), twenty near the best eight of those (g), and the best four
of all are trained again from another seed (n). No rule watches and nothing is pruned. A row of RESULTS, a
file of JSON lines, has the distance in dB at each measure and what else is measured there; what it has is not
trained again.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from benchmarks.faults.stage import HOME
from benchmarks.search.table import QUICKSTART
from model.data.corpus import Corpus
from model.settings import Settings
from model.training import Training
from objectives.base import NonFinite
from objectives.quality import Judge, yardstick
from objectives.tacotron2 import Tacotron2Run
from studies.file.spec import Spec
from studies.run import data

ANYWHERE, NEAR, BEST, AGAIN = 40, 20, 8, 4
NAMES = ("value", "failure_share", "mel_l1", "diagonal_score", "gate_accuracy")  # of a measure
Row = Mapping[str, Any]


def parts(rows: Callable[[], list[Row]]) -> Iterator[list[Row]]:
    """What is to be trained, without what comes of it: the later parts depend on that."""
    space, chance = QUICKSTART.cube, np.random.default_rng(0)
    yield named("s", map(space.values, space.drawn(ANYWHERE, chance)))
    good = np.array([space.point(row["settings"]) for row in best(rows(), "s")[:BEST]])
    yield named("g", map(space.values, space.near(good[np.arange(NEAR) % BEST], chance)))
    yield [
        {"key": f"n{row['key']}", "seed": row["seed"] + 1000, "settings": row["settings"]}
        for row in best(rows(), "sg")[:AGAIN]
    ]


def named(kind: str, drawn: Iterable[Mapping[str, Any]]) -> list[Row]:
    return [{"key": f"{kind}{at}", "seed": at, "settings": settings} for at, settings in enumerate(drawn)]


def best(rows: list[Row], kinds: str) -> list[Row]:
    return sorted((row for row in rows if row["key"][0] in kinds), key=lambda row: row["distances"][-1])


@cache
def corpus() -> tuple[Spec, Corpus]:
    spec = QUICKSTART.spec
    return spec, data.load(spec, HOME, lambda *_: None, lambda _: None)


def trained(row: Row) -> Row:
    torch.set_num_threads(1)
    spec, speech = corpus()
    settings = Settings(**(spec.fixed | row["settings"]))
    dimensions = spec.voice.dimensions(len(speech.front_end.symbols))
    training = Training(speech, dimensions, settings, row["seed"])
    items = speech.held_out[: spec.objective.sentences]
    judge = Judge(items, spec.objective.draws, spec.seed, yardstick(items, speech.mel_settings))
    run, measures = Tacotron2Run(training, judge), []
    with suppress(NonFinite):
        while run.step < spec.objective.steps:
            training.advance()
            if run.step % spec.objective.measure_every == 0:
                measures.append(run.measure())
    found = {name: [round(float(measure[name]), 4) for measure in measures] for name in NAMES}
    missing = spec.objective.steps // spec.objective.measure_every - len(measures)
    distances = found.pop("value") + missing * [round(judge.yardstick.mismatch, 4)]  # of one that broke off
    return {**row, "distances": distances, **found, "seconds": round(training.seconds, 1)}


@click.command(help=__doc__)
@click.argument("results", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--workers", default=2, show_default=True)
def main(results: Path, workers: int) -> None:
    def rows() -> list[Row]:
        lines = results.read_text("utf-8").splitlines() if results.exists() else []
        return [json.loads(line) for line in lines]

    pool = ProcessPoolExecutor(workers, get_context("spawn"))
    with pool, Progress(console=Console(stderr=True)) as progress:
        for part in parts(rows):
            had = {row["key"] for row in rows()}
            missing = [row for row in part if row["key"] not in had]
            task = progress.add_task("trainings", total=len(part), completed=len(part) - len(missing))
            for row in pool.map(trained, missing):
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                progress.advance(task)


if __name__ == "__main__":
    main()
