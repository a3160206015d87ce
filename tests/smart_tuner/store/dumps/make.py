"""Writes the dumps of the first revision, SQLite's and PostgreSQL's, and their rows as JSON.

    PYTHONPATH=.:tests python tests/smart_tuner/store/dumps/make.py

Made from the program as it was then: st_repair alone, and no table of versions. When st_repair has changed,
a first revision can be made only with the commit that brought this file.
"""

import sqlite3
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

import optuna
from as_json import as_json
from postgres import Server, programs

from smart_tuner.repair.rule import Entry
from smart_tuner.store import maintenance
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import OUR_SCHEMA, make_schemas, plain_engine, raw_storage
from smart_tuner.store.tables import REPAIRS
from smart_tuner.store.url import parse

HERE = Path(__file__).parent
SEEN = Entry(
    "repair",
    100,
    "poor_alignment",
    5,
    8,
    "diagonal score 0.05 is below 0.3; д, 語, \U0001f41f",
    {"diagonal_score": 0.05, "norm": float("nan")},
    action="guide the attention",
    changes={"guided_attention_weight": (0.0, 1.0)},
    clips=("a",),
    verify_at=200,
)


def first_revision(url):
    address = parse(url)
    engine = plain_engine(address, OUR_SCHEMA)
    make_schemas(engine)
    storage = raw_storage(address, engine)
    engine.dispose()
    REPAIRS.create(storage.ours)
    return storage


def fill(storage):
    study = optuna.create_study(storage=storage, study_name="old", direction="minimize")
    study.set_user_attr("uid", "0123456789abcdef")
    for value in (3.5, 2.25):
        trial = asked(study)
        trial.report(value + 1, 100)
        trial.report(float("inf"), 200)
        study.tell(trial, value)
    repairs = TrialRepairs(storage, "0123456789abcdef", 1, "policy")
    repairs.add(SEEN)
    repairs.add(Entry("verdict", 200, "poor_alignment", 5, 8, "", verdict="improved", parent=1))
    pruned = asked(study)
    pruned.report(9.0, 100)
    study.tell(pruned, state=optuna.trial.TrialState.PRUNED)
    asked(study).report(4.0, 100)  # goes on running
    study.enqueue_trial({"rate": 0.002}, user_attrs={"fresh_of": 1})


def asked(study):
    trial = study.ask()
    trial.suggest_float("rate", 1e-4, 1e-2, log=True)
    trial.suggest_categorical("optimizer", ["adam", "sgd"])
    trial.set_user_attr("settings", {"batch_size": 8, "name": "д"})
    return trial


def main():
    tables = (*maintenance.OPTUNAS_TABLES, REPAIRS)
    with tempfile.TemporaryDirectory() as folder, Server(programs()) as server:
        file = Path(folder) / "study.db"
        url = server.url(server.fresh())
        with closing(first_revision(f"sqlite:///{file}")) as old, closing(first_revision(url)) as new:
            fill(old)
            with old.engine.connect() as reading, new.engine.begin() as writing:
                for table in tables:
                    maintenance.copied(table, reading, writing)
                rows = {table.name: list(maintenance.rows(table, reading)) for table in tables}
        (HERE / "rows.json").write_text(as_json(rows) + "\n")
        with closing(sqlite3.connect(file)) as connection:
            (HERE / "sqlite-0001.sql").write_text("\n".join(connection.iterdump()) + "\n")
        dumped = subprocess.run(
            ["pg_dump", f"--dbname={url}", "--inserts", "--no-owner", "--no-privileges"],
            check=True,
            capture_output=True,
            text=True,
        )
        told = [line for line in dumped.stdout.splitlines() if line and not line.startswith(("--", "\\"))]
        (HERE / "postgresql-0001.sql").write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    main()
