"""The client against a server that keeps the Bot API's contract: what is sent, and every error's meaning."""

import logging
import os
import threading
import traceback
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from bot_api import CHAT, PERSON, TOKEN, serving

from smart_tuner.markup import bold, escaped
from smart_tuner.outbox import AskedToWait
from smart_tuner.telegram import Account, Bot, ChatError, Rejected, Unanswered, Unreachable, account

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


@pytest.fixture
def api():
    with serving() as found:
        yield found


@pytest.fixture
def opened(api):
    bots = []

    def open_bot(wait=lambda seconds: None, **other):
        bots.append(Bot(account({**api.environment, **other}), wait))
        return bots[-1]

    yield open_bot
    for bot in bots:
        bot.close()


@pytest.fixture
def bot(opened):
    return opened()


def test_a_text_arrives_as_it_was_written(api, bot):
    foreign = "<b>&amp; «ё» \U0001f41f</i>"
    number = bot.text(bold("trial 7") + "\n" + escaped(foreign))
    [message] = api.messages
    assert (message.id, message.text, message.marked) == (number, f"trial 7\n{foreign}", True)


def test_a_long_text_comes_in_parts(api, bot):
    bot.texts("\n".join(f"line {n}" for n in range(1000)))
    assert len(api.messages) == 3
    assert "\n".join(api.says()).splitlines() == [f"line {n}" for n in range(1000)]


def test_a_picture_has_its_caption_and_answers_another_message(api, bot):
    first = bot.text("one")
    bot.file("photo", "a.png", PNG, bold("two"), silent=True, reply_to=first)
    message = api.messages[-1]
    assert (message.text, message.file, message.silent, message.answers) == ("two", PNG, True, first)


def test_a_reply_to_a_deleted_message_arrives(api, bot):
    bot.text("one", reply_to=99)
    assert api.says() == ["one"]


def test_markup_that_cannot_be_read_goes_as_plain_text(api, bot):
    bot.text("<b>one & two")
    [message] = api.messages
    assert (message.text, message.marked) == ("one & two", False)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ((429, "Too Many Requests: retry after 7", {"retry_after": 7}), AskedToWait),
        ((500, "Internal Server Error"), Unreachable),
        ((502, "Bad Gateway"), Unreachable),
        ((400, "Bad Request: wrong file identifier"), Rejected),
        ((401, "Unauthorized"), Rejected),
        ((403, "Forbidden: bot was blocked by the user"), Rejected),
        ((404, "Not Found"), Rejected),
        ((409, "Conflict"), Rejected),
        ((413, "Request Entity Too Large"), Rejected),
        ("cut", Unanswered),
    ],
)
def test_each_error_is_told_apart(api, bot, fault, error):
    api.faults = [("sendMessage", fault)]
    with pytest.raises(error) as caught:
        bot.text("one")
    assert type(caught.value) is error
    if error is AskedToWait:
        assert caught.value.seconds == 7
    bot.text("two")
    assert api.says()[-1] == "two"


def test_no_answer_in_time_is_told_apart_from_no_connection(api, bot, opened):
    api.faults, api.hang_seconds = [("sendMessage", "hang")], 2.0
    with pytest.raises(Unanswered):
        bot.call("sendMessage", {"chat_id": CHAT, "text": "one"}, seconds=0.2)
    with pytest.raises(Unreachable) as caught:
        opened(TELEGRAM_API_BASE="http://127.0.0.1:9").text("one")
    assert not isinstance(caught.value, Unanswered)


def test_an_answer_that_is_not_the_bot_api_s_is_no_success(bot):
    assert bot.account.base
    with pytest.raises(Rejected, match="404"):
        bot.call("no_such_method", {})


@pytest.mark.parametrize(
    ("code", "why", "parameters", "for_all"),
    [
        (401, "Unauthorized", {}, True),
        (403, "Forbidden: bot was kicked", {}, True),
        (400, "Bad Request: chat not found", {}, True),
        (400, "group chat was upgraded", {"migrate_to_chat_id": -1007}, True),
        (400, "Bad Request: wrong file", {}, False),
        (413, "too large", {}, False),
    ],
)
def test_what_would_meet_every_message_is_known(code, why, parameters, for_all):
    error = Rejected(code, why, parameters)
    assert error.for_all is for_all
    assert "-1007" in error.advice or not parameters


def test_no_error_says_the_token(api, bot, opened, caplog):
    said = []
    with caplog.at_level(logging.DEBUG, "smart_tuner"), caplog.at_level(logging.INFO):
        for fault in [(401, "Unauthorized"), (500, "x"), (400, "x"), "cut"]:
            api.faults = [("sendMessage", fault)]
            try:
                bot.text("one")
            except (Rejected, Unreachable) as error:
                said += ["".join(traceback.format_exception(error)), repr(error)]
        bot.text("two")
        try:
            opened(TELEGRAM_API_BASE="http://127.0.0.1:9").text("one")
        except Unreachable as error:
            said += ["".join(traceback.format_exception(error)), repr(error)]
    said += [caplog.text, repr(bot.account)]
    assert len(said) == 12
    assert not [text for text in said if TOKEN in text or TOKEN.partition(":")[2] in text]


# The environment


def test_nothing_set_is_no_account():
    assert account({}) is None


def test_an_account_knows_who_may_command(api):
    found = account({**api.environment, "TELEGRAM_ALLOWED_IDS": "5, 6"})
    assert (found.chat, found.allowed) == (CHAT, {5, 6})
    assert account(api.environment).allowed == {PERSON}


def test_the_token_may_be_in_a_file_that_is_its_owner_s_alone(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    file.chmod(0o600)
    environment = {"TELEGRAM_BOT_TOKEN_FILE": str(file), "TELEGRAM_CHAT_ID": CHAT}
    assert account(environment).token == TOKEN
    file.chmod(0o640)
    with pytest.raises(ChatError, match="chmod 600"):
        account(environment)
    os.unlink(file)
    with pytest.raises(ChatError, match="cannot be read"):
        account(environment)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"TELEGRAM_CHAT_ID": ""}, "TELEGRAM_CHAT_ID is not"),
        ({"TELEGRAM_BOT_TOKEN": ""}, "TELEGRAM_BOT_TOKEN or TELEGRAM_BOT_TOKEN_FILE is not"),
        ({"TELEGRAM_BOT_TOKEN": "secret/../x"}, "not of the form"),
        ({"TELEGRAM_ALLOWED_IDS": "ann"}, "must be numbers"),
        ({"TELEGRAM_API_BASE": "http://example.org"}, "unencrypted"),
        ({"TELEGRAM_API_BASE": "ftp://127.0.0.1"}, "unencrypted"),
    ],
)
def test_a_wrong_set_up_is_refused_without_its_secret(api, wrong, said):
    with pytest.raises(ChatError, match=said) as caught:
        account({**api.environment, **wrong})
    assert len(str(caught.value).splitlines()) == 3
    assert "secret" not in str(caught.value)


def test_another_token_or_chat_is_another_fingerprint():
    first = Account(TOKEN, CHAT, frozenset())
    assert (
        len(
            {
                a.fingerprint
                for a in (first, Account(TOKEN, "5", frozenset()), Account("1:x", CHAT, frozenset()))
            }
        )
        == 3
    )
    assert TOKEN.partition(":")[2] not in first.fingerprint


def test_messages_keep_their_distance(opened):
    waits = []
    found = opened(waits.append)
    for text in "abc":
        found.text(text)
    assert waits[0] == 0.0
    assert all(0.5 < wait <= 1.0 for wait in waits[1:])


class Portal(BaseHTTPRequestHandler):
    """A proxy that answers in Telegram's place."""

    code = 403

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.code)
        self.send_header("Content-Length", "13")
        self.end_headers()
        self.wfile.write(b"<html></html>")

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("code", [200, 302, 403, 404, 407, 451, 502])
def test_whoever_answers_in_telegram_s_place_is_not_believed(opened, code):
    with HTTPServer(("127.0.0.1", 0), type("Coded", (Portal,), {"code": code})) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(Unreachable) as caught:
            opened(TELEGRAM_API_BASE=f"http://127.0.0.1:{server.server_address[1]}").text("one")
    assert not isinstance(caught.value, Unanswered)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
def test_a_proxy_that_is_down_is_an_outage(opened, monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "")
    bot = opened(TELEGRAM_API_BASE="https://203.0.113.1")
    with pytest.raises(Unreachable):
        bot.text("one")


def test_a_proxy_that_is_none_is_named(opened, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "ftp://127.0.0.1:9")
    with pytest.raises(ChatError, match="ALL_PROXY"):
        opened()
