"""Commands from a chat: heard by one process at a time, from those alone who may give them.

What is not obeyed is counted, by its reason: stranger, stale, replayed, foreign (a button of somebody else).
"""

import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from smart_tuner.notify.outbox import AskedToWait
from smart_tuner.notify.telegram.client import (
    MOST_UPDATES,
    POLL_SECONDS,
    SECONDS,
    Bot,
    Rejected,
    Unreachable,
    whole,
)
from smart_tuner.notify.telegram.state import ChatState

AWAY_SECONDS = 5.0  # after which it is asked again where nobody answers, or nothing that can be heard
CONFLICT_SECONDS = 60.0  # after which it is tried whether nobody else hears the bot any more
LARGEST_UPDATE = 2**40  # its number; Telegram's own are below 2**31, and none is heard after a larger one
STALE_SECONDS = 300.0  # an older command, or button, is not obeyed
HOLD_SECONDS = POLL_SECONDS + SECONDS + 255.0  # with an answer that has to be spoken
FORGET_SECONDS = 6 * 86400.0  # after a week of silence Telegram numbers its updates anew
CHANGES = ("pause", "resume", "stop")


@dataclass(frozen=True)
class Reply:
    """Words, and files: their kind, name and content."""

    markup: str
    files: tuple[tuple[str, str, bytes], ...] = ()


class Commands(Protocol):
    """What can be asked of studies."""

    def answer(self, command: str, text: str) -> Reply: ...

    def question(self, change: str) -> tuple[str, Mapping[str, str]] | None:
        """What to ask before a change, and the words of its buttons, "yes" and "no"; none without a study."""

    def study(self) -> str | None:
        """The uid of the study that a change would be of."""

    def change(self, change: str, study_uid: str) -> str: ...

    def left_alone(self) -> str: ...


class Listener:
    """Hears what is written to one bot.

    Args:
        owner: this process.
        warn: called once when it has to stop listening.
        clock: the seconds since 1970.
    """

    def __init__(
        self,
        bot: Bot,
        memory: ChatState,
        commands: Commands,
        owner: str,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        poll_seconds: int = POLL_SECONDS,
    ) -> None:
        self._bot, self._memory, self._commands, self._owner = bot, memory, commands, owner
        self._warn, self._clock, self._poll_seconds = warn, clock, poll_seconds
        number = bot.account.token.partition(":")[0]
        self._place, self._offset = f"poller:{number}", f"offset:{number}"
        self._name: str | None = None
        self.deaf = self._warned = False

    def listen(self) -> float:
        """Hear and answer once; after how many seconds to listen again."""
        if self.deaf:
            return float("inf")
        if not self._memory.hold(self._place, self._owner, HOLD_SECONDS):
            return AWAY_SECONDS
        try:
            heard = [self._hear(update) for update in self._updates()]
        except AskedToWait as asked:
            return asked.seconds
        except Unreachable:
            return AWAY_SECONDS
        except Rejected as error:
            self.deaf = error.code != 409
            if not self._warned:
                other = "another program, or a webhook, hears this bot" if error.code == 409 else error.advice
                self._warn(f"Telegram: commands are not heard: {other} ({error})")
            self._warned = True
            return CONFLICT_SECONDS
        self._warned = False
        return 0.0 if all(heard) else AWAY_SECONDS

    def close(self) -> None:
        """Let another process hear."""
        if not self.deaf and self._memory.get(self._place) == self._owner:
            self._memory.take(self._place)

    def _updates(self) -> list[object]:
        asked: dict[str, Any] = {
            "timeout": self._poll_seconds,
            "limit": MOST_UPDATES,
            "allowed_updates": ["message", "callback_query"],
        }
        if (first := self._first()) is not None:
            asked["offset"] = first
        seconds = self._poll_seconds + SECONDS
        heard: list[object] = self._bot.call("getUpdates", asked, seconds=seconds, kind=list)
        return heard

    def _first(self) -> int | None:
        """The number of the first update that was not heard yet; None where they are numbered anew."""
        known, age = self._memory.get(self._offset), self._memory.age(self._offset)
        return None if known is None or age is None or age >= FORGET_SECONDS else int(known)

    def _hear(self, update: object) -> bool:
        """Before it is obeyed it is noted: it is never obeyed twice. False for what has no number to note."""
        content, first = _object(update), self._first()
        number = whole(content.get("update_id"))
        if number is None or number > LARGEST_UPDATE:
            return False
        if first is not None and number < first:
            self._ignore("replayed")
            return True
        self._memory.note(self._offset, number + 1)
        query = _object(content.get("callback_query"))
        message = _object((query or content).get("message"))
        sender = whole(_object((query or message).get("from")).get("id"))
        if sender is None or not self._may(sender, _object(message.get("chat"))):
            self._ignore("stranger")
            return True
        try:
            self._obey(query, message, sender)
        except (Rejected, RuntimeError, OSError, ValueError, LookupError) as error:
            self._warn(f"Telegram: a command could not be answered: {error!r}")
        return True

    def _obey(self, query: Mapping[str, Any], message: Mapping[str, Any], sender: int) -> None:
        if query:
            self._pressed(query, sender)
        elif self._clock() - (whole(message.get("date")) or 0) > STALE_SECONDS:
            self._ignore("stale")
        elif isinstance(text := message.get("text"), str):
            self._asked(text, sender)

    def _may(self, sender: int, chat: Mapping[str, Any]) -> bool:
        names = (str(chat.get("id")), f"@{chat.get('username')}".lower())
        return sender in self._bot.account.allowed and self._bot.account.chat.lower() in names

    def _asked(self, text: str, sender: int) -> None:
        word, _, rest = text.strip().partition(" ")
        if not word.startswith("/"):
            return
        command, _, addressed = word[1:].lower().partition("@")
        if addressed and addressed != self._own_name():
            return
        if command in CHANGES:
            self._ask(command, sender)
        else:
            reply = self._commands.answer(command, rest.strip())
            self._bot.texts(reply.markup)
            for kind, name, content in reply.files:
                self._bot.file(kind, name, content)

    def _own_name(self) -> str:
        self._name = self._name or self._bot.name.lower()
        return self._name

    def _ask(self, change: str, sender: int) -> None:
        question, study = self._commands.question(change), self._commands.study()
        if question is None or study is None:
            self._bot.texts(self._commands.answer("status", "").markup)
            return
        nonce = secrets.token_urlsafe(9)
        self._memory.note(f"ask:{nonce}", {"change": change, "study": study, "user": sender})
        markup, words = question
        buttons = [{"text": words[answer], "callback_data": f"{answer}:{nonce}"} for answer in ("yes", "no")]
        self._bot.text(markup, buttons=[buttons])

    def _pressed(self, query: Mapping[str, Any], sender: int) -> None:
        answer, _, nonce = str(query.get("data", "")).partition(":")
        name = f"ask:{nonce}"
        asked, age = self._memory.get(name), self._memory.age(name)
        why = None
        if asked is None or age is None or age > STALE_SECONDS:
            why = "stale"
        elif asked["user"] != sender:
            why = "foreign"
        elif self._memory.take(name) is None:
            why = "replayed"
        told = None
        if why is not None:
            self._ignore(why)
        elif answer == "yes":
            told = self._commands.change(asked["change"], asked["study"])
        else:
            told = self._commands.left_alone()
        if told is not None:
            self._bot.texts(told)
        with suppress(Rejected):  # of a press that is too old it takes no answer
            self._bot.call("answerCallbackQuery", {"callback_query_id": str(query.get("id"))}, kind=bool)

    def _ignore(self, why: str) -> None:
        self._memory.add(f"ignored:{why}")


def _object(value: object) -> Mapping[str, Any]:
    """`update` as an object of JSON; an empty one where it is something else."""
    return value if isinstance(value, dict) else {}
