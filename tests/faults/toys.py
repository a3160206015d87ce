"""The toy study of benchmarks.chaos with its worker processes: what faults are tried on.

A worker is forked from a process that has imported everything, so that it begins at once; it is the real
worker, and what it raises becomes its exit code as the command line has it.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import click
from forked import CONTEXT
from sqlalchemy import select, update

import run_study
from benchmarks.chaos import check, one_worker, toy_spec
from model.failpoint import VARIABLE
from smart_tuner.store import leases
from smart_tuner.store.outage import BUDGET_SECONDS
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import LEASES
from studies.run import worker
from studies.run.study import open_study

PATIENCE_SECONDS = 200
TOY_SECONDS = 0.002  # a step


def live(url, workdir, environment, options):
    """The whole life of a worker's process."""
    os.environ.update({VARIABLE: "", **environment})
    time.tzset()
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
    said = os.open(workdir / "said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    leases.WATCHED_SECONDS = options["watched"]
    worker.LINGER_SECONDS = 0.2
    worker.Renewal = partial(leases.Renewal, seconds=options["renew"])
    if options["ahead"]:
        time.time = partial(lambda now, ahead: now() + ahead, time.time, options["ahead"])

    @run_study.cli.command("toy")
    def toy():
        one_worker(url, workdir, options["seconds"], options["linger"], options["patience"])

    assert isinstance(toy, click.Command)
    sys.exit(run_study.main(["toy"]))


class ToyStudy:
    """In an empty database and an empty folder."""

    def __init__(self, url, workdir: Path, trials=2, **tables):
        self.url, self.workdir, self.spec = url, workdir, toy_spec(trials, **tables)
        self.storage = open_storage(url)
        self.study = open_study(self.spec, self.storage)
        self.uid = self.study.user_attrs["uid"]
        self.workers = []

    def begin(
        self,
        failpoint="",
        seconds=TOY_SECONDS,
        linger=False,
        patience=BUDGET_SECONDS,
        watched=leases.WATCHED_SECONDS,
        renew=leases.RENEW_SECONDS,
        ahead=0.0,
        **environment,
    ):
        """A new worker."""
        environment |= {VARIABLE: failpoint} if failpoint else {}
        options = {
            "seconds": seconds,
            "linger": linger,
            "patience": patience,
            "watched": watched,
            "renew": renew,
            "ahead": ahead,
        }
        begun = CONTEXT.Process(target=live, args=(self.url, self.workdir, environment, options), daemon=True)
        begun.start()
        self.workers.append(begun)
        return begun

    def end(self, begun):
        """The exit code of a worker that ends by itself."""
        begun.join(PATIENCE_SECONDS)
        assert begun.exitcode is not None, f"it does not end: {self.said}"
        return begun.exitcode

    def kill_at(self, place, trial, nth=1):
        """A worker is killed the nth time that it comes to a failpoint.

        "released" is one to which it comes where it is asked to stop in a trial.
        """
        killed = self.begin(failpoint=f"{place}:kill:{nth}")
        if place == "released":
            wait_for(lambda: self.steps(trial) > 5, alive=[killed])
            os.kill(killed.pid, signal.SIGTERM)
        assert self.end(killed) == -signal.SIGKILL, self.said

    def finish(self, **options):
        """One more worker brings everything to its end."""
        code = self.end(self.begin(**options))
        assert code == 0, self.said

    def faults(self):
        return list(check(self.study, self.spec, self.workdir))

    @property
    def said(self):
        """By all workers."""
        log = self.workdir / "said.log"
        return log.read_text() if log.exists() else ""

    def steps(self, trial):
        """How many steps of a trial were trained, by whomever."""
        log = self.workdir / f"steps-{trial}.log"
        return log.read_text().count(" step ") if log.exists() else 0

    def checkpoints(self, trial):
        return sorted((self.workdir / "toy").glob(f"trial-{trial:04d}*/ckpt-*[0-9]"))

    def lease(self, number):
        with self.storage.ours.begin() as connection:
            mine = LEASES.c.study_uid == self.uid, LEASES.c.number == number
            return connection.execute(select(LEASES).where(*mine)).mappings().first()

    def run_out(self, number):
        """Make a trial's lease one that was not renewed for long."""
        with self.storage.ours.begin() as connection:
            connection.execute(update(LEASES).where(LEASES.c.number == number).values(expires_at=1.0))

    def close(self):
        for begun in self.workers:
            if begun.exitcode is None:
                begun.kill()
            begun.join()
            begun.close()
        self.storage.close()


def wait_for(found, *, alive=()):
    """Until `found` finds something, which is returned; meanwhile the processes `alive` must live."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (it := found()):
        assert time.monotonic() < deadline, "it does not come"
        assert all(begun.exitcode is None for begun in alive), "it ended"
        time.sleep(0.01)
    return it


def is_stopped(begun):
    """Whether SIGSTOP holds the process."""
    stat = Path(f"/proc/{begun.pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "T"
