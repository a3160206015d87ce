"""`new` writes a study file for somebody's recordings that can be started as it is."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import run_study
from model.data.corpora import espeak
from studies.file.spec import load
from studies.run import first_study
from studies.run.first_study import Plan

CLIPS = 40


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return espeak.prepare(tmp_path_factory.mktemp("own") / "my recordings", "en", CLIPS, 0)


@pytest.fixture
def new(tmp_path, recordings, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments, folder=recordings, code=0):
        command = [
            "--home",
            str(tmp_path / "runs"),
            "new",
            *arguments,
            "--from",
            str(folder),
            "--device",
            "cpu",
        ]
        assert run_study.main(command) == code
        return tmp_path

    return run


def test_the_file_is_a_study_of_these_recordings_and_of_the_hours_given(new, recordings, capsys):
    spec = load(str(new("mine", "--hours", "3") / "mine.toml"))
    told = capsys.readouterr().out
    assert spec.name == "mine"
    assert spec.corpus.path == str(recordings)
    texts = dict(line.split("|") for line in (recordings / "metadata.csv").read_text().splitlines())
    assert spec.objective.speak in texts.values()
    assert spec.finish.steps > spec.objective.steps >= 4 * spec.objective.measure_every
    assert f"{CLIPS - 16} clips to train on" in told and "run_study.py start mine.toml" in told
    assert set(spec.space) == set(load("quickstart").space)


def test_recordings_of_another_rate_need_no_more(new, recordings, tmp_path):
    folder = tmp_path / "slow"
    shutil.copytree(recordings, folder)
    for wave in (folder / "wavs").iterdir():
        samples, rate = soundfile.read(wave)
        soundfile.write(wave, np.repeat(samples, 2), 2 * rate)
    assert load(str(new("slow", folder=folder) / "slow.toml")).corpus.resample_from == 44100


def test_what_is_there_is_not_written_over(new, tmp_path, capsys):
    (tmp_path / "mine.toml").write_text("mine")
    new("mine", code=2)
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/b", "", "a" * 65])
def test_a_name_that_names_no_folder_is_refused_before_anything_is_read(new, name, capsys):
    new(name, code=2)
    assert "is no name of a study" in capsys.readouterr().err


def test_recordings_that_cannot_be_trained_on_are_refused_in_the_words_of_the_check(
    new, recordings, tmp_path, capsys
):
    folder = tmp_path / "bad"
    shutil.copytree(recordings, folder)
    shutil.rmtree(folder / "wavs")
    (folder / "wavs").mkdir()
    new("bad", folder=folder, code=5)
    assert "missing audio" in capsys.readouterr().err
    assert not (tmp_path / "bad.toml").exists()


@given(st.floats(0.1, 1000), st.floats(0.01, 20))
def test_a_plan_takes_the_hours_that_it_is_given_or_is_the_least_there_is(hours, seconds):
    plan = Plan.of(hours, seconds)
    least = Plan(first_study.MEASURES * first_study.ROUND, first_study.ROUND, 4 * first_study.ROUND)
    rounding = first_study.ROUND * (first_study.TRIALS + 1) * seconds * first_study.BESIDE_STEPS / 3600
    assert plan.trial == first_study.MEASURES * plan.measure_every <= plan.finish
    assert plan.hours(seconds) <= max(hours + rounding, 2 * least.hours(seconds))
    if replace(plan, finish=0).trial > least.trial:
        assert plan.hours(seconds) >= hours - rounding
