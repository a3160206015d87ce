"""What a run does while its database is away, and what it does when it is back."""

import pytest
from sqlalchemy.exc import OperationalError

from smart_tuner.outage import Outage, StorageLost


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
