"""How a worker is stopped from outside, and starts itself again when it hangs."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def _stopping() -> list[int]:
    """The signals that ask for a stop; a closed terminal is nothing to a process under nohup."""
    closed = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *closed]


@contextmanager
def heard_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """The signals that ask for a stop go to `handler`; afterwards, to whoever had them before."""
    before = {number: signal.signal(number, handler) for number in _stopping()}
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


def start_again(silent: float) -> None:
    """Replace this process by a new one that goes on from the newest checkpoint. The hung trial counts as
    lost, so that one that hangs again and again is given up (budget.retries)."""
    print(f"no step for {silent:.0f} s (stacks above): starting again", file=sys.stderr, flush=True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
