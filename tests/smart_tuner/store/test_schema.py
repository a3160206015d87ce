"""Revisions of our tables, on both databases.

The dumps in dumps/ were made by version 0.1 at the oldest revision that is supported: dumps/make.py wrote
them, and their rows as rows.json. They hold a study with a finished, a repaired, a pruned, a released and a
waiting trial, and one that failed, of which nobody was told yet.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from as_json import as_json
from sqlalchemy import inspect, select

import run_study
from dashboards.pages.records import Records
from smart_tuner.notify.telegram.messages import Words, message
from smart_tuner.store import maintenance, schema
from smart_tuner.store.leases import Leases
from smart_tuner.store.records import repairs_of
from smart_tuner.store.storage import (
    OUR_SCHEMA,
    ForeignTables,
    SchemaError,
    StoreError,
    open_storage,
    plain_engine,
    raw_storage,
)
from smart_tuner.store.tables import OUTBOX, TABLES
from smart_tuner.store.url import parse
from studies.commands.chat import StudyCommands
from studies.file.spec import load
from studies.run.study import load_study

DUMPS = Path(__file__).parent / "dumps"
NEWEST = schema.revisions()[-1]
OLD = "0004"
ROWS = json.loads((DUMPS / "rows.json").read_text("utf-8"))


@pytest.fixture
def old_url(empty_url, request):
    """The URL of a database that version 0.1 made."""
    backend = empty_url.partition(":")[0]
    dump = (DUMPS / f"{backend}-{OLD}.sql").read_text("utf-8")
    if backend == "sqlite":
        with closing(sqlite3.connect(empty_url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(dump)
    else:
        server = request.getfixturevalue("postgres")
        server.run(dump, empty_url.rpartition("/")[2])
    return empty_url


@pytest.fixture
def storage(empty_url):
    storage = open_storage(empty_url)
    yield storage
    storage.close()


def kept(url, tables):
    with closing(open_storage(url)) as storage, storage.engine.connect() as connection:
        found = {table.name: list(maintenance.rows(table, connection)) for table in tables}
    return json.loads(as_json(found))


def said(capsys, *arguments):
    code = run_study.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_the_migrations_make_the_tables_that_the_program_uses(storage):
    with storage.ours.connect() as connection:
        options = {
            "version_table": schema.VERSION_TABLE,
            "include_object": schema.is_ours,
            "compare_type": True,
            "compare_server_default": True,
        }
        assert compare_metadata(MigrationContext.configure(connection, opts=options), TABLES) == []
        assert schema.stamped(connection) == NEWEST


def test_old_tables_are_refused_with_the_command_and_upgraded_with_every_row(old_url, tmp_path, capsys):
    place = ("--storage", old_url, "--home", tmp_path)
    code, told = said(capsys, *place, "list")
    assert code == 7
    assert "run_study.py storage upgrade" in told
    assert maintenance.info(old_url)["revision"] == OLD
    code, told = said(capsys, *place, "storage", "upgrade", "-f", "json")
    assert code == 0, told
    assert json.loads(told)["smart_tuner"] == f"{OLD} to {NEWEST}"
    assert kept(old_url, maintenance.ALL_TABLES) == renamed(ROWS)
    assert said(capsys, *place, "list", "-f", "value")[0] == 0
    before, files = kept(old_url, maintenance.ALL_TABLES), sorted(tmp_path.rglob("*"))
    code, told = said(capsys, *place, "storage", "upgrade", "-f", "json")
    assert json.loads(told) == {"smart_tuner": NEWEST, "optuna": "v3.2.0.a", "backup": None}
    assert kept(old_url, maintenance.ALL_TABLES) == before
    assert sorted(tmp_path.rglob("*")) == files


def renamed(rows):
    """As the newest revision has them."""
    names = {"rung": "remedy"}
    repairs = [{names.get(name, name): value for name, value in row.items()} for row in rows["st_repair"]]
    return {**rows, "st_repair": repairs}


def test_the_state_between_is_upgraded_too(old_url):
    engine = plain_engine(parse(old_url), OUR_SCHEMA)
    with closing(raw_storage(parse(old_url), engine)) as storage, storage.ours.begin() as connection:
        schema.command.upgrade(schema._config(connection), "0005")
        connection.exec_driver_sql("UPDATE st_lease SET steps = 7, seconds = 1.5")
    engine.dispose()
    assert maintenance.upgrade(old_url, None)["smart_tuner"] == f"0005 to {NEWEST}"
    leases = [{**row, "steps": 7, "seconds": 1.5} for row in ROWS["st_lease"]]
    assert kept(old_url, maintenance.ALL_TABLES) == {**renamed(ROWS), "st_lease": leases}


@pytest.fixture
def upgraded(old_url):
    maintenance.upgrade(old_url, None)
    with closing(open_storage(old_url)) as storage:
        yield storage


def test_what_was_running_goes_on_after_the_upgrade(upgraded):
    study = load_study("old", upgraded)
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "COMPLETE", "PRUNED", "RUNNING", "RUNNING", "WAITING"]
    study.tell(3, 1.5)
    assert study.best_value == 1.5
    assert [study.ask().number for _ in range(2)] == [5, 6]
    leases = Leases(upgraded.ours, study.user_attrs["uid"])
    [decided] = leases.decided()
    assert (decided.number, decided.state, str(decided.reason)) == (4, "FAIL", "its worker died 4 times")
    assert leases.claim().number == 3
    rows = [entry for _, entry in repairs_of(upgraded.ours, study.user_attrs["uid"], 1)]
    assert rows[0].evidence == {"diagonal_score": 0.05, "norm": "nan"}
    assert (rows[0].remedy, rows[0].action_values) == (1, {})


def test_sentences_of_version_0_1_are_told_as_they_are(upgraded, tmp_path, old_url, capsys):
    """By commands, pages and chats, and where they wait in the outbox."""
    place = ("--storage", old_url, "--home", tmp_path)
    records = Records(upgraded, tmp_path)
    study, spec = load_study("old", upgraded), load("quickstart")
    chat = StudyCommands(upgraded, tmp_path, lambda *_: {}, 500)
    for text in (
        said(capsys, *place, "fixes", "old", "--explain")[1],
        said(capsys, *place, "report", "old")[1],
        json.dumps(records.fixes("old"), ensure_ascii=False),
    ):
        assert "diagonal score 0.05 is below 0.3; д, 語" in text
        assert "guide the attention harder" in text
        assert "waits for collapse" in text
        assert "nothing is left to try after 4 such repairs" in text
    assert "fell from 0.90 to 0.10" in records.trials("old")["trials"][2]["reason"][1]
    assert "nothing is left to try" in chat._fixes(Words("ru"), study, spec, "").markup
    with upgraded.ours.connect() as connection:
        payloads = list(connection.execute(select(OUTBOX.c.payload).order_by(OUTBOX.c.id)).scalars())
    for language in ("en", "ru"):
        told = [message(payload["kind"], language, payload["facts"]) for payload in payloads]
        for part in ("guide the attention harder", "waits for collapse", "fell from 0.90 to 0.10", "4 such"):
            assert part in "".join(told)
    assert "Remedy 2 of this rule" in message("fix", "en", payloads[2]["facts"])


def test_the_backup_is_the_database_as_it_was(old_url, postgres, tmp_path):
    if old_url.startswith("sqlite"):  # what one that was killed left
        (tmp_path / "study-0004-20260101T000000.000000Z.db.partial").write_bytes(b"half")
    backup = Path(maintenance.upgrade(old_url, tmp_path)["backup"])
    assert f"-{OLD}-" in backup.name
    assert not list(backup.parent.glob("*.partial"))
    if backup.suffix == ".sql":
        text = backup.read_text("utf-8")
        assert postgres.password not in text
        assert "CREATE TABLE smart_tuner.st_repair" in text and "CREATE TABLE optuna.trials" in text
    else:
        assert maintenance.info(f"sqlite:///{backup}")["revision"] == OLD
        assert maintenance.info(f"sqlite:///{backup}")["st_repair"] == len(ROWS["st_repair"])


def test_without_pg_dump_postgresql_is_upgraded_only_when_no_backup_is_asked_for(
    postgres_url, postgres, monkeypatch, tmp_path
):
    postgres.run((DUMPS / f"postgresql-{OLD}.sql").read_text("utf-8"), postgres_url.rpartition("/")[2])
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StoreError, match="--no-backup"):
        maintenance.upgrade(postgres_url, tmp_path)
    assert maintenance.info(postgres_url)["revision"] == OLD
    assert maintenance.upgrade(postgres_url, None)["smart_tuner"] == f"{OLD} to {NEWEST}"


def test_an_upgrade_that_dies_leaves_everything_as_it_was(old_url, monkeypatch):
    def dies(config, revision):
        done(config, revision)
        raise KeyboardInterrupt

    done = schema.command.upgrade
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(schema.command, "upgrade", dies)
        maintenance.upgrade(old_url, None)
    assert maintenance.info(old_url)["revision"] == OLD
    maintenance.upgrade(old_url, None)
    open_storage(old_url).close()


def test_tables_of_a_newer_program_are_refused(storage, empty_url, capsys):
    with storage.ours.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")
    for verb in (["list"], ["storage", "upgrade"]):
        code, told = said(capsys, "--storage", empty_url, *verb)
        assert code == 7
        assert "9999" in told and "newer" in told


def test_tables_without_a_revision_are_refused(storage, empty_url):
    with storage.ours.begin() as connection:
        connection.exec_driver_sql(f"DROP TABLE {schema.VERSION_TABLE}")
    with pytest.raises(SchemaError, match="unknown"):
        open_storage(empty_url)


def test_optunas_own_tables_are_upgraded_only_on_command(storage, empty_url, capsys):
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    code, told = said(capsys, "--storage", empty_url, "list")
    assert code == 7
    assert "run_study.py storage upgrade --optuna" in told
    assert maintenance.upgrade(empty_url, None)["optuna"] == "v3.0.0.d"
    done = maintenance.upgrade(empty_url, None, ("smart_tuner", "optuna"))
    assert done["optuna"] == "v3.0.0.d to v3.2.0.a"
    open_storage(empty_url).close()
    with storage.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'v9'")
    for verb in (["list"], ["storage", "upgrade", "--optuna"]):
        code, told = said(capsys, "--storage", empty_url, *verb)
        assert code == 7
        assert "newer" in told


def test_mlflows_file_is_refused_before_anything_is_written(tmp_path, capsys):
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version (version_num TEXT); CREATE TABLE runs (id TEXT)"
        )
    with pytest.raises(ForeignTables, match="MLflow"):
        open_storage(url)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    assert names == [("alembic_version",), ("runs",)]
    assert said(capsys, "--storage", url, "list")[0] == 2


def test_alembic_never_drops_optunas_tables(storage):
    with storage.ours.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE another (id INTEGER)")
        assert inspect(connection).has_table("another")
        options = {"version_table": schema.VERSION_TABLE, "include_object": schema.is_ours}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), TABLES) == []
