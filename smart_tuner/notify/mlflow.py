"""What waits in the outbox becomes MLflow's experiments and runs; the one file that imports MLflow.

A study is an experiment with a run of its own, each trial a run below that one. They are looked up by tags
before they are made, and everything in a row has its instant: a row that is sent twice is there once.
"""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import mlflow.utils.mlflow_tags as names
from google.protobuf.json_format import ParseError  # type: ignore[import-untyped]
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, INVALID_STATE, ErrorCode
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST as ABSENT
from sqlalchemy.exc import SQLAlchemyError

from smart_tuner.notify.outbox import Payload, Refused
from smart_tuner.store.storage import mlflow_files

UNREACHABLE = (MlflowException, ParseError, SQLAlchemyError, OSError)  # and whoever answers for it
REFUSALS = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, INVALID_STATE, ABSENT)}
STUDY_UID, TRIAL_UID, OUTCOME = "study_uid", "trial_uid", "outcome"
OF_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # MLflow's page shows runs, not traces
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
BUSY_SECONDS = 60
OWN_FOLDER = re.compile(r"[/:](\w+)/\w+/artifacts$")  # of an address in any home, or of MLflow's server
FOLLOW = (
    "UPDATE experiments SET artifact_location = :here || '/' || tag.value FROM experiment_tags AS tag"
    " WHERE tag.experiment_id = experiments.experiment_id AND tag.key = :uid"
    " AND artifact_location LIKE 'file:%/artifacts/mlflow/' || tag.value",
    "UPDATE runs SET artifact_uri = :here || '/' || tag.value || '/' || run_uuid || '/artifacts'"
    " FROM experiment_tags AS tag WHERE tag.experiment_id = runs.experiment_id AND tag.key = :uid"
    " AND artifact_uri LIKE 'file:%/artifacts/mlflow/' || tag.value || '/' || run_uuid || '/artifacts'",
)
MOST_METRICS, MOST_PARAMETERS, LONGEST_TAG, LONGEST_PARAMETER = 1000, 100, 8000, 6000


class Runs:
    """Sends rows of smart_tuner/notify/tracking.py.

    Args:
        uri: MLflow's server or database.
        workdir: below which the files of rows lie.
        direct: the database is written to without a server, so artifacts are kept in the workdir.
        expected: whether the run of a row with files may still be made by a row before it.
    """

    def __init__(
        self, uri: str, workdir: Path, *, direct: bool, expected: Callable[[Payload], bool] = lambda _: True
    ) -> None:
        self._uri, self._workdir, self._direct, self._expected = uri, workdir, direct, expected
        self._connected: MlflowClient | None = None
        self._known: dict[str, str] = {}  # ids of experiments and runs by uid

    def send(self, row: Payload) -> None:
        """Raises Refused, or one of UNREACHABLE."""
        for again in (False, True):
            try:
                return self._tell(self._run(row), row)
            except MlflowException as error:
                if error.error_code not in REFUSALS:
                    raise
                self._known.clear()  # somebody may have deleted the run: then there is to be a new one
                if again:
                    raise Refused(str(error)) from error

    @property
    def _client(self) -> MlflowClient:
        """MLflow's client; the first call connects, and makes MLflow's tables where there are none."""
        if self._connected is None:
            self._connected = MlflowClient(tracking_uri=self._uri)
        return self._connected

    def _tell(self, run: str, row: Payload) -> None:
        client, kind = self._client, row["kind"]
        if kind == "start":
            client.update_run(run, status="RUNNING")
            client.update_run(self._study(row), status="RUNNING")
            self._parameters(run, row["parameters"])
        elif kind == "numbers":
            self._numbers(run, row["points"])
        elif kind == "repair":
            self._numbers(run, row["points"])
            tags = {f"fix.{row['number']:03d}": row["line"], names.MLFLOW_RUN_NOTE: row["story"]}
            self._tag(run, tags)
        elif kind == "files":
            self._keep(run, row)
        elif kind == "released":
            client.update_run(run, status="SCHEDULED")
        elif kind == "end":
            self._end(run, row)
        elif row["state"] == "FINISHED":
            client.set_terminated(run, "FINISHED", row["at"])
        else:
            client.update_run(run, status=row["state"])

    def _parameters(self, run: str, parameters: dict[str, str]) -> None:
        """Log the parameters that the run does not have yet; those of a run that goes on cannot change."""
        known = self._client.get_run(run).data.params
        new = [Param(k, v[:LONGEST_PARAMETER]) for k, v in parameters.items() if k not in known]
        for first in range(0, len(new), MOST_PARAMETERS):
            self._client.log_batch(run, params=new[first : first + MOST_PARAMETERS])

    def _numbers(self, run: str, points: list[dict[str, Any]]) -> None:
        metrics = [
            Metric(name, value, point["at"], point["step"])
            for point in points
            for name, value in point["values"].items()
        ]
        for first in range(0, len(metrics), MOST_METRICS):
            self._client.log_batch(run, metrics=metrics[first : first + MOST_METRICS])

    def _tag(self, run: str, tags: dict[str, str]) -> None:
        self._client.log_batch(run, tags=[RunTag(name, text[:LONGEST_TAG]) for name, text in tags.items()])

    def _end(self, run: str, row: Payload) -> None:
        told = {OUTCOME: row["state"].lower()} | ({"reason": row["reason"]} if row["reason"] else {})
        self._tag(run, told)
        if row["value"] is not None:
            best = [{"step": 0, "at": row["at"], "values": {"value": row["value"]}}]
            self._numbers(run, best)
            self._numbers(self._study(row), [{**best[0], "step": row["trial"]}])
        self._client.set_terminated(run, STATUS[row["state"]], row["at"])

    def _keep(self, run: str, row: Payload) -> None:
        """Keep a row's files and texts: by MLflow's server, or without one in the workdir as it lies now."""
        kept_by = OWN_FOLDER.search(self._client.get_run(run).info.artifact_uri)
        folder = kept_by[1] if kept_by else row["study_uid"]
        place = mlflow_files(self._workdir) / folder / run / "artifacts"
        if self._direct:
            place.mkdir(parents=True, exist_ok=True)
        for name, text in row["texts"].items():
            if self._direct:
                (place / name).write_text(text, "utf-8")
            else:
                self._client.log_text(run, text, name)
        sources = {name: self._workdir / path for name, path in row["files"].items()}
        gone = [str(source) for source in sources.values() if not source.is_file()]
        for name, source in sources.items():
            if not source.is_file():
                continue
            if self._direct:
                shutil.copyfile(source, place / name)
            else:
                self._client.log_artifact(run, str(source))
        if gone:
            raise Refused(f"gone are: {', '.join(gone)}")

    # Finding, or making

    def _run(self, row: Payload) -> str:
        """The id of the row's run, made if needed; a row of files waits for the row that makes its run."""
        return self._study(row) if row["trial"] is None else self._trial(row)

    def _trial(self, row: Payload) -> str:
        uid = f"{row['study_uid']}/{row['trial']}"
        if uid not in self._known:
            experiment = self._experiment(row)
            found = self._find(experiment, TRIAL_UID, uid)
            if found is None and row["kind"] == "files":
                lacking = f"there is no run of trial {row['trial']}"
                raise MlflowException(lacking) if self._expected(row) else Refused(lacking)
            tags = {TRIAL_UID: uid, names.MLFLOW_PARENT_RUN_ID: self._study(row)}
            named = f"trial {row['trial']:04d}"
            self._known[uid] = found or self._make(experiment, row, named, tags)
        return self._known[uid]

    def _study(self, row: Payload) -> str:
        uid: str = row["study_uid"]
        if uid not in self._known:
            experiment = self._experiment(row)
            tags = {STUDY_UID: uid}
            found = self._find(experiment, STUDY_UID, uid)
            self._known[uid] = found or self._make(experiment, row, row["study"], tags)
        return self._known[uid]

    def _find(self, experiment: str, tag: str, uid: str) -> str | None:
        found = self._client.search_runs([experiment], f"tags.{tag} = '{uid}'", max_results=1)
        return str(found[0].info.run_id) if found else None

    def _make(self, experiment: str, row: Payload, name: str, tags: dict[str, str]) -> str:
        run = self._client.create_run(experiment, row["at"], tags, name)
        return str(run.info.run_id)

    def _experiment(self, row: Payload) -> str:
        uid = row["study_uid"]
        key = f"experiment {uid}"
        if key not in self._known:
            search = f"tags.{STUDY_UID} = '{uid}'"
            found = self._client.search_experiments(ViewType.ACTIVE_ONLY, filter_string=search)
            self._known[key] = found[0].experiment_id if found else self._make_experiment(row)
        return self._known[key]

    def _make_experiment(self, row: Payload) -> str:
        """A new experiment, under a longer name where another study, perhaps deleted, has the plain one."""
        study, uid = row["study"], row["study_uid"]
        names_to_try = (study, f"{study} {uid[:8]}", f"{study} {uid[:8]} {row['at']}")
        free = (name for name in names_to_try if self._client.get_experiment_by_name(name) is None)
        name = next(free, study)  # where none is free, MLflow says so
        place = (mlflow_files(self._workdir) / uid).as_uri() if self._direct else None
        return str(self._client.create_experiment(name, place, {STUDY_UID: uid, **OF_TRAINING}))


def follow(database: Path, workdir: Path) -> None:
    """Correct where MLflow's rows say that files are, after the workdir was moved or copied with `database`.

    MLflow keeps absolute addresses, and has no other way to change them. A database that lies elsewhere did
    not move with this workdir, and may serve other workdirs as well: it stays as it is.
    """
    if not database.is_file() or database.resolve().parent != workdir.resolve():
        return
    here = {"here": mlflow_files(workdir).as_uri(), "uid": STUDY_UID}
    with (
        suppress(sqlite3.DatabaseError),  # busy, or just being made: the next time; or none: MLflow tells
        closing(sqlite3.connect(database, BUSY_SECONDS)) as connection,
        connection,
    ):
        for statement in FOLLOW:
            connection.execute(statement, here)
