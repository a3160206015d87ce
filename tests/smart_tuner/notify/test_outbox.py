"""What is put into the outbox arrives: in order, at least once, and once when nobody dies."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import create_engine, delete, literal, select
from sqlalchemy.pool import StaticPool

from smart_tuner.notify.outbox import CLAIM_SECONDS, FIRST_WAIT, LONGEST_WAIT, Publisher, counts, put
from smart_tuner.store.tables import OUTBOX, TABLES

ROOT = Path(__file__).parents[3]
UID = "0123456789abcdef0123456789abcdef"
PROCESS = """
import sys
from smart_tuner.notify.outbox import Publisher
from smart_tuner.store.storage import open_storage

def send(payload):
    with open(sys.argv[2], "a") as file:
        print(payload["number"], file=file)

storage = open_storage(sys.argv[1])
publisher = Publisher(storage.ours, "mlflow", send, ())
sys.stdin.readline()
while publisher.drain() is not None:
    pass
storage.close()
"""


class Crash(BaseException):
    """The process is gone."""


@pytest.fixture
def sent():
    return []


def arrives(sent):
    return lambda payload: sent.append(payload["number"])


def fails(payload):
    raise ConnectionError("refused")


def publisher(engine, send, clock):
    return Publisher(engine, "mlflow", send, (ConnectionError,), lambda: literal(clock[0]))


def fill(engine, numbers, **options):
    for number in numbers:
        put(engine, UID, 0, "mlflow", f"step:{number}", {"number": number}, **options)


def test_all_arrives_in_order(engine, sent):
    fill(engine, range(5))
    assert Publisher(engine, "mlflow", arrives(sent), ()).drain() is None
    assert sent == [0, 1, 2, 3, 4]
    assert counts(engine, UID) == {"mlflow": {"sent": 5}}


def test_the_same_event_is_kept_once(engine, sent, clock):
    fill(engine, [1, 2, 1])
    publisher(engine, arrives(sent), clock).drain()
    fill(engine, [2])
    publisher(engine, arrives(sent), clock).drain()
    assert sent == [1, 2]


def test_studies_and_channels_do_not_mix(engine, sent, clock):
    fill(engine, [1])
    put(engine, UID, None, "telegram", "step:1", {"number": 2})
    put(engine, UID[::-1], None, "mlflow", "step:1", {"number": 3})
    publisher(engine, arrives(sent), clock).drain()
    assert sent == [1, 3]
    assert counts(engine, UID) == {"mlflow": {"sent": 1}, "telegram": {"waiting": 1}}


def test_what_is_put_with_an_event_goes_with_it(engine):
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        put(connection, UID, 0, "mlflow", "step:1", {"number": 1})
        raise ZeroDivisionError
    assert counts(engine, UID) == {}


def test_waits_grow_up_to_a_longest(engine, clock):
    fill(engine, [1, 2])
    down, waits = publisher(engine, fails, clock), []
    for _ in range(10):
        waits.append(down.drain())
        clock[0] += waits[-1]
    assert waits == [min(FIRST_WAIT * 2**n, LONGEST_WAIT) for n in range(10)]


def test_what_waits_says_why(engine, clock):
    fill(engine, [1])
    publisher(engine, fails, clock).drain()
    with engine.connect() as connection:
        assert connection.execute(select(OUTBOX.c.error, OUTBOX.c.tries)).all() == [("refused", 1)]


def test_an_error_is_kept_as_one_short_line_without_what_logs_in(engine, clock):
    def send(payload):
        raise ConnectionError(ERRORS[payload["number"]])

    fill(engine, range(len(ERRORS)))
    failures, secrets = (ConnectionError,), {"pa ss:w@rd/9"}
    sender = Publisher(engine, "mlflow", send, failures, lambda: literal(clock[0]), secrets)
    for _ in ERRORS:
        sender.drain()
        with engine.begin() as connection:
            told = connection.execute(select(OUTBOX.c.error).where(OUTBOX.c.error.is_not(None))).scalar_one()
            connection.execute(delete(OUTBOX).where(OUTBOX.c.error.is_not(None)))
        assert told.isprintable() and 0 < len(told) <= 300
        for part in ("w@rd", "ss:w", "dXNlcjpwYXNz", "xyz.123456"):
            assert part not in told


ERRORS = [
    "cannot reach http://user:pa@ss:w@rd@host/api",
    "401 for Authorization: Basic dXNlcjpwYXNz, or bearer xyz.123456",
    "it says: pa ss:w@rd/9 is wrong",
    "it says: pa%20ss%3Aw%40rd%2F9",
    "a\0b\x1b[2J\ud800\n" + "x" * 5000,
]


def test_no_password_of_an_address_is_kept(engine, clock):
    def fails_with_it(_):
        raise ConnectionError("API request to http://me:s3cret@127.0.0.1:9/ failed")

    fill(engine, [1])
    publisher(engine, fails_with_it, clock).drain()
    with engine.connect() as connection:
        [why] = connection.execute(select(OUTBOX.c.error)).scalars()
    assert why == "API request to http://127.0.0.1:9/ failed"


def test_none_overtakes_one_that_failed(engine, sent, clock):
    fill(engine, [1, 2])
    publisher(engine, fails, clock).drain()
    assert publisher(engine, arrives(sent), clock).drain() == FIRST_WAIT
    assert sent == []


def test_of_what_may_be_dropped_the_newest_wait(engine, sent, clock):
    put(engine, UID, 0, "mlflow", "params:0", {"number": 0})
    fill(engine, range(1, 6), most=2)
    assert counts(engine, UID) == {"mlflow": {"waiting": 3, "dropped": 3}}
    publisher(engine, arrives(sent), clock).drain()
    assert sent == [0, 4, 5]


def test_kinds_whose_names_begin_alike_are_two(engine):
    put(engine, UID, 0, "mlflow", "a_b:1", {})
    put(engine, UID, 0, "mlflow", "axb:1", {})
    put(engine, UID, 0, "mlflow", "a_b:2", {}, most=1)
    with engine.connect() as connection:
        dropped = connection.execute(select(OUTBOX.c.key).where(OUTBOX.c.state == "dropped")).scalars().all()
    assert dropped == ["a_b:1"]


def test_two_processes_send_each_once_and_in_order(empty_url, engine, tmp_path):
    fill(engine, range(60))
    call = [sys.executable, "-c", PROCESS, empty_url, str(tmp_path / "sent")]
    both = [subprocess.Popen(call, cwd=ROOT, stdin=subprocess.PIPE) for _ in range(2)]
    for process in both:
        process.stdin.close()
    assert [process.wait() for process in both] == [0, 0]
    assert (tmp_path / "sent").read_text().split() == [str(number) for number in range(60)]


class Machine(RuleBasedStateMachine):
    """Events happen, two publishers send, either may die, the other side comes and goes."""

    def __init__(self):
        super().__init__()
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        TABLES.create_all(self.engine)
        self.clock, self.plan = [1000.0], "arrives"
        self.put, self.arrived, self.crashes = [], [], 0
        self.publishers = [publisher(self.engine, self.send, self.clock) for _ in range(2)]

    def teardown(self):
        self.plan = "arrives"
        self.clock[0] += CLAIM_SECONDS + LONGEST_WAIT
        assert self.publishers[0].drain() is None
        assert list(dict.fromkeys(self.arrived)) == self.put
        assert len(self.arrived) <= len(self.put) + self.crashes
        self.engine.dispose()

    def send(self, payload):
        before = list(self.arrived)
        for other in self.publishers:
            other.drain()  # while this one is sending
        assert self.arrived == before
        if self.plan == "fails":
            fails(payload)
        if self.plan == "dies before":
            raise Crash
        self.arrived.append(payload["number"])
        if self.plan == "dies after":
            raise Crash

    @rule(number=st.integers(0, 30))
    def happens(self, number):
        fill(self.engine, [number])
        self.put += [number] if number not in self.put else []

    @rule(which=st.integers(0, 1), plan=st.sampled_from(["arrives", "fails", "dies before", "dies after"]))
    def drains(self, which, plan):
        self.plan = plan
        try:
            self.publishers[which].drain()
        except Crash:
            self.crashes += 1

    @rule(seconds=st.sampled_from([1, FIRST_WAIT, 60, CLAIM_SECONDS, LONGEST_WAIT]))
    def time_passes(self, seconds):
        self.clock[0] += seconds

    @invariant()
    def it_arrives_in_order(self):
        assert list(dict.fromkeys(self.arrived)) == self.put[: len(set(self.arrived))]

    @invariant()
    def it_arrives_once_unless_somebody_died(self):
        assert len(self.arrived) - len(set(self.arrived)) <= self.crashes


Machine.TestCase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestOutbox = Machine.TestCase
