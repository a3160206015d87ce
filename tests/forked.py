"""Processes that begin at once: forked from one that has imported the libraries, which takes seconds."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARIES = [
    *("boto3", "librosa.core.spectrum", "librosa.filters", "matplotlib.backends.backend_agg", "psycopg"),
    *("rich.live", "soundfile", "torch._dynamo"),  # the last is what an optimizer imports
]
OURS = {"benchmarks", "dashboards", "model", "objectives", "run_study", "smart_tuner", "studies"}
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["run_study", "benchmarks.chaos", *LIBRARIES])


def begin(program, arguments, folder, environment, paths):
    """As `python program arguments` does in a folder: only the libraries are there already.

    What it says on its standard output and its standard error goes to the ends of the two files.
    """
    process = CONTEXT.Process(target=_live, args=(str(program), arguments, folder, environment, paths))
    process.start()
    return process


def run(program, arguments, folder, **environment):
    """The same to its end."""
    with tempfile.TemporaryDirectory() as said:
        paths = [Path(said) / name for name in ("out", "err")]
        process = begin(program, arguments, folder, {**os.environ, **environment}, paths)
        try:
            process.join()
        finally:
            process.kill()
            process.join()
        return subprocess.CompletedProcess(
            [program, *arguments], process.exitcode, *(path.read_text("utf-8") for path in paths)
        )


def _live(program, arguments, folder, environment, paths):
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(paths, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
        del sys.modules[name]
    sys.path.insert(0, str(Path(program).parent))
    sys.argv = [program, *arguments]
    runpy.run_path(program, run_name="__main__")
