"""Rows of the outbox become messages in a chat: once each, in their order, and not too often.

A row says its kind, its study and trial, its group (of which one is told per cooldown), its language and
facts, and the files that go with it, below the workdir.
"""

import datetime
from collections.abc import Callable
from pathlib import Path

import soundfile
from sqlalchemy import ColumnElement, Engine, or_, select, update
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from smart_tuner.notify.outbox import AskedToWait, Held, Payload, Publisher, Refused, put
from smart_tuner.notify.telegram.client import Bot, Rejected, Unanswered, Unreachable, fits_caption
from smart_tuner.notify.telegram.format import LONGEST_TEXT, split
from smart_tuner.notify.telegram.messages import message
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.notify.telegram.voice_note import as_opus
from smart_tuner.notify.tracking import home_id
from smart_tuner.store.attempts import newest_attempt
from smart_tuner.store.tables import OUTBOX, instant

CHANNEL = "telegram"
COOLDOWN_SECONDS = {  # of a group; kinds that are not here have none
    "fix": 60.0,
    "best": 600.0,
    "trial_bad": 300.0,
    "critical": 300.0,
    "warning": 300.0,
    "advice": 6 * 3600.0,
}
GRAVE = (
    "critical",
    "study_start",
    "study_end",
    "study_stop",
    "study_gone",
)  # sent with a sound in quiet hours, too
MAY_BE_LOST = ("digest", "trial_bad")  # where nobody knows whether it was taken
MOST = 1000  # that wait, of a kind and study; of grave ones, all
FAILURES = (Unreachable, SQLAlchemyError)
OFF_SECONDS = 5.0  # after which a chat that is switched off is looked at again
Call = Callable[[bool, int | None], int]  # silent, the message it answers: the id of the message


class SwitchedOff(AskedToWait):
    """The token or the chat is wrong: nothing is sent until one of them is another."""


def channel(workdir: Path) -> str:
    """The channel of a workdir: rows are sent from where their files lie."""
    return f"{CHANNEL}-{home_id(workdir)[:7]}"


def tell(where: Connection | Engine, home_channel: str, row: Payload) -> None:
    """Keep a row to be sent, unless its event is kept already. Args: row: as above; `name` is the event's."""
    if isinstance(where, Engine):
        with where.begin() as connection:
            return tell(connection, home_channel, row)
    key = f"{row['kind']}:{row['group']}:{row['name']}"
    same = OUTBOX.c.study_uid == row["study_uid"], OUTBOX.c.key == key, OUTBOX.c.channel.startswith(CHANNEL)
    if where.execute(select(OUTBOX.c.id).where(*same).limit(1)).first() is not None:
        return  # a worker of another home has put it
    most = None if row["kind"] in GRAVE else MOST
    put(where, row["study_uid"], row["trial"], home_channel, key, {**row, "key": key}, most)


def due_now(engine: Engine, home_channel: str, state: str) -> None:
    """Rows of a state need not wait any longer: "held" ones at the end of a study or of its workers, and
    "waiting" ones, which a process that is gone may have claimed, when another begins to send alone."""
    these = OUTBOX.c.channel == home_channel, OUTBOX.c.state == state
    with engine.begin() as connection:
        connection.execute(update(OUTBOX).where(*these).values(due_at=0.0))


class Alerts:
    """Sends to one chat.

    Args:
        workdir: below which the files of rows lie.
        warn: called once when the chat cannot be used.
        last_words: no row is held back any more.
        hour: the local time.
        now: the instant, in seconds, as the database knows it.
    """

    def __init__(
        self,
        bot: Bot,
        engine: Engine,
        workdir: Path,
        warn: Callable[[str], None],
        last_words: Callable[[], bool] = lambda: False,
        hour: Callable[[], datetime.time] = lambda: datetime.datetime.now().time(),
        now: Callable[[], ColumnElement[float]] | None = None,
    ) -> None:
        self._bot, self._engine, self._workdir, self._warn = bot, engine, workdir, warn
        self._last_words, self._hour = last_words, hour
        self._now = now or (lambda: instant(engine))
        self._delivered: dict[tuple[str, str], int] = {}
        self.memory = ChatState(engine, self._now)

    def publisher(self) -> Publisher:
        return Publisher(self._engine, channel(self._workdir), self.send, FAILURES, self._now)

    @property
    def off(self) -> str | None:
        """Why nothing is sent to this chat."""
        known = self.memory.get(self._bot.account.off)
        return None if known is None else str(known)

    def send(self, row: Payload) -> None:
        """Raises Refused, Held, AskedToWait, or one of FAILURES."""
        if (why := self.off) is not None:
            raise SwitchedOff(OFF_SECONDS, why)
        group, key = f"{row['study_uid']}:{row['kind']}:{row['group']}", (row["study_uid"], row["key"])
        cools = row["kind"] in COOLDOWN_SECONDS
        if cools:
            self._not_too_often(row, group)
        self._after_its_repair(row)
        held = self.memory.get(f"held:{group}") or 0
        try:
            markup = message(row["kind"], row["language"], row["facts"], held)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            self._warn(f"A message of the kind {row['kind']} cannot be made of its row: {error!r}")
            raise Refused(f"it cannot be worded: {error!r}") from None
        try:
            sent = self._delivered.get(key) or self._deliver(row, markup)
            self._delivered = {key: sent}  # should the database go away now, it is not sent again
        except Rejected as error:
            if error.for_all:
                raise self.switched_off(error) from None
            raise Refused(str(error)) from None
        except Unanswered as error:
            if row["kind"] in MAY_BE_LOST:
                raise Refused(f"{error}; it may have arrived") from None
            raise
        if cools:
            self.memory.note(f"told:{group}", True)
            self.memory.take(f"held:{group}")
        if row["kind"] in ("fix", "critical"):
            self.memory.note(self._message(row, row["name"]), sent)

    def switched_off(self, error: Rejected) -> SwitchedOff:
        """Nothing more is sent to this chat; said once, whichever process finds it out."""
        why = f"{error.advice} ({error})"
        if self.memory.once(self._bot.account.off, why):
            self._warn(f"Telegram is switched off: {why}. What is to be told waits. Run: run_study.py doctor")
        return SwitchedOff(OFF_SECONDS, why)

    # Not too often

    def _not_too_often(self, row: Payload, group: str) -> None:
        """Raises Held for a row too soon after the last of its group; older ones that wait are counted."""
        since = self.memory.age(f"told:{group}")
        left = 0.0 if since is None else COOLDOWN_SECONDS[row["kind"]] - since
        if left <= 0 or self._last_words() or self._ends(row):
            return
        mine = select(OUTBOX.c.id).where(*self._of(row), OUTBOX.c.key == row["key"]).scalar_subquery()
        start = f"{row['kind']}:{row['group']}:"
        older = *self._of(row), OUTBOX.c.state == "held", OUTBOX.c.id < mine
        same = OUTBOX.c.key.startswith(start, autoescape=True)
        dropped = {"state": "dropped", "error": "a newer one was told instead"}
        with self._engine.begin() as connection:
            count = connection.execute(update(OUTBOX).where(*older, same).values(**dropped)).rowcount
        for _ in range(count):
            self.memory.add(f"held:{group}")
        raise Held(left)

    def _after_its_repair(self, row: Payload) -> None:
        """Raises Held for a verdict whose repair was not sent yet."""
        if row.get("answers"):
            repair = OUTBOX.c.state == "held", OUTBOX.c.key.endswith(f":{row['answers']}", autoescape=True)
            left = select(OUTBOX.c.due_at - self._now())
            with self._engine.connect() as connection:
                seconds = connection.execute(left.where(*self._of(row), *repair)).scalar()
            if seconds is not None:
                raise Held(max(1.0, seconds))

    def _ends(self, row: Payload) -> bool:
        """Whether the study's last message waits: what was held back is to be sent before it."""
        ends = [OUTBOX.c.key.startswith(f"{kind}:") for kind in ("study_end", "study_stop")]
        query = select(OUTBOX.c.id).where(*self._of(row), OUTBOX.c.state == "waiting", or_(*ends)).limit(1)
        with self._engine.connect() as connection:
            return connection.execute(query).first() is not None

    def _of(self, row: Payload) -> tuple[ColumnElement[bool], ...]:
        return OUTBOX.c.study_uid == row["study_uid"], OUTBOX.c.channel == channel(self._workdir)

    # Delivering

    def _deliver(self, row: Payload, markup: str) -> int:
        """Send a row; the id of its first message. What was sent before a failure is not sent again."""
        silent = self._quiet(row)
        reply = self.memory.get(self._message(row, row["answers"])) if row.get("answers") else None
        calls = self._calls(row, markup)
        progress = f"sent:{row['study_uid']}:{row['key']}"
        sent: dict[str, int] = dict(self.memory.get(progress) or {}) if len(calls) > 1 else {}
        for name, call in calls.items():
            if name not in sent:
                sent[name] = call(silent, reply)
                if len(calls) > 1:
                    self.memory.note(progress, sent)
        if len(calls) > 1:
            self.memory.take(progress)
        return next(iter(sent.values()))

    def _calls(self, row: Payload, markup: str) -> dict[str, Call]:
        """What sends each message of a row: the text with the first file if it fits, then the other files."""
        files = {name: (kind, self._place(name)) for kind, name in row["files"]}
        present = {name: file for name, file in files.items() if file[1].is_file()}
        texts = split(markup)
        if present and len(texts) == 1 and fits_caption(markup):
            captions = dict.fromkeys(present, "") | {next(iter(present)): markup}
            return {name: self._file(*file, captions[name]) for name, file in present.items()}
        calls = {f"text {number}": self._text(text) for number, text in enumerate(texts)}
        return calls | {name: self._file(*file, "") for name, file in present.items()}

    def _place(self, name: str) -> Path:
        """Where a trial's file is: its folder has another name once another attempt has the trial."""
        file = self._workdir / name
        first = file.parent.with_name(file.parent.name.partition("-attempt-")[0])
        return file if file.is_file() else newest_attempt(first) / file.name

    def _text(self, markup: str) -> Call:
        def call(silent: bool, reply: int | None) -> int:
            try:
                return self._bot.text(markup, silent, reply)
            except Rejected as error:
                if error.code != 400 or "too long" not in error.why:
                    raise
                parts = split(markup, LONGEST_TEXT // 2)
                sent = [self._bot.text(part, silent, reply) for part in parts]
                return sent[0]

        return call

    def _file(self, kind: str, path: Path, caption: str) -> Call:
        """What sends a file; where that fails, its caption alone."""

        def call(silent: bool, reply: int | None) -> int:
            try:
                content = as_opus(path) if kind == "voice" else path.read_bytes()
                return self._bot.file(kind, path.name, content, caption, silent, reply)
            except (OSError, soundfile.LibsndfileError) as error:
                self._warn(f"{path.name} is not sent: {error}")
            except Rejected as error:
                if error.for_all or error.code not in (400, 413):
                    raise
                self._warn(f"{path.name} is not sent: {error}")
            return self._bot.text(caption, silent, reply) if caption else 0

        return call

    def _quiet(self, row: Payload) -> bool:
        """Whether a row is sent without a sound: in quiet hours, unless it is grave."""
        if row["quiet"] is None or row["kind"] in GRAVE:
            return False
        start, end = (datetime.time.fromisoformat(part) for part in row["quiet"].split("-"))
        now = self._hour()
        return start <= now < end if start <= end else now >= start or now < end

    def _message(self, row: Payload, name: str) -> str:
        """The name in the chat state of the id of the message about an event of the trial."""
        return f"message:{self._bot.account.fingerprint}:{row['study_uid']}:{row['trial']}:{name}"
