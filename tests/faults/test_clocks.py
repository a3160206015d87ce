"""Workers whose clocks and time zones differ from the others'."""

import os
import signal

import pytest
from faults.toys import is_stopped, wait_for

STRANGE = {"TZ": "Pacific/Kiritimati", "PGTZ": "America/St_Johns"}


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_wrong_clock_or_time_zone_takes_nobodys_trial(begin_study, empty_url, ahead):
    toy = begin_study(empty_url, trials=3)
    right = toy.begin(failpoint="row-written:stop:2")
    wait_for(lambda: is_stopped(right))
    wrong = toy.begin(watched=0.0, ahead=ahead, **STRANGE)  # takes at once whatever seems to have run out
    assert toy.end(wrong) == 0, toy.said
    assert toy.lease(0)["attempt_no"] == 1
    os.kill(right.pid, signal.SIGCONT)
    assert toy.end(right) == 0, toy.said
    assert toy.faults() == []
    assert [toy.lease(number)["attempt_no"] for number in range(3)] == [1, 1, 1]
    assert "taken over" not in toy.said


def test_a_worker_that_dies_with_a_wrong_clock_is_found_by_the_others(begin_study, empty_url):
    toy = begin_study(empty_url)
    killed = toy.begin(failpoint="reported:kill:2", ahead=3600.0, **STRANGE)
    assert toy.end(killed) == -signal.SIGKILL
    toy.finish()
    assert toy.faults() == []
