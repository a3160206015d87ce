"""What to do while the database cannot be reached: wait, or go on and write later."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

UNREACHABLE = (OperationalError, InterfaceError, PoolTimeout, StorageInternalError)
BUDGET_SECONDS = 600.0
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds
AWAY_SECONDS = 30.0
T = TypeVar("T")


class Fenced(Exception):
    """Another attempt has the trial: this one may write nothing more."""


class StorageLost(RuntimeError):
    """The database stayed away for longer than a run waits; nothing is lost."""


class DatabaseGone(RuntimeError):
    """The database that was opened is there no more, or is not what it was: waiting would not help."""


class Patient:
    """Something that keeps what it has to write while the database is away."""

    _away_until = -math.inf

    def flush(self) -> None:
        """Write all that waits. Raises what the database raises; then it goes on waiting."""
        raise NotImplementedError

    def flush_if_reachable(self) -> None:
        """After a failure the database is left alone for a while, so that a step does not wait for it."""
        if time.monotonic() < self._away_until:
            return
        try:
            self.flush()
        except UNREACHABLE:
            self._away_until = time.monotonic() + AWAY_SECONDS


@dataclass
class Failing:
    """A call that does not work: since when, and how often it was tried."""

    since: float
    times: int = 0


class Outage:
    """How long the database has been away, and what a run does about it.

    It is away for a call until that call works again, whatever others do meanwhile: a database that can
    still be read helps nobody who has to write.

    Args:
        warn: told once when an outage begins and once when it is over.
        budget: seconds after which a run gives up.
        stopping: whether the run was asked to stop; then nothing is waited for.
        over: called when the database is back.
    """

    def __init__(
        self,
        warn: Callable[[str], None],
        budget: float = BUDGET_SECONDS,
        stopping: Callable[[], bool] = lambda: False,
        over: Callable[[], None] = lambda: None,
    ) -> None:
        self._warn, self._budget, self._stopping, self._over = warn, budget, stopping, over
        self._failing: dict[object, Failing] = {}  # calls that failed last
        self._silent: float | None = None  # since when no call at all has worked

    def wait_for(self, call: Callable[[], T]) -> T:
        """Call until the database answers. Raises StorageLost when it stays away."""
        wait = FIRST_WAIT
        while True:
            try:
                found = call()
            except UNREACHABLE as error:
                lost = self._away(call, error)
                if self._stopping():
                    raise lost from error
                time.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                self._back(call)
                return found

    def attempt(self, call: Callable[[], object]) -> bool:
        """Call once; whether the database answered. What could not be written is for the next call.

        Raises StorageLost when it has been away for too long.
        """
        try:
            call()
        except UNREACHABLE as error:
            self._away(call, error)
            return False
        self._back(call)
        return True

    def _away(self, call: Callable[[], object], error: Exception) -> StorageLost:
        if isinstance(cause := _cause(error), SQLAlchemyError) and not isinstance(cause, UNREACHABLE):
            raise error  # the database answers, and what it says will not change
        now = time.monotonic()
        if not self._failing:
            self._warn(f"the database cannot be reached ({in_short(error)}); going on, and trying again")
        self._silent = now if self._silent is None else self._silent
        failing = self._failing.setdefault(_place(call), Failing(self._silent))
        failing.times += 1
        away = now - failing.since
        lost = StorageLost(
            f"The database has been away for {away:.0f} s.\n{in_short(error)}\n"
            "Everything is in the trial's checkpoint; when the database is back, resume the study."
        )
        # Two of a place that is seldom called, when all else has worked between, may have been two outages.
        if away > self._budget and (failing.times > 2 or now - self._silent > self._budget):
            raise lost from error
        return lost

    def _back(self, call: Callable[[], object]) -> None:
        self._silent = None
        failing = self._failing.pop(_place(call), None)
        if failing is None:
            return
        since = failing.since
        # Calls that have failed since the same instant, or later, met the same outage.
        self._failing = {place: other for place, other in self._failing.items() if other.since < since}
        if not self._failing:
            self._warn(f"the database is back after {time.monotonic() - since:.0f} s; nothing was lost")
        self._over()


def _place(call: Callable[[], object]) -> object:
    """What two calls from the same place in the program have in common: a lambda's code."""
    return getattr(call, "__code__", call)


def in_short(error: Exception) -> str:
    """The first line of the driver's error, without the statements and parameters that SQLAlchemy adds."""
    cause = _cause(error)
    origin = getattr(cause, "orig", None) or cause
    return first_line(origin)


def first_line(error: BaseException) -> str:
    """What an error says first; its kind, if it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _cause(error: BaseException) -> BaseException:
    """The error behind one of Optuna's storage."""
    while isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return error
