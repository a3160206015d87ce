"""The story of a study as one HTML file: complete, without anything from elsewhere, and safe."""

import base64
import re
from contextlib import closing
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import optuna
import pytest
import soundfile
from PIL import Image

from dashboards.pages.records import Records
from smart_tuner.notify.telegram.messages import message
from smart_tuner.repair.rule import Entry
from smart_tuner.store.storage import open_storage
from studies.file.spec import load
from studies.report import facts
from studies.report import summary as report
from studies.report.single_page import page
from studies.run.study import open_study

EMPTY = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags, self.text = [], [], set(), ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += text


def finish(study, value, state=None, **params):
    study.enqueue_trial(params)
    trial = study.ask()
    trial.set_user_attr("measures", [{**MEASURED, "step": step, "value": value} for step in (100, 200)])
    for name in params:
        trial.suggest_float(name, 1e-4, 1e-1)
    for step in (100, 200):
        trial.report(value + 100 / step, step)
    if state is None:
        study.tell(trial, value)
    else:
        trial.set_user_attr("reason", "step 200: <behind> the other trials")
        study.tell(trial, state=state)


MEASURED = {"failure_share": 0.0, "aligned_share": 1.0, "shortest": 0.9, "longest": 1.1, "seconds": 1.0}


@pytest.fixture
def study(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path / 'study.db'}")) as storage:
        study = open_study(load("quickstart"), storage)
        study.set_user_attr("yardstick", {"cap": 10.0, "ceiling": 1.5})
        yield optuna.load_study(study_name=study.study_name, storage=storage)


@pytest.fixture
def sample(tmp_path):
    wave = 0.3 * np.sin(np.arange(22050) / 20)
    soundfile.write(tmp_path / "sample.wav", wave, 22050)
    Image.new("RGB", (60, 40), "red").save(tmp_path / "sample.png")
    return str(tmp_path / "sample")


def test_it_holds_everything_itself_and_its_sound_plays(study, sample, tmp_path):
    for number in range(24):
        finish(study, 6.0 + number, learning_rate=1e-3 * (number + 1))
    finish(study, 9.5, optuna.trial.TrialState.PRUNED, learning_rate=5e-2)
    repair = Entry("repair", 150, "poor_alignment", 5, 8, "score 0.05 < 0.3", action="guide <it>", seq=1)
    verdict = Entry("verdict", 250, "poor_alignment", 5, 8, "", verdict="improved", parent=1, seq=2)
    (tmp_path / "trial-0002").mkdir()
    for entry, colour in ((repair, "blue"), (verdict, "green")):
        Image.new("RGB", (30, 20), colour).save(tmp_path / "trial-0002" / entry.picture)
    ratings = [{"trial": 0, "ratings": 2, "mean": 4.5}]
    text = page(study, load("quickstart"), sample, [(2, repair), (2, verdict)], ratings, tmp_path)
    shown = Page(text)
    assert shown.links
    assert all(link.startswith("data:") for link in shown.links)
    assert not re.search(
        r"https?:|//[a-z]|url\(|@import|<script|<link|<iframe", re.sub("base64,[A-Za-z0-9+/=]+", "", text)
    )
    [sound] = [link for link in shown.links if link.startswith("data:audio/wav;base64,")]
    wave, rate = soundfile.read(BytesIO(base64.b64decode(sound.partition(",")[2])))
    assert (len(wave), rate) == (22050, 22050)
    pictures = [link for link in shown.links if link.startswith("data:image/png;base64,")]
    sizes = [Image.open(BytesIO(base64.b64decode(p.partition(",")[2]))).size for p in pictures]
    assert sizes == [(60, 40), (30, 20), (30, 20)]
    for part in ("before and after poor_alignment", "Ratings", "4.5"):
        assert part in shown.text, part
    for part in ("Best: trial 0", "6.00 dB", "Which parameters matter", "100%", "<behind>", "guide <it>"):
        assert part in shown.text, part
    assert text.count("<polyline") == 25
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_a_study_without_results_says_so(study, tmp_path):
    shown = Page(page(study, load("quickstart"), None, [], [], tmp_path))
    assert "No trial completed" in shown.text
    assert "Nothing was measured yet" in shown.text
    assert "Nothing was repaired" in shown.text


def test_few_trials_have_no_importance(study, tmp_path):
    for number in range(2):
        finish(study, 6.0 + number, learning_rate=1e-3 * (number + 1))
    assert "too few to tell" in Page(page(study, load("quickstart"), None, [], [], tmp_path)).text


def test_files_that_are_elsewhere_are_said_to_be(study, tmp_path):
    finish(study, 6.0)
    shown = Page(page(study, load("quickstart"), str(tmp_path / "none"), [], [], tmp_path))
    assert "not on this machine" in shown.text
    assert shown.links == []


@pytest.mark.parametrize(("value", "hums"), [(8.6, True), (8.4, False)])  # of a mismatch distance of 10
def test_a_value_near_the_mismatch_distance_is_no_speech_yet_though_nothing_failed(
    study, tmp_path, value, hums
):
    finish(study, value)
    spec, best = load("quickstart"), study.best_trial
    told = {
        "summary": report.summary(study, spec, None),
        "report": report.markdown(study, spec, None, [], []),
        "page": Page(page(study, spec, None, [], [], tmp_path)).text,
        "best": message("best", "en", {"study": "s", **facts.of_new_best(study, 0)}),
        "лучшее": message("best", "ru", {"study": "s", **facts.of_new_best(study, 0)}),
        "end": message("study_end", "en", {"study": "s", **facts.of_study(study, spec)}),
    }
    assert all("failed sentences 0%" in told[kind] for kind in ("summary", "report", "page"))
    for kind, text in told.items():
        assert bool(re.search("no speech yet|не речь", text, re.IGNORECASE)) is hums, kind
    assert report.best_record(study, spec, best)["no_speech_yet"] is hums
    record = Records(study._storage._backend, tmp_path).study("quickstart")
    assert record["best"]["no_speech_yet"] is record["bests"]["unassisted"]["no_speech_yet"] is hums


def test_without_a_mismatch_distance_nothing_is_said_of_speech(study):
    study.set_user_attr("yardstick", {})
    finish(study, 99.0)
    assert "no_speech_yet" not in report.best_record(study, load("quickstart"), study.best_trial)


def test_a_run_ends_with_the_command_that_it_was_given(study):
    finish(study, 6.0)
    spec = load("quickstart")
    told = report.summary(study, spec, None, [("start 'my voices/a.toml' --n-trials 16", "search on")])
    assert "  run_study.py start 'my voices/a.toml' --n-trials 16    search on\n" in told
    assert "search" not in report.summary(study, spec, None)
