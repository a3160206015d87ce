"""What to do while the database cannot be reached: wait, or go on and tell it later."""

import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
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


class Patient:
    """Keeps what it has to write while the database is away."""

    _away_until = -math.inf

    def flush(self) -> None:
        """Raises what the database raises; then all waits."""
        raise NotImplementedError

    def flush_if_reachable(self) -> None:
        """After a failure the database is left alone for a while, so that a step does not wait for it."""
        if time.monotonic() < self._away_until:
            return
        try:
            self.flush()
        except UNREACHABLE:
            self._away_until = time.monotonic() + AWAY_SECONDS


class Outage:
    """How long the database has been away, and what a run does about it.

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
        self._since: float | None = None

    def wait_for(self, call: Callable[[], T]) -> T:
        """Call until the database answers. Raises StorageLost when it stays away."""
        wait = FIRST_WAIT
        while True:
            try:
                found = call()
            except UNREACHABLE as error:
                self._away(error)
                if self._stopping():
                    raise StorageLost(self._lost(error)) from error
                time.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                self._back()
                return found

    def attempt(self, call: Callable[[], object]) -> bool:
        """Call once; whether the database answered. What could not be told must be told with the next call.

        Raises StorageLost when it has been away for too long.
        """
        try:
            call()
        except UNREACHABLE as error:
            self._away(error)
            return False
        self._back()
        return True

    def _away(self, error: Exception) -> None:
        if isinstance(error, DBAPIError) and not error.connection_invalidated and "no such" in str(error):
            raise error  # the database answers, and what it says will not change
        now = time.monotonic()
        if self._since is None:
            self._since = now
            self._warn(f"the database cannot be reached ({_short(error)}); going on, and trying again")
        if now - self._since > self._budget:
            raise StorageLost(self._lost(error)) from error

    def _back(self) -> None:
        if self._since is not None:
            self._warn(f"the database is back after {time.monotonic() - self._since:.0f} s; nothing was lost")
            self._since = None
            self._over()

    def _lost(self, error: Exception) -> str:
        assert self._since is not None
        return (
            f"The database has been away for {time.monotonic() - self._since:.0f} s.\n{_short(error)}\n"
            "Everything is in the trial's checkpoint; when the database is back, resume the study."
        )


def _short(error: Exception) -> str:
    """The driver's own first line: SQLAlchemy adds statements and parameters."""
    cause: BaseException = error
    while isinstance(cause, StorageInternalError) and cause.__cause__ is not None:
        cause = cause.__cause__
    origin = getattr(cause, "orig", None) or cause
    return (str(origin).splitlines() or [type(origin).__name__])[0]
