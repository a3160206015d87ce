"""The client against a server that keeps the Bot API's contract: what is sent, and every error's meaning."""

import gzip
import json
import logging
import math
import os
import threading
import time
import traceback
import tracemalloc
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import quote

import pytest
from bot_api import CHAT, PERSON, TOKEN, answering, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smart_tuner.notify.outbox import AskedToWait
from smart_tuner.notify.telegram.client import (
    LONGEST_PAUSE,
    MOST_BYTES,
    Account,
    Bot,
    ChatError,
    Rejected,
    Unanswered,
    Unreachable,
    account,
)
from smart_tuner.notify.telegram.format import bold, escaped

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
        ({"TELEGRAM_API_BASE": "https://"}, "unencrypted"),
        ({"TELEGRAM_API_BASE": "https://[::1"}, "no address"),
        ({"TELEGRAM_API_BASE": "https://a\x00b"}, "no address"),
        ({"TELEGRAM_API_BASE": "https://a:port"}, "no address"),
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


# Whoever answers may mean no good


@pytest.fixture
def stranger():
    with answering() as found:
        yield found


@pytest.fixture
def asking(stranger, opened):
    """A bot that takes the stranger for Telegram."""
    return opened(TELEGRAM_API_BASE=stranger.base)


def test_a_redirect_takes_the_token_nowhere(stranger, asking):
    with answering() as other:
        for code in (301, 302, 307, 308):
            stranger.says({"ok": True, "result": {"message_id": 1}}, code, Location=f"{other.base}/x")
            with pytest.raises(Unreachable):
                asking.text("one")
        assert other.asked == 0


def test_what_is_packed_is_not_unpacked(stranger, asking):
    bomb = gzip.compress(b" " * 60_000_000)
    for kind in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        stranger.says(bomb, Content_Encoding=kind)
        tracemalloc.start()
        try:
            with pytest.raises(Unreachable):
                asking.text("one")
            assert tracemalloc.get_traced_memory()[1] < 3 * MOST_BYTES
        finally:
            tracemalloc.stop()


def endless(part, seconds=0.0):
    while True:
        yield part
        time.sleep(seconds)


def test_a_body_that_never_ends_is_left(stranger, asking):
    stranger.says(endless(b" " * 100_000))
    with pytest.raises(Unreachable):
        asking.text("one")
    stranger.says(endless(b" ", 0.05))  # each part in time, the whole never
    with pytest.raises(Unanswered):
        asking.call("sendMessage", {}, seconds=0.4)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (7, 7.0),
        (0.5, 1.0),
        (0, 5.0),
        (-30, 5.0),
        (math.nan, 5.0),
        (math.inf, LONGEST_PAUSE),
        (10**300, LONGEST_PAUSE),
        (86_400, LONGEST_PAUSE),
        (True, 5.0),
        ("7", 5.0),
        ([7], 5.0),
        (None, 5.0),
    ],
)
def test_it_is_waited_as_long_as_is_asked_but_never_for_ever(stranger, asking, asked, waits):
    stranger.says({"ok": False, "error_code": 429, "parameters": {"retry_after": asked}}, 429)
    with pytest.raises(AskedToWait) as caught:
        asking.text("one")
    assert caught.value.seconds == waits
    assert f"{waits:g} s" in str(caught.value)


SECRET = TOKEN.partition(":")[2]
ECHOES = [
    TOKEN,
    SECRET,
    f"/bot{TOKEN}/sendMessage",
    quote(TOKEN, safe=""),
    "".join(f"%{ord(c):02x}" for c in TOKEN),
    quote(quote("".join(f"%{ord(c):02X}" for c in SECRET))),
    "".join(f"&#{ord(c)};" for c in SECRET),
    SECRET[:10],
    SECRET[-9:],
    SECRET.lower(),
    SECRET[:6] + "\n" + SECRET[6:],
]


def pieces(text):
    """What of the secret can be read in a text."""
    return [
        SECRET[n : n + 8] for n in range(len(SECRET) - 7) if SECRET[n : n + 8].casefold() in text.casefold()
    ]


@pytest.mark.parametrize("echo", ECHOES)
def test_an_answer_that_repeats_the_token_loses_it(stranger, asking, echo):
    for code in (400, 401, 404, 413, 429, 500):
        stranger.says({"ok": False, "error_code": code, "description": f"no {echo} here"}, code)
        with pytest.raises((Rejected, Unreachable, AskedToWait)) as caught:
            asking.text("one")
        said = "".join(traceback.format_exception(caught.value))
        assert echo not in said and not pieces(said)
        assert isinstance(caught.value, AskedToWait) or "repeats a secret" in said
    stranger.says({"ok": True, "result": {"username": f"{echo}_bot"}})
    assert not pieces(asking.name)


def test_an_explanation_is_one_short_line_that_steers_no_terminal(stranger, asking):
    stranger.says(
        {"ok": False, "error_code": 400, "description": "\x1b[2Jno\n\n\ud800\x00\u202e" + "x" * 10_000}, 400
    )
    with pytest.raises(Rejected) as caught:
        asking.text("one")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


PLAIN_VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ECHOES)
)
VALUES = st.recursive(
    PLAIN_VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
ANSWERS = st.fixed_dictionaries(
    {},
    optional={
        "ok": st.booleans() | VALUES,
        "result": VALUES | st.fixed_dictionaries({"message_id": VALUES}),
        "error_code": st.sampled_from([200, 302, 400, 401, 429, 500]) | VALUES,
        "description": VALUES,
        "parameters": VALUES
        | st.fixed_dictionaries({}, optional={"retry_after": VALUES, "migrate_to_chat_id": VALUES}),
    },
)
BODIES = st.binary(max_size=40) | (ANSWERS | VALUES).map(lambda told: json.dumps(told).encode())
BODIES |= st.sampled_from([b"[" * 100_000, b'{"ok":' * 50_000, b"9" * 5_000, b"<html>", b"\xff\xfe{}"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(code=st.sampled_from([200, 200, 201, 302, 400, 401, 403, 404, 409, 413, 429, 500]), body=BODIES)
def test_whatever_is_answered_is_a_success_or_one_of_the_known_errors(stranger, asking, code, body):
    stranger.says(body, code)
    try:
        number = asking.text("one")
    except AskedToWait as asked:
        assert 1 <= asked.seconds <= LONGEST_PAUSE and not pieces(str(asked))
    except Rejected as error:
        assert 400 <= error.code < 500
        told = f"{error} {error.advice}"
        assert told.isprintable() and not pieces(told) and isinstance(error.for_all, bool)
    except Unreachable as error:
        assert str(error).isprintable() and not pieces(str(error))
    else:
        told = json.loads(body)
        assert code == 200 and told["ok"] is True
        assert type(number) is int and number == told["result"]["message_id"]


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
