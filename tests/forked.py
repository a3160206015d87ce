"""Processes that begin at once: forked from one that has imported the libraries, which takes seconds."""

import multiprocessing
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path

LIBRARIES = [
    *("boto3", "librosa.core.spectrum", "librosa.filters", "matplotlib.backends.backend_agg", "psycopg"),
    *("rich.live", "soundfile", "torch._dynamo"),  # the last is what an optimizer imports
    *("httpx", "hypothesis", "pytest"),  # which modules of tests import
]
OURS = [
    *(
        "run_study",
        "benchmarks.chaos",
        "dashboards.server",
        "objectives.tacotron2",
        "smart_tuner.notify.sender",
    ),
    *("studies.callbacks.terminal", "studies.callbacks.trackers", "studies.commands.doctor"),
    *("studies.commands.notify", "studies.report.single_page", "studies.report.voices"),
    *("studies.run.data", "studies.run.training", "studies.run.worker"),
]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([*OURS, *LIBRARIES])


class Begun:
    """`python program arguments` in a folder, as Popen has it; but its modules are there already."""

    def __init__(self, program, arguments, folder, environment):
        kept = Path(tempfile.mkdtemp())
        weakref.finalize(self, shutil.rmtree, kept)
        self._paths = [kept / name for name in ("out", "err")]
        for path in self._paths:
            path.touch()
        self._process = CONTEXT.Process(
            target=_live, args=(str(program), arguments, folder, environment, self._paths)
        )
        self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self._process.kill()

    def wait(self, seconds=None):
        self._process.join(seconds)
        assert self.returncode is not None, f"it does not end: {self.said()}"
        return self.returncode

    def said(self):
        """Until now, on its standard output and its standard error."""
        return tuple(path.read_text("utf-8") for path in self._paths)

    def communicate(self, timeout=None):
        self.wait(timeout)
        return self.said()


def run(program, arguments, folder, **environment):
    """The same to its end."""
    begun = Begun(program, arguments, folder, {**os.environ, **environment})
    try:
        begun.wait()
    finally:
        begun.kill()
    return subprocess.CompletedProcess([program, *arguments], begun.returncode, *begun.said())


def _live(program, arguments, folder, environment, paths):
    os.chdir(folder)
    kept = {"PGTZ": os.environ["PGTZ"]}  # as importing smart_tuner.store.storage set it
    os.environ.clear()
    os.environ.update(environment | kept)
    for number, path in enumerate(paths, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.path[:0] = [
        str(Path(program).parent),
        *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)),
    ]
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")
