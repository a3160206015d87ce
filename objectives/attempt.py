"""A trial's life in one process: what it is given, what happens in it, and who is told."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import optuna

from objectives.base import Objective, Run
from smart_tuner.repair.rule import UNRESTRAINED, Entry, Restraint, Rule
from smart_tuner.repair.words import Reason
from smart_tuner.store.outage import Outage
from smart_tuner.store.records import Consumed


@dataclass(frozen=True)
class Step:
    """One optimizer step: which one, how long it took, and what it measured."""

    step: int
    seconds: float
    signals: Mapping[str, float]


@dataclass(frozen=True)
class Measured:
    """One measure of a run. Args: seconds: of training so far; more: what the objective measured beside."""

    step: int
    value: float
    seconds: float
    more: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        return {"step": self.step, "value": self.value, "seconds": self.seconds, **self.more}

    @classmethod
    def from_record(cls, row: Mapping[str, Any]) -> "Measured":
        more = {name: value for name, value in row.items() if name not in ("step", "value", "seconds")}
        return cls(row["step"], row["value"], row["seconds"], more)


End = tuple[str, float | None, Reason]  # what Optuna is told of a trial: state, value, reason


class Ledger(Protocol):
    """Where one trial's repairs are kept."""

    def add(self, entry: Entry) -> Entry: ...
    def flush(self) -> None: ...
    def take(self, entries: Sequence[Entry], step: int) -> None: ...


@dataclass(frozen=True)
class Plan:
    """How every trial of a study is trained, watched and measured.

    Args:
        settings: that the run begins with also where its checkpoint has others.
        seconds: of training, after which it ends with the next measure.
        patience: measures without a better value, or a smaller CER where it is listened to, after which it
            ends; None: it does not.
        restraint: where the rules only tell what they see.
    """

    steps: int
    measure_every: int
    validate_every: int
    rules: tuple[Rule, ...]  # none: train only
    searched: frozenset[str]  # settings whose repair ends the trial: with credit = "pure", those searched
    checkpoint_every: int
    settings: Mapping[str, int | float] = field(default_factory=dict)
    seconds: float = math.inf
    patience: int | None = None
    restraint: Restraint = UNRESTRAINED


@dataclass(frozen=True)
class Attempt:
    """A trial's life in one process.

    Args:
        folder: where its checkpoints and samples are; made by whoever holds the trial.
        asked_to_stop: asked after every step; a signal's number, 0 for another reason, or none.
        goes_on: asked at each measure but the last; else the trial is paused there.
        was_paused: the search has just chosen the trial, and is not asked where it begins.
        kept: told of every checkpoint that was written.
        consumed: told of every step.
    """

    trial: optuna.Trial
    folder: Path
    ledger: Ledger
    outage: Outage
    asked_to_stop: Callable[[], int | None] = lambda: None
    kept: Callable[[Path], None] = lambda _: None
    goes_on: Callable[[], bool] = lambda: True
    was_paused: bool = False
    consumed: Consumed = field(default_factory=Consumed)


@dataclass(frozen=True)
class Start:
    """An attempt as it begins. Args: parameters: those drawn; step: that of its newest measure, or 0."""

    attempt: Attempt
    objective: Objective
    run: Run
    parameters: Mapping[str, int | float]
    plan: Plan
    step: int


class Callback:
    """Told how a worker's trials go; whatever is not overridden does nothing.

    A callback is entered, as a context, when a worker begins, and left when it ends, with what ended it.
    What a method raises ends the attempt as a fault of the machine: its trial goes on from its checkpoint.
    """

    def __enter__(self) -> "Callback":
        return self

    def __exit__(self, *ended_by: Any) -> None: ...

    def progressed(self, study: str, done: int, trials: int, best: str) -> None:
        """Before each trial: how many were begun, of how many; the best value with its unit, or ""."""

    def started(self, start: Start) -> None:
        """An attempt at a trial begins, or goes on."""

    def stepped(self, step: Step) -> None: ...

    def repaired(self, entry: Entry) -> None:
        """A rule saw something, and what came of it: also alarms, verdicts and the end."""

    def measured(self, measured: Measured) -> None: ...

    def added(self, measured: Measured, more: Mapping[str, Any]) -> None:
        """Further numbers of a measure became known. Args: measured: with them; more: they alone."""

    def shown(self, step: int) -> None:
        """The files in the attempt's folder that show the run's best state (`Run.shows`) are new."""

    def saving(self, step: int) -> None:
        """A checkpoint is about to be written: steps before it will never be trained again."""

    def saved(self, step: int, checkpoint: Path) -> None: ...

    def left(self, end: End | None) -> None:
        """An attempt is over: how its trial will end, or None where somebody goes on with it."""

    def lost(self) -> None:
        """An attempt is over that was thought dead: its trial is another one's, and not to be touched."""

    def ended(self, number: int, state: str, value: float | None, reason: str) -> None:
        """A trial ended, whoever ran it. What this raises of the database's errors lets it be told again."""

    def warned(self, text: str) -> None: ...


class Callbacks(Callback):
    """Several, told in their order."""

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.each = tuple(callbacks)
        self._entered = ExitStack()

    def __enter__(self) -> "Callbacks":
        for callback in self.each:
            self._entered.enter_context(callback)
        return self

    def __exit__(self, *ended_by: Any) -> None:
        self._entered.__exit__(*ended_by)


def _to_each(name: str) -> Callable[..., None]:
    def tell(self: Callbacks, *told: Any) -> None:
        for callback in self.each:
            getattr(callback, name)(*told)

    return tell


for _name in vars(Callback):
    if not _name.startswith("_"):
        setattr(Callbacks, _name, _to_each(_name))
