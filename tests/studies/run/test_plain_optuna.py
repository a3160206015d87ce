"""A study of ours in plain Optuna, as docs/search.md says: seen whole; what is enqueued there is run here."""

import json
import os
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from benchmarks.chaos import Warnings
from smart_tuner.store.storage import open_storage
from studies.file.space import suggest
from studies.file.spec import Spec, load
from studies.run.study import open_study
from studies.run.worker import Worker

DOCS = Path(__file__).parents[3] / "docs" / "search.md"
NOTEBOOK = """
import json, sys, optuna
study = optuna.load_study(study_name="desk", storage=sys.argv[1])
study.enqueue_trial({"learning_rate": 0.002, "batch_size": 16})
assert not any(name.startswith(("smart_tuner", "studies")) for name in sys.modules)
times = [[t.datetime_start.timestamp(), t.datetime_complete.timestamp()] for t in study.trials[:3]]
trials = [[t.number, t.state.name, t.value, t.params, t.intermediate_values] for t in study.trials]
print(json.dumps([study.best_value, len(study.trials_dataframe()), times, trials]))
"""


def plain(url):
    """The URL by which plain Optuna finds our study, made as the docs say."""
    if url.startswith("sqlite"):
        return url
    [scheme, place] = re.findall(r"`(\S+://)USER:PASSWORD@HOST/DATABASE(\S+)`", DOCS.read_text("utf-8"))[0]
    return url.replace("postgresql://", scheme) + place


def job(attempt):
    params = suggest(attempt.trial, SPEC)
    attempt.trial.report(params["learning_rate"], 100)
    return params["learning_rate"]


DATA = load("quickstart").model_dump(mode="json") | {"name": "desk", "rules": {"mode": "off"}}
SPEC = Spec.parse(DATA | {"budget": {"trials": 4}}, "here")


def worked(storage, folder, most):
    Worker(SPEC, open_study(SPEC, storage), job, folder, Warnings()).work(most)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_plain_optuna_opens_a_study_of_ours_and_what_is_enqueued_there_is_run(empty_url, tmp_path, zone):
    with closing(open_storage(empty_url)) as storage:
        worked(storage, tmp_path, 3)
        command = [sys.executable, "-c", NOTEBOOK, plain(empty_url)]
        told = subprocess.run(
            command, env={**os.environ, "TZ": zone}, cwd=tmp_path, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stderr
        best, count, times, trials = json.loads(told.stdout)
        study = optuna.load_study(study_name="desk", storage=storage)
        ours = study.trials
        assert (best, count) == (study.best_value, 4)
        assert times == [[t.datetime_start.timestamp(), t.datetime_complete.timestamp()] for t in ours[:3]]
        assert trials[:3] == json.loads(
            json.dumps([[t.number, t.state.name, t.value, t.params, t.intermediate_values] for t in ours[:3]])
        )
        assert ours[3].state.name == "WAITING"
        worked(storage, tmp_path, None)
        [*_, fourth] = study.get_trials()
        assert (fourth.number, fourth.state.name, fourth.value) == (3, "COMPLETE", 0.002)
        assert fourth.params["batch_size"] == 16
