"""The outbox: what is to be sent is kept as rows, and sent in their order when the receiver can be reached.

A row is sent at least once: exactly once unless a process dies between sending and noting it, or takes
longer than a claim lasts. Its key lets the receiver see that it knows it already. Rows are in the order in
which one process put them; of two processes that put at the same time, either may be first.
"""

import re
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, update
from sqlalchemy.engine import Connection

from smart_tuner.notify.telegram.format import line, without
from smart_tuner.store.tables import INSERTS, OUTBOX, instant

CLAIM_SECONDS = 300.0  # a row that is being sent is left alone for so long
LOGIN = re.compile(r"//[^/\s]*@")  # to the last @, since a password may hold one
CREDENTIALS = re.compile(r"\b(basic|bearer)\s+[\w.~+/=-]{8,}", re.IGNORECASE)
FIRST_WAIT, LONGEST_WAIT = 5.0, 600.0  # seconds
Payload = dict[str, Any]


class Refused(Exception):
    """The receiver can be reached and will never take this row."""


class Held(Exception):
    """It is too soon for this row: it waits for some seconds, and others may pass it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"held back for {seconds:.0f} s")
        self.seconds = seconds


class AskedToWait(Exception):
    """The receiver takes nothing for some seconds; this does not count as a try."""

    def __init__(self, seconds: float, why: str) -> None:
        super().__init__(why)
        self.seconds = seconds


def put(
    where: Connection | Engine,
    study_uid: str,
    trial: int | None,
    channel: str,
    key: str,
    payload: Payload,
    most: int | None = None,
) -> None:
    """Keep `payload` to be sent; with a connection, together with the event that it tells of.

    Args:
        key: KIND:NAME of the event within the study and channel; the same one is kept once.
        payload: JSON, so without NaN and infinity.
        most: of this kind, study and channel, only so many newest may wait; older ones are dropped.
    """
    if isinstance(where, Engine):
        with where.begin() as connection:
            return put(connection, study_uid, trial, channel, key, payload, most)
    of = {"study_uid": study_uid, "channel": channel}
    row = {
        **of,
        "trial": trial,
        "key": key,
        "payload": payload,
        "tries": 0,
        "due_at": 0.0,
        "state": "waiting",
    }
    where.execute(INSERTS[where.dialect.name](OUTBOX).values(**row).on_conflict_do_nothing())
    if most is not None:
        same = [OUTBOX.c[name] == value for name, value in of.items()]
        same += [OUTBOX.c.key.startswith(f"{key.partition(':')[0]}:", autoescape=True)]
        waiting = select(OUTBOX.c.id).where(*same, OUTBOX.c.state == "waiting").order_by(OUTBOX.c.id.desc())
        too_many = where.execute(waiting.offset(most)).scalars().all()
        still = OUTBOX.c.id.in_(too_many), OUTBOX.c.state == "waiting"
        where.execute(update(OUTBOX).where(*still).values(state="dropped"))


def counts(engine: Engine, study_uid: str) -> dict[str, dict[str, int]]:
    """By channel, how many rows of a study are in each state: waiting, sent, dropped."""
    found: dict[str, dict[str, int]] = {}
    query = select(OUTBOX.c.channel, OUTBOX.c.state, func.count()).where(OUTBOX.c.study_uid == study_uid)
    with engine.connect() as connection:
        for channel, state, count in connection.execute(query.group_by(OUTBOX.c.channel, OUTBOX.c.state)):
            found.setdefault(channel, {})[state] = count
    return found


def newest(engine: Engine, study_uid: str, trial: int, channel: str, kind: str) -> Payload | None:
    """What was last put of a kind of event of a trial, whether it was sent or not."""
    these = OUTBOX.c.study_uid == study_uid, OUTBOX.c.trial == trial, OUTBOX.c.channel == channel
    query = select(OUTBOX.c.payload).where(*these, OUTBOX.c.key.startswith(f"{kind}:", autoescape=True))
    with engine.connect() as connection:
        found: Payload | None = connection.execute(query.order_by(OUTBOX.c.id.desc()).limit(1)).scalar()
        return found


class Publisher:
    """Sends the rows of one channel. Any number may run, in any process: one at a time sends.

    Args:
        send: raises Refused for a row that is to be dropped, so that the others can pass; Held or
            AskedToWait for one whose time has not come.
        failures: what `send` raises when the other side cannot be reached: the row is sent again later.
        now: the instant, in seconds, as the database knows it.
        secrets: of the other side, such as its password: an error that repeats one is not kept.
    """

    def __init__(
        self,
        engine: Engine,
        channel: str,
        send: Callable[[Payload], None],
        failures: tuple[type[Exception], ...],
        now: Callable[[], ColumnElement[float]] | None = None,
        secrets: Collection[str] = (),
    ) -> None:
        self._engine, self._channel, self._send, self._failures = engine, channel, send, failures
        self._secrets = secrets
        self._now = now or (lambda: instant(engine))

    def drain(self, going_on: Callable[[], bool] = lambda: True) -> float | None:
        """Send all that is due. Returns after how many seconds there is more to do; None: nothing waits.

        Args:
            going_on: asked before each row.
        """
        while going_on():
            with self._engine.begin() as connection:
                oldest = self._oldest(connection)
                if oldest is None:
                    return None
                number, tries, wait, payload = oldest
                if wait > 0:
                    return float(wait)  # it failed, or another publisher is sending it; none overtakes it
                if not self._claim(connection, number, tries):
                    continue
            self._publish(number, tries + 1, payload)
        return 0.0

    def _oldest(self, connection: Connection) -> tuple[int, int, float, Payload] | None:
        wait = OUTBOX.c.due_at - self._now()
        query = select(OUTBOX.c.id, OUTBOX.c.tries, wait, OUTBOX.c.payload).order_by(OUTBOX.c.id).limit(1)
        row = connection.execute(query.where(OUTBOX.c.channel == self._channel, self._to_send)).first()
        return None if row is None else (row[0], row[1], row[2], row[3])

    def _claim(self, connection: Connection, number: int, tries: int) -> bool:
        as_seen = OUTBOX.c.id == number, OUTBOX.c.tries == tries, self._to_send
        claim = {"state": "waiting", "tries": tries + 1, "due_at": self._now() + CLAIM_SECONDS}
        return bool(connection.execute(update(OUTBOX).where(*as_seen).values(**claim)).rowcount)

    def _publish(self, number: int, tries: int, payload: Payload) -> None:
        now = self._now()
        try:
            self._send(payload)
        except self._failures as error:
            came: dict[str, Any] = {"due_at": now + min(FIRST_WAIT * 2.0 ** (tries - 1), LONGEST_WAIT)}
            came |= {"error": self._told(error)}
        except AskedToWait as asked:
            came = {"due_at": now + asked.seconds, "tries": tries - 1, "error": self._told(asked)}
        except Held as held:
            came = {"state": "held", "due_at": now + held.seconds, "tries": tries - 1}
        except Refused as refusal:
            came = {"state": "dropped", "error": self._told(refusal)}
        else:
            came = {"state": "sent", "error": None}
        mine = OUTBOX.c.id == number, OUTBOX.c.tries == tries
        with self._engine.begin() as connection:
            connection.execute(update(OUTBOX).where(*mine).values(**came))

    @property
    def _to_send(self) -> ColumnElement[bool]:
        ripe = and_(OUTBOX.c.state == "held", OUTBOX.c.due_at <= self._now())
        return or_(OUTBOX.c.state == "waiting", ripe)

    def _told(self, error: Exception) -> str:
        """What went wrong, in one line that every database and terminal takes, without a secret."""
        text = concealed(str(error))
        for secret in self._secrets:
            text = without(secret, text)
        return line(text)


def concealed(text: str) -> str:
    """The text without logins: those in addresses, and those of headers."""
    return LOGIN.sub("//", CREDENTIALS.sub(r"\1 …", text))
