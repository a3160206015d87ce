"""How good searches are after equal steps, and after how many steps they are as good."""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.search.policies import DEFAULT, RANDOM
from benchmarks.search.table import Array, Table

PARTS = (0.25, 0.5, 1.0)
DRAWS = 1000  # of the bootstrap over seeds

Best = Mapping[str, Array]  # by search: the best value after each paid measure, shape (seeds, measures)
Seeds = NDArray[np.intp]  # rows of these; those of one seed belong together


class Interval(NamedTuple):
    """A figure and the 95 % interval around it."""

    found: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.found:.2f} ({self.low:.2f} to {self.high:.2f})"


def bootstrapped(figure: Callable[[Seeds], float], seeds: int) -> Interval:
    """A figure of all seeds, and of seeds drawn with replacement."""
    chance = np.random.default_rng(0)
    drawn = [figure(chance.integers(seeds, size=seeds)) for _ in range(DRAWS)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(figure(np.arange(seeds)), float(low), float(high))


def after(best: Array, measures: float) -> Array:
    """The best values of each seed after so many paid measures, shape (seeds,)."""
    return best[:, round(measures) - 1]


def measures_to(best: Array, target: float) -> Array:
    """Paid measures until the best value is at most `target`, shape (seeds,); all where it never was."""
    found: Array = np.minimum((best > target).sum(1) + 1.0, best.shape[1])
    return found


def middle(found: Array) -> float:
    """The median; of two in the middle, the smaller one."""
    return float(np.sort(found)[(len(found) - 1) // 2])


def values(best: Best, table: Table) -> Iterator[dict[str, Any]]:
    """Each search with the mean of its best values after parts of the budget."""
    for search, found in best.items():
        row: dict[str, Any] = {"search": search, "seeds": len(found)}
        for part in PARTS:
            ends = after(found, part * table.budget)
            row[f"best dB after {part:.0%} of the steps"] = bootstrapped(
                lambda seeds, ends=ends: float(ends[seeds].mean()),  # type: ignore[misc]
                len(found),
            )
        yield row


class Race:
    """Steps to a target: what one of the searches comes to with the whole budget, in the median.

    The median is that of the seeds that are asked about, so that its own uncertainty counts.
    """

    def __init__(self, best: Best, target: str, table: Table) -> None:
        self._ends = after(best[target], table.budget)
        self._measures = {search: cache(partial(measures_to, found)) for search, found in best.items()}
        self._quantum = table.quantum

    @property
    def everyone(self) -> Seeds:
        return np.arange(len(self._ends))

    def target(self, seeds: Seeds) -> float:
        return middle(self._ends[seeds])

    def steps(self, search: str, seeds: Seeds) -> float:
        return self._quantum * middle(self._measures[search](self.target(seeds))[seeds])

    def ratio(self, search: str, to: str) -> Interval:
        return bootstrapped(lambda seeds: self.steps(search, seeds) / self.steps(to, seeds), len(self._ends))


def steps(best: Best, table: Table) -> Iterator[dict[str, Any]]:
    """Each search with the median of its steps to what random search and Optuna's default come to."""
    for target in (RANDOM, DEFAULT):
        race = Race(best, target, table)
        wanted = race.target(race.everyone)
        for search, found in best.items():
            yield {
                "search": search,
                "target": f"{target}: {wanted:.2f} dB",
                "came to it": f"{(found[:, -1] <= wanted).mean():.0%}",
                "steps": round(race.steps(search, race.everyone)),
                f"of {RANDOM}": race.ratio(search, RANDOM),
                f"of {DEFAULT}": race.ratio(search, DEFAULT),
            }
