"""Pages of a small finished study, served by the command line as a user would."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import httpx
from ports import free_ports
from small_study import QUICK, changed, send_all

ROOT = Path(__file__).parent.parent
PROGRAM = str(ROOT / "run_study.py")
PAGES = ("mlflow", "tensorboard", "optuna", "home")


class Served:
    """All pages of a folder, on free ports, from the start of the process until `end`."""

    def __init__(self, folder, *more):
        self.folder = folder
        self.ports = dict(zip(PAGES, free_ports(len(PAGES)), strict=True))
        ports = [f"--port={page}={port}" for page, port in self.ports.items()]
        self.process = self.begun("pages", *ports, *more)

    def begun(self, *arguments):
        return forked.Begun(PROGRAM, arguments, self.folder, {**os.environ})

    def run(self, *arguments):
        return forked.run(PROGRAM, arguments, self.folder)

    def url(self, page, path="/", host="localhost"):
        return f"http://{host}:{self.ports[page]}{path}"

    def entrance(self, page, host="localhost"):
        """The address with the key, as its owner finds it."""
        return state(self.folder)["addresses"][page].replace("127.0.0.1", host)

    def key(self, page):
        return self.entrance(page).partition("key=")[2]

    def ask(self, page, path="/", method="GET", **more):
        """As a program of the owner does."""
        auth = httpx.BasicAuth("", self.key(page))
        return httpx.request(method, self.url(page, path), auth=auth, timeout=60, trust_env=False, **more)

    def said(self):
        return "".join(self.process.said())

    def mlflow_said(self):
        return (self.folder / "runs" / "pages-mlflow.log").read_text()

    def wait(self, pages=PAGES, seconds=240):
        """Until they answer their owner. Ended, too, when they do not come: no fixture would."""
        try:
            self._wait(pages, seconds)
        except BaseException:
            self.end()
            raise
        return self

    def _wait(self, pages, seconds):
        deadline = time.monotonic() + seconds
        waiting = list(pages)
        while waiting:
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, f"{waiting}: {self.said()}"
            try:
                if self.ask(waiting[0]).status_code < 400:
                    waiting.pop(0)
            except (httpx.HTTPError, FileNotFoundError):
                time.sleep(0.3)

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


class ServedAnew(Served):
    """The same by a process of its own, which imports everything."""

    def begun(self, *arguments):
        self.log = (self.folder / "pages.log").open("w+")
        output = {"stdout": self.log, "stderr": subprocess.STDOUT}
        return subprocess.Popen([sys.executable, PROGRAM, *arguments], cwd=self.folder, **output)

    def said(self):
        return Path(self.log.name).read_text()

    def end(self):
        code = super().end()
        self.log.close()
        return code


def small_study(folder, mlflow_file):
    """Run to its end in a folder, and told to MLflow, whose tables are there already."""
    (folder / "small.toml").write_text(changed(QUICK, trials=2))
    (folder / "runs").mkdir()
    shutil.copy(mlflow_file, folder / "runs")

    def run(*arguments):
        done = forked.run(PROGRAM, arguments, folder, SMART_TUNER_TRACKING="1")
        assert done.returncode in (0, 1), done.stderr  # 1: something waits
        return done.stdout

    run("start", "small.toml")
    send_all(f"sqlite:///{folder / 'runs' / 'study.db'}", lambda: run("track"))
    return folder


def state(folder):
    return json.loads((folder / "runs" / "pages.json").read_text())
