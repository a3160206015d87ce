"""Workers that are killed: at every worst moment, and at random ones."""

import os
import random
import signal

import pytest
from faults.toys import wait_for

from benchmarks.chaos import Loop
from model.failpoint import PLACES

NTH = {"verdict": 2, "ckpt-written": 3, "ckpt-renamed": 3, "row-written": 3}


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_killed_at_any_point_is_as_if_it_had_not_been(toy, place):
    toy.kill_at(place, 0, NTH.get(place, 1))
    toy.finish()
    assert toy.faults() == []


def test_random_kills_leave_no_trace(empty_url, tmp_path):
    loop = Loop(empty_url, tmp_path, 2, 6, random.Random(7))
    loop.run()
    assert loop.faults == [], (tmp_path / "workers.log").read_text()[-10_000:]
    assert loop.died >= 6


def test_a_killed_worker_is_named_and_its_trial_goes_on_from_its_last_checkpoint(toy):
    killed = toy.begin(seconds=0.02)
    wait_for(lambda: toy.checkpoints(0), alive=[killed])
    os.kill(killed.pid, signal.SIGKILL)
    toy.end(killed)
    (toy.checkpoints(0)[0].parent / "ckpt-00000022.tmp").mkdir()  # of a step that is not saved again
    toy.finish()
    assert toy.faults() == []
    assert "trial 0 lost its worker" in toy.said
    assert "attempt 2" in toy.said
