"""Signals that stop a worker; starting again when it hangs; output whose reader has gone."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any, TextIO, cast

READER_GONE = (errno.EPIPE, errno.EIO)  # of a pipe, of a terminal


def _stopping() -> list[int]:
    """The signals that ask for a stop; without that of a closed terminal for a process under nohup."""
    closed = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *closed]


@contextmanager
def heard_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """The signals that ask for a stop go to `handler`; afterwards, to whoever had them before.

    Only a process's main thread can listen to signals; in any other one nothing is changed.
    """
    listening = current_thread() is main_thread()
    before = {number: signal.signal(number, handler) for number in _stopping() if listening}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class StopSignal:
    """Ctrl-C, SIGTERM or a closed terminal asks for a stop at the next step; the same again ends at once."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.received: int | None = None
        self.beat: Callable[[], None] = lambda: None
        self._warn = warn

    def asked(self) -> int | None:
        """The signal that came, if any; asked after every step, which is a sign of life."""
        self.beat()
        return self.received

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.received = number
        signal.signal(number, signal.SIG_DFL)
        self._warn("finishing the step and saving; press Ctrl-C again to quit at once")


def to_nobody(*descriptors: int) -> None:
    """Let what is written to these descriptors go nowhere: their reader is gone."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    for descriptor in descriptors:
        os.dup2(nobody, descriptor)
    os.close(nobody)


def aside(stream: TextIO | None) -> TextIO:
    """A stream for what is said about the work: where its reader goes away, it is written nowhere."""
    return cast(TextIO, _Aside(stream or open(os.devnull, "w")))  # it was closed before we began


class _Aside:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._unless_gone(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._unless_gone(self._stream.flush)

    def _unless_gone(self, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            if error.errno in READER_GONE:  # otherwise, as on a full disk, there may be room again
                to_nobody(self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def start_again(silent: float) -> None:
    """Replace this process by a new one that goes on from the newest checkpoint. The hung trial counts as
    lost, so that one that hangs again and again is given up (budget.retries)."""
    print(f"no step for {silent:.0f} s (stacks above): starting again", file=aside(sys.stderr), flush=True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
