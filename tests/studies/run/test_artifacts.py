"""A trial whose worker is gone goes on bit for bit on a machine that shares only database and store."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from bot_api import answering

from benchmarks import chaos
from model import checkpoint
from objectives.trial import Interrupted
from run_study import main
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import Fenced
from smart_tuner.store.records import Stored, note_stored, stored_checkpoints
from smart_tuner.store.storage import open_storage
from studies.report.voices import best_checkpoint
from studies.run.artifacts import Artifacts, ArtifactsError, ArtifactsLost, TrialArtifacts, sending
from studies.run.study import StudyError, load_study, open_study

ROOT = Path(__file__).parents[3]
SPEC = chaos.toy_spec(2)
STOPPED_AT = 20


@pytest.fixture(scope="session")
def s3():
    """A server that speaks S3, on loopback."""
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(folder):
    return Artifacts.at(f"file://{folder}")


@pytest.fixture(params=["file", "s3"])
def any_store(request, folder, monkeypatch):
    if request.param == "file":
        yield Artifacts.at(f"file://{folder}")
        return
    names = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
    for name, value in (names | {"ENDPOINT_URL": request.getfixturevalue("s3")}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    store = Artifacts.at("s3://voices/of/this")
    store.store.client.create_bucket(Bucket="voices")
    yield store
    store.store.client.close()


@pytest.fixture
def url(tmp_path):
    found = f"sqlite:///{tmp_path / 'study.db'}"
    with closing(open_storage(found)) as storage:
        open_study(SPEC, storage)
    return found


@pytest.fixture
def run(url, tmp_path):
    """A worker's whole life in the home of that name."""

    def run(name, store):
        workdir = tmp_path / name
        workdir.mkdir(exist_ok=True)
        chaos.one_worker(url, workdir, 0.0, artifacts=store)
        return workdir

    return run


@pytest.fixture
def stopped(run, tmp_path, monkeypatch):
    """A worker in home A gets SIGTERM in the middle of trial 0."""

    def stopped(store):
        def advance(toy, closely=False):
            measures = before(toy)
            if toy.step == STOPPED_AT:
                os.kill(os.getpid(), signal.SIGTERM)
            return measures

        before = chaos.Toy.advance
        with monkeypatch.context() as patch:
            patch.setattr(chaos.Toy, "advance", advance)
            with pytest.raises(Interrupted):
                run("A", store)
        return tmp_path / "A"

    return stopped


@pytest.fixture
def look(url):
    """What a function says of the study."""

    def look(function):
        with closing(open_storage(url)) as storage:
            return function(load_study("toy", storage))

    return look


def faults(workdir):
    return lambda study: list(chaos.check(study, SPEC, workdir))


def stored(trial):
    return lambda study: stored_checkpoints(study._storage._backend.ours, study.user_attrs["uid"], trial)


def first_step(workdir):
    return int((workdir / "steps-0.log").read_text().split("\n", 1)[0].split()[2])


def test_another_machine_goes_on_where_a_worker_was_stopped(run, stopped, look, any_store):
    shutil.rmtree(stopped(any_store))
    workdir = run("B", any_store)
    assert first_step(workdir) == STOPPED_AT
    assert look(faults(workdir)) == []


def test_another_machine_goes_on_after_a_worker_was_killed(url, run, look, store, folder, tmp_path):
    (tmp_path / "A").mkdir()
    environment = {
        "OPTUNA_STORAGE": url,
        "SMART_TUNER_ARTIFACTS": f"file://{folder}",
        "SMART_TUNER_FAILPOINT": "ckpt-renamed:kill:11",
    }
    call = [sys.executable, "-m", "benchmarks.chaos", "--worker", str(tmp_path / "A")]
    assert subprocess.run(call, env=os.environ | environment, cwd=ROOT).returncode == -9
    newest = max((row.step for row in look(stored(0))), default=0)  # some were stored when it came
    workdir = run("B", store)
    assert first_step(workdir) == newest
    assert look(faults(workdir)) == []


@pytest.mark.parametrize("damage", [lambda b: b[:-9999], lambda b: b.replace(b"toy", b"yot", 1), None])
def test_a_damaged_one_is_passed_over(run, stopped, look, store, folder, capsys, damage):
    stopped(store)
    newest = folder / look(stored(0))[-1].name
    newest.unlink() if damage is None else newest.write_bytes(damage(newest.read_bytes()))
    workdir = run("B", store)
    assert first_step(workdir) == 18
    assert "stored checkpoint damaged: ckpt-00000020" in capsys.readouterr().err
    assert look(faults(workdir)) == []


def test_one_that_was_exchanged_is_not_believed(run, stopped, look, store, folder):
    stopped(store)
    before, newest = (folder / row.name for row in look(stored(0))[-2:])
    shutil.copyfile(before, newest)
    assert first_step(run("B", store)) == 18


def test_training_goes_on_while_the_store_is_away(run, look, store, folder, capsys):
    folder.rmdir()
    workdir = run("A", store)
    assert look(faults(workdir)) == []
    assert capsys.readouterr().err.count("the store failed") == SPEC.budget.trials
    assert look(stored(0)) == []


def test_what_could_not_be_stored_is_stored_later(run, look, store, folder, capsys, monkeypatch):
    def advance(toy, closely=False):
        measures = before(toy)
        if toy.step == 40:
            folder.mkdir(exist_ok=True)
        return measures

    before = chaos.Toy.advance
    monkeypatch.setattr(chaos.Toy, "advance", advance)
    folder.rmdir()
    workdir = run("A", store)
    assert "are stored again" in capsys.readouterr().err
    here = checkpoint.all_in(workdir / "toy" / "trial-0000")
    assert [row.step for row in look(stored(0))] == [checkpoint.step_of(path) for path in here]


def test_a_trial_is_left_alone_when_its_store_is_away(run, stopped, look, store, folder, tmp_path):
    workdir = stopped(store)
    folder.rename(tmp_path / "away")
    folder.write_text("no folder")
    with pytest.raises(ArtifactsLost, match="trial 0"):
        run("B", store)
    assert look(lambda study: Leases(study._storage._backend.ours, study.user_attrs["uid"]).counts()) == {
        "released": 1
    }
    run("A", store)  # which has all that it needs
    assert look(faults(workdir)) == []


def test_the_store_holds_what_the_folder_holds(run, look, store, folder):
    workdir = run("A", store)
    for trial in (0, 1):
        here = checkpoint.all_in(workdir / "toy" / f"trial-{trial:04d}")
        assert [(row.step, row.sha256) for row in look(stored(trial))] == [
            (checkpoint.step_of(path), checkpoint.digest(path)) for path in here
        ]
    names = {row.name for trial in (0, 1) for row in look(stored(trial))}
    assert {path.name for path in folder.iterdir()} == names


def test_who_lost_the_trial_stores_nothing(look, stopped, store):
    stopped(store)

    def note(study):
        note_stored(study._storage._backend.ours, study.user_attrs["uid"], 0, "old", Stored(99, "x", "y"))

    with pytest.raises(Fenced):
        look(note)


def test_a_voice_is_fetched_to_where_it_is_to_speak(run, look, store, tmp_path):
    run("A", store)
    elsewhere = tmp_path / "C" / "toy"
    with pytest.raises(StudyError, match="not here"):
        look(lambda study: best_checkpoint(study, None, elsewhere))
    number, path = look(lambda study: best_checkpoint(study, None, elsewhere, store))
    assert path.is_relative_to(elsewhere / f"trial-{number:04d}")
    checkpoint.verify(path)


def test_whoever_answers_for_a_store_only_fails_and_no_password_is_said(url, tmp_path, monkeypatch):
    pytest.importorskip("boto3")
    checkpoint.write(tmp_path, 5, lambda folder: (folder / "a").write_text("a"))
    loud = b"<Error><Code>X</Code><Message>http://user:pa@ss@host/\n\n\xc2\x9b</Message></Error>"
    with answering() as stranger, closing(open_storage(url)) as storage:
        names = {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}
        for name, value in (names | {"ENDPOINT_URL": stranger.base}).items():
            monkeypatch.setenv(f"AWS_{name}", value)
        store, told = Artifacts.at("s3://voices/of/this"), []
        of = TrialArtifacts(store, storage.ours, "uid", 0, tmp_path, told.append)
        for code, body in ((301, b""), (206, b"<html>"), (403, loud)):
            stranger.says(body, code)
            with sending(of, "attempt") as wake:
                wake()
        with pytest.raises(ArtifactsLost) as caught:
            of._fetch(Stored(6, "name", "digest"))
        store.store.client.close()
    assert len(told) == 3 and all("only here" in text and text.isprintable() for text in told)
    assert len(str(caught.value).splitlines()) == 3
    assert not [text for text in (*told, str(caught.value)) if "pa@" in text or "ss@" in text]


@pytest.mark.parametrize(
    "wrong", ["ftp://host/folder", "s3://", "folder", "file://host/folder", "file:folder"]
)
def test_a_wrong_address_says_what_a_right_one_is(wrong):
    with pytest.raises(ArtifactsError, match="s3://bucket/prefix or file:///"):
        Artifacts.at(wrong)


def test_the_command_line_refuses_a_wrong_address(url, tmp_path, capsys):
    workdir = ["--storage", url, "--home", str(tmp_path)]
    assert main([*workdir, "--artifacts", "folder", "export", "toy", "-o", str(tmp_path / "voice")]) == 2
    assert 'artifact store "folder"' in capsys.readouterr().err
