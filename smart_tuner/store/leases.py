"""Who runs which trial: one row a started trial, which one attempt at a time holds.

An attempt is a trial's life in one process. It renews its lease while it lives; whoever finds a lease
whose owner is gone takes the trial up as the next attempt, and the old one, should it still live, finds
itself fenced: its writes change nothing. What is to become of a trial is decided here first, and only
then told to Optuna, so that a trial has one outcome whoever dies when. Instants are the database's.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import ColumnElement, Engine, and_, delete, func, insert, select, text, update
from sqlalchemy.engine import Connection, CursorResult, RowMapping

from smart_tuner.repair.words import Reason, reason
from smart_tuner.store.outage import UNREACHABLE, Fenced
from smart_tuner.store.records import Consumed, storable
from smart_tuner.store.tables import LEASES, instant

RENEW_SECONDS = 15.0
LIFE_SECONDS = 90.0
WATCHED_SECONDS = 3 * RENEW_SECONDS  # a lease that ran out is taken only after so long without a renewal
Owner = Mapping[str, Any]


@dataclass(frozen=True)
class Lease:
    """The right to run one trial."""

    id: int
    number: int | None  # none while its trial is asked for
    attempt_uid: str
    attempt_no: int
    deaths: int
    consumed: Consumed = field(
        default_factory=Consumed, compare=False
    )  # noted with every renewal, and at the end
    was_paused: bool = field(default=False, compare=False)  # until this attempt took it


@dataclass(frozen=True)
class Outcome:
    """The end of a trial, as Optuna is to be told (`study.tell`)."""

    number: int
    state: str  # COMPLETE, PRUNED, FAIL
    value: float | None
    reason: Reason


class Leases:
    """The leases of one study.

    Args:
        owner: the process that takes leases.
        now: the instant, in seconds, as the database knows it.
    """

    def __init__(
        self,
        engine: Engine,
        study_uid: str,
        owner: Owner | None = None,
        now: Callable[[], ColumnElement[float]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine, self._study_uid = engine, study_uid
        self._owner = this_process() if owner is None else owner
        self._now = now or (lambda: instant(engine))
        self._monotonic = monotonic
        self._seen: dict[int, tuple[int, float]] = {}  # of leases that ran out: beat, and since when

    # Taking

    def claim(
        self, retries: int = 3, left: Callable[[str], bool] = lambda _: False, paused: bool = True
    ) -> Lease | None:
        """A trial that was released, or whose owner is gone, as its next attempt; one whose attempts ended
        without a word more often than `retries` is given up.

        Args:
            left: whether an attempt (its uid) said elsewhere that it ended, as it could not say so here.
            paused: whether paused trials count as released: nobody chooses among them.
        """
        states = ("released", "held", *(["paused"] if paused else []))
        with self._engine.begin() as connection:
            expired = (LEASES.c.expires_at < self._now()).label("expired")
            query = select(LEASES, expired).where(self._mine, LEASES.c.state.in_(states))
            rows = connection.execute(query.order_by(LEASES.c.number)).mappings().all()
        for row in rows:
            died = row["state"] == "held"
            if died and not self._is_over(row):
                continue
            deaths = row["deaths"] + (died and not left(row["attempt_uid"]))
            given_up = deaths > retries
            outcome = _outcome("FAIL", None, reason("worker_died", times=deaths)) if given_up else None
            if (lease := self._taken(row, deaths, outcome)) is not None and not given_up:
                return lease
        return None

    def take_up(self, number: int) -> Lease | None:
        """A paused trial, as its next attempt; None where another worker was faster."""
        query = select(LEASES).where(self._mine, LEASES.c.number == number, LEASES.c.state == "paused")
        with self._engine.begin() as connection:
            row = connection.execute(query).mappings().one_or_none()
        lease = None if row is None else self._taken(row, row["deaths"])
        return None if lease is None else replace(lease, was_paused=True)

    def _taken(self, row: RowMapping, deaths: int, outcome: Mapping[str, Any] | None = None) -> Lease | None:
        """The trial of a row as its next attempt, or with the outcome that is decided by it; None where the
        row has changed."""
        consumed = Consumed(row["steps"] or 0, row["seconds"] or 0.0)
        lease = Lease(row["id"], row["number"], uuid.uuid4().hex, row["attempt_no"] + 1, deaths, consumed)
        values = {
            "attempt_uid": lease.attempt_uid,
            "attempt_no": lease.attempt_no,
            "deaths": deaths,
            "owner": self._owner,
            "state": "held" if outcome is None else "decided",
            "outcome": outcome,
            "expires_at": self._now() + LIFE_SECONDS,
        }
        as_seen = [LEASES.c[name] == row[name] for name in ("id", "attempt_uid", "beat", "state")]
        return lease if self._changed(update(LEASES).where(*as_seen).values(**values)) else None

    def reserve(self, most: int) -> Lease | None:
        """The right to ask for a new trial, while fewer than `most` were started."""
        return self._reserved(self._mine, most)

    def reserve_alone(self) -> Lease | None:
        """The right to ask for a new trial, while none is asked for, run, left behind or to be told."""
        return self._reserved(and_(self._mine, LEASES.c.state != "done"), 1)

    def _reserved(self, counted: ColumnElement[bool], most: int) -> Lease | None:
        with self._alone() as connection:
            counting = select(func.count()).select_from(LEASES).where(counted)
            if connection.execute(counting).scalar_one() >= most:
                return None
            attempt_uid = uuid.uuid4().hex
            row = self._row("asking", attempt_uid, self._now() + LIFE_SECONDS)
            inserted = connection.execute(insert(LEASES).values(**row))
            assert inserted.inserted_primary_key is not None
            return Lease(inserted.inserted_primary_key[0], None, attempt_uid, 1, 0)

    def give_up(self, lease: Lease) -> None:
        """No trial is asked for after all."""
        asked = LEASES.c.attempt_uid == lease.attempt_uid, LEASES.c.state == "asking"
        self._changed(delete(LEASES).where(*asked))

    def bind(self, lease: Lease, number: int) -> Lease:
        """The trial that was asked for is `number`. Raises Fenced when the right was lost meanwhile."""
        values = {"number": number, "state": "held", "expires_at": self._now() + LIFE_SECONDS}
        self._must_change(lease, "asking", values)
        return replace(lease, number=number)

    # Holding

    def renew(self, lease: Lease) -> None:
        """Raises Fenced when another attempt has the trial, or its outcome is decided."""
        values = {"beat": LEASES.c.beat + 1, "expires_at": self._now() + LIFE_SECONDS}
        self._must_change(lease, "held", values | asdict(lease.consumed))

    def release(self, lease: Lease) -> None:
        """Anybody may go on with the trial. Raises Fenced."""
        values = {"state": "released", "expires_at": 0.0}
        self._must_change(lease, "held", values | asdict(lease.consumed))

    def pause(self, lease: Lease) -> None:
        """The search may go on with the trial, if it chooses it (`take_up`). Raises Fenced."""
        values = {"state": "paused", "expires_at": 0.0}
        self._must_change(lease, "held", values | asdict(lease.consumed))

    def decide(self, lease: Lease, state: str, value: float | None, reason: Reason) -> None:
        """This, and nothing else, is told of the trial. Raises Fenced."""
        values = {"state": "decided", "outcome": _outcome(state, value, reason)}
        self._must_change(lease, "held", values | asdict(lease.consumed))

    def close(self, lease: Lease) -> None:
        """The trial has an end already; Optuna is told nothing. Raises Fenced."""
        self._must_change(lease, "held", {"state": "done", **asdict(lease.consumed)})

    # Looking after

    def decided(self) -> list[Outcome]:
        """The ends that were decided and that Optuna was not told yet."""
        query = select(LEASES.c.number, LEASES.c.outcome).where(self._mine, LEASES.c.state == "decided")
        with self._engine.begin() as connection:
            return [Outcome(number, *_decided(outcome)) for number, outcome in connection.execute(query)]

    def told(self, number: int) -> None:
        done = update(LEASES).values(state="done")
        self._changed(done.where(self._mine, LEASES.c.number == number, LEASES.c.state == "decided"))

    def forget(self, number: int) -> None:
        """The trial was deleted: it counts, but its number may be given to another one."""
        gone = update(LEASES).values(state="done", number=None)
        self._changed(gone.where(self._mine, LEASES.c.number == number))

    def adopt(self, running: Iterable[int], finished: Iterable[int]) -> None:
        """Rows for trials that have none: those of before there were leases, and one that was asked for by a
        worker which died before it could say so. As long as another one is asking, it may be that one's.

        Args:
            running: those that workers asked for; others are their askers' business.
        """
        with self._alone() as connection:
            expired = (LEASES.c.expires_at < self._now()).label("expired")
            # One statement, one instant: a trial that is bound between two would be unknown to both.
            query = select(LEASES, expired).where(self._mine).order_by(LEASES.c.id)
            rows = connection.execute(query).mappings().all()
            known = {row["number"] for row in rows}
            done = [{**self._row("done", uuid.uuid4().hex, 0.0), "number": n} for n in set(finished) - known]
            if done:
                connection.execute(insert(LEASES), done)
            asking = [row for row in rows if row["state"] == "asking"]
            slots = [row["id"] for row in asking if row["expired"] or self._is_gone(row["owner"])]
            if len(slots) < len(asking):
                return
            still = LEASES.c.state == "asking"  # unless one that took very long bound it meanwhile
            for number in sorted(set(running) - known):
                orphan = {"number": number, "state": "released", "expires_at": 0.0}
                if slots:
                    slot = LEASES.c.id == slots.pop(0)
                    connection.execute(update(LEASES).where(slot, still).values(**orphan))
                else:
                    row = self._row("released", uuid.uuid4().hex, 0.0)
                    connection.execute(insert(LEASES).values(**row | orphan))
            connection.execute(delete(LEASES).where(LEASES.c.id.in_(slots), still))

    def paused(self) -> list[int]:
        """The numbers of the trials with which the search may go on."""
        query = select(LEASES.c.number).where(self._mine, LEASES.c.state == "paused")
        with self._engine.begin() as connection:
            return list(connection.execute(query.order_by(LEASES.c.number)).scalars())

    def holders(self) -> list[RowMapping]:
        """Number, owner and attempt of the trials that are held now."""
        columns = [LEASES.c[name] for name in ("number", "owner", "attempt_no")]
        with self._engine.begin() as connection:
            query = select(*columns).where(self._mine, LEASES.c.state == "held").order_by(LEASES.c.number)
            return list(connection.execute(query).mappings())

    def counts(self) -> dict[str, int]:
        """How many leases are in each state."""
        query = select(LEASES.c.state, func.count()).where(self._mine).group_by(LEASES.c.state)
        with self._engine.begin() as connection:
            return {state: count for state, count in connection.execute(query)}

    # Within

    @property
    def _mine(self) -> ColumnElement[bool]:
        return LEASES.c.study_uid == self._study_uid

    def _row(self, state: str, attempt_uid: str, expires_at: object) -> dict[str, Any]:
        return {
            "study_uid": self._study_uid,
            "state": state,
            "attempt_uid": attempt_uid,
            "attempt_no": 1,
            "deaths": 0,
            "owner": self._owner,
            "beat": 0,
            "expires_at": expires_at,
        }

    def _is_over(self, row: RowMapping) -> bool:
        """Whether a lease is free: its process is gone, or it ran out and was watched without a renewal.

        Being watched is needed because clocks jump, and an outage of the database stops every renewal.
        """
        if self._is_gone(row["owner"]):
            return True
        if not row["expired"]:
            self._seen.pop(row["id"], None)
            return False
        beat, since = self._seen.get(row["id"], (None, 0.0))
        if beat != row["beat"]:
            self._seen[row["id"]] = row["beat"], self._monotonic()
            return False
        return self._monotonic() - since >= WATCHED_SECONDS

    def _is_gone(self, owner: Owner) -> bool:
        """Whether the owner ended. A lease of this process is free, too: a process that looks for one holds
        none, so it was started anew.
        """
        return owner == self._owner or is_gone(owner)

    def forget_watched(self) -> None:
        """Watch all leases anew: the connection was lost, perhaps also that of their owners."""
        self._seen.clear()

    def _must_change(self, lease: Lease, state: str, values: dict[str, Any]) -> None:
        mine = LEASES.c.attempt_uid == lease.attempt_uid
        if self._changed(update(LEASES).where(mine, LEASES.c.state == state).values(**values)):
            return
        with self._engine.begin() as connection:
            now = connection.execute(select(LEASES.c.state).where(mine)).scalar()
        if "state" not in values or now != values["state"]:  # else it was done, and the answer was lost
            raise Fenced(f"trial {lease.number} was taken over; this attempt stops")

    def _changed(self, statement: Any) -> bool:
        with self._engine.begin() as connection:
            result: CursorResult[Any] = connection.execute(statement)
            return bool(result.rowcount)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction that no other one of this study overlaps; on SQLite, every one is alone."""
        with self._engine.begin() as connection:
            if self._engine.dialect.name == "postgresql":
                key = int(self._study_uid[:15], 16)
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
            yield connection


def _outcome(state: str, value: float | None, why: Reason) -> dict[str, Any]:
    return {"state": state, "value": value, "reason": why.text, "ended": storable(why.record())}


def _decided(outcome: Mapping[str, Any]) -> tuple[str, float | None, Reason]:
    """Version 0.1 kept the text of the reason alone."""
    why = Reason(outcome["reason"], **outcome.get("ended", {}))
    return outcome["state"], outcome["value"], why


class Renewal:
    """Renews a lease from a thread of its own for as long as the training runs.

    Args:
        also: asked at every renewal; `wish` is its newest answer.
    """

    def __init__(
        self,
        leases: Leases,
        lease: Lease,
        also: Callable[[], str | None] = lambda: None,
        seconds: float = RENEW_SECONDS,
    ) -> None:
        self._leases, self._lease, self._also, self._seconds = leases, lease, also, seconds
        self.desired_state: str | None = None
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(1, "lease")
        self._renewals: Future[None] | None = None

    def check(self) -> None:
        """Raises what ended the renewals: Fenced (the lease is lost), StudyGone, DatabaseGone or a fault."""
        if self._renewals is not None and self._renewals.done():
            self._renewals.result()

    def __enter__(self) -> Self:
        self._renewals = self._pool.submit(self._renew)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._pool.shutdown()

    def _renew(self) -> None:
        while not self._over.wait(self._seconds):
            with suppress(*UNREACHABLE):  # the lease lives on while nobody can see that it ran out
                self._leases.renew(self._lease)
                self.desired_state = self._also()


def this_process() -> Owner:
    """What tells this process from every other one, wherever it runs."""
    return process(os.getpid())


def process(pid: int) -> Owner:
    """What tells the process `pid` of this machine from every other one."""
    return {
        "host": socket.gethostname(),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "pids": _link("/proc/self/ns/pid"),
        "pid": pid,
        "started": _started(pid),
    }


def is_gone(owner: Owner) -> bool:
    """Whether the process certainly ended: only those of this machine can be known."""
    here = this_process()
    if any(owner[name] != here[name] for name in ("host", "boot", "pids")):
        return False  # also where this machine was started again: another one may have its name
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return bool(_started(owner["pid"]) != owner["started"])


def _started(pid: int) -> str | None:
    """When a process began, in clock ticks since the start of the machine; none for one that ended."""
    stat = _read(f"/proc/{pid}/stat")
    if stat is None:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
