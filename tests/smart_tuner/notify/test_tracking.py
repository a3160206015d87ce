"""What a trial tells MLflow arrives once, whatever happens on the way; MLflow itself is real."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from bot_api import answering
from sqlalchemy import select, update
from sqlalchemy.exc import DataError, OperationalError

from smart_tuner.notify import sender, tracking
from smart_tuner.notify.outbox import Publisher, counts
from smart_tuner.notify.tensorboard import Curves
from smart_tuner.notify.tracking import BATCH, CHANNEL, OfStudy, Thinned, TrialRows, files_channel, point
from smart_tuner.store.storage import mlflow_url, open_storage
from smart_tuner.store.tables import OUTBOX

ROOT = Path(__file__).parents[3]
UID = "0123456789abcdef0123456789abcdef"
SETTINGS = {"learning_rate": 1e-3, "batch_size": 16}


def idle():
    return {"system/cpu_percent": 3.0}


@pytest.fixture
def engine(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        yield storage.ours


@pytest.fixture
def study(engine):
    return OfStudy(engine, "voices", UID)


def rows_of(engine):
    with engine.connect() as connection:
        return connection.execute(select(OUTBOX.c.key, OUTBOX.c.payload).order_by(OUTBOX.c.id)).all()


def attempt(study, name="trial-0007"):
    return TrialRows(study, 7, name, idle)


def stepped(rows, steps):
    for step in steps:
        rows.stepped(point(step, {"train/loss": 1.0 / step}))


def steps_in(engine):
    return [p["step"] for key, row in rows_of(engine) if key.startswith("points:") for p in row["points"]]


def test_steps_come_in_batches_and_the_rest_with_the_checkpoint(engine, study):
    rows = attempt(study)
    stepped(rows, range(1, BATCH + 11))
    assert steps_in(engine) == list(range(1, BATCH + 1))
    rows.flush()
    assert steps_in(engine) == list(range(1, BATCH + 11))
    last = rows_of(engine)[-1].payload["points"][-1]
    assert last["values"] == {"train/loss": 1.0 / (BATCH + 10), "system/cpu_percent": 3.0}


def test_what_an_attempt_before_has_told_is_not_told_again(engine, study):
    before = attempt(study)
    stepped(before, range(1, 21))
    before.flush()  # and then it died, its checkpoint being that of step 15
    again = attempt(study, "trial-0007-attempt-2")
    stepped(again, range(16, 31))
    again.measured(20, {"measure/distance_db": 8.0})
    again.flush()
    assert steps_in(engine) == list(range(1, 31))
    measured = [row for key, row in rows_of(engine) if key.startswith("numbers:")]
    assert [row["points"][0]["step"] for row in measured] == [20]


def test_while_the_database_is_away_all_waits_in_its_order(engine, study, monkeypatch):
    rows = attempt(study)
    rows.started({"size": "tiny"}, SETTINGS)

    def away(*_):
        raise OperationalError("", {}, Exception("gone"))

    monkeypatch.setattr(tracking, "put", away)
    stepped(rows, range(1, 2 * BATCH + 1))
    with pytest.raises(OperationalError):
        rows.flush()
    monkeypatch.undo()
    assert rows_of(engine) == []
    rows.flush()
    assert [key.split(":")[0] for key, _ in rows_of(engine)] == ["start", "numbers", "points", "points"]
    assert steps_in(engine) == list(range(1, 2 * BATCH + 1))


def test_of_a_long_trial_a_point_is_the_mean_of_several_steps():
    thinned = Thinned(2500)
    found = [thinned.add(step, {"loss": float(step), "odd": float("nan")}) for step in range(1, 9)]
    shown = [(p["step"], p["values"]) for p in found if p]
    assert shown == [(3, {"loss": 2.0}), (6, {"loss": 5.0})]
    rest = thinned.rest()
    assert (rest["step"], rest["values"]) == (8, {"loss": 7.5})
    assert thinned.rest() is None


def test_what_is_not_finite_is_left_out():
    assert point(1, {"a": float("nan"), "b": float("inf"), "c": 1})["values"] == {"c": 1.0}


class MLflow:
    """A database of MLflow's, written to by what the publisher sends with."""

    def __init__(self, url, workdir, engine):
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient

        from smart_tuner.notify import mlflow

        self.uri, self.workdir, self.engine = mlflow_url(url), workdir, engine
        self.sender = mlflow.Runs(self.uri, workdir, direct=True, expected=lambda _: self.expected)
        self.expected = True
        self.publishers = [
            Publisher(engine, name, self.sender.send, mlflow.UNREACHABLE)
            for name in (CHANNEL, files_channel(workdir))
        ]
        self.client = MlflowClient(tracking_uri=self.uri)

    def drain(self):
        for publisher in self.publishers:
            publisher.drain()

    def all(self):
        found = [e.experiment_id for e in self.client.search_experiments() if e.name != "Default"]
        return self.client.search_runs(found) if found else []

    def trial(self):
        [run] = [run for run in self.all() if "trial_uid" in run.data.tags]
        return run

    def history(self, name):
        run = self.trial().info.run_id
        return [(m.step, m.value) for m in self.client.get_metric_history(run, name)]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """MLflow's database with nothing in it, which takes seconds to make."""
    workdir = tmp_path_factory.mktemp("tables")
    MLflow(f"sqlite:///{workdir / 'study.db'}", workdir, None)
    return workdir / "mlflow.db"


@pytest.fixture
def mlflow(tmp_path, engine, tables):
    with closing(sqlite3.connect(tables)) as empty:
        empty.execute("VACUUM INTO ?", [str(tmp_path / "mlflow.db")])
    return MLflow(f"sqlite:///{tmp_path / 'study.db'}", tmp_path, engine)


def whole_trial(study, workdir):
    """Everything that a trial may tell."""
    rows = attempt(study)
    rows.started({"size": "tiny", **SETTINGS}, SETTINGS)
    stepped(rows, range(1, 13))
    story = ["step 5: repair poor_alignment"]
    rows.repaired(1, 5, story[0], {"guided_attention_weight": 2.0}, story)
    story.append("step 10: verdict on poor_alignment: improved")
    rows.repaired(2, 10, story[1], {}, story)
    rows.measured(12, {"measure/distance_db": 7.5})
    (workdir / "sample.wav").write_bytes(b"RIFF")
    rows.keep({"sample.wav": "sample.wav"}, {"effective.json": "{}"}, files_channel(workdir))
    rows.flush()
    study.ended(7, "PRUNED", 7.5, "step 12: behind the other trials")
    study.rests("SCHEDULED")


def test_a_trial_is_one_run_with_its_values_repairs_files_and_end(tmp_path, engine, study, mlflow):
    whole_trial(study, tmp_path)
    mlflow.drain()
    assert counts(engine, UID)[CHANNEL].keys() == {"sent"}
    run = mlflow.trial()
    assert run.info.status == "KILLED"
    assert run.data.params == {"size": "tiny", "learning_rate": "0.001", "batch_size": "16"}
    assert run.data.tags["outcome"] == "pruned"
    assert run.data.tags["reason"] == "step 12: behind the other trials"
    assert run.data.tags["fix.001"] == "step 5: repair poor_alignment"
    assert run.data.tags["fix.002"].startswith("step 10: verdict")
    assert run.data.tags["mlflow.note.content"].splitlines() == [
        run.data.tags["fix.001"],
        run.data.tags["fix.002"],
    ]
    assert mlflow.history("hp/guided_attention_weight") == [(5, 2.0)]
    assert mlflow.history("train/loss") == [(step, 1.0 / step) for step in range(1, 13)]
    files = {file.path for file in mlflow.client.list_artifacts(run.info.run_id)}
    assert files == {"sample.wav", "effective.json"}
    [parent] = [run for run in mlflow.all() if "trial_uid" not in run.data.tags]
    assert (parent.info.status, parent.data.metrics) == ("SCHEDULED", {"value": 7.5})


def test_rows_that_are_sent_twice_are_there_once(tmp_path, engine, study, mlflow):
    whole_trial(study, tmp_path)
    mlflow.drain()
    before = {name: mlflow.history(name) for name in mlflow.trial().data.metrics}
    again = MLflow(f"sqlite:///{tmp_path / 'study.db'}", tmp_path, engine)  # which knows nothing of before
    for _, row in rows_of(engine):
        again.sender.send(row)
    assert {name: again.history(name) for name in again.trial().data.metrics} == before
    assert len(again.all()) == 2


def test_a_trial_that_waits_and_is_taken_up_goes_on_in_its_run(study, mlflow):
    rows = attempt(study)
    rows.started(SETTINGS, SETTINGS)
    rows.released()
    rows.flush()
    mlflow.drain()
    assert mlflow.trial().info.status == "SCHEDULED"
    again = attempt(study, "trial-0007-attempt-2")
    again.started(SETTINGS, SETTINGS)
    again.flush()
    mlflow.drain()
    assert mlflow.trial().info.status == "RUNNING"
    assert mlflow.history("hp/batch_size") == [(0, 16.0)]


def test_a_run_that_somebody_deleted_does_not_hold_up_the_others(study, mlflow):
    rows = attempt(study)
    stepped(rows, [1])
    rows.flush()
    mlflow.drain()
    mlflow.client.delete_run(mlflow.trial().info.run_id)
    stepped(rows, [2])
    rows.flush()
    mlflow.drain()
    assert mlflow.history("train/loss") == [(2, 0.5)]


def test_a_deleted_experiment_does_not_hold_up_the_others(engine, study, mlflow):
    for step in (1, 2, 3):
        rows = TrialRows(study, step, f"trial-{step}", idle)
        stepped(rows, [step])
        rows.flush()
        mlflow.drain()
        assert len(mlflow.all()) == 2
        [experiment] = [e for e in mlflow.client.search_experiments() if e.name != "Default"]
        mlflow.client.delete_experiment(experiment.experiment_id)
    assert counts(engine, UID)[CHANNEL] == {"sent": 3}


@pytest.mark.parametrize("way", [shutil.move, shutil.copytree])
def test_files_of_a_home_that_was_moved_or_copied_are_in_its_new_place(tmp_path, engine, study, mlflow, way):
    from smart_tuner.notify.mlflow import follow

    old, new = tmp_path / "old", tmp_path / "new"
    mlflow.sender = MLflow(f"sqlite:///{tmp_path / 'study.db'}", old, engine).sender
    whole_trial(study, old)
    for _, row in rows_of(engine):
        mlflow.sender.send(row)
    [run] = [run for run in mlflow.all() if "trial_uid" in run.data.tags]
    assert run.info.artifact_uri.startswith(old.as_uri())
    theirs = mlflow.client.create_experiment("a notebook's", (old / "artifacts" / "mlflow" / "x").as_uri())
    way(old, new)
    if not old.exists():
        old.touch()  # a place that cannot be made any more
    again = MLflow(f"sqlite:///{tmp_path / 'study.db'}", new, engine)
    for key, row in rows_of(engine):
        if key.startswith("files"):
            again.sender.send({**row, "texts": {"later.json": "{}"}})
    assert not list(old.rglob("later.json"))
    follow(tmp_path / "mlflow.db", new)  # which lies elsewhere, perhaps for several homes
    assert mlflow.client.get_run(run.info.run_id).info.artifact_uri.startswith(old.as_uri())
    shutil.copyfile(tmp_path / "mlflow.db", new / "mlflow.db")
    follow(new / "mlflow.db", new)
    client = MLflow(f"sqlite:///{new / 'study.db'}", new, engine).client
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == {"sample.wav", "effective.json", "later.json"}
    assert client.get_run(run.info.run_id).info.artifact_uri.startswith(new.as_uri())
    assert client.get_experiment(theirs).artifact_location.startswith(old.as_uri())


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_where_there_is_no_database_of_mlflow_nothing_is_made(tmp_path, content):
    from smart_tuner.notify.mlflow import follow

    if content is not None:
        (tmp_path / "mlflow.db").write_bytes(content)
    follow(tmp_path / "mlflow.db", tmp_path)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if content is None else [content])


def test_files_of_a_run_that_is_gone_for_good_are_dropped(tmp_path, engine, study, mlflow):
    mlflow.expected = False
    rows = attempt(study)
    rows.keep({}, {"effective.json": "{}"}, files_channel(tmp_path))
    rows.flush()
    mlflow.drain()
    assert counts(engine, UID) == {files_channel(tmp_path): {"dropped": 1}}


def test_what_is_there_of_a_trials_files_is_kept(tmp_path, engine, study, mlflow):
    rows = attempt(study)
    stepped(rows, [1])
    (tmp_path / "there.png").write_bytes(b"PNG")
    files = {"gone.wav": "gone.wav", "there.png": "there.png"}
    rows.keep(files, {"effective.json": "{}"}, files_channel(tmp_path))
    rows.flush()
    mlflow.drain()
    kept = {file.path for file in mlflow.client.list_artifacts(mlflow.trial().info.run_id)}
    assert kept == {"there.png", "effective.json"}
    assert counts(engine, UID)[files_channel(tmp_path)] == {"dropped": 1}


def test_files_are_sent_from_wherever_the_home_is_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "another")
    first = files_channel(tmp_path)
    monkeypatch.undo()
    (tmp_path / "link").symlink_to(tmp_path)
    assert files_channel(tmp_path) == files_channel(tmp_path / "link") == first
    assert files_channel(tmp_path / "other") != first


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from smart_tuner.notify.tensorboard import Curves

curves = Curves(Path(sys.argv[1]), 0, lambda text: print("warned:", text))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
for step in range(3):
    curves.numbers(step, {"loss": 1.0})
    curves.flush()
curves.close()
print("went on")
"""


def test_curves_that_cannot_be_written_are_given_up_once(tmp_path):
    (tmp_path / "file").touch()
    said = []
    curves = Curves(tmp_path / "file" / "folder", 0, said.append)
    curves.numbers(1, {"loss": 1.0})
    curves.close()
    assert len(said) == 1
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "folder")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.count("warned: ") == 1, done.stderr
    assert done.stdout.endswith("went on\n")


def test_a_row_that_mlflow_never_takes_is_dropped_and_counted(engine, study, mlflow):
    rows = attempt(study)
    rows.measured(1, {"no such name: %": 1.0})
    rows.measured(2, {"measure/distance_db": 9.0})
    rows.flush()
    mlflow.drain()
    assert counts(engine, UID) == {CHANNEL: {"dropped": 1, "sent": 1}}
    assert mlflow.history("measure/distance_db") == [(2, 9.0)]


NOT_MLFLOWS = [b"", b"[]", b"null", b"<html>", b"\xff", b"{}", b"[" * 100_000, b'{"error_code": {}}']
NOT_MLFLOWS += [b'{"experiments": 3}', b'{"experiments": [3]}', b'{"experiments": [{}], "runs": [{}]}']
LOUD = {"error_code": "NOT_FOUND", "message": "\0 user:s3cr%40et-word, s3cr@et-word, Basic dXNlcjpwYXNz"}


def test_whoever_answers_for_mlflow_ends_nothing_and_no_password_is_kept(tmp_path, monkeypatch):
    for name, value in sender.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with answering() as stranger, answering() as elsewhere, closing(open_storage(url)) as storage:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", stranger.base.replace("//", "//user:s3cr@et-word@"))
        rows = attempt(OfStudy(storage.ours, "voices", UID))
        rows.started(SETTINGS, SETTINGS)
        rows.flush()
        numbers, _ = sender.publishers(storage, url, tmp_path)
        for code in (200, 302, 500):
            for body in [*NOT_MLFLOWS, LOUD]:
                stranger.says(body, code, Location=elsewhere.base)
                numbers.drain()
                with storage.ours.begin() as connection:
                    errors = connection.execute(select(OUTBOX.c.error).where(OUTBOX.c.error.is_not(None)))
                    told = " | ".join(errors.scalars())
                    connection.execute(update(OUTBOX).values(due_at=0.0, state="waiting", error=None))
                assert told and told.isprintable() and not re.search("s3cr|et-word|dXNl", told)
        assert elsewhere.asked == 0


def test_a_fault_of_one_task_ends_none_and_says_no_password(tmp_path, capfd):
    following = sender.Following(tmp_path, [])
    following.stop()  # so that nothing is waited for
    for kind in (AttributeError, AssertionError, KeyError, DataError, MemoryError, OverflowError):
        error = kind("http://user:s3cr@et@host/x", *([{}, None] if kind is DataError else []))

        def fails(_, error=error):
            raise error

        following._do(fails, lambda: True)
        told = capfd.readouterr().err
        assert "//host/x" in told and "s3cr" not in told


def test_files_wait_until_the_run_is_there_and_a_lost_one_is_dropped(tmp_path, engine, study, mlflow):
    rows = attempt(study)
    rows.keep({"sample.wav": "sample.wav"}, {}, files_channel(tmp_path))
    rows.flush()
    mlflow.drain()
    assert counts(engine, UID) == {files_channel(tmp_path): {"waiting": 1}}
    stepped(rows, [1])
    rows.flush()
    mlflow.publishers[0].drain()
    mlflow.publishers[1] = Publisher(engine, files_channel(tmp_path), mlflow.sender.send, ())
    with engine.begin() as connection:
        connection.execute(OUTBOX.update().values(due_at=0.0))
    mlflow.drain()
    assert counts(engine, UID)[files_channel(tmp_path)] == {"dropped": 1}


def test_a_study_of_the_name_of_another_one_gets_an_experiment_of_its_own(engine, study, mlflow):
    for uid in (UID, "f" * 32):
        rows = TrialRows(OfStudy(engine, "voices", uid), 0, "trial-0000", idle)
        stepped(rows, [1])
        rows.flush()
    mlflow.drain()
    named = sorted(e.name for e in mlflow.client.search_experiments() if e.name != "Default")
    assert named == ["voices", "voices ffffffff"]


def test_mlflows_tables_lie_apart_in_postgresql(postgres_url, tmp_path):
    with closing(open_storage(postgres_url)) as storage:
        study = OfStudy(storage.ours, "voices", UID)
        mlflow = MLflow(postgres_url, tmp_path, storage.ours)
        whole_trial(study, tmp_path)
        mlflow.drain()
        assert mlflow.history("train/loss") == [(step, 1.0 / step) for step in range(1, 13)]
        with storage.ours.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT DISTINCT table_schema FROM information_schema.tables WHERE table_name = 'experiments'"
            )
            assert [schema for (schema,) in found] == ["mlflow"]
    open_storage(postgres_url).close()  # which refuses MLflow's tables among its own
