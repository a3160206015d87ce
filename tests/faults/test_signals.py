"""Ctrl-C, SIGTERM, a terminal that is closed, and a pool whose parent is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faults.toys import PATIENCE_SECONDS, is_stopped, wait_for

from smart_tuner.store.leases import _started
from studies.report.history import consumed
from studies.run.pool import PARENT, beside

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_frees_the_trial(toy, number):
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: toy.steps(0) > 5, alive=[begun])
    os.kill(begun.pid, number)
    assert toy.end(begun) == 128 + number
    assert "press Ctrl-C again" in toy.said
    assert "Traceback" not in toy.said
    assert toy.lease(0)["state"] == "released"
    assert int(toy.checkpoints(0)[-1].name[-8:]) == toy.steps(0)  # nothing is trained again
    assert consumed(toy.study)[0] == toy.steps(0)  # though it was never measured
    toy.finish()
    assert toy.faults() == []
    assert toy.lease(0)["deaths"] == 0


def test_a_signal_while_a_checkpoint_is_written_lets_it_be_written(toy):
    begun = toy.begin(failpoint="ckpt-written:stop:2")
    wait_for(lambda: is_stopped(begun))
    os.kill(begun.pid, signal.SIGINT)
    os.kill(begun.pid, signal.SIGCONT)
    assert toy.end(begun) == 130
    assert toy.lease(0)["state"] == "released"
    toy.finish()
    assert toy.faults() == []


def test_a_signal_while_a_trial_is_asked_for_leaves_it_to_the_next_run(toy):
    begun = toy.begin(failpoint="asked:stop")
    wait_for(lambda: is_stopped(begun))
    os.kill(begun.pid, signal.SIGTERM)
    os.kill(begun.pid, signal.SIGCONT)
    assert toy.end(begun) == 143
    toy.finish()
    assert toy.faults() == []


def test_a_second_signal_ends_at_once_and_the_last_checkpoint_counts(toy):
    begun = toy.begin(failpoint="ckpt-written:sleep:3")  # no step ends for half a minute
    wait_for(lambda: toy.steps(0) == 9 and list(toy.workdir.rglob("*.tmp/manifest.json")), alive=[begun])
    os.kill(begun.pid, signal.SIGINT)
    wait_for(lambda: "press Ctrl-C again" in toy.said, alive=[begun])
    os.kill(begun.pid, signal.SIGINT)
    assert toy.end(begun) == -signal.SIGINT
    assert [path.name for path in toy.checkpoints(0)] == ["ckpt-00000003", "ckpt-00000006"]
    toy.finish()
    assert toy.faults() == []


POOL = """
import os, signal, sys
from studies.run.pool import Pool
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this test may run under nohup
command = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
sys.exit(Pool([command] * 2, lambda text: print(text, flush=True)).run())
"""
CHILD = """
import os, signal, sys, time
from pathlib import Path
from studies.run.pool import end_with_parent
def saved(*_):
    Path(sys.argv[1], f"saved-{os.getpid()}").touch()
    os._exit(143)
signal.signal(signal.SIGTERM, saved)
end_with_parent(0.05)
Path(sys.argv[1], f"begun-{os.getpid()}").touch()
while True:
    signal.pause()
"""


@pytest.fixture
def pool(tmp_path):
    """A pool of two processes that only wait, and their folder."""
    environment = {name: value for name, value in os.environ.items() if name != PARENT}
    call = [sys.executable, "-c", POOL, CHILD, str(tmp_path)]
    begun = subprocess.Popen(call, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    yield begun
    begun.kill()
    begun.communicate()
    for path in tmp_path.glob("begun-*"):
        if _started(pid := int(path.name.partition("-")[2])):
            os.kill(pid, signal.SIGKILL)


def gone(tmp_path):
    pids = [int(path.name.partition("-")[2]) for path in tmp_path.glob("begun-*")]
    return all(_started(pid) is None for pid in pids)


def test_workers_whose_parent_is_killed_save_and_end(pool, tmp_path):
    pool.kill()
    wait_for(lambda: gone(tmp_path))
    assert len(list(tmp_path.glob("saved-*"))) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_pool_reaches_its_workers(pool, tmp_path, number):
    pool.send_signal(number)
    assert pool.wait(60) == 128 + number
    wait_for(lambda: gone(tmp_path))


LATE = """
import sys, time
from pathlib import Path
from smart_tuner.notify.sender import Following
time.sleep(1.0)
Following(Path(sys.argv[1]), []).run()
print("sent", flush=True)
"""


def test_what_runs_beside_sends_also_where_it_is_asked_to_end_before_it_is_ready(tmp_path):
    with beside([sys.executable, "-c", LATE, str(tmp_path)], PATIENCE_SECONDS, tmp_path / "log"):
        pass
    assert (tmp_path / "log").read_text() == "sent\n"


def test_a_killed_worker_of_a_pool_is_replaced(pool, tmp_path):
    victim = next(tmp_path.glob("begun-*")).name.partition("-")[2]
    os.kill(int(victim), signal.SIGKILL)
    wait_for(lambda: len(list(tmp_path.glob("begun-*"))) == 3)
    assert "was killed by signal 9; starting it again" in pool.stdout.readline()
