"""One trial's numbers, kept in the outbox for MLflow; whatever MLflow does, a step never waits for it.

Rows of a trial, by kind (smart_tuner/notify/mlflow.py reads them):

- start: the trial's parameters, once; its run goes on.
- numbers: points, each with its consumed step, its instant in milliseconds, and finite values by name.
- repair: the sentence that tells it, and the text of all repairs so far.
- files: paths below the workdir, and texts, by the names under which they are kept.
- released: the trial waits for a worker. end: its state, value and reason.

A row of no trial (kind "study") tells how the whole study is. Instants are in the rows, so that a row which
is sent twice is one.
"""

import math
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine

from smart_tuner.notify.outbox import Payload, newest, put
from smart_tuner.store.outage import Patient

CHANNEL = "mlflow"
POINTS = 1000  # of a trial; where it has more steps, a point is the mean of several
BATCH = 50  # points a row
Values = Mapping[str, float]


@dataclass(frozen=True)
class OfStudy:
    """What every row begins with: MLflow's experiment is the study's, by its uid."""

    engine: Engine
    name: str
    uid: str

    def head(self, trial: int | None) -> Payload:
        return {"study": self.name, "study_uid": self.uid, "trial": trial, "at": milliseconds()}

    def ended(self, trial: int, state: str, value: float | None, reason: str) -> None:
        """Raises what the database raises."""
        row = {**self.head(trial), "kind": "end", "state": state, "value": value, "reason": reason}
        put(self.engine, self.uid, trial, CHANNEL, f"end:{trial}", row)

    def rests(self, state: str) -> None:
        """Nobody works on it now. Args: state: FINISHED, or SCHEDULED while something is left to do."""
        row = {**self.head(None), "kind": "study", "state": state}
        put(self.engine, self.uid, None, CHANNEL, f"study:{row['at']}", row)


class Thinned:
    """Steps as points: where more than POINTS steps are planned, each is the mean of several."""

    def __init__(self, planned: int) -> None:
        self._every = -(-planned // POINTS)
        self._window: list[Values] = []
        self._last = 0

    def add(self, step: int, values: Values) -> Payload | None:
        self._last = step
        self._window.append(values)
        return self.rest() if step % self._every == 0 else None

    def rest(self) -> Payload | None:
        """The point of the steps since the last one, if there are any."""
        window, self._window = self._window, []
        return point(self._last, means(window)) if window else None


class TrialRows(Patient):
    """What one attempt at a trial has to tell. What an attempt before it has put is not put again.

    While the database is away all waits here.

    Args:
        attempt: its name, another one than that of any attempt before.
        machine: what the machine does now.
    """

    def __init__(self, study: OfStudy, trial: int, attempt: str, machine: Callable[[], Values]) -> None:
        """Raises what the database raises."""
        self._study, self._trial, self._attempt, self._machine = study, trial, attempt, machine
        self._points: list[Payload] = []
        self._waiting: list[tuple[str, str, Payload]] = []  # channel, key, row
        last = newest(study.engine, study.uid, trial, CHANNEL, "points")
        self._known: int = last["points"][-1]["step"] if last else 0

    def started(self, parameters: Mapping[str, Any], settings: Values) -> None:
        """Args: settings: those that may change while it trains."""
        shown = {name: str(value) for name, value in parameters.items()}
        self._add("start", self._attempt, parameters=shown)
        self._add("numbers", "start", points=[point(0, hyperparameters(settings))])

    def stepped(self, found: Payload) -> None:
        """Args: found: a point of Thinned."""
        if found["step"] > self._known:
            self._points.append(found)
            if len(self._points) >= BATCH:
                self.flush_if_reachable()

    def measured(self, step: int, values: Values) -> None:
        self._add("numbers", step, points=[point(step, values)])

    def repaired(self, number: int, step: int, line: str, settings: Values, so_far: Sequence[str]) -> None:
        """Args: settings: what changed; so_far: a line for each repair of the trial that counts."""
        points = [point(step, hyperparameters(settings))] if settings else []
        self._add("repair", number, number=number, line=line, story="\n".join(so_far), points=points)

    def keep(self, files: Mapping[str, str], texts: Mapping[str, str], channel: str) -> None:
        """Args: channel: read only where the files lie."""
        self._add("files", self._attempt, channel, files=dict(files), texts=dict(texts))

    def released(self) -> None:
        self._add("released", self._attempt)

    def flush(self) -> None:
        """Raises what the database raises; then all waits."""
        self._batch()
        with self._study.engine.begin() as connection:
            for channel, key, row in self._waiting:
                put(connection, self._study.uid, self._trial, channel, key, row)
        self._waiting = []

    def _batch(self) -> None:
        for first in range(0, len(self._points), BATCH):
            points = self._points[first : first + BATCH]
            points[-1]["values"] |= finite(self._machine())
            self._add("numbers", points[-1]["step"], points=points, key="points")
        self._points = []

    def _add(
        self, kind: str, name: object, channel: str = CHANNEL, key: str | None = None, **more: Any
    ) -> None:
        row = {**self._study.head(self._trial), "kind": kind, **more}
        self._waiting.append((channel, f"{key or kind}:{self._trial}:{name}", row))


def files_channel(workdir: Path) -> str:
    """The channel of rows with files: it is read only by processes of this workdir, where the files lie."""
    return f"{CHANNEL}-{home_id(workdir)}"


def home_id(workdir: Path) -> str:
    """A random name of the workdir, drawn once: the same on every machine that shares the folder."""
    name = workdir / "home.id"
    if not name.is_file():
        workdir.mkdir(parents=True, exist_ok=True)
        drawn = name.with_name(f"home.{uuid.uuid4().hex}")
        drawn.write_text(uuid.uuid4().hex[:8])
        with suppress(FileExistsError, FileNotFoundError):
            os.link(drawn, name)  # whole, and by one process
        for lost in workdir.glob(
            f"home.{'[0-9a-f]' * 32}"
        ):  # this one, and those of other processes that were slower
            lost.unlink(missing_ok=True)
    return name.read_text()


def point(step: int, values: Values) -> Payload:
    return {"step": step, "at": milliseconds(), "values": finite(values)}


def finite(values: Values) -> dict[str, float]:
    """The finite values: MLflow would turn an infinite one into a large number."""
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def means(window: Sequence[Values]) -> dict[str, float]:
    """The mean of each name's finite values; a name that has none is left out."""
    found: dict[str, list[float]] = {}
    for values in window:
        for name, value in finite(values).items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}


def hyperparameters(settings: Values) -> dict[str, float]:
    return {f"hp/{name}": value for name, value in settings.items()}


def milliseconds() -> int:
    return int(1000 * time.time())


class Machine:
    """What this process and its machine do, since it was last asked."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent()
        psutil.cpu_percent()

    def __call__(self) -> dict[str, float]:
        return {
            "system/cpu_percent": psutil.cpu_percent(),
            "system/process_cpu_percent": self._process.cpu_percent(),
            "system/memory_percent": psutil.virtual_memory().percent,
            "system/process_memory_mb": self._process.memory_info().rss / 1e6,
        }
