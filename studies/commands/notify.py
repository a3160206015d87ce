"""Telegram as a command line sees it: tried, looked at, sent to; and all that runs beside the workers."""

import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from sqlalchemy import func, select

from smart_tuner.notify import sender
from smart_tuner.notify.outbox import AskedToWait
from smart_tuner.notify.telegram import sender as telegram_sender
from smart_tuner.notify.telegram.client import Account, Bot, ChatError, Rejected, Unreachable, account
from smart_tuner.notify.telegram.format import line
from smart_tuner.notify.telegram.messages import Words
from smart_tuner.notify.telegram.process import Hearing, Telling
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.repair.words import LANGUAGES
from smart_tuner.store.storage import Storage
from smart_tuner.store.tables import OUTBOX
from studies.callbacks import telegram
from studies.commands.chat import Speak, StudyCommands
from studies.commands.place import FORMATS, Place
from studies.report.summary import formatted

SET_UP = "docs/telegram.md says how to set it up."


def follow(
    storage: Storage,
    url: str,
    workdir: Path,
    tracking: bool,
    speak: Speak,
    longest: int,
    warn: Callable[[str], None],
) -> None:
    """Send and hear, beside the workers, until a signal comes.

    Args:
        longest: text to speak, in characters.
    """
    tasks, background = list[sender.Task](), list[sender.Task]()
    try:
        chat = account()
    except ChatError as error:  # what else there is to send is sent
        warn(str(error))
        chat = None
    following = sender.Following(workdir, tasks, background)
    if tracking:
        tasks.append(sender.Mlflow(storage, url, workdir))
    hearing = None
    if chat is not None:
        due = partial(telegram.digest, storage, workdir)
        tasks.append(Telling(chat, storage, workdir, due, warn, lambda: following.stopping))
        if chat.allowed:
            commands = StudyCommands(storage, workdir, speak, longest)
            hearing = Hearing(chat, storage, commands, f"{socket.gethostname()} {os.getpid()}", warn)
            background.append(hearing)
    following.run()
    if hearing is not None:
        hearing.close()


def test(storage: Storage, language: str | None) -> str:
    """Say something in the chat, by default in both languages; without a chat, say who wrote to the bot.

    Raises ChatError.
    """
    chat = _account(chat_needed=False)
    languages = [language] if language else LANGUAGES
    bot = Bot(chat)
    try:
        name = bot.name
        if not chat.chat:
            return _chats(name, bot)
        for one in languages:
            bot.text(Words(one)("test"))
    except Rejected as error:
        raise ChatError(f"Telegram refused the message.\n{error}.\nWhat to do: {error.advice}.") from None
    except (Unreachable, AskedToWait) as error:
        raise ChatError(
            f"Telegram was not reached.\n{error}.\nTry again; if a proxy is needed, set HTTPS_PROXY."
        ) from None
    ChatState(storage.ours).take(chat.off)
    told = f"@{name} wrote to the chat {chat.chat}."
    if chat.allowed:
        return f"{told}\nCommands are taken from: {', '.join(map(str, sorted(chat.allowed)))}."
    return f"{told}\nNo commands are taken: TELEGRAM_ALLOWED_IDS is not set."


def _chats(bot_name: str, bot: Bot) -> str:
    """Who wrote to the bot of late, and where, with the numbers; what was written stays to be heard."""
    lines = dict.fromkeys(filter(None, map(_writer, bot.call("getUpdates", {"timeout": 0}, kind=list))))
    if not lines:
        return f"Nobody has written to @{bot_name} of late. Send it a message, and try again."
    return "\n".join([f"To @{bot_name} wrote, in", *lines, "Set TELEGRAM_CHAT_ID and TELEGRAM_ALLOWED_IDS."])


def _writer(update: Any) -> str | None:
    try:
        message = update["message"]
        chat, person = message["chat"], message["from"]
        where, who = chat.get("title", "private"), person.get("first_name", "")
        return line(f"chat {chat['id']} ({where}): {who} ({person['id']})")
    except (KeyError, TypeError, AttributeError):
        return None


def status(storage: Storage) -> dict[str, Any]:
    """Whether it is set up, what waits and why, and what was heard and not obeyed."""
    chat, memory = account(), ChatState(storage.ours)
    telegrams = OUTBOX.c.channel.startswith(telegram_sender.CHANNEL)
    query = select(OUTBOX.c.state, func.count()).where(telegrams).group_by(OUTBOX.c.state)
    waiting = OUTBOX.c.state.in_(("waiting", "held"))
    with storage.ours.connect() as connection:
        states: dict[str, int] = dict(connection.execute(query).tuples().all())
        error = connection.execute(select(func.max(OUTBOX.c.error)).where(telegrams, waiting)).scalar()
    known: dict[str, Any] = {
        "chat": chat and chat.chat,
        "off": chat and memory.get(chat.off),
    }
    known |= {state: states.get(state, 0) for state in ("waiting", "held", "sent", "dropped")}
    known |= {"error": error, "commands_from": (chat and ", ".join(map(str, sorted(chat.allowed)))) or None}
    return known | {f"ignored_{why}": count for why, count in sorted(memory.all("ignored:").items())}


def flush(storage: Storage, workdir: Path, warn: Callable[[str], None]) -> str:
    """Send all that waits now, also what was held back. Raises ChatError."""
    chat = _account()
    ChatState(storage.ours).take(chat.off)
    with sender.alone(workdir) as first:
        if not first:
            return "Another process sends for this home."
        Telling(chat, storage, workdir, lambda: None, warn, lambda: True)(lambda: True)
    return sender.what_waits(storage, telegram_sender.CHANNEL)


def examine(storage: Storage) -> tuple[bool, str]:
    """For doctor: whether it is sound, and what there is to say."""
    try:
        chat = account()
    except ChatError as error:
        return False, str(error).partition("\n")[2].replace("\n", " ")
    if chat is None:
        return True, f"not set up; {SET_UP}"
    bot = Bot(chat)
    try:
        me, there = bot.name, bot.call("getChat", {"chat_id": chat.chat})
        hook = bot.call("getWebhookInfo", {}).get("url")
    except Rejected as error:
        return False, f"{error}: {error.advice}"
    except (Unreachable, AskedToWait) as error:
        return False, f"{error}; what is to be told waits"
    if hook and chat.allowed:
        return False, "a webhook hears this bot, so that no commands come: call deleteWebhook"
    off = ChatState(storage.ours).get(chat.off)
    if off:
        return False, f"it was switched off ({off}); switch it on with: run_study.py notify test"
    name = there.get("title") or there.get("first_name") or chat.chat
    return True, f"@{me} writes to {line(str(name))}; {len(chat.allowed)} people may command"


def _account(chat_needed: bool = True) -> Account:
    if (found := account(chat_needed=chat_needed)) is None:
        raise ChatError(f"Cannot use Telegram.\nNeither its token nor its chat is set.\n{SET_UP}")
    return found


@click.group()
def notify_group() -> None:
    """Try Telegram, look at what waits for it, or send that."""


@notify_group.command("test")
@click.option("--language", type=click.Choice(LANGUAGES), help="Default: both.")
@click.pass_obj
def notify_test(place: Place, language: str | None) -> None:
    """Write to the chat, and say who may command."""
    click.echo(test(place.storage(), language))


@notify_group.command("status")
@FORMATS
@click.pass_obj
def notify_status(place: Place, form: str) -> None:
    """Whether it is set up, what waits and why, and what was heard and not obeyed."""
    click.echo(formatted(status(place.storage()), form))


@notify_group.command("flush")
@click.pass_obj
def notify_flush(place: Place) -> None:
    """Send all that waits now."""
    click.echo(flush(place.storage(), place.workdir, place.console.print))
