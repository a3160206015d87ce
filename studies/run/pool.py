"""Several workers on this machine, each a process of its own, ended with their parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from smart_tuner import files
from studies.run.signals import heard_by, to_nobody

POLL_SECONDS = 0.2
MAX_RESTARTS = 3  # of a worker that a signal killed
PARENT = "SMART_TUNER_PARENT"  # environment: the process whose end is a worker's, too


class Pool:
    """Runs each command in a process; what they say is passed on, each line with its worker's number.

    A worker that is killed is started again, and takes its trial up; one that ends with a fault stays out.
    """

    def __init__(self, commands: Sequence[Sequence[str]], say: Callable[[str], None]) -> None:
        self._commands, self._say = commands, say
        self._workers: dict[int, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []
        self._stopping = 0

    def run(self) -> int:
        """The exit code: 0 when all ended well, else the first worker's that did not."""
        try:
            with heard_by(self._stop):
                for number, _ in enumerate(self._commands, start=1):
                    self._start(number)
                return self._watch()
        finally:
            for worker in self._workers.values():
                worker.kill()
            for reader in self._readers:
                reader.join(timeout=5)

    def _start(self, number: int) -> None:
        worker = subprocess.Popen(
            list(self._commands[number - 1]),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, PARENT: str(os.getpid())},
            start_new_session=True,  # Ctrl-C reaches the parent alone, which passes it on
        )
        self._workers[number] = worker
        reader = threading.Thread(target=self._pass_on, args=(number, worker.stdout), daemon=True)
        self._readers.append(reader)
        reader.start()

    def _pass_on(self, number: int, lines: IO[str]) -> None:
        for line in lines:
            self._say(f"worker {number}: {line.rstrip()}")

    def _watch(self) -> int:
        failed, restarts = 0, dict.fromkeys(self._workers, 0)
        while self._workers:
            for number, worker in list(self._workers.items()):
                code = worker.poll()
                if code is None:
                    continue
                del self._workers[number]
                if code < 0 and not self._stopping and restarts[number] < MAX_RESTARTS:
                    restarts[number] += 1
                    self._say(f"worker {number} was killed by signal {-code}; starting it again")
                    self._start(number)
                elif code:
                    failed = failed or (code if code > 0 else 128 - code)
            time.sleep(POLL_SECONDS)
        return 128 + self._stopping if self._stopping else failed

    def _stop(self, number: int, _: object) -> None:
        """Ask all workers to stop; at the second signal, kill them."""
        for worker in self._workers.values():
            worker.send_signal(signal.SIGKILL if self._stopping else number)
        self._stopping = number


@contextmanager
def beside(
    command: Sequence[str],
    end_seconds: float,
    log: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Iterator[None]:
    """Run `command` as long as this context lasts; at its end it has so long to end itself.

    SIGTERM waits until the child unblocks it, which it does where it can end well: an end that comes while
    it still loads its libraries leaves nothing unsent.

    Args:
        log: where it says what it has to say; None: the error output.
    """
    with os.fdopen(files.log(log), "ab") if log else nullcontext(sys.stderr) as said:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            child = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**environment, PARENT: str(os.getpid())},
                start_new_session=True,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        yield
    finally:
        child.terminate()
        try:
            child.wait(end_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def end_with_parent(check_seconds: float = 2.0) -> None:
    """In a worker of a pool: ask this process to stop when its parent is gone."""
    parent = int(os.environ.get(PARENT, 0))
    if not parent:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(check_seconds)
        to_nobody(1, 2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
