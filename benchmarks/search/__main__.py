"""Searches at equal consumed steps, simulated on surrogates of 134 real trainings.

Trainings are those of benchmarks/search/tiny.jsonl: the tiny stage without rules, five settings, 240 steps.
A search has the steps of 30 whole trials, and pays for each that it takes. Prints, for both surrogates, the
best distance after parts of the steps, and in how many steps a search comes to what random search and
Optuna's default come to with all of them, in the median, as a ratio to theirs. Intervals are 95 %,
bootstrapped over seeds, the same ones in every search.
"""

from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np
import optuna
from rich.console import Console
from rich.progress import track

from benchmarks.search.figures import BUDGET, Best, Interval, steps, values
from benchmarks.search.ledger import searched
from benchmarks.search.policies import POLICIES, RANDOM
from benchmarks.search.table import read
from benchmarks.search.worlds import WORLDS, World
from studies.report.summary import formatted

BEYOND = 2  # times the budget that is simulated, so that a slower search comes to its target, too
BEYOND_RANDOM = 8


def simulated(world: World, seeds: int) -> Best:
    runs = [(name, seed) for seed in range(seeds) for name in POLICIES]
    found: dict[str, list[list[float]]] = {name: [] for name in POLICIES}
    for name, seed in track(runs, world.name, console=Console(stderr=True), transient=True):
        beyond = BEYOND_RANDOM if name == RANDOM else BEYOND
        found[name].append(searched(POLICIES[name], world, seed, beyond * BUDGET).best)
    return {name: np.array(best) for name, best in found.items()}


def rows(
    by_world: dict[str, Best], figures: Callable[[Best], Iterator[dict[str, Any]]]
) -> list[dict[str, Any]]:
    return [{"surrogate": name, **row} for name, best in by_world.items() for row in figures(best)]


def in_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: str(value) if isinstance(value, Interval) else value for key, value in row.items()}
        for row in rows
    ]


@click.command(help=__doc__)
@click.option("--seeds", default=200, show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(seeds: int, form: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = read()
    by_world = {kind.name: simulated(kind(table), seeds) for kind in WORLDS}
    found = {"values": rows(by_world, values), "steps": rows(by_world, steps)}
    if form == "json":
        click.echo(formatted(found, form))
    else:
        for part in found.values():
            click.echo(formatted(in_words(part), form))


if __name__ == "__main__":
    main()
