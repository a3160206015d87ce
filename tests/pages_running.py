"""Pages of a small finished study, served by the command line as a user would."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import httpx
from ports import free_ports

ROOT = Path(__file__).parent.parent
PROGRAM = str(ROOT / "run_study.py")
PAGES = ("mlflow", "tensorboard", "optuna", "home")
STUDY = """
name = "small"
question = "Does the whole chain hold?"
seed = 3
[corpus]
source = "espeak"
language = "en"
clips = 60
held_out = 6
[model]
size = "tiny"
[settings]
n_frames_per_step = 4
batch_size = 12
[space.learning_rate]
type = "float"
low = 1e-3
high = 4e-3
log = true
[space.gate_positive_weight]
type = "float"
low = 1.0
high = 10.0
log = true
[budget]
trials = 2
[objective]
steps = 12
measure_every = 6
checkpoint_every = 2
sentences = 3
draws = 1
speak = "the small dog sees a house"
"""


class Served:
    """All pages of a folder, on free ports, from the start of the process until `end`."""

    def __init__(self, folder, *more):
        self.folder = folder
        self.ports = dict(zip(PAGES, free_ports(len(PAGES)), strict=True))
        ports = [f"--port={page}={port}" for page, port in self.ports.items()]
        self.log = (folder / "pages.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, PROGRAM, "pages", *ports, *more],
            cwd=folder,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

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
        return Path(self.log.name).read_text()

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
        code = self.process.wait(60)
        self.log.close()
        return code


def small_study(folder):
    (folder / "small.toml").write_text(STUDY)
    done = forked.run(PROGRAM, ["start", "small.toml"], folder, SMART_TUNER_TRACKING="1")
    assert done.returncode == 0, done.stderr
    return folder


def state(folder):
    return json.loads((folder / "runs" / "pages.json").read_text())
