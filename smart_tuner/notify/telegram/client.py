"""A small client of Telegram's Bot API: what is sent, what is heard, and what its errors mean.

Whoever has the token has the bot. It is in the address of every request, so nothing here says an address:
not an exception, not a log line. An answer that repeats it loses the text that does.

Whoever answers may be no Telegram at all: an answer is taken only so far, for so long, and as what it is.
"""

import asyncio
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from smart_tuner.notify.outbox import AskedToWait
from smart_tuner.notify.telegram.format import LONGEST_CAPTION, line, plain, split, units, without

TOKEN, TOKEN_FILE = "TELEGRAM_BOT_TOKEN", "TELEGRAM_BOT_TOKEN_FILE"
CHAT, ALLOWED, BASE = "TELEGRAM_CHAT_ID", "TELEGRAM_ALLOWED_IDS", "TELEGRAM_API_BASE"
TELEGRAMS = "https://api.telegram.org"
CONNECT_SECONDS = 10.0
SECONDS = 20.0  # for a whole call, however slowly its answer drips
FILE_SECONDS = 120.0  # for one with a file; shorter than a row is claimed (smart_tuner/notify/outbox.py)
POLL_SECONDS = 25
LONGEST_PAUSE, USUAL_PAUSE = 3600.0, 5.0  # seconds that Telegram may ask for, and where it does not say
MOST_BYTES = 4_000_000  # of an answer
MOST_UPDATES = 20  # at once: as many always fit into an answer
PLAIN = {"Accept-Encoding": "identity"}  # what is packed may swell without a bound
GAP_SECONDS, GROUP_GAP_SECONDS = 1.0, 3.0  # between messages; core.telegram.org/bots/faq
LARGEST = {"photo": 10_000_000, "voice": 50_000_000}  # bytes
NOT_THIS_CHAT = ("chat not found", "rights to send text", "rights to send a message", "CHAT_WRITE_FORBIDDEN")
ONLY_OWNER = 0o077  # no bit of these
for name in ("httpx", "httpcore"):
    logging.getLogger(name).setLevel(logging.WARNING)  # at INFO they say addresses


class ChatError(RuntimeError):
    """The set-up cannot be used; the message says what, why and what to do."""


class Unreachable(Exception):
    """No connection, or the other side is out of order: it was not taken."""


class Unanswered(Unreachable):
    """It was sent and no answer came: nobody knows whether it was taken."""


class Rejected(Exception):
    """Telegram's answer to what it will not take."""

    def __init__(self, code: int, why: str, parameters: Mapping[str, Any]) -> None:
        super().__init__(f"{code} {why}")
        self.code, self.why, self.parameters = code, why, parameters

    @property
    def for_all(self) -> bool:
        """Whether every other message would meet the same: the token or the chat is wrong."""
        moved = "migrate_to_chat_id" in self.parameters or any(why in self.why for why in NOT_THIS_CHAT)
        return (self.code == 400 and moved) or self.code in (401, 403, 404)

    @property
    def advice(self) -> str:
        if new := self.parameters.get("migrate_to_chat_id"):
            return f"the group became a supergroup: set {CHAT}={new}"
        if self.code in (401, 404):
            return f"the token is refused: take it anew from @BotFather, as {TOKEN}"
        return f"the bot may not write to this chat: check {CHAT}, and send the bot /start from there"


@dataclass(frozen=True)
class Account:
    """Who speaks, to whom, and who may command."""

    token: str
    chat: str
    allowed: frozenset[int]
    base: str = TELEGRAMS

    def __repr__(self) -> str:
        return f"Account(chat={self.chat!r})"

    @property
    def fingerprint(self) -> str:
        """A hash of token and chat: what was found out about one pair holds for no other."""
        return hashlib.sha256(f"{self.token} {self.chat}".encode()).hexdigest()[:16]

    @property
    def off(self) -> str:
        """The name in the chat state of why nothing is sent."""
        return f"off:{self.fingerprint}"


def account(environment: Mapping[str, str] = os.environ, chat_needed: bool = True) -> Account | None:
    """The account that the environment gives; None where it gives none. Raises ChatError."""
    token, chat = _token(environment), environment.get(CHAT, "").strip()
    if not token and not chat:
        return None
    if not token or (chat_needed and not chat):
        has, lacks = (TOKEN, CHAT) if token else (CHAT, f"{TOKEN} or {TOKEN_FILE}")
        raise ChatError(
            f"Cannot use Telegram.\n{has} is set, but {lacks} is not.\n"
            "Set both; with the token alone, run_study.py notify test shows who wrote to the bot."
        )
    number, _, secret = token.partition(":")
    if not number.isdigit() or not secret or not all(c.isalnum() or c in "-_" for c in secret):
        raise ChatError(
            "Cannot use Telegram.\nThe token is not of the form 123456:ABC-DEF.\n"
            f"Take it from @BotFather, as {TOKEN}."
        )
    allowed = environment.get(ALLOWED, "").replace(",", " ").split()
    if not all(one.isdigit() for one in allowed):
        raise ChatError(
            f"Cannot use Telegram.\n{ALLOWED} must be numbers, with commas between them.\n"
            "Unset it, and send the bot a message: run_study.py notify test shows who wrote to it."
        )
    return Account(token, chat, frozenset(map(int, allowed)), _base(environment.get(BASE, TELEGRAMS)))


def _token(environment: Mapping[str, str]) -> str:
    if token := environment.get(TOKEN, "").strip():
        return token
    if not (name := os.path.expanduser(environment.get(TOKEN_FILE, ""))):
        return ""
    try:
        mode = os.stat(name).st_mode
        if stat.S_IMODE(mode) & ONLY_OWNER:
            raise ChatError(
                f"Cannot use Telegram.\n{name} can be read by others than its owner.\nRun: chmod 600 {name}"
            )
        return Path(name).read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ChatError(
            f"Cannot use Telegram.\nThe token's file cannot be read: {error}.\nCorrect {TOKEN_FILE}."
        ) from error


def _base(base: str) -> str:
    try:
        parts, host = urlsplit(base), httpx.URL(base).host
    except (ValueError, httpx.InvalidURL) as error:
        raise ChatError(
            f"Cannot use Telegram.\n{BASE} is no address: {error}.\nGive an https address."
        ) from None
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if host and (parts.scheme == "https" or local):
        return base.rstrip("/")
    raise ChatError(
        f"Cannot use Telegram.\n{BASE} would send the token unencrypted to {parts.hostname}.\n"
        "Give an https address."
    )


class Bot:
    """Speaks for one account. Each call stands alone: no connection or cookie is kept between them.

    Args:
        wait: sleeps for some seconds, between messages.
    """

    def __init__(self, account: Account, wait: Callable[[float], object] = time.sleep) -> None:
        self.account, self._wait = account, wait
        self._tls = httpx.create_ssl_context()
        try:
            self._client(SECONDS)
        except (ValueError, httpx.InvalidURL) as error:
            raise ChatError(
                f"Cannot use Telegram.\nThe proxy of the environment cannot be used: {error}.\n"
                "Correct HTTPS_PROXY or ALL_PROXY."
            ) from None
        self._gap = GROUP_GAP_SECONDS if account.chat.startswith(("-", "@")) else GAP_SECONDS
        self._spoke = -self._gap

    def _client(self, seconds: float) -> httpx.AsyncClient:
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        return httpx.AsyncClient(verify=self._tls, headers=PLAIN, timeout=timeout, follow_redirects=False)

    @property
    def name(self) -> str:
        """The bot's user name, without the @. Raises what `call` raises."""
        name = self.call("getMe", {}).get("username")
        if not isinstance(name, str):
            raise Unanswered("getMe: the bot has no name")
        return line(name)

    # What it says. Each returns the message's id, and raises what `call` raises

    def text(
        self,
        markup: str,
        silent: bool = False,
        reply_to: int | None = None,
        buttons: list[list[dict[str, str]]] | None = None,
    ) -> int:
        """One message. If Telegram cannot read its markup, it goes as plain text."""
        data: dict[str, Any] = {"disable_notification": silent, "link_preview_options": {"is_disabled": True}}
        if buttons:
            data["reply_markup"] = {"inline_keyboard": buttons}
        data |= _reply(reply_to)
        return self._message("sendMessage", "text", markup, data)

    def file(
        self,
        kind: str,
        name: str,
        content: bytes,
        caption: str = "",
        silent: bool = False,
        reply_to: int | None = None,
    ) -> int:
        """A picture (kind "photo", PNG) or a sound ("voice", OGG with Opus)."""
        if len(content) > LARGEST[kind]:
            raise Rejected(413, f"{name} is larger than Telegram takes", {})
        data = {"disable_notification": silent, **_reply(reply_to)}
        files = {kind: (name, content, {"photo": "image/png", "voice": "audio/ogg"}[kind])}
        return self._message(f"send{kind.title()}", "caption", caption, data, files)

    def texts(self, markup: str) -> None:
        """As many messages as it takes."""
        for part in split(markup):
            self.text(part)

    def _message(
        self, method: str, field: str, markup: str, data: Mapping[str, Any], files: Any = None
    ) -> int:
        data = {"chat_id": self.account.chat, **data}
        marked = {field: markup, "parse_mode": "HTML"} if markup else {}
        self._wait(max(0.0, self._spoke + self._gap - time.monotonic()))
        try:
            sent = self.call(method, {**data, **marked}, files)
        except Rejected as error:
            if error.code != 400 or "can't parse entities" not in error.why:
                raise
            sent = self.call(method, {**data, field: plain(markup)}, files)
        finally:
            self._spoke = time.monotonic()
        if (number := whole(sent.get("message_id"))) is None:
            raise Unanswered(f"{method}: it was taken, but not told as which message")
        return number

    # The protocol

    def call(
        self,
        method: str,
        data: Mapping[str, Any],
        files: Any = None,
        seconds: float | None = None,
        kind: type = dict,
    ) -> Any:
        """The result of a method of the Bot API.

        Args:
            seconds: for the whole call; then it counts as unanswered.
            kind: what the result must be.

        Raises:
            Unreachable, Unanswered: see there.
            AskedToWait: too many messages; never for longer than LONGEST_PAUSE.
            Rejected: Telegram refused it.
        """
        address = f"{self.account.base}/bot{self.account.token}/{method}"
        seconds = seconds or (FILE_SECONDS if files else SECONDS)
        form = {name: _field(value) for name, value in data.items()}
        sent: dict[str, Any] = {"data": form, "files": files} if files else {"json": dict(data)}
        try:
            code, body = asyncio.run(self._answer(address, sent, seconds))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise Unreachable(f"{method}: no connection ({type(error).__name__})") from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unanswered(f"{method}: no answer ({type(error).__name__})") from None
        result = _result(method, code, self._told(body))
        if not isinstance(result, kind):
            raise Unanswered(f"{method}: it was taken, but not answered as the Bot API does")
        return result

    async def _answer(
        self, address: str, sent: Mapping[str, Any], seconds: float
    ) -> tuple[int, bytes | None]:
        """Status and body; None for a body that is packed, or too long."""
        async with (
            asyncio.timeout(seconds),
            self._client(seconds) as client,
            client.stream("POST", address, **sent) as answer,
        ):
            body = bytearray()
            if answer.headers.get("content-encoding", "identity") != "identity":
                return answer.status_code, None
            async for part in answer.aiter_raw():
                body += part
                if len(body) > MOST_BYTES:
                    return answer.status_code, None
            return answer.status_code, bytes(body)

    def _told(self, body: bytes | None) -> Any:
        """The answer as JSON, without texts that repeat the token; None where it is no JSON."""
        secret = self.account.token.partition(":")[2]

        def hidden(found: dict[str, Any]) -> dict[str, Any]:
            return {
                n: without(secret, value) if isinstance(value, str) else value for n, value in found.items()
            }

        try:
            return json.loads(body or b"", object_hook=hidden)
        except (ValueError, RecursionError):
            return None


def _result(method: str, status: int, told: Any) -> Any:
    """Raises what `Bot.call` raises, unless it succeeded."""
    ok = told.get("ok") if isinstance(told, dict) else None
    if ok is True and status == 200 and "result" in told:
        return told["result"]
    code = whole(told.get("error_code", status)) if ok is False else status
    if code is None or not (400 <= code < 600 and (ok is False or code in (413, 429))):
        raise Unreachable(f"{method}: {status}, an answer that is not of the Bot API")  # who knows whose
    why = (
        line(told["description"]) if ok is False and isinstance(told.get("description"), str) else "no reason"
    )
    parameters = told.get("parameters") if ok is False else {}
    parameters = parameters if isinstance(parameters, dict) else {}
    if code == 429:
        raise _asked_to_wait(method, parameters.get("retry_after"))
    if code >= 500:
        raise Unreachable(f"{method}: {code} {why}")
    moved = whole(parameters.get("migrate_to_chat_id"))
    raise Rejected(code, why, {} if moved is None else {"migrate_to_chat_id": moved})


def _asked_to_wait(method: str, asked: object) -> AskedToWait:
    """The pause that Telegram asks for, from a second to LONGEST_PAUSE; USUAL_PAUSE if that is no number."""
    told = isinstance(asked, int | float) and not isinstance(asked, bool) and asked > 0
    seconds = float(min(max(asked, 1.0), LONGEST_PAUSE)) if told else USUAL_PAUSE  # type: ignore[call-overload]
    return AskedToWait(seconds, f"{method}: asked to wait, for {seconds:g} s")


def whole(value: object) -> int | None:
    """A number that every database can hold; None for anything else."""
    sound = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    return value if sound else None  # type: ignore[return-value]


def _reply(message: int | None) -> dict[str, Any]:
    if message is None:
        return {}
    return {"reply_parameters": {"message_id": message, "allow_sending_without_reply": True}}


def _field(value: Any) -> str:
    """A value as a form takes it: text, or JSON."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def fits_caption(markup: str) -> bool:
    return units(plain(markup)) <= LONGEST_CAPTION
