"""What a simulated search pays: every optimizer step that it lets a trial take."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np

from benchmarks.search.table import PLAN, QUANTUM, Array
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
    def step(self) -> int:
        return len(self.values) * QUANTUM

    @property
    def best(self) -> float:
        return min(self.values)

    @property
    def is_whole(self) -> bool:
        return self.step == PLAN

    def go_on(self) -> float:
        """Train to the next measure, and return it. Raises Spent."""
        value = float(self._curve[len(self.values)])
        self._pay(value)
        self.values.append(value)
        return value


class Ledger:
    """Trials of one search and its best value after each 60 steps that it paid for."""

    def __init__(self, world: World, seed: int, steps: int) -> None:
        self.trials: list[Trial] = []
        self.best: list[float] = []
        self._world, self._seed, self._steps = world, seed, steps

    @property
    def paid(self) -> int:
        return len(self.best) * QUANTUM

    def begin(self, point: Array) -> Trial:
        """A new trial, untrained. The luck of the n-th is the same in every search with this seed."""
        curve = self._world.curve(point, np.random.default_rng([self._seed, len(self.trials)]))
        self.trials.append(trial := Trial(point, curve, self._pay))
        return trial

    def _pay(self, value: float) -> None:
        if self.paid >= self._steps:
            raise Spent
        self.best.append(min([value, *self.best[-1:]]))


Policy = Callable[[Ledger, int], None]  # searches, by this seed, until steps are spent


def searched(policy: Policy, world: World, seed: int, steps: int) -> Ledger:
    ledger = Ledger(world, seed, steps)
    with suppress(Spent):
        policy(ledger, seed)
    return ledger
