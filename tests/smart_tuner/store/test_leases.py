"""Leases against a model of them: whoever dies when, a trial has one live attempt and one outcome."""

import os
import subprocess
import sys
import time
import uuid
from concurrent.futures import wait
from contextlib import closing

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from sqlalchemy import create_engine, event, literal, select, update
from sqlalchemy.pool import StaticPool

from smart_tuner.repair.words import Reason, reason
from smart_tuner.store.leases import LIFE_SECONDS, WATCHED_SECONDS, Leases, Renewal, is_gone, this_process
from smart_tuner.store.outage import Fenced
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import LEASES, TABLES

BUDGET = 4
RETRIES = 3
NONE = Reason("")


class Elsewhere:
    """A process on another machine, as its leases know it: whether it lives cannot be seen."""

    def __init__(self, engine, clock, uid="0123456789abcdef0123456789abcdef"):
        self.owner = {**this_process(), "boot": "another machine", "pid": uuid.uuid4().hex}
        self.leases = Leases(engine, uid, self.owner, lambda: literal(clock[0]), lambda: clock[0])


@pytest.fixture
def engine(tmp_path):
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    yield storage.engine
    storage.engine.dispose()


@pytest.fixture
def clock():
    return [1000.0]


@pytest.fixture
def process(engine, clock):
    return lambda: Elsewhere(engine, clock).leases


def held(leases, number):
    return leases.bind(leases.reserve(100), number)


def test_a_budget_is_counted_over_all_workers(process):
    one, other = process(), process()
    taken = [leases.reserve(3) for leases in (one, other, one, other)]
    assert [lease is not None for lease in taken] == [True, True, True, False]


def test_a_released_trial_is_taken_at_once_and_by_one(process):
    one, two, three = process(), process(), process()
    one.release(held(one, 0))
    lease = two.claim()
    assert (lease.number, lease.attempt_no, lease.deaths) == (0, 2, 0)
    assert three.claim() is None


def test_a_live_lease_is_not_taken_however_long_it_lasts(process, clock):
    one, two = process(), process()
    lease = held(one, 0)
    for _ in range(50):
        clock[0] += 60
        one.renew(lease)
        assert two.claim() is None


def test_one_that_ran_out_is_watched_before_it_is_taken(process, clock):
    one, two = process(), process()
    lease = held(one, 0)
    clock[0] += LIFE_SECONDS + 1
    assert two.claim() is None
    clock[0] += WATCHED_SECONDS
    taken = two.claim()
    assert (taken.number, taken.deaths) == (0, 1)
    for refused in (one.renew, one.release, lambda ours: one.decide(ours, "COMPLETE", 1.0, NONE)):
        with pytest.raises(Fenced, match="trial 0 was taken over"):
            refused(lease)


def test_a_renewal_while_it_was_watched_saves_it(process, clock):
    """A clock that jumped, or an outage that is over, makes a lease run out although its owner lives."""
    one, two = process(), process()
    lease = held(one, 0)
    clock[0] += 3600
    assert two.claim() is None
    one.renew(lease)
    clock[0] += WATCHED_SECONDS
    assert two.claim() is None


def test_a_lost_connection_starts_the_watch_anew(process, clock):
    one, two = process(), process()
    held(one, 0)
    clock[0] += LIFE_SECONDS + 1
    two.claim()
    clock[0] += WATCHED_SECONDS
    two.forget_watched()
    assert two.claim() is None


def test_a_trial_that_kills_its_workers_is_given_up(process, clock):
    held(process(), 0)
    for _ in range(RETRIES + 1):
        clock[0] += LIFE_SECONDS + 1
        other = process()
        other.claim()
        clock[0] += WATCHED_SECONDS
        lease = other.claim()
    assert lease is None
    [outcome] = other.decided()
    assert (outcome.number, outcome.state, outcome.value) == (0, "FAIL", None)
    assert outcome.reason == reason("worker_died", times=RETRIES + 1)


def test_what_all_attempts_trained_is_noted_at_renewals_and_at_each_end(engine, process):
    def noted():
        with engine.connect() as connection:
            return tuple(connection.execute(select(LEASES.c.steps, LEASES.c.seconds)).one())

    one, two, three = process(), process(), process()
    lease = held(one, 0)
    assert noted() == (None, None)
    lease.consumed.add(0.5)
    one.renew(lease)
    assert noted() == (1, 0.5)
    lease.consumed.add(0.5)
    one.release(lease)
    lease = two.claim()
    assert noted() == (2, 1.0)
    lease.consumed.add(2.0)
    two.renew(lease)
    lease.consumed.add(2.0)  # and so it died
    with engine.begin() as connection:
        connection.execute(update(LEASES).values(state="released"))
    lease = three.claim()
    lease.consumed.add(2.0)
    three.decide(lease, "FAIL", None, Reason("loss is nan"))
    assert noted() == (4, 5.0)


def test_an_outcome_is_decided_once(process):
    one = process()
    lease = held(one, 0)
    one.decide(lease, "COMPLETE", 5.5, NONE)
    one.decide(lease, "COMPLETE", 5.5, NONE)  # as when the answer to the first was lost
    assert [(o.number, o.state, o.value) for o in process().decided()] == [(0, "COMPLETE", 5.5)]
    one.told(0)
    assert one.decided() == []


def test_a_trial_that_was_asked_for_but_never_bound_is_found(process, clock):
    dead, live = process(), process()
    dead.reserve(9)
    asking = live.reserve(9)
    clock[0] += 1
    process().adopt([0], [])  # it may be the live one's
    assert live.claim() is None
    live.bind(asking, 1)
    clock[0] += LIFE_SECONDS
    process().adopt([0, 1], [])
    assert live.claim().number == 0
    assert sum(live.counts().values()) == 2


def test_a_trial_that_is_bound_while_another_looks_for_orphans_is_none(postgres_url, clock):
    """PostgreSQL lets both go on at once; SQLite does not."""
    with closing(open_storage(postgres_url)) as storage, closing(open_storage(postgres_url)) as far:
        live, other = Elsewhere(far.ours, clock).leases, Elsewhere(storage.ours, clock).leases
        asking = [live.reserve(9)]

        @event.listens_for(storage.ours, "after_cursor_execute")
        def _(_connection, _cursor, statement, *_rest):
            if "FROM" in statement and asking:
                live.bind(asking.pop(), 0)

        other.adopt([0], [])
        assert not asking
        assert other.counts() == {"held": 1}


def test_a_right_that_nobody_used_is_free_again(process, clock):
    process().reserve(1)
    other = process()
    assert other.reserve(1) is None
    clock[0] += LIFE_SECONDS + 1
    other.adopt([], [])
    assert other.reserve(1) is not None


def test_trials_from_before_there_were_leases_are_taken_up(process):
    leases = process()
    leases.adopt([2], [0, 1])
    assert leases.counts() == {"done": 2, "released": 1}
    assert leases.claim().number == 2
    assert leases.reserve(3) is None


def test_a_dead_process_of_this_machine_is_known_at_once(engine):
    code = "from smart_tuner.store.leases import this_process; import json; print(json.dumps(this_process()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    dead = __import__("json").loads(done.stdout)
    assert is_gone(dead)
    assert not is_gone(this_process())
    assert not is_gone({**dead, "boot": "another machine"})
    assert is_gone({**this_process(), "started": "1"})  # its number was given to another process
    one, two = Leases(engine, "a" * 32, dead), Leases(engine, "a" * 32)
    held(one, 0)
    assert two.claim().deaths == 1


def test_a_process_that_began_anew_takes_its_own_trial(engine):
    held(Leases(engine, "a" * 32), 0)
    assert Leases(engine, "a" * 32).claim().number == 0


def test_a_renewal_keeps_the_lease_and_tells_when_it_is_lost(engine):
    one, two = Leases(engine, "a" * 32), Leases(engine, "a" * 32)
    lease = held(one, 0)
    with Renewal(one, lease, lambda: "stop", seconds=0.01) as renewal:
        while renewal.desired_state is None:
            time.sleep(0.01)
        renewal.check()
        while two.claim() is None:  # it was renewed between a look at it and its taking
            time.sleep(0.01)
        wait([renewal._renewals])
        with pytest.raises(Fenced):
            renewal.check()
    with engine.connect() as connection:
        assert connection.execute(select(LEASES.c.beat)).scalar() >= 1


def test_what_ends_the_renewals_ends_the_training(engine):
    def breaks():
        raise ZeroDivisionError

    leases = Leases(engine, "a" * 32)
    with Renewal(leases, held(leases, 0), breaks, seconds=0.01) as renewal:
        wait([renewal._renewals])
        with pytest.raises(ZeroDivisionError):
            renewal.check()


def test_the_databases_clock_is_a_clock(engine):
    leases = Leases(engine, "a" * 32)
    with engine.connect() as connection:
        assert connection.execute(select(leases._now())).scalar() == pytest.approx(time.time(), abs=5)
    assert os.getpid() == this_process()["pid"]


class Machine(RuleBasedStateMachine):
    """Processes on several machines share one study; the model knows only what must be true."""

    processes = Bundle("processes")

    def __init__(self):
        super().__init__()
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        TABLES.create_all(self.engine)
        self.clock = [0.0]
        self.alive, self.holds, self.optuna = (
            {},
            {},
            [],
        )  # optuna: states by number
        self.outcomes, self.told = {}, {}
        self.paused = set()

    def teardown(self):
        self.finish_everything()
        self.engine.dispose()

    @rule(target=processes)
    def begins(self):
        process = Elsewhere(self.engine, self.clock)
        self.alive[process] = True
        return process

    @rule(process=processes, seconds=st.sampled_from([1, 30, 50, 100, 4000]))
    def time_passes(self, process, seconds):
        self.clock[0] += seconds

    @rule(process=processes, stage=st.sampled_from(["reserved", "asked", "bound"]))
    def takes_a_new_one(self, process, stage):
        if not self.alive[process] or process in self.holds:
            return
        lease = process.leases.reserve(BUDGET)
        if lease is None:
            return
        if stage == "reserved":
            self.alive[process] = False
            return
        self.optuna.append("RUNNING")
        number = len(self.optuna) - 1
        if stage == "asked":
            self.alive[process] = False
            return
        self.holds[process] = process.leases.bind(lease, number)

    @rule(process=processes)
    def takes_one_up(self, process):
        if self.alive[process] and process not in self.holds:
            process.leases.adopt(*self.known())
            if (lease := process.leases.claim(paused=False)) is not None:
                assert lease.number not in self.outcomes
                assert lease.number not in self.paused
                self.holds[process] = lease

    @rule(process=processes)
    def pauses(self, process):
        lease = self.holds.get(process)
        if self.write(process, process.leases.pause):
            self.paused.add(lease.number)
        self.holds.pop(process, None)

    @rule(process=processes, number=st.integers(0, BUDGET))
    def chooses_one(self, process, number):
        if not self.alive[process] or process in self.holds:
            return
        assert set(process.leases.paused()) == self.paused
        lease = process.leases.take_up(number)
        assert (lease is not None) == (number in self.paused)
        if lease is not None:
            assert (lease.number, lease.was_paused) == (number, True)
            self.paused.discard(number)
            self.holds[process] = lease

    @rule(process=processes)
    def renews(self, process):
        self.write(process, process.leases.renew)

    @rule(process=processes)
    def releases(self, process):
        self.write(process, process.leases.release)
        self.holds.pop(process, None)

    @rule(process=processes, value=st.floats(0, 9), dies=st.booleans())
    def ends(self, process, value, dies):
        lease = self.holds.get(process)
        if self.write(process, lambda ours: process.leases.decide(ours, "COMPLETE", value, NONE)):
            assert lease.number not in self.outcomes
            self.outcomes[lease.number] = value
        self.holds.pop(process, None)
        self.alive[process] = self.alive[process] and not dies

    @rule(process=processes)
    def looks_after(self, process):
        if self.alive[process]:
            process.leases.adopt(*self.known())
            self.tell(process.leases)

    @rule(process=processes)
    def dies(self, process):
        self.alive[process] = False
        self.holds.pop(process, None)

    def write(self, process, call):
        if not self.alive[process] or process not in self.holds:
            return False
        try:
            call(self.holds[process])
        except Fenced:
            del self.holds[process]
            return False
        return True

    def known(self):
        running = [n for n, state in enumerate(self.optuna) if state == "RUNNING"]
        return running, [n for n, state in enumerate(self.optuna) if state != "RUNNING"]

    def tell(self, leases):
        for outcome in leases.decided():
            assert self.told.setdefault(outcome.number, outcome) == outcome
            self.optuna[outcome.number] = outcome.state
            if outcome.state == "COMPLETE":
                assert self.outcomes[outcome.number] == outcome.value
            leases.told(outcome.number)

    @invariant()
    def no_more_than_the_budget_is_ever_started(self):
        assert len(self.optuna) <= BUDGET

    @invariant()
    def a_trial_has_at_most_one_row(self):
        with self.engine.connect() as connection:
            numbers = [n for n in connection.execute(select(LEASES.c.number)).scalars() if n is not None]
        assert len(numbers) == len(set(numbers)) <= len(self.optuna)

    def finish_everything(self):
        """Whatever happened, one more worker brings every started trial to one end."""
        self.clock[0] += 10_000
        last = Elsewhere(self.engine, self.clock).leases
        for _ in range(3 * BUDGET):
            last.adopt(*self.known())
            if (lease := last.claim()) is not None:
                last.decide(lease, "COMPLETE", 0.5, NONE)
                self.outcomes[lease.number] = 0.5
            self.tell(last)
            self.clock[0] += WATCHED_SECONDS
        assert "RUNNING" not in self.optuna
        assert set(last.counts()) <= {"done"}


Machine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLeases = Machine.TestCase
