"""What a run does while its database is away, and what it does when it is back."""

import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DataError, OperationalError

from smart_tuner.notify.sender import Following
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import DatabaseGone, Outage, StorageLost
from smart_tuner.store.storage import open_storage


class Database:
    """Answers after so many calls that it does not."""

    def __init__(self, away):
        self.away = away

    def __call__(self):
        self.away -= 1
        if self.away >= 0:
            raise OperationalError("select", {}, Exception("connection refused"))
        return "answer"


@pytest.fixture
def told():
    return []


def test_what_is_waited_for_comes_and_the_end_of_the_outage_is_told_once(told):
    outage = Outage(told.append, over=lambda: told.append("over"))
    assert outage.wait_for(Database(2)) == "answer"
    assert outage.wait_for(Database(0)) == "answer"
    away, back, over = told
    assert "connection refused" in away
    assert "is back" in back
    assert over == "over"


def test_an_attempt_does_not_wait_and_the_next_one_ends_the_outage(told):
    outage = Outage(told.append, over=lambda: told.append("over"))
    database = Database(2)
    assert [outage.attempt(database) for _ in range(3)] == [False, False, True]
    assert told[-1] == "over"
    assert len(told) == 3


def test_nothing_is_waited_for_when_a_stop_was_asked_for(told):
    with pytest.raises(StorageLost, match="resume the study"):
        Outage(told.append, stopping=lambda: True).wait_for(Database(9))


def test_patience_ends(told):
    outage = Outage(told.append, budget=0.0)
    with pytest.raises(StorageLost, match="connection refused"):
        outage.wait_for(Database(9))


def fails():
    raise OperationalError("update", {}, Exception("read-only"))


def works():
    return "answer"


def test_a_database_that_can_only_be_read_is_not_back_again_and_again(told):
    outage = Outage(told.append)
    for _ in range(5):
        assert not outage.attempt(fails)
        assert outage.wait_for(works) == "answer"
    assert len(told) == 1


def test_patience_is_with_what_fails_whatever_else_works(told):
    outage = Outage(told.append, budget=0.05)
    with pytest.raises(StorageLost, match="read-only"):
        while outage.wait_for(works):
            outage.attempt(fails)


def test_two_short_outages_far_apart_are_not_one_long_one(told):
    outage, seldom = Outage(told.append, budget=0.05), Database(1)
    assert not outage.attempt(seldom)
    assert outage.wait_for(Database(0)) == "answer"
    time.sleep(0.06)
    seldom.away = 1
    assert not outage.attempt(seldom)


def test_what_fails_first_at_the_end_of_a_silence_has_failed_since_its_beginning(told):
    outage = Outage(told.append, budget=0.05)
    assert not outage.attempt(fails)
    time.sleep(0.1)
    with pytest.raises(StorageLost):
        outage.wait_for(Database(9))


def test_one_outage_of_several_calls_is_over_with_the_first_that_works(told):
    outage, other = Outage(told.append), Database(1)
    for call in (Database(9), other):
        assert not outage.attempt(call)
    assert outage.attempt(other)
    assert len(told) == 2
    assert "is back" in told[-1]


def test_an_answer_that_will_not_change_is_not_waited_for(told):
    def refused():
        try:
            raise DataError("insert", {}, Exception("out of range"))
        except DataError as error:
            raise StorageInternalError("so Optuna says") from error

    with pytest.raises(StorageInternalError):
        Outage(told.append).wait_for(refused)
    assert told == []


@pytest.fixture
def study(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        yield optuna.create_study(storage=storage, study_name="there")


def deleted(file):
    for path in file.parent.glob("study.db*"):
        path.unlink()


def replaced(file):
    copy = shutil.copy(file, file.with_name("copy"))
    deleted(file)
    Path(copy).rename(file)


def emptied(file):
    with closing(sqlite3.connect(file)) as other:
        for table in ("study_user_attributes", "st_lease"):
            other.execute(f"DROP TABLE {table}")
        other.commit()


def overwritten(file):
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA wal_checkpoint(truncate)")
    content = file.read_bytes()
    file.write_bytes(bytes(len(content)))


@pytest.mark.parametrize("damage", [deleted, replaced, emptied, overwritten])
@pytest.mark.parametrize("connected", [True, False])
def test_a_file_that_is_gone_is_neither_written_nor_waited_for(tmp_path, study, told, damage, connected):
    file = tmp_path / "study.db"
    engine = study._storage._backend.ours
    damage(file)
    if not connected:
        engine.dispose()
    content = file.read_bytes() if file.exists() else None
    outage = Outage(told.append)
    for call in (lambda: study.set_user_attr("a", 1), lambda: Leases(engine, "a" * 32).reserve(1)):
        with pytest.raises(DatabaseGone, match=r"study\.db cannot be used any more"):
            outage.wait_for(call)
    assert told == []
    assert (file.read_bytes() if file.exists() else None) == content


def test_a_process_that_sends_ends_with_its_database(tmp_path):
    def gone(_):
        raise DatabaseGone("it was deleted")

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(DatabaseGone, match="it was deleted"):
            Following(tmp_path, [gone]).run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
