"""Writes the dumps of a database that version 0.1 made, SQLite's and PostgreSQL's, and their rows as JSON.

Run with the program as it was then, here for its oldest supported state:

    git archive caf629a | tar -x -C OLD
    PYTHONPATH=OLD:tests python tests/smart_tuner/store/dumps/make.py
"""

import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import optuna
from as_json import as_json
from postgres import Server, programs
from smart_tuner.ratings import Rating, rate
from smart_tuner.records import TrialRepairs, note_checkpoint
from smart_tuner.repairs import Entry
from smart_tuner.tables import CHATS
from studies.alerted import Alerted, Rows
from studies.leases import Leases
from studies.spec import load
from studies.study import open_study

from smart_tuner import upkeep
from smart_tuner.store import open_storage
from studies import facts

HERE = Path(__file__).parent
MEASURES = ("value", "seconds", "aligned_share", "failure_share", "shortest", "longest")
OWNER = {"host": "another", "boot": "b", "pids": "pid:[1]", "pid": 1, "started": "1"}
REPAIR = Entry(
    "repair",
    100,
    "poor_alignment",
    5,
    8,
    "diagonal score 0.05 is below 0.3; д, 語, \U0001f41f",
    {"diagonal_score": 0.05, "norm": float("nan")},
    suppressed=("gate_never",),
    action="guide the attention harder",
    changes={"guided_attention_weight": (0.0, 4.0)},
    ramp=50,
    back_to=0,
    clips=("a",),
    rung=1,
    verify_at=200,
    before={"diagonal_score": 0.05, "mel": 0.9},
)
VERDICT = Entry(
    "verdict",
    200,
    "poor_alignment",
    5,
    8,
    REPAIR.reason,
    action="kept",
    verdict="improved",
    before=REPAIR.before,
    after={"diagonal_score": 0.9, "mel": 0.4},
    parent=1,
)
WAITED = Entry(
    "alarm", 110, "gate_never", 6, 6, "seen", action="waits for collapse, which is nearer to the cause"
)
ENDED = Entry(
    "end",
    300,
    "collapse",
    5,
    9,
    "diagonal_score fell from 0.90 to 0.10",
    {"diagonal_score": 0.1, "best_diagonal_score": 0.9},
    action="nothing is left to try after 4 such repairs (90 of at most 120 steps were redone)",
)
REASON = f"step 300: collapse: {ENDED.reason}; {ENDED.action}"


class Display:
    """Shows nothing."""

    def __getattr__(self, name):
        return lambda *_: None


class Old:
    """A study that was repaired, interrupted, told of and listened to."""

    def __init__(self, storage, home):
        self.storage = storage
        spec = load("quickstart").model_copy(update={"name": "old"})
        self.study = open_study(spec, storage)
        self.uid = self.study.user_attrs["uid"]
        self.study.set_user_attr("yardstick", {"cap": 9.0, "ceiling": 1.5})
        self.leases, self.rows = Leases(storage.ours, self.uid, OWNER), Rows(self.study, spec, home)
        self.alerted = Alerted(Display(), self.study, home)

    def trial(self, *entries):
        """A started trial, its lease, and what rules did to it."""
        lease = self.leases.reserve(99)
        trial = self.study.ask()
        lease = self.leases.bind(lease, trial.number)
        trial.suggest_float("learning_rate", 3e-4, 4e-3, log=True)
        trial.set_user_attr("settings", {"batch_size": 8, "learning_rate": 1e-3})
        repairs = TrialRepairs(self.storage, self.uid, trial.number, "policy", lease.attempt_uid)
        for entry in entries:
            entry = repairs.add(entry)
            self.rows.tell("fix", trial.number, f"{trial.number}-{entry.seq}", facts.of_entry(entry))
        note_checkpoint(self.storage.ours, self.uid, trial.number, lease.attempt_uid, 100, "a/step", "0" * 64)
        return trial, lease

    def ended(self, trial, lease, state, value=None, reason=""):
        self.leases.decide(lease, state, value, reason)
        measured = {"step": 100, **dict.fromkeys(MEASURES, value or 9.0)}
        trial.report(measured["value"], 100)
        trial.set_user_attr("measures", [measured])
        if reason:
            trial.set_user_attr("reason", reason)
        self.study.tell(trial.number, value, optuna.trial.TrialState[state])
        self.alerted.trial_ended(trial.number, state, value, reason)
        self.leases.told(trial.number)


def fill(storage, home):
    old = Old(storage, home)
    old.alerted.begins()
    old.ended(*old.trial(), "COMPLETE", 3.5)
    trial, lease = old.trial(REPAIR, WAITED, VERDICT)
    trial.report(float("inf"), 50)
    old.ended(trial, lease, "COMPLETE", 2.25)
    trial, lease = old.trial(ENDED)
    trial.set_user_attr("ended_by", {"rule": "collapse"})
    old.ended(trial, lease, "PRUNED", reason=REASON)
    _, lease = old.trial(REPAIR)  # goes on
    old.leases.release(lease)
    _, lease = old.trial()
    old.leases.decide(lease, "FAIL", None, "its worker died 4 times")  # and this was not told yet
    old.study.enqueue_trial({"learning_rate": 0.002}, user_attrs={"fresh_of": 1})
    rate(storage.ours, Rating(old.uid, 1, 100, "f" * 64, "Съешь же ещё", "a listener", 4))


def main():
    with tempfile.TemporaryDirectory() as folder, Server(programs()) as server:
        file, url = Path(folder) / "study.db", server.url(server.fresh())
        with closing(open_storage(f"sqlite:///{file}")) as storage:
            fill(storage, Path(folder))
            with storage.engine.connect() as connection:
                rows = {table.name: list(upkeep.rows(table, connection)) for table in upkeep.ALL_TABLES}
        revision = upkeep.info(f"sqlite:///{file}")["revision"]
        upkeep.ALL_TABLES = [table for table in upkeep.ALL_TABLES if table is not CHATS]
        upkeep.migrate(f"sqlite:///{file}", url)  # which failed on this one then
        with closing(open_storage(url)) as storage, storage.ours.begin() as connection:
            connection.execute(CHATS.insert(), rows[CHATS.name])
        (HERE / "rows.json").write_text(as_json(rows) + "\n")
        with closing(sqlite3.connect(file)) as connection:
            (HERE / f"sqlite-{revision}.sql").write_text("\n".join(connection.iterdump()) + "\n")
        dumped = subprocess.run(
            ["pg_dump", f"--dbname={url}", "--inserts", "--no-owner", "--no-privileges"],
            check=True,
            capture_output=True,
            text=True,
        )
        told = [line for line in dumped.stdout.splitlines() if line and not line.startswith(("--", "\\"))]
        (HERE / f"postgresql-{revision}.sql").write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    main()
