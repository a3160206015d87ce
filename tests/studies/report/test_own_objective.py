"""A study of an objective that is no voice: what is shown of it has its unit, its numbers and its words."""

import json
import re
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_objective import OBJECTIVE, WORDS, own_study

from dashboards.pages import records
from dashboards.pages.records import Records
from smart_tuner.store import attributes
from smart_tuner.store.storage import open_storage
from studies.file.spec import load
from studies.report import history, single_page, voices
from studies.report import summary as report
from studies.report.described import Described
from studies.run.study import StudyError, open_study

TACOTRONS = r"\bdB\b|дБ|distance|sentence|copy-synthesis|aligned|speech|speak|voice|sound|alignment|nan"


@pytest.fixture
def storage(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        yield storage


def test_every_report_of_it_shows_its_own_numbers_and_no_word_of_a_voice(storage, tmp_path):
    study, spec = own_study(storage)
    sample = str(tmp_path / "none")
    told = {
        "summary": report.summary(study, spec, sample, [("start own.toml", "search on")]),
        "report": report.markdown(study, spec, sample, [], []),
        "page": single_page.page(study, spec, sample, [], [], tmp_path),
    }
    for kind, text in told.items():
        shown = re.sub("<style>.*</style>", "", text, flags=re.DOTALL)
        assert re.findall(TACOTRONS, shown) == [], kind
        assert "0.0125, accuracy 0.987, error_share 25%." in shown, kind
        assert "Trial 2 (0.001) was not trained here; the best that was is trial 1." in shown, kind
    assert re.search(r"value .* accuracy .* error_share", told["summary"])
    assert "0.0375 │ 100   │ 0.987    │ 25%" in told["summary"]
    for text in (report.status_record(study, spec), report.best_record(study, spec, study.trials[1])):
        assert re.findall(TACOTRONS, report.formatted(text, "table")) == []
    assert history.consumed(study) == (200, 0.0)


def test_a_unit_stands_behind_every_value(storage, tmp_path):
    study, spec = own_study(storage, {**OBJECTIVE, "unit": "km/h"}, {"measure.value": ["speed, km/h", "-"]})
    for text in (report.summary(study, spec, None), report.markdown(study, spec, None, [], [])):
        assert "0.0125 km/h" in text
    shown = single_page.page(study, spec, None, [], [], tmp_path)
    assert "0.0125 km/h" in shown
    assert "Measures: speed, km/h by consumed steps" in shown


def test_the_page_gets_its_numbers_and_words_in_both_languages(storage, tmp_path, monkeypatch):
    _, spec = own_study(storage)
    monkeypatch.setattr(records, "stored_spec", lambda _: spec)
    found = Records(storage, tmp_path)
    whole = json.loads(report.as_json(found.study("quickstart")))
    assert {name: whole[name] for name in OBJECTIVE} == OBJECTIVE
    assert (whole["words"], whole["yardstick"], whole["sentence"]) == (WORDS, None, None)
    assert (whole["best"]["value"], whole["hours"], whole["steps"]) == (0.0125, 0.0, 200)
    trial = found.trials("quickstart")["trials"][1]
    assert (trial["numbers"], trial["speaks"]) == ({"accuracy": 0.987, "error_share": 0.25}, False)
    (found.folder("quickstart", 1)).mkdir(parents=True)
    live = {"step": 1, "signals": {"loss": 0.5}, "curve": [[1, 0.5]], "curves": ["loss"]}
    (found.folder("quickstart", 1) / records.LIVE).write_text(json.dumps(live))
    one = found.trial("quickstart", 1)
    assert (one["curve"], one["curves"], one["sound"]) == ([[1, 0.5]], ["loss"], False)


def test_its_checkpoint_is_not_made_to_speak(storage, tmp_path, monkeypatch):
    study, _ = own_study(storage)
    (tmp_path / "trial-0001" / "step-000000100").mkdir(parents=True)
    monkeypatch.setattr(voices.checkpoint, "at", lambda folder, _: folder / "step-000000100")
    monkeypatch.setattr(voices.checkpoint, "verify", lambda _: None)
    with pytest.raises(StudyError, match="trains no voice"):
        voices.voice_checkpoint(study, None, tmp_path)


def test_a_study_of_version_0_1_says_nothing_and_was_tacotrons(storage):
    study = open_study(load("quickstart"), storage)
    found = Described.of(study)
    assert (found.unit, found.curves[0], found.measures[0]) == ("dB", "unweighted_loss", "aligned_share")
    named = {f"measure.{name}" for name in (*found.curves, *found.measures, "value")}
    assert named <= found.words.keys()
    assert all(len(pair) == 2 and all(pair) for pair in found.words.values())


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["", "dB"]))
def test_a_value_is_shown_so_that_its_size_can_be_told(value, unit):
    digits, _, shown_unit = attributes.with_unit(value, unit).partition(" ")
    assert shown_unit == unit
    assert float(digits) == pytest.approx(value, rel=6e-3)
