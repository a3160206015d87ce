"""What a command line says of Telegram, whoever answers in its place."""

from contextlib import closing

import pytest
from bot_api import CHAT, TOKEN, answering, serving

from smart_tuner.notify.telegram.client import ChatError
from smart_tuner.store.storage import open_storage
from studies.commands import notify

SOUND = {"message": {"chat": {"id": 5, "title": "a\x1b[2Jb"}, "from": {"id": 6, "first_name": "Ann"}}}
ANSWERS = [
    [],
    {},
    {"username": None, "url": [], "title": {}},
    {"username": TOKEN, "url": TOKEN, "title": TOKEN},
    [SOUND, None, 3, {"message": 4}, {"message": {"chat": {}, "from": None}}],
]


def test_whatever_is_answered_it_is_told_without_the_token_and_without_a_trace(tmp_path, monkeypatch):
    with answering() as stranger, closing(open_storage(f"sqlite:///{tmp_path}/study.db")) as storage:
        monkeypatch.setenv("TELEGRAM_API_BASE", stranger.base)
        monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
        monkeypatch.setenv("TELEGRAM_CHAT_ID", CHAT)
        for result in ANSWERS:
            stranger.says({"ok": True, "result": result})
            sound, told = notify.examine(storage)
            assert sound is ("username" in result and result["username"] == TOKEN)
            assert TOKEN not in told and told.isprintable()
            with pytest.raises(ChatError):  # no answer says which message it became
                notify.test(storage, "en")
        monkeypatch.delenv("TELEGRAM_CHAT_ID")
        stranger.says({"ok": True, "result": {"username": "tuner_bot"}})
        with pytest.raises(ChatError):
            notify.test(storage, "en")


def test_who_wrote_is_said_also_beside_updates_that_are_none(tmp_path, monkeypatch):
    with serving() as api, closing(open_storage(f"sqlite:///{tmp_path}/study.db")) as storage:
        for name in ("TELEGRAM_API_BASE", "TELEGRAM_BOT_TOKEN"):
            monkeypatch.setenv(name, api.environment[name])
        monkeypatch.delenv("TELEGRAM_CHAT_ID", raising=False)
        api._getUpdates = lambda data, files: ANSWERS[-1]
        told = notify.test(storage, "en")
        assert "chat 5 (a\ufffd[2Jb): Ann (6)" in told
