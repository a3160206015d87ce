import subprocess
import sys
import threading
import time
from pathlib import Path

from studies.run.watchdog import Watchdog

ROOT = Path(__file__).parents[3]


def test_a_run_that_beats_is_left_alone_and_one_that_stops_is_told():
    told, seconds = threading.Event(), []
    with Watchdog(lambda silent: (seconds.append(silent), told.set()), first=60.0, least=1.0) as watchdog:
        for _ in range(30):
            watchdog.beat()
            time.sleep(0.05)
        assert not told.is_set()
        assert told.wait(20.0)
    assert seconds[0] > 1.0


def test_a_long_pause_that_was_fine_before_is_fine_again():
    told = threading.Event()
    with Watchdog(lambda _: told.set(), first=60.0, least=0.05) as watchdog:
        watchdog.beat()
        time.sleep(0.3)  # within the first limit
        watchdog.beat()
        assert not told.wait(0.5)


def test_nothing_is_told_after_the_end():
    told = threading.Event()
    with Watchdog(lambda _: told.set(), first=0.2, least=0.2):
        pass
    assert not told.wait(0.5)


HANGS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from studies.run.watchdog import Watchdog
from studies.run.signals import start_again
first = not os.path.exists(sys.argv[2])
open(sys.argv[2], "a").write("started\\n")
if first:
    with Watchdog(start_again, first=0.3, least=0.3):
        time.sleep(60)
"""


def test_a_worker_that_hangs_shows_where_and_starts_itself_again(tmp_path):
    starts = tmp_path / "starts"
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(ROOT), str(starts)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert starts.read_text() == "started\n" * 2
    assert "starting again" in done.stderr
    assert "Current thread" in done.stderr or "Thread" in done.stderr
