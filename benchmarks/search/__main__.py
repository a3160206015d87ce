"""Searches at equal consumed steps, simulated on surrogates of real trainings.

Trainings without rules: 134 of the tiny stage (five settings, 240 steps) and 64 of the quickstart (its own
space, 400 steps). A search has the steps of 30 and of 8 whole trials, and pays for each that it takes.
Prints, for both surrogates of either, the best distance after parts of the steps, and in how many steps a
search comes to what random search and Optuna's default come to with all of them, in the median, as a ratio to
theirs. Intervals are 95 %, bootstrapped over seeds, the same ones in every search.
"""

from collections.abc import Callable, Iterator
from typing import Any

import click
import numpy as np
import optuna
from rich.console import Console
from rich.progress import track

from benchmarks.search.figures import Best, Interval, steps, values
from benchmarks.search.ledger import searched
from benchmarks.search.policies import POLICIES, RANDOM
from benchmarks.search.table import QUICKSTART, TINY, Table
from benchmarks.search.worlds import WORLDS, World
from studies.report.summary import formatted

TABLES = {table.name: table for table in (TINY, QUICKSTART)}
BEYOND = 2  # times the budget that is simulated, so that a slower search comes to its target, too
BEYOND_RANDOM = 8


def simulated(world: World, seeds: int) -> Best:
    runs = [(name, seed) for seed in range(seeds) for name in POLICIES]
    found: dict[str, list[list[float]]] = {name: [] for name in POLICIES}
    label = f"{world.table.name}, {world.name}"
    for name, seed in track(runs, label, console=Console(stderr=True), transient=True):
        beyond = BEYOND_RANDOM if name == RANDOM else BEYOND
        found[name].append(searched(POLICIES[name], world, seed, beyond * world.table.budget).best)
    return {name: np.array(best) for name, best in found.items()}


def rows(
    by_world: dict[World, Best], figures: Callable[[Best, Table], Iterator[dict[str, Any]]]
) -> list[dict[str, Any]]:
    return [
        {"trainings": world.table.name, "surrogate": world.name, **row}
        for world, best in by_world.items()
        for row in figures(best, world.table)
    ]


def in_words(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {key: str(value) if isinstance(value, Interval) else value for key, value in row.items()}
        for row in rows
    ]


@click.command(help=__doc__)
@click.option("--table", "names", type=click.Choice(list(TABLES)), multiple=True, default=list(TABLES))
@click.option("--seeds", default=200, show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(names: tuple[str, ...], seeds: int, form: str) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    worlds: list[World] = [kind(TABLES[name]) for name in names for kind in WORLDS]
    by_world = {world: simulated(world, seeds) for world in worlds}
    found = {"values": rows(by_world, values), "steps": rows(by_world, steps)}
    if form == "json":
        click.echo(formatted(found, form))
    else:
        for part in found.values():
            click.echo(formatted(in_words(part), form))


if __name__ == "__main__":
    main()
