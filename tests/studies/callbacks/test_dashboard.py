"""Sounds and pictures for optuna-dashboard: kept once, and mended where a death tore row and file apart."""

import uuid
from contextlib import closing

import httpx
import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact

from dashboards.programs import optuna_board
from smart_tuner.store.storage import open_storage
from studies.callbacks import dashboard
from studies.commands import doctor
from studies.file.spec import load
from studies.run.study import open_study


@pytest.fixture
def storage(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        yield storage


@pytest.fixture
def trial(storage, tmp_path):
    """One whose sample is attached."""
    trial = open_study(load("quickstart"), storage).ask()
    folder = tmp_path / "studies" / "quickstart" / f"trial-{trial.number:04d}"
    folder.mkdir(parents=True)
    (folder / "sample.wav").write_bytes(b"RIFF")
    dashboard.attach(trial, {folder / "sample.wav": "audio/wav"}, tmp_path)
    return trial


def board(storage, workdir):
    transport = httpx.WSGITransport(optuna_board(storage, workdir), raise_app_exceptions=False)
    return httpx.Client(transport=transport, base_url="http://board")


def names(trial, storage):
    return [meta.filename for meta in get_all_artifact_meta(trial, storage=storage)]


def test_an_attempt_that_was_here_before_has_attached_it_once(trial, storage, tmp_path):
    file = tmp_path / "studies" / "quickstart" / "trial-0000" / "sample.wav"
    dashboard.attach(trial, {file: "audio/wav"}, tmp_path)
    assert names(trial, storage) == ["sample.wav"]
    file.write_bytes(b"RIFF, another")
    dashboard.attach(trial, {file: "audio/wav"}, tmp_path)
    assert names(trial, storage) == ["sample.wav"] * 2
    assert not dashboard.unmatched(storage, tmp_path)


def test_a_row_without_its_file_gets_it_again_from_the_trials_folder(trial, storage, tmp_path):
    [file] = dashboard.attached(tmp_path).iterdir()
    file.unlink()
    assert not dashboard.unmatched(storage, tmp_path)  # it may be on its way
    trial.study.tell(trial, 1.0)
    found = dashboard.unmatched(storage, tmp_path)
    assert str(found) == "rows without their files: 1, files without their rows: 0"
    dashboard.mend(storage, tmp_path, found)
    assert file.read_bytes() == b"RIFF"
    assert not dashboard.unmatched(storage, tmp_path)


def test_a_row_of_which_nothing_is_left_is_taken_out_and_the_study_can_be_deleted(trial, storage, tmp_path):
    [file] = dashboard.attached(tmp_path).iterdir()
    file.unlink()
    (tmp_path / "studies" / "quickstart" / "trial-0000" / "sample.wav").unlink()
    trial.study.tell(trial, 1.0)
    with board(storage, tmp_path) as browser:
        artifact = f"/artifacts/{trial.study._study_id}/{trial._trial_id}/{file.name}"
        assert browser.get(artifact).status_code >= 500
        assert browser.delete(f"/api/studies/{trial.study._study_id}").status_code >= 500
        dashboard.mend(storage, tmp_path, dashboard.unmatched(storage, tmp_path))
        assert names(trial.study.trials[0], storage) == []
        assert browser.delete(f"/api/studies/{trial.study._study_id}").status_code == 204
    assert optuna.get_all_study_names(storage) == []


def test_a_file_that_no_row_knows_is_set_aside_and_comes_back_for_a_row_that_does(trial, storage, tmp_path):
    [file] = dashboard.attached(tmp_path).iterdir()
    stray = file.with_name(str(uuid.uuid4()))
    stray.write_bytes(b"whose?")
    dashboard.mend(storage, tmp_path, dashboard.unmatched(storage, tmp_path))
    assert list(dashboard.attached(tmp_path).iterdir()) == [file]
    assert (dashboard.set_aside(tmp_path) / stray.name).read_bytes() == b"whose?"
    trial.study.tell(trial, 1.0)
    (tmp_path / "studies" / "quickstart" / "trial-0000" / "sample.wav").unlink()
    file.rename(dashboard.set_aside(tmp_path) / file.name)
    dashboard.mend(storage, tmp_path, dashboard.unmatched(storage, tmp_path))
    assert file.read_bytes() == b"RIFF"


def test_what_somebody_put_beside_the_artifacts_is_left_where_it_is(trial, storage, tmp_path):
    place = dashboard.attached(tmp_path)
    store = FileSystemArtifactStore(str(place))
    notebooks = optuna.create_study(study_name="a notebook's", storage=storage)
    for theirs in (notebooks, notebooks.ask()):
        upload_artifact(artifact_store=store, file_path=__file__, study_or_trial=theirs)
    (place / "notes.txt").write_text("mine")
    (place / f"{uuid.uuid4()} (copy)").write_text("mine")
    (place / str(uuid.uuid4())).mkdir()
    before = sorted(place.iterdir())
    dashboard.mend(storage, tmp_path, dashboard.unmatched(storage, tmp_path))
    assert sorted(place.iterdir()) == before


def test_another_database_another_home_and_foreign_studies_are_left_alone(trial, storage, tmp_path):
    trial.study.tell(trial, 1.0)
    with closing(open_storage(f"sqlite:///{tmp_path / 'other.db'}")) as other:
        assert not dashboard.unmatched(other, tmp_path)
    assert not dashboard.unmatched(storage, tmp_path / "elsewhere")
    foreign = optuna.create_study(study_name="foreign", storage=storage).ask()
    attached_to_it = FileSystemArtifactStore(str(tmp_path))
    upload_artifact(artifact_store=attached_to_it, file_path=__file__, study_or_trial=foreign)
    foreign.study.tell(foreign, 1.0)
    assert not dashboard.unmatched(storage, tmp_path)


def test_who_looks_whether_the_home_can_be_written_leaves_what_is_there(storage, tmp_path):
    (tmp_path / "doctor.tmp").write_text("mine")
    found = {row["check"]: row["state"] for row in doctor.examine(tmp_path, lambda: storage, fix=True)}
    assert found["home"] == "ok"
    assert (tmp_path / "doctor.tmp").read_text() == "mine"
