"""What optuna-dashboard plays and shows of a trial: Optuna's artifacts, in a folder below home.

Optuna writes an artifact's row before its bytes, so a death between them leaves a row without a file, on
which the dashboard fails: the artifact is not shown, and its study cannot be deleted.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore, get_all_artifact_meta, upload_artifact
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._rdb import models
from sqlalchemy import delete, select

from smart_tuner.outage import Fenced
from smart_tuner.store import Storage
from smart_tuner.tables import LEASES
from studies.folders import trial_folder
from studies.leases import this_process

PREFIX = "artifacts:"  # of the keys of Optuna's rows


def attached(home: Path) -> Path:
    return home / "artifacts" / "optuna"


def set_aside(home: Path) -> Path:
    """Where files go that no row knows."""
    return home / "artifacts" / "optuna-unclaimed"


def attach(trial: optuna.Trial, files: Mapping[Path, str], home: Path) -> None:
    """Keep copies of `files` (with their MIME types); what an attempt that died here has kept stays.

    Raises:
        Fenced: the trial was ended by another attempt.
    """
    place = attached(home)
    place.mkdir(parents=True, exist_ok=True)
    store = FileSystemArtifactStore(str(place))
    there = {(meta.filename, _content(place / meta.artifact_id)) for meta in get_all_artifact_meta(trial)}
    for file, kind in files.items():
        if (file.name, _content(file)) in there:
            continue
        try:
            upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=trial, mimetype=kind)
        except UpdateFinishedTrialError as error:
            raise Fenced(f"trial {trial.number} was ended by another attempt") from error


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() else None


@dataclass(frozen=True)
class Row:
    """One of Optuna's rows of an artifact: of a trial, or (trial None) of a study; `owner` is Optuna's id."""

    study: str
    trial: int | None
    owner: int
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


def unmatched(storage: Storage, home: Path) -> Unmatched:
    """Of this machine: what another one ran has its files there. Running trials get theirs at their end."""
    place, known, lost = attached(home), set[str](), list[Row]()
    for summary in optuna.get_all_study_summaries(storage, include_best_trial=False):
        study = optuna.load_study(study_name=summary.study_name, storage=storage)
        running = {t.number for t in study.get_trials(deepcopy=False) if not t.state.is_finished()}
        elsewhere = _elsewhere(storage, study.user_attrs.get("uid"))
        for row in _rows(storage, study):
            known.add(row.artifact)
            if row.trial not in running | elsewhere and not (place / row.artifact).is_file():
                lost.append(row)
    files = sorted(file for file in place.iterdir() if file.name not in known) if place.is_dir() else []
    return Unmatched(tuple(lost), tuple(files))


def mend(storage: Storage, home: Path, found: Unmatched) -> str:
    """Give rows their files again, from what was set aside or lies beside the trial's checkpoints; take out
    rows of which nothing is left; set files aside that no row knows. Returns what was done."""
    gone = [row for row in found.rows if not _restored(row, home)]
    with storage.engine.begin() as connection:
        for row in gone:
            key = f"{PREFIX}{row.artifact}"
            if row.trial is None:
                attribute = models.StudySystemAttributeModel
                connection.execute(delete(attribute).filter_by(study_id=row.owner, key=key))
            else:
                of_trial = models.TrialSystemAttributeModel
                connection.execute(delete(of_trial).filter_by(trial_id=row.owner, key=key))
    for file in found.files:
        set_aside(home).mkdir(parents=True, exist_ok=True)
        file.rename(set_aside(home) / file.name)
    return (
        f"files restored: {len(found.rows) - len(gone)}, rows taken out: {len(gone)}, "
        f"files set aside in {set_aside(home)}: {len(found.files)}"
    )


def _rows(storage: Storage, study: optuna.Study) -> Iterator[Row]:
    of_study = storage.get_study_system_attrs(study._study_id)
    owners: list[tuple[int | None, int, dict[str, Any]]] = [(None, study._study_id, of_study)]
    owners += [(t.number, t._trial_id, t.system_attrs) for t in study.get_trials(deepcopy=False)]
    for number, owner, attributes in owners:
        for key, value in attributes.items():
            if key.startswith(PREFIX):
                meta = json.loads(value)
                yield Row(study.study_name, number, owner, meta["artifact_id"], meta["filename"])


def _elsewhere(storage: Storage, uid: str | None) -> set[int]:
    """Numbers of the trials that another machine ran last."""
    here = this_process()["host"]
    query = select(LEASES.c.number, LEASES.c.owner).where(LEASES.c.study_uid == uid)
    with storage.ours.connect() as connection:
        return {number for number, owner in connection.execute(query) if owner["host"] != here}


def _restored(row: Row, home: Path) -> bool:
    sources = [set_aside(home) / row.artifact]
    if row.trial is not None:
        sources.append(trial_folder(home / "studies" / row.study, row.trial) / row.filename)
    source = next((file for file in sources if file.is_file()), None)
    if source is None:
        return False
    attached(home).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, attached(home) / row.artifact)
    return True
