"""What MLflow, TensorBoard and optuna-dashboard are told of a real study agrees with what Optuna knows."""

import json
import os
import shutil
import time
import urllib.request
from contextlib import closing
from io import BytesIO
from pathlib import Path

import forked
import numpy as np
import optuna
import pytest
import soundfile
import uvicorn
from optuna.artifacts import get_all_artifact_meta
from PIL import Image
from ports import free_ports
from small_study import PATIENCE_SECONDS, QUICK, STUDY, changed, send_all
from sqlalchemy import select
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from model.failpoint import VARIABLE
from smart_tuner.notify.outbox import counts
from smart_tuner.store.storage import mlflow_url, open_storage
from smart_tuner.store.tables import LEASES

ROOT = Path(__file__).parent.parent
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
UNLUCKY = STUDY.replace("trials = 2", 'trials = 3\n[rules]\nmode = "off"')
TRACKED = {"SMART_TUNER_TRACKING": "1"}


class Home:
    """A folder with a study in it, whose trials are tracked."""

    def __init__(self, folder, study):
        self.folder, self.runs = folder, folder / "runs"
        self.url = f"sqlite:///{self.runs / 'study.db'}"
        (folder / "small.toml").write_text(study)

    def begin(self, *arguments, **environment):
        environment = {**os.environ, **TRACKED, **environment}
        return forked.Begun(ROOT / "run_study.py", arguments, self.folder, environment)

    def run(self, *arguments, code=0, program="run_study.py", **environment):
        done = forked.run(ROOT / program, arguments, self.folder, **TRACKED, **environment)
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        return said

    def send_all(self, **environment):
        send_all(self.url, lambda: self.run("track", **environment))

    def storage(self):
        return closing(open_storage(self.url))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, mlflow_file):
    """A finished study of a killed and resumed, a pruned and a failed trial."""
    workdir = Home(tmp_path_factory.mktemp("tracked"), UNLUCKY)
    workdir.runs.mkdir()
    shutil.copy(mlflow_file, workdir.runs)
    options = {"program": "tests/unlucky.py"}
    workdir.run("start", "small.toml", code=-9, **options, **{VARIABLE: "ckpt-written:kill:5"})
    workdir.run("resume", "small", **options)
    workdir.send_all()
    return workdir


@pytest.fixture
def client():
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    return lambda uri: MlflowClient(tracking_uri=uri)


def runs_of(client):
    [experiment] = [e for e in client.search_experiments() if "study_uid" in e.tags]
    return client.search_runs([experiment.experiment_id], max_results=1000)


def trials_of(client):
    """The runs of trials, in their order."""
    found = [run for run in runs_of(client) if "trial_uid" in run.data.tags]
    return sorted(found, key=lambda run: run.info.run_name)


def steps_of(client, run, name):
    return [metric.step for metric in client.get_metric_history(run.info.run_id, name)]


def test_runs_trials_and_leases_agree_with_their_states(tracked, client):
    client = client(mlflow_url(tracked.url))
    with tracked.storage() as storage:
        trials = optuna.load_study(study_name="small", storage=storage).trials
        with storage.ours.connect() as connection:
            leases = connection.execute(select(LEASES.c.number, LEASES.c.state, LEASES.c.attempt_no)).all()
        uid = optuna.load_study(study_name="small", storage=storage).user_attrs["uid"]
        waiting = {channel: states.get("waiting", 0) for channel, states in counts(storage.ours, uid).items()}
    assert [t.state.name for t in trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert sorted(leases) == [(0, "done", 2), (1, "done", 1), (2, "done", 1)]
    runs = trials_of(client)
    assert [run.info.status for run in runs] == [STATUS[t.state.name] for t in trials]
    assert [run.data.tags["outcome"] for run in runs] == [t.state.name.lower() for t in trials]
    assert runs[2].data.tags["reason"] == trials[2].user_attrs["reason"]
    [parent] = [run for run in runs_of(client) if "trial_uid" not in run.data.tags]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    assert (parent.info.status, parent.data.tags["study_uid"]) == ("FINISHED", uid)
    assert len(waiting) == 2
    assert set(waiting.values()) == {0}
    for trial, run in zip(trials, runs, strict=True):
        values = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "measure/value")}
        assert values == trial.intermediate_values
        assert run.data.params["learning_rate"] == str(trial.params["learning_rate"])


def test_every_step_is_there_once_also_those_that_were_trained_twice(tracked, client):
    client = client(mlflow_url(tracked.url))
    expected = [range(1, 13), range(1, 7), range(1, 8)]
    for run, steps in zip(trials_of(client), expected, strict=True):
        assert steps_of(client, run, "train/loss") == list(steps), run.info.run_name
        assert steps_of(client, run, "hp/batch_size") == [0]


def test_tensorboard_has_every_step_once_and_pictures_and_sound(tracked):
    for number, steps in enumerate([range(1, 13), range(1, 7), range(1, 8)]):
        events = EventAccumulator(str(tracked.runs / "tensorboard" / "small" / f"trial-{number:04d}"))
        events.Reload()
        assert [event.step for event in events.Scalars("train/unweighted_loss")] == list(steps)
        assert sorted(events.Tags()["images"]) == ["alignment", "mels"]
        [sound, *_] = events.Audio("sample")
        assert soundfile.info(BytesIO(sound.encoded_audio_string)).samplerate == 22050


def test_optunas_artifacts_play_and_show_and_each_trial_has_a_note(tracked):
    from optuna_dashboard._note import get_note_from_system_attrs

    place = tracked.runs / "artifacts" / "optuna"
    with tracked.storage() as storage:
        study = optuna.load_study(study_name="small", storage=storage)
        for trial in study.trials:
            found = {meta.filename: meta for meta in get_all_artifact_meta(trial, storage=storage)}
            kinds = {name: meta.mimetype for name, meta in found.items()}
            assert kinds == {"sample.wav": "audio/wav", "sample.png": "image/png", "mels.png": "image/png"}
            assert soundfile.info(place / found["sample.wav"].artifact_id).frames > 0
            for name in ("sample.png", "mels.png"):
                with Image.open(place / found[name].artifact_id) as image:
                    assert np.asarray(image.convert("L")).std() > 1
            notes = storage.get_study_system_attrs(study._study_id)
            note = get_note_from_system_attrs(notes, trial._trial_id)["body"]
            assert note.endswith("Nothing was repaired.")
            assert trial.user_attrs.get("reason", "") in note
        assert len(list(place.iterdir())) == 3 * len(study.trials)


def test_doctor_tells_of_a_lost_artifact_and_mends_it(tracked):
    file = next((tracked.runs / "artifacts" / "optuna").iterdir())
    content = file.read_bytes()
    file.unlink()

    def looked_at(*options, code):
        found = json.loads(tracked.run("doctor", "-f", "json", *options, code=code))
        return next(row for row in found if row["check"] == "artifacts")

    assert "rows without their files: 1" in looked_at(code=3)["detail"]
    assert looked_at("--fix", code=0)["detail"].startswith("files restored: 1, rows taken out: 0")
    assert file.read_bytes() == content
    assert looked_at(code=0)["state"] == "ok"


def test_artifacts_of_a_run_are_plain_files(tracked, client):
    client = client(mlflow_url(tracked.url))
    for run in trials_of(client):
        names = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert names == {"sample.wav", "sample.png", "mels.png", "effective.json", "interventions.json"}
        effective = client.download_artifacts(run.info.run_id, "effective.json")
        settings = json.loads(Path(effective).read_text())
        assert settings["learning_rate"] == float(run.data.params["learning_rate"])


def test_a_study_that_is_not_tracked_leaves_no_trace(tmp_path, tracked):
    workdir = Home(tmp_path, QUICK)
    workdir.runs.mkdir()
    (workdir.runs / "corpora").symlink_to(tracked.runs / "corpora")
    workdir.run("start", "small.toml", "--no-tracking")
    assert {file.name for file in workdir.runs.iterdir()}.isdisjoint(
        {"mlflow.db", "tensorboard", "track.log"}
    )
    with workdir.storage() as storage:
        uid = optuna.load_study(study_name="small", storage=storage).user_attrs["uid"]
        assert counts(storage.ours, uid) == {}


def serve(folder, port):
    """What `mlflow server` runs in its worker."""
    told = {"FILE_STORE": f"sqlite:///{folder}/server.db", "ARTIFACT_DESTINATION": str(folder / "kept")}
    told |= {"ARTIFACT_ROOT": "mlflow-artifacts:/", "SERVE_ARTIFACTS": "true"}
    os.environ.update({f"_MLFLOW_SERVER_{name}": value for name, value in told.items()})
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    log = os.open(folder / "server.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    uvicorn.run("mlflow.server.fastapi_app:app", host="127.0.0.1", port=port)


class Server:
    """MLflow's own, on a free port of this machine."""

    def __init__(self, folder):
        self.folder = folder
        [self.port] = free_ports(1)
        self.uri = f"http://127.0.0.1:{self.port}"

    def start(self):
        self.process = forked.CONTEXT.Process(target=serve, args=(self.folder, self.port))
        self.process.start()
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.answers():
            assert self.process.exitcode is None and time.monotonic() < deadline, self.said()
            time.sleep(0.2)

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        self.process.kill()
        self.process.join()

    def said(self):
        return (self.folder / "server.log").read_text()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.mark.timeout(900)  # MLflow's server is started twice
def test_a_server_that_is_away_for_a_while_has_everything_once_in_the_end(tmp_path, tracked, server, client):
    workdir = Home(tmp_path, changed(STUDY, steps=48, measure_every=24, validate_every=24))
    workdir.runs.mkdir()
    (workdir.runs / "corpora").symlink_to(tracked.runs / "corpora")
    running = workdir.begin("start", "small.toml", MLFLOW_TRACKING_URI=server.uri)
    there = client(server.uri)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not [e for e in there.search_experiments() if "study_uid" in e.tags]:
        assert running.poll() is None and time.monotonic() < deadline, running.communicate()
        time.sleep(0.1)
    server.stop()
    said = running.communicate(PATIENCE_SECONDS)
    assert running.returncode == 0, said
    assert "wait" in workdir.run("track", MLFLOW_TRACKING_URI=server.uri)
    server.start()
    workdir.send_all(MLFLOW_TRACKING_URI=server.uri)
    runs = trials_of(there)
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    for run in runs:
        for name in run.data.metrics:
            steps = steps_of(there, run, name)
            assert len(steps) == len(set(steps)), name
        assert steps_of(there, run, "train/gate") == list(range(1, 49))
        assert {"sample.wav", "mels.png"} <= {f.path for f in there.list_artifacts(run.info.run_id)}
    assert not (workdir.runs / "mlflow.db").exists()
