"""Commands are taken from those who may give them, once, while they are fresh; everything else is counted."""

import time
from contextlib import closing

import pytest
from bot_api import CHAT, PERSON, TOKEN, serving
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import literal

from smart_tuner.notify.telegram.client import Bot, account
from smart_tuner.notify.telegram.listener import (
    AWAY_SECONDS,
    CONFLICT_SECONDS,
    FORGET_SECONDS,
    STALE_SECONDS,
    Listener,
    Reply,
)
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.store.storage import open_storage

FRIEND, STRANGER = 78, 666


class Answers:
    """Says what it was asked."""

    def __init__(self):
        self.done, self.there = [], True

    def answer(self, command, text):
        files = (("photo", "a.png", b"\x89PNG\r\n\x1a\n0"),) if command == "best" else ()
        return Reply(f"{command} {text}".strip(), files)

    def question(self, change):
        return (f"{change}?", {"yes": "Yes", "no": "No"}) if self.there else None

    def study(self):
        return "uid" if self.there else None

    def change(self, change, study_uid):
        self.done.append((change, study_uid))
        return f"did {change}"

    def left_alone(self):
        return "nothing"


class Ears:
    def __init__(self, api, storage):
        self.api, self.engine, self.commands = api, storage.ours, Answers()
        self.memory = ChatState(self.engine)
        self.clock, self.warned, self.bots = [time.time()], [], []
        self.listener = self.again("one")

    def again(self, owner):
        environment = self.api.environment | {"TELEGRAM_ALLOWED_IDS": f"{PERSON},{FRIEND}"}
        self.bots.append(Bot(account(environment), wait=lambda _: None))
        return Listener(
            self.bots[-1], self.memory, self.commands, owner, self.warned.append, lambda: self.clock[0], 0
        )

    def listen(self):
        return self.listener.listen()

    def button(self, answer):
        return next(b["callback_data"] for b in self.api.messages[-1].buttons if b["text"] == answer)

    def ignored(self):
        return self.memory.all("ignored:")


@pytest.fixture
def ears(tmp_path):
    with serving() as api, closing(open_storage(f"sqlite:///{tmp_path}/study.db")) as storage:
        found = Ears(api, storage)
        yield found


def test_a_command_is_answered(ears):
    ears.api.hear("/say  good day ")
    ears.api.hear("/STATUS@tuner_bot")
    ears.listen()
    assert ears.api.says() == ["say good day", "status"]


def test_an_answer_may_have_files(ears):
    ears.api.hear("/best")
    ears.listen()
    assert [message.method for message in ears.api.messages] == ["sendMessage", "sendPhoto"]


def test_talk_is_no_command(ears):
    ears.api.hear("status?")
    ears.api.update({"message": {"from": {"id": PERSON}, "chat": {"id": 4242}, "date": time.time()}})
    ears.api.update({"edited_message": {"text": "/stop"}})
    ears.listen()
    assert ears.api.says() == []


def test_strangers_get_no_answer(ears):
    ears.api.hear("/status", sender=STRANGER)
    ears.api.hear("/status", chat="999")
    ears.api.press("yes:x", sender=STRANGER)
    ears.listen()
    assert ears.api.says() == [] and ears.api.answered == []
    assert ears.ignored() == {"stranger": 3}


def test_an_old_command_is_not_obeyed(ears):
    ears.api.hear("/status", date=int(ears.clock[0] - STALE_SECONDS - 1))
    ears.listen()
    assert ears.api.says() == [] and ears.ignored() == {"stale": 1}


def test_a_replayed_update_is_not_obeyed_again(ears):
    number = ears.api.hear("/status")
    ears.listen()
    ears.listen()
    ears.api.hear("/status", id=number)
    ears.api._getUpdates = lambda data, files: ears.api.updates
    ears.listen()
    assert ears.api.says() == ["status"] and ears.ignored() == {"replayed": 1}


def test_what_was_heard_is_not_heard_by_the_next_process(ears):
    ears.api.hear("/status")
    ears.listen()
    ears.listener.close()
    ears.again("two").listen()
    assert ears.api.says() == ["status"]


def test_after_a_week_updates_are_numbered_anew(ears):
    long_ago = literal(time.time() - FORGET_SECONDS - 1)
    ChatState(ears.engine, lambda: long_ago).note("offset:123456", 10_000)
    ears.api.hear("/status", id=5)
    ears.listen()
    assert ears.api.says() == ["status"]


@pytest.mark.parametrize("change", ["pause", "resume", "stop"])
def test_a_change_is_made_when_it_is_confirmed(ears, change):
    ears.api.hear(f"/{change}")
    ears.listen()
    assert ears.api.says() == [f"{change}?"] and ears.commands.done == []
    ears.api.press(ears.button("Yes"))
    ears.listen()
    assert ears.commands.done == [(change, "uid")]
    assert ears.api.says()[-1] == f"did {change}" and len(ears.api.answered) == 1


def test_a_change_may_be_declined(ears):
    ears.api.hear("/stop")
    ears.listen()
    ears.api.press(ears.button("No"))
    ears.listen()
    assert ears.commands.done == [] and ears.api.says()[-1] == "nothing"


def test_a_button_works_once(ears):
    ears.api.hear("/stop")
    ears.listen()
    data = ears.button("Yes")
    for _ in range(3):
        ears.api.press(data)
        ears.listen()
    assert ears.commands.done == [("stop", "uid")]
    assert ears.ignored() == {"stale": 2} and len(ears.api.answered) == 3


def test_a_button_is_its_asker_s(ears):
    ears.api.hear("/stop")
    ears.listen()
    data = ears.button("Yes")
    ears.api.press(data, sender=FRIEND)
    ears.listen()
    assert ears.commands.done == [] and ears.ignored() == {"foreign": 1}
    ears.api.press(data)
    ears.listen()
    assert ears.commands.done == [("stop", "uid")]


def test_an_old_button_does_nothing(ears, monkeypatch):
    ears.api.hear("/stop")
    ears.listen()
    monkeypatch.setattr("smart_tuner.notify.telegram.listener.STALE_SECONDS", -1.0)
    ears.api.press(ears.button("Yes"))
    ears.listen()
    assert ears.commands.done == [] and ears.ignored() == {"stale": 1} and len(ears.api.answered) == 1


def test_without_a_study_nothing_is_asked(ears):
    ears.commands.there = False
    ears.api.hear("/stop")
    ears.listen()
    assert ears.api.says() == ["status"] and not ears.api.messages[-1].buttons


def test_one_process_hears(ears):
    other = ears.again("two")
    ears.listen()
    ears.api.hear("/status")
    assert other.listen() > 0 and ears.api.says() == []
    ears.listener.close()
    other.listen()
    assert ears.api.says() == ["status"]


def test_where_another_program_hears_it_steps_back(ears):
    ears.api.webhook = "https://example.org"
    ears.api.hear("/status")
    assert ears.listen() == ears.listen() == CONFLICT_SECONDS
    [warning] = ears.warned
    assert "webhook" in warning
    ears.bots[0].text("still told")
    assert ears.api.says() == ["still told"]
    ears.api.webhook = ""
    ears.listen()
    assert ears.api.says()[-1] == "status"


def test_with_a_refused_token_it_hears_no_more(ears):
    ears.api.faults = [("getUpdates", (401, "Unauthorized"))]
    ears.listen()
    assert ears.listen() == float("inf") and ears.api.calls.count("getUpdates") == 1


def test_a_command_that_breaks_does_not_end_the_hearing(ears):
    ears.commands.answer = lambda command, text: {}[command]
    ears.api.hear("/best")
    ears.listen()
    assert len(ears.warned) == 1
    del ears.commands.answer
    ears.api.hear("/status")
    ears.listen()
    assert ears.api.says() == ["status"]


def test_a_command_to_another_bot_is_its_own(ears):
    ears.api.hear("/status@other_bot")
    ears.listen()
    assert ears.api.says() == [] and ears.ignored() == {}


def test_a_late_press_is_answered_though_telegram_takes_no_answer_to_it(ears):
    ears.api.hear("/stop")
    ears.listen()
    ears.api.press(ears.button("Yes"))
    ears.api.faults = [("answerCallbackQuery", (400, "Bad Request: query is too old"))]
    ears.listen()
    assert ears.commands.done == [("stop", "uid")] and ears.api.says()[-1] == "did stop"


def test_an_outage_is_waited_for(ears):
    ears.api.down = True
    assert 0 < ears.listen() < 60
    ears.api.down = False
    ears.api.faults = [("getUpdates", (429, "Too Many Requests", {"retry_after": 3}))]
    assert ears.listen() == 3
    ears.api.hear("/status")
    ears.listen()
    assert ears.api.says() == ["status"]


# Whoever answers may mean no good

JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just([]) | st.just({})
)


def perhaps(**content):
    """An object in which any field may be missing, or anything."""
    return st.fixed_dictionaries({}, optional={name: JUNK | value for name, value in content.items()}) | JUNK


NOBODY = perhaps(id=st.sampled_from([True, float(PERSON), str(PERSON), [PERSON], 10**30]))
HERE, NOW = perhaps(id=st.just(int(CHAT))), st.just(int(time.time()))
COMMANDS = st.sampled_from(["/status", "/stop", "/say \ud800", TOKEN])
NOBODYS_MESSAGE = perhaps(**{"from": NOBODY, "chat": HERE, "date": NOW, "text": COMMANDS})
NOBODYS_PRESS = perhaps(**{"from": NOBODY, "message": NOBODYS_MESSAGE, "data": st.just("yes:x"), "id": JUNK})
UPDATES = perhaps(update_id=st.integers(1, 9), message=NOBODYS_MESSAGE, callback_query=NOBODYS_PRESS)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(updates=st.lists(UPDATES, max_size=4) | JUNK)
def test_updates_that_are_none_are_passed_over_and_no_forged_command_is_obeyed(ears, updates):
    ears.memory.take("offset:123456")
    ears.api._getUpdates = lambda data, files: updates
    assert ears.listen() in (0.0, AWAY_SECONDS)
    assert ears.api.says() == [] and ears.commands.done == [] and ears.warned == []


@pytest.mark.parametrize("date", [None, "now", float("nan"), float("inf"), [], True])
def test_a_command_without_a_date_is_not_obeyed(ears, date):
    ears.api.hear("/status", date=date or "none")
    ears.api.updates[0]["message"]["date"] = date
    assert ears.listen() == 0.0
    assert ears.api.says() == [] and ears.ignored() == {"stale": 1}


def test_a_broken_update_does_not_hide_the_next_and_is_not_asked_for_in_haste(ears):
    odd = {"update_id": 1, "message": {"from": [], "chat": 3}}
    for broken in (None, {}, {"update_id": "7"}, odd, {"update_id": 2**62}):
        ears.api._getUpdates = lambda data, files, broken=broken: [broken, *ears.api.updates]
        ears.api.updates = []
        ears.api.hear("/status", id=2)
        ears.memory.take("offset:123456")
        ears.listen()
    assert ears.api.says() == ["status"] * 5
    ears.api._getUpdates = lambda data, files: [{}]
    assert ears.listen() == AWAY_SECONDS
