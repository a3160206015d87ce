"""The synthesis client: asks a child process for speech, one text at a time; a few may wait."""

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smart_tuner.lazy import LazyModule

if TYPE_CHECKING:
    from dashboards.synthesis import worker
else:  # it loads torch, for which only the child has a use
    worker = LazyModule("dashboards.synthesis.worker")

LONGEST_TEXT = 500  # characters of a sentence
WAITING = 4
SECONDS = 60.0  # for a sentence, which may be spoken and listened to four times
START_SECONDS = 180.0  # to load torch, on a machine that trains


class Busy(RuntimeError):
    """More sentences wait than may."""


class Lost(RuntimeError):
    """The sentence took too long, or the process that spoke died; the next one gets a new process."""


def in_child(pipe: Connection, url: str, workdir: Path) -> None:
    worker.serve(pipe, url, workdir)


class SynthesisClient:
    """Has texts spoken; may be used from any thread.

    Args:
        serve: what the child runs: serve(pipe, *arguments); it says once when it is ready.
    """

    def __init__(
        self,
        serve: Callable[..., None],
        arguments: tuple[str, Path],
        seconds: float = SECONDS,
        waiting: int = WAITING,
    ) -> None:
        self._serve, self._arguments, self._seconds = serve, arguments, seconds
        self._places = threading.BoundedSemaphore(1 + waiting)
        self._turn = threading.Lock()
        self._child: BaseProcess | None = None
        self._pipe: Connection | None = None

    def speak(self, study: str, trial: int | None, text: str) -> dict[str, Any]:
        """What the child answers. Raises Busy or Lost."""
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            with self._turn:
                return self._asked((study, trial, text))
        finally:
            self._places.release()

    def answer(self, study: str, text: str) -> dict[str, Any]:
        """As `speak`, by the study's best voice; does not raise, but answers the error "busy" or "lost"."""
        try:
            return self.speak(study, None, text)
        except (Busy, Lost) as error:
            return {"error": type(error).__name__.lower()}

    def close(self) -> None:
        with self._turn:
            self._end()

    def _asked(self, request: tuple[str, int | None, str]) -> dict[str, Any]:
        try:
            pipe = self._ready()
            pipe.send(request)
            answer: dict[str, Any] = self._received(pipe, self._seconds)
        except (EOFError, OSError) as error:
            self._end()
            raise Lost("the process that speaks ended") from error
        return answer

    def _ready(self) -> Connection:
        if self._pipe is None or self._child is None or not self._child.is_alive():
            self._end()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            self._child = context.Process(target=self._serve, args=(theirs, *self._arguments), daemon=True)
            self._child.start()
            theirs.close()
            self._received(self._pipe, START_SECONDS)
        return self._pipe

    def _received(self, pipe: Connection, seconds: float) -> Any:
        if not pipe.poll(seconds):
            self._end()
            raise Lost(f"no answer within {seconds:g} s")
        return pipe.recv()

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._child.close()
        if self._pipe is not None:
            self._pipe.close()
        self._child = self._pipe = None
