"""What is PostgreSQL's own: schemas, the clock, lost connections, passwords."""

import pickle
from contextlib import closing

import optuna
import pytest
from documents import blocks, text_of_all
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase

from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import DatabaseGone, Outage
from smart_tuner.store.storage import ForeignTables, StoreError, granted, open_storage
from studies.file.spec import load
from studies.report import summary as report
from studies.run.study import load_study, open_study


@pytest.fixture
def storage(postgres, tables_database):
    name = postgres.fresh(tables_database)
    storage = open_storage(postgres.url(name))
    yield storage
    storage.remove_session()
    storage.close()
    postgres.drop(name)


@pytest.fixture(scope="class")
def opened(postgres, tables_database):
    name = postgres.fresh(tables_database)
    with closing(open_storage(postgres.url(name))) as storage:
        yield storage
    postgres.drop(name)


class TestOptunasOwnContract(StorageTestCase):
    @pytest.fixture
    def storage(self, opened):
        yield opened
        opened.remove_session()
        with opened.engine.begin() as connection:
            connection.exec_driver_sql("TRUNCATE studies RESTART IDENTITY CASCADE")

    def test_pickle_storage(self, storage):
        """Optuna's own leaves the copy's connections open."""
        copy = pickle.loads(pickle.dumps(storage))
        study_id = storage.create_new_study([StudyDirection.MINIMIZE])
        storage.set_study_system_attr(study_id, "key", "value")
        assert copy.get_study_system_attrs(study_id) == {"key": "value"}
        copy.close()


def shown(engine, name):
    with engine.connect() as connection:
        return connection.exec_driver_sql(f"SHOW {name}").scalar()


def schemas(engine, table):
    query = f"SELECT table_schema FROM information_schema.tables WHERE table_name = '{table}'"
    with engine.connect() as connection:
        return connection.exec_driver_sql(query).scalars().all()


def test_optuna_and_we_live_in_schemas_of_our_own_and_mlflow_gets_one(storage):
    assert shown(storage.engine, "search_path") == "optuna"
    assert shown(storage.ours, "search_path") == "smart_tuner"
    assert schemas(storage.ours, "alembic_version") == ["optuna"]
    assert schemas(storage.ours, "smart_tuner_alembic_version") == ["smart_tuner"]
    assert schemas(storage.ours, "st_repair") == ["smart_tuner"]
    with storage.ours.connect() as connection:
        names = connection.exec_driver_sql("SELECT schema_name FROM information_schema.schemata").scalars()
        assert "mlflow" in names.all()


def test_the_time_zone_is_utc_at_every_checkout(storage, monkeypatch):
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    for engine in (storage.engine, storage.ours):
        engine.dispose()
        assert [shown(engine, "timezone") for _ in range(3)] == ["UTC"] * 3


def test_a_connection_that_the_server_ended_between_two_calls_is_replaced(postgres, storage):
    study = optuna.create_study(storage=storage)
    ended = postgres.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{storage.engine.url.database}'"
    )
    assert ended
    study.tell(study.ask(), 1.0)
    assert study.best_value == 1.0
    assert shown(storage.ours, "timezone") == "UTC"


def test_a_copied_storage_works(storage):
    copy = pickle.loads(pickle.dumps(storage))
    try:
        assert shown(copy.ours, "search_path") == "smart_tuner"
        assert shown(copy.engine, "timezone") == "UTC"
        assert optuna.get_all_study_names(copy) == []
    finally:
        copy.close()


def test_few_connections_are_held(storage):
    for engine in (storage.engine, storage.ours):
        assert engine.pool.size() == 1
        assert engine.pool._max_overflow == 2


def test_a_wrong_password_is_refused_and_no_password_is_shown(postgres, postgres_url):
    wrong = postgres_url.replace(postgres.password[:16], "secret{}%@:/word")
    with pytest.raises(StoreError) as error:
        open_storage(wrong)
    assert "authentication failed" in str(error.value)
    assert "secret" not in str(error.value)
    assert "word@" not in str(error.value)


def test_a_password_works_as_it_is_typed(postgres, postgres_url):
    raw = f"postgresql+psycopg://tester:{postgres.password}@127.0.0.1:{postgres.port}/"
    open_storage(raw + postgres_url.rpartition("/")[2]).close()


def test_a_schema_with_mlflows_tables_is_refused_before_anything_is_written(postgres, postgres_url):
    database = postgres_url.rpartition("/")[2]
    postgres.run("CREATE SCHEMA optuna", database)
    postgres.run("CREATE TABLE optuna.experiments (id integer)", database)
    with pytest.raises(ForeignTables, match=r"MLflow(.|\n)*alembic_version"):
        open_storage(postgres_url)
    names = "SELECT table_name FROM information_schema.tables WHERE table_schema IN ('optuna', 'smart_tuner')"
    assert postgres.run(names, database) == [("experiments",)]
    assert postgres.run("SELECT 1 FROM pg_namespace WHERE nspname = 'smart_tuner'", database) == []


@pytest.fixture
def plain_role(postgres):
    """Who may create no schema."""
    postgres.run("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    yield "plain"
    postgres.run("DROP ROLE plain")


@pytest.mark.parametrize("made", ["nothing", "all tables"])
def test_a_role_that_may_create_no_schema_is_told_the_statements_by_which_it_can_work(
    postgres, tables_database, plain_role, made
):
    name = postgres.fresh(tables_database if made == "all tables" else "template1")
    url = f"postgresql://plain:plain@127.0.0.1:{postgres.port}/{name}"
    try:
        with pytest.raises(StoreError, match="a right is missing") as refused:
            open_storage(url)
        told = str(refused.value).partition("connected to this database:\n")[2]
        assert told == granted("plain")
        postgres.run(told, name)
        with closing(open_storage(url)) as storage:
            study = open_study(load("quickstart"), storage)
            Leases(storage.ours, study.user_attrs["uid"]).reserve(1)
    finally:
        postgres.drop(name)


@pytest.mark.parametrize("lost", ["TABLE optuna.study_user_attributes", "SCHEMA smart_tuner"])
def test_tables_that_are_gone_are_not_waited_for(storage, postgres, lost):
    told, study = [], optuna.create_study(storage=storage)
    calls = {
        "optuna": lambda: study.set_user_attr("a", 1),
        "smart_tuner": Leases(storage.ours, "a" * 32).counts,
    }
    postgres.run(f"DROP {lost} CASCADE", storage.engine.url.database)
    with pytest.raises(DatabaseGone, match=r"(?s)cannot be used any more.*does not exist"):
        Outage(told.append).wait_for(next(call for place, call in calls.items() if place in lost))
    assert told == []


def test_who_may_only_read_can_look(postgres, tables_database, plain_role):
    name = postgres.fresh(tables_database)
    url = f"postgresql://plain:plain@127.0.0.1:{postgres.port}/{name}"
    try:
        with closing(open_storage(postgres.url(name))) as storage:
            open_study(load("quickstart"), storage)
        for schema in ("optuna", "smart_tuner"):
            postgres.run(f"GRANT USAGE ON SCHEMA {schema} TO plain", name)
            postgres.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO plain", name)
        with closing(open_storage(url, looking=True)) as storage:
            study = load_study("quickstart", storage)
            assert report.status_record(study, load("quickstart"))["best_trial"] is None
    finally:
        postgres.drop(name)


def test_a_notebook_opens_a_study_as_the_pages_say(postgres, storage):
    open_study(load("quickstart"), storage)
    [snippet] = [code for code in blocks(text_of_all(), "python") if "user:password@host/name" in code]
    login = postgres.url(storage.engine.url.database).partition("://")[2]
    found = {}
    exec(snippet.replace("user:password@host/name", login), found)
    assert found["study"].user_attrs["uid"]
    found["study"]._storage._backend.engine.dispose()
