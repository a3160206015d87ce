"""What our tables hold of trials: their repairs and their checkpoints."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, select, update
from sqlalchemy.engine import Connection

from smart_tuner.repair.rule import Entry, in_force
from smart_tuner.store.outage import UNREACHABLE, Fenced
from smart_tuner.store.storage import Storage
from smart_tuner.store.tables import CHECKPOINTS, LEASES, REPAIRS

OURS = {"id", "study_uid", "trial", "at", "policy"}  # columns that are not of an Entry
STORED = "store:"  # before an id in the artifact store, where a checkpoint's place is no folder


@dataclass(frozen=True)
class Stored:
    """A checkpoint in the artifact store."""

    step: int
    name: str
    sha256: str


@dataclass
class Consumed:
    """How much a trial was trained by all its attempts so far, steps included that were trained again."""

    steps: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more step, which took so long."""
        self.steps += 1
        self.seconds += seconds


class TrialRepairs:
    """The repairs of one trial: rows are added, and never changed or removed.

    While the database is away they wait here, and in the trial's checkpoints, and are written later.

    Args:
        attempt_uid: only while this attempt holds the trial's lease may it write.
    """

    def __init__(
        self, storage: Storage, study_uid: str, trial: int, policy: str, attempt_uid: str | None = None
    ) -> None:
        self._engine, self._policy, self._attempt_uid = storage.ours, policy, attempt_uid
        self._study_uid, self._trial = study_uid, trial
        self._waiting: list[Entry] = []
        rows = [entry.seq for _, entry in repairs_of(self._engine, study_uid, trial)]
        self._newest = max(rows, default=0)

    def add(self, entry: Entry) -> Entry:
        """Returns the entry with its number."""
        self._newest += 1
        entry = replace(entry, seq=self._newest)
        self._waiting.append(entry)
        with suppress(*UNREACHABLE):  # whoever reports next flushes first, and waits if need be
            self.flush()
        return entry

    def flush(self) -> None:
        """Write what could not be written. Raises Fenced, or what the database raises."""
        if not self._waiting:
            return
        of = {"study_uid": self._study_uid, "trial": self._trial, "policy": self._policy}
        with self._engine.begin() as connection:
            if self._attempt_uid is not None:
                _must_hold(connection, self._trial, self._attempt_uid)
            connection.execute(REPAIRS.insert(), [{**of, **storable(e.record())} for e in self._waiting])
        self._waiting.clear()

    def take(self, entries: Sequence[Entry], step: int) -> None:
        """Go on from a checkpoint of `step` with its entries: those that never reached the database are
        written, and rows beyond `step` no longer count, as those steps are trained anew.
        """
        known = max((entry.seq for entry in entries), default=0)
        if known > self._newest:
            self._waiting += [entry for entry in entries if entry.seq > self._newest]
            self._newest = known
            self.flush()
        rows = [entry for entry in self.all() if entry.seq > known]
        if rows:
            first, since = rows[0], {"step": step}
            self.add(Entry("void", step, first.rule, 0, 0, "trained_anew", since, parent=first.seq))

    def all(self) -> list[Entry]:
        """Those in force, oldest first."""
        return in_force(entry for _, entry in repairs_of(self._engine, self._study_uid, self._trial))


def repairs_of(engine: Engine, study_uid: str, trial: int | None) -> Iterator[tuple[int, Entry]]:
    """Trial numbers and entries of a study, or of one trial, in their order; voided ones too."""
    query = select(REPAIRS).where(REPAIRS.c.study_uid == study_uid).order_by(REPAIRS.c.trial, REPAIRS.c.seq)
    if trial is not None:
        query = query.where(REPAIRS.c.trial == trial)
    with engine.connect() as connection:
        for row in connection.execute(query).mappings():
            entry = {name: value for name, value in row.items() if name not in OURS}
            yield row["trial"], Entry.from_record(entry)


def confirmed(rows: Iterable[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
    """Repairs that changed settings, and that helped as the run's own measure has it; by trial.

    Args:
        rows: trial numbers and entries.
    """
    by_trial: dict[int, list[Entry]] = {}
    for number, entry in rows:
        by_trial.setdefault(number, []).append(entry)
    found = []
    for number, entries in by_trial.items():
        counting = in_force(entries)
        helped = {e.parent for e in counting if e.verdict == "improved" and "expected" in e.action_values}
        found += [(number, e) for e in counting if e.seq in helped and e.changes]
    return found


def begun_with(
    rows: Iterable[tuple[int, Entry]], values: Mapping[str, float], searched: Collection[str]
) -> dict[str, tuple[float, int]]:
    """What a trial begins with in place of some of `values`, since a repair of just that helped another one,
    and the number of that trial."""
    found: dict[str, tuple[float, int]] = {}
    for number, entry in confirmed(rows):
        for name, (old, new) in entry.changes.items():
            now = found[name][0] if name in found else values.get(name)
            if now == old and name not in searched:
                found[name] = new, number
    return found


def note_checkpoint(
    engine: Engine, study_uid: str, trial: int, attempt_uid: str, step: int, place: str, sha256: str
) -> None:
    """A checkpoint was written."""
    row = {"study_uid": study_uid, "trial": trial, "attempt_uid": attempt_uid, "step": step}
    with engine.begin() as connection:
        connection.execute(CHECKPOINTS.insert(), {**row, "place": place, "sha256": sha256})


def newest_checkpoint(engine: Engine, study_uid: str, trial: int) -> tuple[int, str] | None:
    """The step of the checkpoint that was written last, and where it was."""
    mine = CHECKPOINTS.c.study_uid == study_uid, CHECKPOINTS.c.trial == trial
    query = select(CHECKPOINTS.c.step, CHECKPOINTS.c.place).where(*mine).order_by(CHECKPOINTS.c.id.desc())
    with engine.connect() as connection:
        row = connection.execute(query.limit(1)).first()
        return None if row is None else (row.step, row.place)


def stored_checkpoints(engine: Engine, study_uid: str, trial: int) -> list[Stored]:
    """Those of a trial that are in the artifact store, oldest first."""
    columns = [CHECKPOINTS.c[name] for name in ("step", "place", "sha256")]
    query = select(*columns).where(*_stored(study_uid, trial)).order_by(CHECKPOINTS.c.id)
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    return [Stored(step, place.removeprefix(STORED), sha256) for step, place, sha256 in rows]


def note_stored(engine: Engine, study_uid: str, trial: int, attempt_uid: str, stored: Stored) -> None:
    """Note that a checkpoint is in the artifact store, in its row or a new one. Raises Fenced."""
    row = {"study_uid": study_uid, "trial": trial, "step": stored.step, "sha256": stored.sha256}
    place = {"place": STORED + stored.name}
    with engine.begin() as connection:
        _must_hold(connection, trial, attempt_uid)
        same = [CHECKPOINTS.c[name] == value for name, value in row.items()]
        if not connection.execute(update(CHECKPOINTS).where(*same).values(**place)).rowcount:
            connection.execute(CHECKPOINTS.insert(), {**row, **place, "attempt_uid": attempt_uid})


def forget_stored(engine: Engine, study_uid: str, trial: int, attempt_uid: str, name: str) -> None:
    """Note that a checkpoint is no longer in the artifact store. Raises Fenced."""
    this = *_stored(study_uid, trial), CHECKPOINTS.c.place == STORED + name
    with engine.begin() as connection:
        _must_hold(connection, trial, attempt_uid)
        connection.execute(delete(CHECKPOINTS).where(*this))


def _stored(study_uid: str, trial: int) -> list[ColumnElement[bool]]:
    mine = [CHECKPOINTS.c.study_uid == study_uid, CHECKPOINTS.c.trial == trial]
    return [*mine, CHECKPOINTS.c.place.startswith(STORED)]


def _must_hold(connection: Connection, trial: int, attempt_uid: str) -> None:
    mine = LEASES.c.attempt_uid == attempt_uid, LEASES.c.state == "held"
    if connection.execute(select(LEASES.c.id).where(*mine)).first() is None:
        raise Fenced(f"trial {trial} was taken over; this attempt stops")


def storable(value: Any) -> Any:
    """A value as JSON columns take it: without NaN and infinity."""
    if isinstance(value, dict):
        return {name: storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
