"""The process that sends what waits in the outbox: one a workdir, which begins and ends with its workers."""

import fcntl
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from smart_tuner import files
from smart_tuner.notify.outbox import Payload, Publisher, concealed
from smart_tuner.notify.tracking import CHANNEL, files_channel
from smart_tuner.store.outage import UNREACHABLE, DatabaseGone
from smart_tuner.store.storage import Storage, mlflow_url
from smart_tuner.store.tables import OUTBOX

FILE = "sqlite:///"
URI, LOGINS = "MLFLOW_TRACKING_URI", ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
SHORTEST_SECRET = 4  # characters: a shorter one stands in any text by chance
FAULTS = (  # that nobody thought of, or that a stranger's answer made
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SQLAlchemyError,
    TypeError,
    ValueError,
)
FAULT_SECONDS = 60.0  # after one
POLL_SECONDS = 1.0
FLUSH_SECONDS = 5.0  # at the end
# Does what can be done now, and asks before each part of it whether to go on.
Task = Callable[[Callable[[], bool]], None]
END_SECONDS = FLUSH_SECONDS + 3.0  # with a row that is on its way then
ENVIRONMENT = {  # read by MLflow when it is imported
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ALLOW_HTTP_REDIRECTS": "false",  # what is sent is for the server that was named
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


def publishers(storage: Storage, url: str, workdir: Path) -> list[Publisher]:
    """Publishers of what is for MLflow. Importing it takes seconds and some 200 MB."""
    os.environ.update({name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()})
    from smart_tuner.notify import mlflow

    server, uri = os.environ.get(URI), mlflow_url(url)
    if not server and uri.startswith(FILE):
        mlflow.follow(Path(uri.removeprefix(FILE)), workdir)
    engine: Engine = storage.ours

    def expected(row: Payload) -> bool:
        of_trial = OUTBOX.c.study_uid == row["study_uid"], OUTBOX.c.trial == row["trial"]
        waits = OUTBOX.c.channel == CHANNEL, OUTBOX.c.state == "waiting"
        query = select(OUTBOX.c.id).where(*of_trial, *waits).limit(1)
        with engine.connect() as connection:
            return connection.execute(query).first() is not None

    sender = mlflow.Runs(server or uri, workdir, direct=not server, expected=expected)
    channels = CHANNEL, files_channel(workdir)
    known = secrets(os.environ)
    return [Publisher(engine, name, sender.send, mlflow.UNREACHABLE, None, known) for name in channels]


def secrets(environment: Mapping[str, str]) -> set[str]:
    """The passwords and tokens that log in to MLflow's server."""
    login = environment.get(URI, "").partition("//")[2].partition("/")[0].rpartition("@")[0]
    password = login.partition(":")[2]
    found = {password, unquote(password), *(environment.get(name, "") for name in LOGINS)}
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}


def send_once(storage: Storage, url: str, workdir: Path) -> str:
    """Send what can be sent now; says what still waits, and why."""
    with alone(workdir) as first:
        if not first:
            return "Another process sends for this home."
        for publisher in publishers(storage, url, workdir):
            publisher.drain()
    return what_waits(storage, CHANNEL)


def what_waits(storage: Storage, start: str) -> str:
    """How many rows wait in the channels whose names start with `start`, and why, as a sentence."""
    waiting = OUTBOX.c.state.in_(("waiting", "held")), OUTBOX.c.channel.startswith(start)
    with storage.ours.connect() as connection:
        count, why = connection.execute(select(func.count(), func.max(OUTBOX.c.error)).where(*waiting)).one()
    return f"{count} rows wait: {why or 'they are being sent'}" if count else "Nothing waits."


class Mlflow:
    """What is sent to MLflow, once it has been imported."""

    def __init__(self, storage: Storage, url: str, workdir: Path) -> None:
        self._place = storage, url, workdir
        self._publishers: list[Publisher] | None = None

    def __call__(self, going_on: Callable[[], bool]) -> None:
        self._publishers = self._publishers or publishers(*self._place)
        for publisher in self._publishers:
            publisher.drain(going_on)


class Following:
    """Sends as long as it is not asked to stop, and then for some seconds more.

    Args:
        tasks: each in a thread of its own, so that none waits for another.
        background: the same; nobody waits for their end.
    """

    def __init__(self, workdir: Path, tasks: Sequence[Task], background: Sequence[Task] = ()) -> None:
        self._workdir, self._tasks, self._background = workdir, tasks, background
        self._asked = threading.Event()
        self._until = float("inf")
        self._gone: DatabaseGone | None = None

    @property
    def stopping(self) -> bool:
        return self._asked.is_set()

    def stop(self, *_: object) -> None:
        if not self._asked.is_set():
            self._until = time.monotonic() + FLUSH_SECONDS
            self._asked.set()

    def run(self) -> None:
        """Until SIGTERM or SIGINT comes; waits while another process sends for this workdir.

        Raises DatabaseGone when there is nothing left to send from.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        while time.monotonic() < self._until:
            with alone(self._workdir) as first:
                if first:
                    return self._follow()
            time.sleep(POLL_SECONDS / 4) if self._asked.is_set() else self._asked.wait(POLL_SECONDS)

    def _follow(self) -> None:
        threads = [
            threading.Thread(target=self._to_the_end, args=(task,), daemon=True) for task in self._tasks
        ]
        aside = [
            threading.Thread(target=self._repeat, args=(task,), daemon=True) for task in self._background
        ]
        for thread in threads + aside:
            thread.start()
        while not self._asked.wait(POLL_SECONDS):
            pass
        for thread in threads:
            thread.join(max(0.0, self._until - time.monotonic()) + POLL_SECONDS)
        if self._gone is not None:
            raise self._gone

    def _repeat(self, task: Task) -> None:
        while not self._asked.wait(POLL_SECONDS):
            self._do(task, lambda: not self._asked.is_set())

    def _to_the_end(self, task: Task) -> None:
        self._repeat(task)
        self._do(task, lambda: time.monotonic() < self._until)

    def _do(self, task: Task, going_on: Callable[[], bool]) -> None:
        try:
            task(going_on)
        except UNREACHABLE:
            pass  # our own database is away: all stays in it
        except DatabaseGone as gone:
            self._gone = gone
            self.stop()
        except FAULTS:  # one task's must not end the others, nor what comes after
            print(concealed(traceback.format_exc()), file=sys.stderr, flush=True)
            self._asked.wait(FAULT_SECONDS)


@contextmanager
def alone(workdir: Path) -> Iterator[bool]:
    """Whether this process alone sends for this workdir, until this context ends."""
    with os.fdopen(files.lock(workdir / "track.lock"), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
