"""The database goes away, ends sessions, refuses connections or is held by somebody."""

import os
import signal
import sqlite3
import time
from contextlib import closing

import optuna
import psycopg
import pytest
from faults.toys import wait_for
from sqlalchemy import make_url

import run_study
from benchmarks.chaos import FREEZE_THAW, MEASURE_EVERY

BACK = "the database is back"
AWAY = "the database cannot be reached"


@pytest.fixture
def server(postgres):
    yield postgres
    if not postgres.runs:
        postgres.start()
    read_only(postgres, "off")


def read_only(server, how):
    server.run(f"ALTER SYSTEM SET default_transaction_read_only = {how}")
    server.run("SELECT pg_reload_conf()")


def undisturbed(toy):
    """Every trial once, by one attempt each, with the values of a run that nothing disturbed."""
    assert toy.faults() == []
    numbers = range(toy.spec.budget.trials)
    assert [toy.lease(n)["attempt_no"] for n in numbers] == [1 for _ in numbers]
    return True


@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        (signal.SIGQUIT, 0),
        (signal.SIGINT, 3),
        pytest.param(signal.SIGINT, 60, marks=pytest.mark.slow),
    ],
)
def test_a_database_that_is_started_again_or_read_only_disturbs_nothing(
    begin_study, postgres_url, server, number, seconds, capsys
):
    """While workers report, tell and renew. Read-only is what a server becomes when another takes over."""
    toy = begin_study(postgres_url, trials=6, pruner={"name": "none"})
    workers = [toy.begin(renew=0.05, seconds=0.02) for _ in range(2)]

    def takes_writes_again():
        assert run_study.main(["--storage", postgres_url, "--home", str(toy.workdir), "pause", "toy"]) == 4
        assert "in a read-only transaction" in capsys.readouterr().err
        read_only(server, "off")

    outages = [
        (lambda: server.stop(number), server.start),
        (lambda: read_only(server, "on"), takes_writes_again),
    ]
    for trial, (begins, ends) in zip((0, 2), outages, strict=True):
        both = trial, trial + 1  # a trial whose very start the outage hits may need a second attempt
        wait_for(lambda both=both: min(map(toy.steps, both)) > 15, alive=workers)
        before = toy.said.count(AWAY)
        begins()
        stopped = time.monotonic()
        wait_for(lambda before=before: toy.said.count(AWAY) > before, alive=workers)
        wait_for(lambda stopped=stopped: time.monotonic() > stopped + seconds, alive=workers)
        ends()
    assert [toy.end(begun) for begun in workers] == [0, 0], toy.said
    assert undisturbed(toy)
    assert toy.said.count(AWAY) == toy.said.count(BACK) >= 2


def test_a_database_that_stays_away_ends_the_run_which_goes_on_later(begin_study, postgres_url, server):
    toy = begin_study(postgres_url)
    begun = toy.begin(seconds=0.02, patience=1.0)
    wait_for(lambda: toy.steps(0) > 15, alive=[begun])
    server.stop()
    assert toy.end(begun) == 4, toy.said
    assert "The database has been away for" in toy.said
    assert "resume the study" in toy.said
    assert "Traceback" not in toy.said
    server.start()
    toy.finish()
    assert toy.faults() == []


def test_ctrl_c_during_an_outage_is_not_waited_for(begin_study, postgres_url, server):
    toy = begin_study(postgres_url)
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: toy.steps(0) > 15, alive=[begun])
    server.stop()
    wait_for(lambda: AWAY in toy.said, alive=[begun])
    os.kill(begun.pid, signal.SIGINT)
    assert toy.end(begun) in (4, 130), toy.said
    assert "Traceback" not in toy.said
    server.start()
    toy.finish()
    assert toy.faults() == []


def test_sessions_that_the_server_ends_are_opened_again(begin_study, postgres, postgres_url):
    toy = begin_study(postgres_url, trials=3)
    database = make_url(postgres_url).database
    begun = toy.begin(renew=0.05, seconds=0.02)
    mine = f"datname = '{database}' AND pid <> pg_backend_pid()"
    for step in range(5, 100, 5):
        wait_for(lambda step=step: sum(map(toy.steps, range(3))) > step, alive=[begun])
        postgres.run(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}", database)
    assert toy.end(begun) == 0, toy.said
    assert undisturbed(toy)


def test_too_many_connections_are_waited_for(begin_study, postgres, postgres_url):
    toy = begin_study(postgres_url)
    database = make_url(postgres_url).database
    name = f"plain_{database}"
    postgres.run(f"CREATE ROLE {name} LOGIN PASSWORD 'x' CONNECTION LIMIT 20 IN ROLE pg_write_all_data")
    for schema in ("optuna", "smart_tuner"):
        postgres.run(f"GRANT ALL ON SCHEMA {schema} TO {name}", database)
        postgres.run(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {name}", database)
        postgres.run(f"GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO {name}", database)
    toy.url = make_url(postgres_url).set(username=name, password="x").render_as_string(hide_password=False)
    begun = toy.begin(seconds=0.02, renew=0.05)
    wait_for(lambda: toy.steps(0) > 5, alive=[begun])
    postgres.run(f"ALTER ROLE {name} CONNECTION LIMIT 0")
    mine = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{name}'"
    postgres.run(mine)
    wait_for(lambda: AWAY in toy.said, alive=[begun])
    postgres.run(f"ALTER ROLE {name} CONNECTION LIMIT 20")
    assert toy.end(begun) == 0, toy.said
    assert undisturbed(toy)
    toy.storage.close()
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("seconds", [7, pytest.param(90, marks=pytest.mark.slow)])
def test_an_sqlite_file_that_another_process_holds_is_waited_for(toy, seconds):
    begun = toy.begin(seconds=0.02, renew=0.5)
    wait_for(lambda: toy.steps(0) > 5, alive=[begun])
    with closing(sqlite3.connect(toy.workdir / "study.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA busy_timeout=60000")
        holder.execute("BEGIN IMMEDIATE")
        since = time.monotonic()
        wait_for(lambda: time.monotonic() > since + seconds, alive=[begun])
        holder.execute("ROLLBACK")
    assert toy.end(begun) == 0, toy.said
    assert undisturbed(toy)
    assert (AWAY in toy.said) == (seconds > 60)
    assert all(t.state == optuna.trial.TrialState.COMPLETE for t in toy.study.get_trials()[:1])


def test_a_file_that_is_deleted_ends_the_run_which_claims_nothing(toy):
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: len(toy.checkpoints(0)) > 1, alive=[begun])
    for path in toy.workdir.glob("study.db*"):
        path.unlink()
    assert toy.end(begun) == 4, toy.said
    assert "study.db cannot be used any more" in toy.said
    assert "deleted, moved or replaced" in toy.said
    assert not any(word in toy.said for word in ("Traceback", "saved", BACK, "nothing was lost"))
    assert list(toy.workdir.glob("study.db*")) == []
    assert toy.checkpoints(0)


def test_a_search_that_pauses_trials_goes_on_through_an_outage(begin_study, postgres_url, server):
    """It is away where a trial comes to its measure, so that nobody can be chosen, and it trains on."""
    toy = begin_study(postgres_url, trials=4, search={"method": FREEZE_THAW})
    worker = toy.begin(seconds=0.05)
    wait_for(lambda: toy.steps(1) > 1, alive=[worker])
    server.stop()
    wait_for(lambda: toy.steps(1) > MEASURE_EVERY, alive=[worker])
    server.start()
    assert toy.end(worker) == 0, toy.said
    assert toy.faults() == []
