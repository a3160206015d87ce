"""Two workers with one trial: a frozen one and who took it over, and two that tell it at once."""

import os
import signal
from contextlib import closing

import psycopg
import pytest
from faults.toys import is_stopped, wait_for
from sqlalchemy import make_url

from benchmarks.chaos import CHECKPOINT_EVERY, STEPS

WATCHED = 0.5  # seconds, instead of three renewals


def thawed(toy, frozen):
    os.kill(frozen.pid, signal.SIGCONT)
    assert toy.end(frozen) == 0, toy.said


def test_a_worker_frozen_past_its_lease_stops_and_tells_nothing(begin_study):
    toy = begin_study(trials=1)
    frozen = toy.begin(failpoint="row-written:stop:2")  # when it holds no lock of the database
    wait_for(lambda: is_stopped(frozen))
    toy.run_out(0)
    toy.finish(linger=True, watched=WATCHED)
    assert toy.lease(0)["state"] == "done"
    assert toy.faults() == []
    files = {path: path.read_bytes() for path in (toy.workdir / "toy").rglob("*") if path.is_file()}
    thawed(toy, frozen)
    assert "trial 0 was taken over; this attempt stops" in toy.said
    assert {path: path.read_bytes() for path in (toy.workdir / "toy").rglob("*") if path.is_file()} == files
    after = [fault for fault in toy.faults() if f"by {frozen.pid}" not in fault]
    assert all("was trained by two" in fault and f": {frozen.pid} step" in fault for fault in after)
    assert len(after) <= CHECKPOINT_EVERY  # until it looked, and only in its own memory
    assert toy.lease(0)["attempt_no"] == 2


@pytest.mark.parametrize("place", ["decided", "telling"])
def test_what_a_frozen_worker_decided_is_told_once_by_another(toy, place):
    frozen = toy.begin(failpoint=f"{place}:stop")
    wait_for(lambda: is_stopped(frozen))
    assert toy.lease(0)["state"] == "decided"
    (toy.checkpoints(0)[0].parent / "ckpt-00000022.tmp").mkdir()  # as of an attempt that was killed
    toy.finish()
    assert toy.faults() == []
    before = toy.study.get_trials()
    thawed(toy, frozen)
    assert toy.faults() == []
    assert toy.study.get_trials() == before
    assert toy.lease(0)["attempt_no"] == 1


def test_a_frozen_worker_whose_lease_lasts_keeps_its_trial(begin_study):
    toy = begin_study(trials=1)
    frozen = toy.begin(failpoint="row-written:stop:2")  # when it holds no lock of the database
    wait_for(lambda: is_stopped(frozen))
    toy.finish(watched=WATCHED)
    assert toy.lease(0)["attempt_no"] == 1
    thawed(toy, frozen)
    assert toy.faults() == []
    assert toy.steps(0) == STEPS


def test_two_that_tell_the_same_trial_at_once_both_go_on(begin_study, postgres, postgres_url):
    toy = begin_study(postgres_url)
    assert toy.end(toy.begin(failpoint="decided:kill")) == -signal.SIGKILL
    blocked = f"""SELECT count(*) FROM pg_stat_activity WHERE wait_event IN ('transactionid', 'tuple')
        AND datname = '{make_url(postgres_url).database}'"""
    with closing(psycopg.connect(postgres_url)) as holder:
        holder.execute("SELECT * FROM optuna.trials FOR UPDATE")
        both = [toy.begin() for _ in range(2)]
        wait_for(lambda: postgres.run(blocked) == [(2,)], alive=both)  # both have seen that it runs
        holder.rollback()
    assert [toy.end(begun) for begun in both] == [0, 0], toy.said
    assert toy.faults() == []
