"""What optuna-dashboard plays and shows of a trial: Optuna's artifacts, in a folder of the workdir.

Optuna writes an artifact's row before its bytes, so a death between them leaves a row without a file, on
which the dashboard fails: the artifact is not shown, and its study cannot be deleted.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import delete

from smart_tuner.store.attributes import is_ours
from smart_tuner.store.storage import Storage
from studies.run.folders import trial_folder

PREFIX = "artifacts:"  # of the keys of Optuna's rows
ARTIFACT = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)  # a file of another name is somebody's own


def attached(workdir: Path) -> Path:
    return workdir / "artifacts" / "optuna"


def set_aside(workdir: Path) -> Path:
    """Where files go that no row knows."""
    return workdir / "artifacts" / "optuna-unclaimed"


def attach(trial: optuna.Trial, files: Mapping[Path, str], workdir: Path) -> None:
    """Keep copies of `files` (with their MIME types); what an attempt that died here has kept stays.

    Raises:
        UpdateFinishedTrialError: somebody else ended the trial.
    """
    place = attached(workdir)
    place.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(place))
    there = {(meta.filename, _content(place / meta.artifact_id)) for meta in get_all_artifact_meta(trial)}
    for file, kind in files.items():
        if (file.name, _content(file)) in there:
            continue
        upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=trial, mimetype=kind)


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


@dataclass(frozen=True)
class Row:
    """One of Optuna's rows of a trial's artifact."""

    study: str
    trial: int
    trial_id: int
    artifact: str
    filename: str


@dataclass(frozen=True)
class Unmatched:
    """Rows without their files, and files without their rows."""

    rows: tuple[Row, ...]
    files: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.rows or self.files)

    def __str__(self) -> str:
        return f"rows without their files: {len(self.rows)}, files without their rows: {len(self.files)}"


def unmatched(storage: Storage, workdir: Path) -> Unmatched:
    """Rows without a file, of finished trials of ours that ran in this workdir; and files without a row."""
    place, known, lost = attached(workdir), set[str](), list[Row]()
    found = sorted(place.iterdir()) if place.is_dir() else []  # before the rows, which are written first
    files = [file for file in found if ARTIFACT.fullmatch(file.name) and file.is_file()]
    for summary in optuna.get_all_study_summaries(storage, include_best_trial=False):
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        known |= _artifacts(storage.get_study_system_attrs(study._study_id))
        for trial in study.get_trials(deepcopy=False):
            known |= _artifacts(trial.system_attrs)
            folder = trial_folder(workdir / "studies" / study.study_name, trial.number)
            if is_ours(summary.user_attrs) and trial.state.is_finished() and folder.is_dir():
                rows = _rows(study.study_name, trial)
                lost += [row for row in rows if not (place / row.artifact).is_file()]
    unclaimed = [file for file in files if file.name not in known]
    return Unmatched(tuple(lost), tuple(unclaimed) if len(unclaimed) < len(files) else ())


def mend(storage: Storage, workdir: Path, found: Unmatched) -> str:
    """Give rows their files again, from what was set aside or lies beside the trial's checkpoints; take out
    rows of which nothing is left; set files aside that no row knows. Returns what was done."""
    gone = [row for row in found.rows if not _restored(row, workdir)]
    with storage.engine.begin() as connection:
        for row in gone:
            its = {"trial_id": row.trial_id, "key": f"{PREFIX}{row.artifact}"}
            connection.execute(delete(models.TrialSystemAttributeModel).filter_by(**its))
    for file in found.files:
        set_aside(workdir).mkdir(parents=True, exist_ok=True)
        file.rename(set_aside(workdir) / file.name)
    return (
        f"files restored: {len(found.rows) - len(gone)}, rows taken out: {len(gone)}, "
        f"files set aside in {set_aside(workdir)}: {len(found.files)}"
    )


def _artifacts(attributes: Mapping[str, object]) -> set[str]:
    return {key.removeprefix(PREFIX) for key in attributes if key.startswith(PREFIX)}


def _rows(study: str, trial: FrozenTrial) -> Iterator[Row]:
    for key, value in trial.system_attrs.items():
        if key.startswith(PREFIX) and (meta := _meta(value)):
            yield Row(study, trial.number, trial._trial_id, *meta)


def _meta(value: Any) -> tuple[str, str] | None:
    """The id and name of an artifact; None of an attribute that Optuna did not write."""
    try:
        found = json.loads(value)
        names = found["artifact_id"], found["filename"]
    except (TypeError, ValueError, LookupError):
        return None
    sound = all(isinstance(name, str) and Path(name).name == name for name in names)
    return names if sound else None


def _restored(row: Row, workdir: Path) -> bool:
    folder = trial_folder(workdir / "studies" / row.study, row.trial)
    sources = (set_aside(workdir) / row.artifact, folder / row.filename)
    source = next((file for file in sources if file.is_file()), None)
    if source is None:
        return False
    attached(workdir).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, attached(workdir) / row.artifact)
    return True
