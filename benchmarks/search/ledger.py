"""What a simulated search pays: every optimizer step that it lets a trial take."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from benchmarks.search.table import Array
from benchmarks.search.worlds import World


class Spent(Exception):
    """The search's steps are used up."""


class Trial:
    """One training, which may pause and go on."""

    def __init__(self, point: Array, curve: Array, pay: Callable[[float], None]) -> None:
        self.point = point
        self.values: list[float] = []  # measured so far
        self._curve, self._pay = curve, pay

    @property
    def best(self) -> float:
        return min(self.values)

    @property
    def is_whole(self) -> bool:
        return len(self.values) == len(self._curve)

    def go_on(self) -> float:
        """Train to the next measure, and return it. Raises Spent."""
        value = float(self._curve[len(self.values)])
        self._pay(value)
        self.values.append(value)
        return value


class Ledger:
    """Trials of one search and its best value after each measure that it paid for.

    Args:
        measures: so many may be paid for.
    """

    def __init__(self, world: World, seed: int, measures: int) -> None:
        self.trials: list[Trial] = []
        self.best: list[float] = []
        self.table = world.table
        self._world, self._seed, self._measures = world, seed, measures

    def begin(self, point: Array) -> Trial:
        """A new trial, untrained. The luck of the n-th is the same in every search with this seed."""
        curve = self._world.curve(point, np.random.default_rng([self._seed, len(self.trials)]))
        self.trials.append(trial := Trial(point, curve, self._pay))
        return trial

    def _pay(self, value: float) -> None:
        if len(self.best) >= self._measures:
            raise Spent
        self.best.append(min([value, *self.best[-1:]]))


Policy = Callable[[Ledger, int], None]  # searches, by this seed, until all is spent


def searched(policy: Policy, world: World, seed: int, measures: int) -> Ledger:
    ledger = Ledger(world, seed, measures)
    with suppress(Spent):
        policy(ledger, seed)
    return ledger
