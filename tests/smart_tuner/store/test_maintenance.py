"""Looking at databases and copying them."""

import json
from contextlib import closing

import optuna
import pytest
from as_json import as_json
from sqlalchemy import null

import run_study
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.repair.rule import Entry
from smart_tuner.store import maintenance
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import StoreError, open_storage
from smart_tuner.store.tables import LEASES, OUTBOX

LEASE = {
    "study_uid": "uid",
    "state": "held",
    "attempt_uid": "a",
    "attempt_no": 1,
    "deaths": 0,
    "owner": {"pid": 1},
    "beat": 7,
    "expires_at": 1.5e9 + 0.125,
}


def fill(url):
    with closing(open_storage(url)) as storage:
        for name in ("one", "two"):
            study = optuna.create_study(storage=storage, study_name=name, directions=["minimize"])
            study.set_user_attr("uid", name)
            for value in (1.5, float("inf"), None)[: 3 if name == "one" else 1]:
                trial = study.ask()
                trial.suggest_float("rate", 1e-4, 1e-2, log=True)
                trial.suggest_categorical("kind", ["a", "б"])
                trial.report(2.5, 1)
                trial.report(float("inf"), 2)
                trial.report(float("nan"), 3)
                trial.set_user_attr("long", "語" * 5000)
                if value is not None:
                    study.tell(trial, value)
            study.enqueue_trial({"rate": 1e-3})
        TrialRepairs(storage, "one", 1, "policy").add(Entry("repair", 10, "rule", 1, 2, "reason"))
        ChatState(storage.ours).once("running:one")
        with storage.ours.begin() as connection:
            connection.execute(LEASES.insert(), {**LEASE, "number": 1, "outcome": {"value": 1}})
            connection.execute(LEASES.insert(), {**LEASE, "number": 2})
            connection.execute(LEASES.insert(), {**LEASE, "number": 3, "outcome": None})
            message = {"channel": "mlflow", "payload": [1], "tries": 0, "due_at": 0.0, "state": "waiting"}
            connection.execute(OUTBOX.insert(), {**message, "study_uid": "one", "key": "k"})


def everything(url):
    """Rows of all tables, and the trials as Optuna shows them."""
    with closing(open_storage(url)) as storage:
        with storage.engine.connect() as connection:
            rows = {table.name: list(maintenance.rows(table, connection)) for table in maintenance.ALL_TABLES}
        studies = [optuna.load_study(study_name=name, storage=storage) for name in ("one", "two")]
        return as_json(rows), [repr(study.trials) for study in studies]


def test_a_study_goes_to_postgresql_and_back_with_everything(postgres_url, tmp_path):
    first, last = (f"sqlite:///{tmp_path / name}.db" for name in ("first", "last"))
    fill(first)
    there = maintenance.migrate(first, postgres_url)
    assert (there["studies"], there["trials"], there["st_lease"], there["st_repair"]) == (2, 6, 3, 1)
    assert everything(postgres_url) == everything(first)
    assert maintenance.migrate(postgres_url, last) == there
    assert everything(last) == everything(first)


def test_nothing_and_the_null_of_json_stay_different(postgres_url, tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    fill(url)
    maintenance.migrate(url, postgres_url)
    with closing(open_storage(postgres_url)) as storage, storage.ours.connect() as connection:
        absent = connection.execute(LEASES.select().where(LEASES.c.outcome.is_(null()))).all()
    assert [row.number for row in absent] == [2]


def test_a_copy_can_be_worked_on(empty_url, tmp_path):
    url = f"sqlite:///{tmp_path / 'source.db'}"
    fill(url)
    maintenance.migrate(url, empty_url)
    with closing(open_storage(empty_url)) as storage:
        study = optuna.load_study(study_name="one", storage=storage)
        assert [study.ask().number for _ in range(2)] == [3, 4]
        assert TrialRepairs(storage, "one", 1, "p").add(Entry("alarm", 20, "rule", 1, 2, "")).seq == 2
        optuna.create_study(storage=storage, study_name="three")
        optuna.delete_study(study_name="two", storage=storage)


def test_only_an_empty_database_is_copied_into(empty_url, tmp_path):
    url = f"sqlite:///{tmp_path / 'source.db'}"
    fill(url)
    maintenance.migrate(url, empty_url)
    before = everything(empty_url)
    with pytest.raises(StoreError, match="not empty: the table studies has rows"):
        maintenance.migrate(url, empty_url)
    assert everything(empty_url) == before
    with pytest.raises(StoreError, match="the source itself"):
        maintenance.migrate(url, url)


def test_a_copy_that_fails_leaves_nothing_behind(postgres_url, tmp_path):
    url = f"sqlite:///{tmp_path / 'source.db'}"
    fill(url)
    with closing(open_storage(url)) as storage:
        optuna.create_study(storage=storage, study_name="nul").set_user_attr("a", "b")
        with storage.engine.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE study_user_attributes SET value_json = 'a' || char(0) WHERE key = 'a'"
            )
    with pytest.raises(StoreError):
        maintenance.migrate(url, postgres_url)
    assert maintenance.info(postgres_url)["studies"] == 0


def test_info_counts_and_shows_no_password(empty_url, postgres, capsys):
    fill(empty_url)
    assert run_study.main(["--storage", empty_url, "storage", "info", "-f", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert postgres.password not in told["url"]
    assert told["backend"] == empty_url.partition(":")[0]
    assert told["revision"] == told["newest_revision"]
    assert told["optuna_revision"] == "v3.2.0.a"
    assert [told[name] for name in ("studies", "trials", "st_repair", "st_lease")] == [2, 6, 1, 3]


def test_info_makes_nothing(postgres_url, tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert run_study.main(["--storage", url, "storage", "info"]) == 4
    assert not list(tmp_path.iterdir())
    assert maintenance.info(postgres_url)["revision"] is None
    assert maintenance.info(postgres_url)["studies"] == 0


def test_init_makes_all_tables_and_may_be_repeated(empty_url, tmp_path, capsys):
    for _ in range(2):
        assert run_study.main(["--storage", empty_url, "--home", str(tmp_path), "storage", "init"]) == 0
    assert maintenance.info(empty_url)["revision"] is not None
    assert maintenance.info(empty_url)["optuna_revision"] is not None
