"""What is said of a study whose best trial was trained on."""

import json
from contextlib import closing
from dataclasses import asdict

import pytest

from dashboards.pages.records import Records
from smart_tuner.notify.telegram.messages import message
from smart_tuner.store.attributes import GoesOn
from smart_tuner.store.storage import open_storage
from studies.file.space import suggest
from studies.file.spec import load
from studies.report import facts, history, single_page
from studies.report import summary as report
from studies.run.study import load_study, open_study

PARAMS = {
    "learning_rate": 2e-3,
    "batch_size": 16,
    "guided_attention_weight": 0.0,
    "gate_positive_weight": 5.0,
    "p_attention_dropout": 0.1,
}


@pytest.fixture
def begun(tmp_path):
    spec = load("quickstart")
    with closing(open_storage(f"sqlite:///{tmp_path}/study.db")) as storage:
        yield open_study(spec, storage), spec


def finished(study, spec, value, params=PARAMS, **attributes):
    study.enqueue_trial(params)
    trial = study.ask()
    suggest(trial, spec)
    for name, content in attributes.items():
        trial.set_user_attr(name, content)
    study.tell(trial, value)


def measures(*rows):
    return [{"step": step, "value": value, "seconds": step / 10} for step, value in rows]


@pytest.fixture
def told(begun):
    """Trial 1 is the search's best, and goes on as trial 2."""
    study, spec = begun
    finished(study, spec, 7.5, measures=measures((400, 7.5)))
    finished(study, spec, 5.85, {**PARAMS, "learning_rate": 3e-3}, measures=measures((300, 5.85), (400, 6.0)))
    rows = measures((300, 5.85), (900, 3.5), (3600, 1.98))
    goes_on = {"trial": 1, "step": 300, "steps": 3600}
    finished(study, spec, 1.98, {**PARAMS, "learning_rate": 3e-3}, measures=rows, goes_on_from=goes_on)
    return study, spec


SAID = "trial 2, which goes on from trial 1 (5.85 dB after 300 steps) to step 3600"


def test_what_it_was_before_and_is_after_is_said_everywhere(told, tmp_path):
    study, spec = told
    assert f"Best: {SAID}. 1.98 dB" in report.summary(study, spec, None)
    assert f"## Best: {SAID}" in report.markdown(study, spec, None, [], [])
    assert f"Best: {SAID}" in single_page.page(study, spec, None, [], [], tmp_path)
    best = report.best_record(study, spec, history.best_trial(study))
    assert (best["number"], best["before_number"], best["before_value"], best["before_step"]) == (
        2,
        1,
        5.85,
        300,
    )
    page = Records(study._storage._backend, tmp_path).study("quickstart")
    assert page["best"]["before"] == {"number": 1, "value": 5.85, "step": 300}


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "It goes on from trial 1 (5.85 dB after 300 steps)."),
        ("ru", "Продолжает испытание 1 (5.85 дБ после 300 шагов)."),
    ],
)
def test_a_chat_is_told_in_its_language(told, language, words):
    study, spec = told
    best = json.loads(json.dumps(facts.of_new_best(study, 2)))
    assert words in message("best", language, {"study": "quickstart", "trial": 2, **best})
    whole = json.loads(json.dumps(facts.of_study(study, spec)))
    assert words in message("study_end", language, {"study": "quickstart", **whole})


def test_it_is_no_trial_of_the_search(told):
    study, spec = told
    status = report.status_record(study, spec)
    assert (status["trials"], status["complete"], status["best_trial"]) == ("2/8", 2, 2)
    assert status["finish"] == "trial 2 from trial 1 to step 3600: complete"
    assert history.three_bests(study)["unassisted"].number == 1
    assert history.consumed(study)[0] == 800  # no lease says here what it took itself
    assert history.to_train_on(study, spec) is None


def test_where_it_was_no_better_that_is_said(begun):
    study, spec = begun
    finished(study, spec, 5.0, measures=measures((400, 5.0)))
    assert report.status_record(study, spec)["finish"] == "after the search, to step 3600"
    best, goes_on = history.to_train_on(study, spec)
    assert (best.number, goes_on.step, goes_on.steps) == (0, 400, 3600)
    rows, on = measures((400, 5.0), (3600, 6.0)), {"trial": 0, "step": 400, "steps": 3600}
    finished(study, spec, 5.0, measures=rows, goes_on_from=on)
    assert "trial 0, which was no better when it was trained on to step 3600. 5.00 dB" in report.summary(
        study, spec, None
    )
    assert history.to_train_on(load_study("quickstart", study._storage), spec) is None


def test_where_nothing_completed_there_is_nothing_to_train_on(begun):
    study, spec = begun
    assert history.to_train_on(study, spec) is None
    assert "No trial completed, so there is none to train on." in report.summary(study, spec, None)


def test_a_longer_one_later_goes_on_where_it_ended(told):
    study, spec = told
    longer = spec.model_copy(update={"finish": spec.finish.model_copy(update={"steps": 7200})})
    best, goes_on = history.to_train_on(study, longer)
    assert (best.number, goes_on) == (2, GoesOn(2, 3600, 7200))
    finished(study, spec, 1.7, measures=measures((3600, 1.98), (6600, 1.7)), goes_on_from=asdict(goes_on))
    assert history.to_train_on(study, longer) is None  # though its best step is before the last
    assert history.to_train_on(study, spec) is None


def test_a_longer_one_later_leaves_out_what_was_no_better(begun):
    study, spec = begun
    finished(study, spec, 5.0, measures=measures((400, 5.0)))
    rows, on = measures((400, 5.0), (3600, 6.0)), {"trial": 0, "step": 400, "steps": 3600}
    finished(study, spec, 5.0, measures=rows, goes_on_from=on)
    longer = spec.model_copy(update={"finish": spec.finish.model_copy(update={"steps": 7200})})
    best, goes_on = history.to_train_on(study, longer)
    assert (best.number, goes_on) == (0, GoesOn(0, 400, 7200))
