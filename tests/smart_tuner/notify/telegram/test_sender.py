"""Rows become messages in a chat: in order, once, not too often, whatever the server answers."""

import datetime
from contextlib import closing

import numpy as np
import pytest
import soundfile
from bot_api import TOKEN, answering, serving
from PIL import Image
from sqlalchemy import literal, select, update
from sqlalchemy.exc import OperationalError

from smart_tuner.notify.telegram.client import Bot, account
from smart_tuner.notify.telegram.sender import COOLDOWN_SECONDS, Alerts, channel, due_now, tell
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import CHATS, OUTBOX

UID = "0123456789abcdef0123456789abcdef"
MINUTE = 60.0


class Chat:
    """A chat, and the sender that writes to it, with a clock of ours."""

    def __init__(self, api, storage, workdir):
        self.api, self.storage, self.workdir = api, storage, workdir
        self.clock, self.hour, self.warned, self.ending = [1000.0], [datetime.time(12)], [], [False]
        self.count, self.bots = 0, []
        self.again()

    def again(self, **environment):
        """As another process would begin."""
        self.bots.append(Bot(account({**self.api.environment, **environment}), wait=lambda _: None))
        self.alerts = Alerts(
            self.bots[-1],
            self.storage.ours,
            self.workdir,
            self.warned.append,
            lambda: self.ending[0],
            lambda: self.hour[0],
            lambda: literal(self.clock[0]),
        )
        self.publisher = self.alerts.publisher()

    def tell(self, kind="digest", group="", trial=None, text="", **row):
        self.count += 1
        facts = FACTS[kind](text or str(self.count))
        whole = {
            "kind": kind,
            "group": group,
            "name": str(self.count),
            "study_uid": UID,
            "trial": trial,
            "language": "en",
            "quiet": None,
            "facts": {"study": "ru", "trial": trial, **facts},
            "files": [],
            "answers": None,
        }
        tell(self.storage.ours, channel(self.workdir), {**whole, **row})

    def send(self, seconds=0.0):
        self.clock[0] += seconds
        return self.publisher.drain()

    def said(self):
        """What tells the messages apart."""
        return [text.split("|")[1] for text in self.api.says() if "|" in text]

    def states(self):
        with self.storage.ours.connect() as connection:
            return list(connection.execute(select(OUTBOX.c.state).order_by(OUTBOX.c.id)).scalars())


def repair(text):
    return {
        "entry": "repair",
        "step": 100,
        "rule": "collapse",
        "priority": 9,
        "reason": f"|{text}|",
        "evidence": {},
        "action": "go back and halve the learning rate",
        "changes": {},
    }


FACTS = {
    "digest": lambda text: {
        "counts": dict.fromkeys(("done", "budget", "running"), f"|{text}|") | FIXES,
        "best": None,
    },
    "study_end": lambda text: {
        "done": f"|{text}|",
        "budget": 3,
        "states": STATES,
        "repaired": 0,
        "hours": 0.0,
    },
    "fix": repair,
    "critical": repair,
    "warning": repair,
    "best": lambda text: {"number": 3, "value": 5.8, "was": None, "at_step": f"|{text}|", "repairs": 0},
    "trial_bad": lambda text: {"state": "PRUNED", "reason": f"|{text}|", "value": None, "median": None},
    "verdict": lambda text: (
        repair(text) | {"verdict": "improved", "before": {}, "after": {}, "repair_step": f"|{text}|"}
    ),
}
FIXES = dict.fromkeys(("fixes", "improved", "undone", "pending"), 0)
STATES = dict.fromkeys(("complete", "pruned", "fail", "running"), 0)


# Of what asks the database in its own way; all else is tried on SQLite.
on_each_backend = pytest.mark.usefixtures("empty_url")


@pytest.fixture
def chat(some_url, tmp_path):
    workdir = tmp_path / "home"
    workdir.mkdir()
    with serving() as api, closing(open_storage(some_url)) as storage:
        found = Chat(api, storage, workdir)
        yield found


def picture(chat, name="a.png"):
    Image.new("RGB", (20, 20)).save(chat.workdir / name)
    return "photo", name


def sound(chat, name="a.wav"):
    wave = 0.3 * np.sin(np.arange(22_050) / 9)
    soundfile.write(chat.workdir / name, wave, 22_050)
    return "voice", name


@on_each_backend
def test_all_is_told_in_order(chat):
    for _ in range(5):
        chat.tell()
    assert chat.send() is None
    assert chat.said() == ["1", "2", "3", "4", "5"]


@on_each_backend
def test_an_event_is_told_once(chat):
    chat.tell(name="same")
    chat.tell(name="same")
    chat.send()
    chat.tell(name="same")
    chat.send()
    assert chat.said() == ["1"]


# Not too often


@on_each_backend
def test_of_a_group_the_first_is_told_at_once_and_then_the_newest(chat):
    for _ in range(4):
        chat.tell("fix", "7-collapse", 7)
        chat.send()
    assert chat.said() == ["1"]
    chat.send(COOLDOWN_SECONDS["fix"] + 1)
    assert chat.said() == ["1", "4"]
    assert "of the same kind and not told: 2" in chat.api.says()[-1]
    assert chat.states() == ["sent", "dropped", "dropped", "sent"]


def test_groups_and_kinds_do_not_hold_each_other_back(chat):
    chat.tell("fix", "7-collapse", 7)
    chat.tell("fix", "8-collapse", 8)
    chat.tell("warning", "7-collapse", 7)
    chat.tell("critical", "collapse", 7)
    chat.send()
    assert chat.said() == ["1", "2", "3", "4"]


def test_what_is_held_back_lets_others_pass(chat):
    chat.tell("best", "all", 1)
    chat.tell("best", "all", 2)
    chat.tell("verdict", trial=2)
    chat.send()
    assert chat.said()[0] == "1" and len(chat.api.messages) == 2
    chat.send(COOLDOWN_SECONDS["best"] + 1)
    assert chat.said()[-1] == "2"


@on_each_backend
def test_a_study_s_end_comes_after_what_was_held_back(chat):
    for number in (1, 2, 3):
        chat.tell("trial_bad", "all", number)
        chat.send()
    chat.tell("study_end")
    due_now(chat.storage.ours, channel(chat.workdir), "held")
    chat.send()
    assert chat.said() == ["1", "3", "4"]


@on_each_backend
def test_last_words_are_not_held_back(chat):
    for number in (1, 2):
        chat.tell("trial_bad", "all", number)
        chat.send()
    chat.ending[0] = True
    due_now(chat.storage.ours, channel(chat.workdir), "held")
    chat.send()
    assert chat.said() == ["1", "2"]


@on_each_backend
def test_a_cooldown_outlives_the_process(chat):
    chat.tell("fix", "a", 1)
    chat.send()
    chat.again()
    chat.tell("fix", "a", 1)
    chat.send()
    assert chat.said() == ["1"]


@pytest.mark.parametrize(
    ("quiet", "hour", "silent"),
    [
        ("23:00-08:00", 23, True),
        ("23:00-08:00", 7, True),
        ("23:00-08:00", 8, False),
        ("23:00-08:00", 12, False),
        ("12:00-13:00", 12, True),
        (None, 3, False),
    ],
)
def test_quiet_hours_are_silent_and_nothing_grave_is(chat, quiet, hour, silent):
    chat.hour[0] = datetime.time(hour)
    chat.tell("fix", "a", 1, quiet=quiet)
    chat.tell("critical", "a", 1, quiet=quiet)
    chat.send()
    assert [message.silent for message in chat.api.messages] == [silent, False]


# Files and replies


def test_a_picture_carries_the_words(chat):
    chat.tell("fix", "a", 1, files=[picture(chat)])
    chat.send()
    [message] = chat.api.messages
    assert message.method == "sendPhoto" and "|1|" in message.text


def test_a_best_trial_is_heard_and_seen(chat):
    chat.tell("best", "all", 1, files=[sound(chat), picture(chat)])
    chat.send()
    assert [m.method for m in chat.api.messages] == ["sendVoice", "sendPhoto"]
    assert "|1|" in chat.api.messages[0].text


def test_a_file_that_is_gone_or_refused_costs_no_words(chat):
    chat.tell("fix", "a", 1, files=[("photo", "gone.png")])
    (chat.workdir / "bad.png").write_bytes(b"no picture")
    chat.tell("fix", "b", 1, files=[("photo", "bad.png")])
    (chat.workdir / "bad.wav").write_bytes(b"no sound")
    chat.tell("best", "all", 1, files=[("voice", "bad.wav")])
    chat.api.faults = []
    chat.send()
    assert chat.said() == ["1", "2", "3"]


def test_a_file_too_large_costs_no_words(chat):
    chat.api.faults = [("sendPhoto", (413, "Request Entity Too Large"))]
    chat.tell("fix", "a", 1, files=[picture(chat)])
    chat.send()
    assert chat.said() == ["1"]


def test_a_verdict_answers_its_repair(chat):
    chat.tell("fix", "a", 7, name="7-1")
    chat.tell("verdict", "", 7, name="7-2", answers="7-1")
    chat.tell("verdict", "", 8, name="8-2", answers="7-1")
    chat.send()
    assert [message.answers for message in chat.api.messages] == [None, 1, None]


def test_what_was_sent_of_several_is_not_sent_again(chat):
    chat.tell("best", "all", 1, files=[sound(chat), picture(chat)])
    chat.api.faults = [("sendPhoto", (502, "Bad Gateway"))]
    chat.send()
    chat.again()
    chat.send(MINUTE)
    assert [m.method for m in chat.api.messages] == ["sendVoice", "sendPhoto"]


# What the server answers


def test_away_for_a_minute_nothing_is_lost(chat):
    chat.api.down = True
    for number in range(3):
        chat.tell("verdict", "", number)
    chat.tell("critical", "a", 1)
    assert chat.send() > 0
    for _ in range(6):
        chat.send(10)
    assert chat.said() == []
    chat.api.down = False
    chat.send(10 * MINUTE)
    assert chat.said() == ["1", "2", "3", "4"]


def test_an_unanswered_digest_is_dropped_and_an_unanswered_repair_repeated(chat):
    chat.tell("digest")
    chat.tell("critical", "a", 1)
    chat.api.faults = [("sendMessage", "cut"), ("sendMessage", "cut")]
    chat.send()
    chat.send(MINUTE)
    assert chat.said() == ["1", "2", "2"]
    assert chat.states() == ["dropped", "sent"]


def test_asked_to_wait_the_whole_chat_waits_and_that_was_no_try(chat):
    chat.tell()
    chat.tell()
    chat.api.faults = [("sendMessage", (429, "Too Many Requests", {"retry_after": 30}))]
    assert chat.send() == pytest.approx(30, abs=1)
    assert chat.said() == []
    chat.send(31)
    assert chat.said() == ["1", "2"]
    with chat.storage.ours.connect() as connection:
        assert list(connection.execute(select(OUTBOX.c.tries)).scalars()) == [1, 1]


@pytest.mark.parametrize(
    "fault",
    [
        (401, "Unauthorized"),
        (404, "Not Found"),
        (403, "Forbidden: bot was blocked by the user"),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: group chat was upgraded", {"migrate_to_chat_id": -1007}),
    ],
)
def test_a_wrong_token_or_chat_switches_off_with_one_warning_and_keeps_all(chat, fault):
    chat.api.faults = [("sendMessage", fault)] * 5
    for _ in range(3):
        chat.tell()
        chat.send(MINUTE)
    chat.again()
    chat.send(MINUTE)
    assert len(chat.warned) == 1 and "doctor" in chat.warned[0]
    assert chat.said() == [] and chat.states() == ["waiting"] * 3
    assert chat.api.calls.count("sendMessage") == 1
    chat.api.faults = []
    chat.alerts.memory.take(f"off:{account(chat.api.environment).fingerprint}")
    chat.send(MINUTE)
    assert chat.said() == ["1", "2", "3"]


def test_another_refusal_sets_one_message_aside(chat):
    chat.tell()
    chat.tell()
    chat.api.faults = [("sendMessage", (400, "Bad Request: something else"))]
    chat.send()
    assert chat.said() == ["2"] and chat.states() == ["dropped", "sent"]


def test_a_text_that_telegram_finds_too_long_is_cut(chat):
    chat.tell(text="ж" * 3000)
    chat.api.faults = [("sendMessage", (400, "Bad Request: message is too long"))]
    chat.send()
    assert len(chat.api.messages) > 1
    assert "".join(chat.api.says()).count("ж") == 9000


@on_each_backend
def test_the_queue_of_minor_rows_is_bounded_and_that_of_grave_ones_is_not(chat, monkeypatch):
    monkeypatch.setattr("smart_tuner.notify.telegram.sender.MOST", 3)
    for number in range(5):
        chat.tell("fix", str(number), number)
        chat.tell("critical", str(number), number)
    assert chat.states().count("dropped") == 2
    chat.send()
    assert len(chat.api.messages) == 8


def test_a_row_that_cannot_be_worded_lets_the_others_pass(chat):
    chat.tell("best", "all", 1, facts={"study": "ru"})
    chat.tell("critical", "a", 1)
    chat.send()
    assert chat.said() == ["2"] and len(chat.warned) == 1
    assert chat.states() == ["dropped", "sent"]


def test_a_database_that_fails_after_telegram_s_answer_doubles_nothing(chat, monkeypatch):
    chat.tell("critical", "a", 1)

    def away(*_):
        raise OperationalError("UPDATE", {}, Exception("gone"))

    monkeypatch.setattr(chat.alerts.memory, "note", away)
    chat.send()
    monkeypatch.undo()
    chat.send(MINUTE)
    assert chat.said() == ["1"] and chat.states() == ["sent"]


@on_each_backend
def test_workers_of_two_homes_tell_an_event_once(chat, tmp_path):
    chat.tell(name="same")
    chat.workdir = tmp_path / "other"
    chat.tell(name="same")
    assert chat.states() == ["waiting"]


@on_each_backend
def test_a_verdict_waits_for_its_repair_that_is_held_back(chat):
    chat.tell("fix", "a", 7, name="7-1")
    chat.tell("fix", "a", 7, name="7-3")
    chat.tell("verdict", "", 7, name="7-4", answers="7-3")
    chat.send()
    assert chat.said() == ["1"]
    chat.send(COOLDOWN_SECONDS["fix"] + 2)
    chat.send(5)
    assert chat.said() == ["1", "2", "3"]
    assert chat.api.messages[-1].answers == chat.api.messages[-2].id


def test_a_picture_is_found_where_the_next_attempt_has_put_it(chat):
    (chat.workdir / "studies" / "ru" / "trial-0001-attempt-2").mkdir(parents=True)
    picture(chat, "studies/ru/trial-0001-attempt-2/a.png")
    chat.tell("fix", "a", 1, files=[("photo", "studies/ru/trial-0001/a.png")])
    chat.send()
    assert [message.method for message in chat.api.messages] == ["sendPhoto"]


@on_each_backend
def test_what_a_process_had_claimed_when_it_ended_waits_for_nobody(chat):
    chat.tell()
    with chat.storage.ours.begin() as connection:
        connection.execute(update(OUTBOX).values(tries=1, due_at=chat.clock[0] + 300))
    chat.send()
    assert chat.said() == []
    due_now(chat.storage.ours, channel(chat.workdir), "waiting")
    chat.send()
    assert chat.said() == ["1"]


def test_a_chat_in_which_the_bot_is_muted_switches_off(chat):
    muted = (400, "Bad Request: not enough rights to send text messages to the chat")
    chat.api.faults = [("sendMessage", muted)]
    chat.tell()
    chat.send()
    assert len(chat.warned) == 1 and chat.states() == ["waiting"]


def test_whatever_repeats_the_token_it_is_neither_stored_nor_said(chat):
    with answering() as stranger:
        chat.again(TELEGRAM_API_BASE=stranger.base)
        for echo in (TOKEN, TOKEN.replace(":", "%3A"), TOKEN.partition(":")[2][:12]):
            for code in (400, 401, 403, 429, 500, 200):
                chat.tell()
                told = f"cannot POST /bot{echo}/sendMessage"
                stranger.says({"ok": False, "error_code": code, "description": told, "result": told}, code)
                chat.send(3601.0)
                chat.alerts.memory.take(f"off:{account(chat.api.environment).fingerprint}")
    with chat.storage.ours.connect() as connection:
        stored = [str(row) for table in (OUTBOX, CHATS) for row in connection.execute(select(table))]
    said = "\n".join([*stored, *chat.warned])
    assert len(stored) >= 18 and "repeats a secret" in said
    assert TOKEN.partition(":")[2][:12] not in said


def test_a_pause_without_an_end_ends(chat):
    chat.tell()
    for asked in (float("inf"), 1e12, -5, "soon"):
        chat.api.faults = [("sendMessage", (429, "Too Many Requests", {"retry_after": asked}))]
        assert 0 < chat.send() <= 3600
        assert chat.send(3601) is None
        chat.tell()
    assert chat.said() == ["1", "2", "3", "4"]
