"""Notices a worker that hangs, from a thread of its own: nothing inside the training could."""

import faulthandler
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

FIRST_SECONDS = 1200.0  # before anything is known of a step's length
LEAST_SECONDS = 300.0
PAUSES = 10.0  # times the longest pause so far


class Watchdog:
    """Calls `on_stall` from its own thread when no beat came for too long.

    That is LEAST_SECONDS, or PAUSES times the longest time between two beats so far, whichever is longer.
    """

    def __init__(
        self, on_stall: Callable[[float], None], first: float = FIRST_SECONDS, least: float = LEAST_SECONDS
    ) -> None:
        self._on_stall, self._limit, self._least = on_stall, first, least
        self._longest, self._beat, self._beats = 0.0, time.monotonic(), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self) -> None:
        now = time.monotonic()
        if self._beats:
            self._longest = max(self._longest, now - self._beat)
            self._limit = max(self._least, PAUSES * self._longest)
        self._beat, self._beats = now, self._beats + 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(min(self._limit, self._least) / 4):
            silent = time.monotonic() - self._beat
            if silent > self._limit:
                faulthandler.dump_traceback(sys.__stderr__ or sys.stderr, all_threads=True)
                self._on_stall(silent)
                return
