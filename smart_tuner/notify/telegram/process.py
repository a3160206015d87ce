"""Telegram's part of the process that runs beside the workers: it sends what waits, and answers commands."""

import math
import time
from collections.abc import Callable
from pathlib import Path

from smart_tuner.notify.telegram.client import Account, Bot
from smart_tuner.notify.telegram.listener import Commands, Listener
from smart_tuner.notify.telegram.sender import Alerts, channel, due_now
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.store.storage import Storage

FORGET_SECONDS = 60 * 86400.0
GoingOn = Callable[[], bool]


class Telling:
    """Sends the messages that wait.

    Args:
        before: puts what the clock makes due, such as digests; called once a minute.
        warn: called with what a person must know.
        stopping: the workers have ended: nothing is held back any more.
    """

    def __init__(
        self,
        account: Account,
        storage: Storage,
        workdir: Path,
        before: Callable[[], None],
        warn: Callable[[str], None],
        stopping: GoingOn = lambda: False,
    ) -> None:
        self._before, self._stopping, self._minute = before, stopping, -math.inf
        self._engine, self._channel = storage.ours, channel(workdir)
        self.alerts = Alerts(Bot(account, self._wait), storage.ours, workdir, warn, stopping)
        self._publisher = self.alerts.publisher()

    def __call__(self, going_on: GoingOn) -> None:
        if time.monotonic() > self._minute + 60.0:
            if self._minute < 0:
                self._begin()
            self._minute = time.monotonic()
            self._before()
        if self.alerts.off is None:
            if self._stopping():
                due_now(self._engine, self._channel, "held")
            self._publisher.drain(going_on)

    def _begin(self) -> None:
        due_now(self._engine, self._channel, "waiting")
        for start in ("told:", "held:", "message:", "sent:", "ask:", "digest:"):
            self.alerts.memory.forget(start, FORGET_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Sleep between messages, but not at the end: Telegram takes a few at once."""
        if not self._stopping():
            time.sleep(seconds)


class Hearing:
    """Answers the commands of the chat."""

    def __init__(
        self, account: Account, storage: Storage, commands: Commands, owner: str, warn: Callable[[str], None]
    ) -> None:
        self._listener = Listener(Bot(account), ChatState(storage.ours), commands, owner, warn)
        self._again = 0.0

    def __call__(self, going_on: GoingOn) -> None:
        if going_on() and time.monotonic() >= self._again:
            self._again = time.monotonic() + self._listener.listen()

    def close(self) -> None:
        self._listener.close()
