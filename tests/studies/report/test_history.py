"""What the database says of a study's past is what its trials say."""

import math
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import update

from benchmarks.history import NAME, written
from smart_tuner.store import attributes
from smart_tuner.store.leases import Leases
from smart_tuner.store.storage import open_storage
from smart_tuner.store.tables import LEASES
from studies.file.spec import load
from studies.report import history
from studies.report import summary as report
from studies.run.study import load_study, open_study, rdb

ROOT = Path(__file__).parents[3]
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@st.composite
def trials(draw):
    state = draw(st.sampled_from([*TrialState, TrialState.COMPLETE]))
    value = st.sampled_from([5.0, 6.0, 7.5, math.inf, -math.inf])
    steps = draw(st.sets(st.integers(1, 9)))
    shares = dict.fromkeys(("aligned_share", "failure_share", "shortest", "longest"), 0.5)
    measured = [
        {"step": step, "value": 5.0, "seconds": 2.0 * step, "mel_l1": math.nan, **shares}
        for step in sorted(steps)
    ]
    optional = {"repairs": st.just(2), "fresh_of": st.just(0), "measures": st.just(measured)}
    return create_trial(
        state=state,
        value=draw(value) if state in ENDED else None,
        params={"rate": 0.5},
        distributions={"rate": FloatDistribution(0, 1)},
        user_attrs=draw(st.fixed_dictionaries({}, optional=optional)),
        intermediate_values=dict.fromkeys(steps, 5.0),
    )


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    storage = open_storage(f"sqlite:///{tmp_path_factory.mktemp('history') / 'study.db'}")
    open_study(load("quickstart").model_copy(update={"name": "another"}), storage).add_trial(
        create_trial(value=1.0, user_attrs={"repairs": 1, "measures": [{"step": 1, "seconds": 1.0}]})
    )
    yield storage
    storage.engine.dispose()


def smallest(found, kind=lambda attrs: True):
    """The smallest distance of a trial that has a voice."""
    voices = (t for t in found if attributes.measures(t) and math.isfinite(t.value or 0.0))
    completed = [t for t in voices if t.state == TrialState.COMPLETE and kind(t.user_attrs)]
    return min(completed, key=lambda t: (t.value, t.number), default=None)


def measured(trial):
    """Its last steps and seconds."""
    rows = trial.user_attrs.get("measures")
    return (rows[-1]["step"], rows[-1]["seconds"]) if rows else (0, 0.0)


NOTED = st.none() | st.tuples(st.integers(0, 12), st.integers(0, 30).map(float))  # steps and seconds


def note(study, noted):
    """In leases of its trials, as their attempts would."""
    uid = study.user_attrs["uid"]
    leases = Leases(rdb(study).ours, uid)
    leases.adopt([], range(len(noted)))
    with rdb(study).ours.begin() as connection:
        for number, (steps, seconds) in enumerate(pair or (None, None) for pair in noted):
            mine = LEASES.c.study_uid == uid, LEASES.c.number == number
            connection.execute(update(LEASES).where(*mine).values(steps=steps, seconds=seconds))


@settings(max_examples=15)
@given(st.lists(trials(), max_size=9), st.lists(NOTED, max_size=9))
def test_sums_and_bests_are_those_of_the_trials(storage, found, noted):
    name = uuid.uuid4().hex  # drawn anew for the same example, too: a study stays in the database
    study = open_study(load("quickstart").model_copy(update={"name": name}), storage)
    study.add_trials(found)
    noted = noted[: len(found)]
    note(study, noted)
    found = study.get_trials()
    assert history.states(study) == Counter(trial.state.name.lower() for trial in found)
    assert history.started(study) == sum(trial.state != TrialState.WAITING for trial in found)
    assert history.repaired(study) == sum("repairs" in trial.user_attrs for trial in found)
    known = [pair or (0, 0.0) for pair in noted] + [(0, 0.0)] * (len(found) - len(noted))
    last = map(measured, found)
    most = [(max(a[0], b[0]), max(a[1], b[1])) for a, b in zip(last, known, strict=True)]
    steps, hours = history.consumed(study)
    assert steps == sum(steps for steps, _ in most)
    assert hours == pytest.approx(sum(seconds for _, seconds in most) / 3600)
    running = [trial for trial in found if trial.state == TrialState.RUNNING]
    assert history.unfinished(study) == [(trial.number, trial.last_step or 0) for trial in running]
    assert history.best_trial(study) == smallest(found)
    assert history.three_bests(study) == {
        "unassisted": smallest(found, lambda attrs: "repairs" not in attrs),
        "assisted": smallest(found, lambda attrs: "repairs" in attrs),
        "verified_fresh": smallest(found, lambda attrs: "repairs" not in attrs and "fresh_of" in attrs),
    }


def test_what_trials_took_that_were_deleted_is_counted_for_each(storage):
    study = open_study(load("quickstart").model_copy(update={"name": "deleted"}), storage)
    note(study, [(1000, 36.0), (1000, 36.0)])
    for number in (0, 1):
        Leases(rdb(study).ours, study.user_attrs["uid"]).forget(number)
    assert history.consumed(study) == (2000, pytest.approx(0.02))


def test_the_status_of_the_measured_history_adds_up(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    spec = written(url, 40)
    study = load_study(NAME, open_storage(url))
    status = report.status_record(study, spec)
    assert status["trials"] == "40/41"
    assert status["complete"] + status["pruned"] + status["fail"] == 40
    assert status["consumed_steps"] == 40 * 10 * spec.objective.measure_every
    assert status["best_value"] == study.best_value
    best = report.best_record(study, spec, study.best_trial)
    assert best["number"] == status["best_trial"] in (best["best_assisted"], best["best_unassisted"])
    assert study.ask().number == 40


def test_what_only_reads_loads_no_torch(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    written(url, 20)
    code = f"""
import sys, run_study
place = ["--storage", {url!r}, "--home", {str(tmp_path)!r}]
for command in (["list"], *([verb, {NAME!r}] for verb in ("status", "best", "trials", "fixes"))):
    assert run_study.main([*place, *command]) == 0, command
print(*sorted(sys.modules.keys() & {{"torch", "matplotlib", "scipy"}}), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def curve(values, rate):
    return create_trial(
        state=TrialState.COMPLETE,
        value=1.0,
        params={"rate": rate},
        distributions={"rate": FloatDistribution(0, 1)},
        intermediate_values=values,
    )


@pytest.mark.parametrize(
    ("values", "rate", "found"),
    [
        ({10: 3.0, 20: 2.0}, 0.6, (0, ["rate"])),
        ({10: 3.0}, 0.6, None),  # one value may be the same by chance
        ({10: 3.0, 20: 2.1}, 0.6, None),
        ({10: 3.0, 20: 2.0}, 0.5, None),  # so it should be: the values are the same
        ({30: 3.0, 40: 2.0}, 0.6, None),
    ],
)
def test_a_trial_that_went_as_another_one_though_its_values_differ_is_found(values, rate, found):
    study = optuna.create_study()
    study.add_trials([curve({10: 3.0, 20: 2.0}, 0.5), curve(values, rate)])
    assert history.twin(study, 1) == found
    assert history.twin(study, 0) is None


def test_trials_that_never_came_to_anything_are_no_twins():
    study = optuna.create_study()
    study.add_trials([curve({10: 9.0, 20: 9.0}, rate) for rate in (0.5, 0.6)])
    assert history.twin(study, 1) is None
