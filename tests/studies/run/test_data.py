"""What `data check` tells of a corpus, and that it is what `start` says of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

import run_study
from model.data.preflight import DataError, check
from studies.file.spec import load
from studies.run import data

RATE = 22050
STUDY = """
name = "mine"
question = "Is it the same?"
seed = 1
[corpus]
source = "folder"
path = {path}
held_out = 4
{corpus}
[model]
size = "small"
{model}
[budget]
trials = 1
[objective]
steps = 10
measure_every = 10
sentences = 2
speak = {speak}
"""


class Mine:
    """A user's recordings, 24 of them, and what the program says of them."""

    def __init__(self, path, capsys):
        self.path, self.capsys = path, capsys
        (path / "mine" / "wavs").mkdir(parents=True)
        self.texts = {
            f"c{number:02d}": "these are a few words " + "abcdefghijklmnopqrstuvwxyz"[number]
            for number in range(24)
        }
        for number, name in enumerate(self.texts):
            self.sound(name, 2.0 + number / 50)
        self.write()

    def sound(self, name, seconds):
        wave = np.random.default_rng(int(name[1:])).uniform(-0.2, 0.2, round(seconds * RATE))
        soundfile.write(self.path / "mine" / "wavs" / f"{name}.wav", wave, RATE)

    def write(self):
        lines = [f"{name}|{text}\n" for name, text in self.texts.items()]
        (self.path / "mine" / "metadata.csv").write_text("".join(lines), "utf-8")

    def study(self, corpus="", model="", speak="some other words"):
        folder = json.dumps(str(self.path / "mine"))
        file = self.path / "mine.toml"
        file.write_text(STUDY.format(path=folder, corpus=corpus, model=model, speak=json.dumps(speak)))
        return str(file)

    def check(self, *arguments, code=0):
        """Lines of stdout, and all of stderr."""
        command = ["--home", str(self.path / "runs"), "data", "check", str(self.path / "mine"), *arguments]
        assert run_study.main(command) == code
        told = self.capsys.readouterr()
        return told.out.splitlines(), told.err

    def started(self, study):
        """What `start` says of the corpus before it trains: its refusal, or its warnings."""
        warnings = []
        (self.path / "home").mkdir(exist_ok=True)
        data.load(load(study), self.path / "home", lambda *_: None, warnings.append)
        return warnings

    def refused(self, study):
        with pytest.raises(DataError) as refusal:
            self.started(study)
        return str(refusal.value)


@pytest.fixture
def mine(tmp_path, capsys):
    return Mine(tmp_path, capsys)


def without_listing(text):
    return [
        line
        for line in text.splitlines()
        if "checking clips" not in line and not line.endswith(("-problems.txt", "-check.txt"))
    ]


def test_what_start_refuses_is_refused_by_the_check_in_the_same_words(mine):
    spoilt = {
        "too few frames": lambda: [mine.sound(name, 0.42) for name in list(mine.texts)[:6]],
        "held out": lambda: mine.texts.update({name: f"word {int(name[1:]) // 2}" for name in mine.texts}),
        "speaker column": lambda: mine.texts.update({name: f"{text}|7" for name, text in mine.texts.items()}),
    }
    for kind, spoil in spoilt.items():
        spoil()
        mine.write()
        refusal = mine.refused(mine.study())
        assert kind in refusal
        _, told = mine.check("--study", mine.study(), code=5)
        assert without_listing(told) == without_listing(refusal)


def test_without_a_study_clips_are_checked_as_for_a_small_voice(mine):
    for number, name in enumerate(mine.texts):
        mine.sound(name, 0.6 + number / 500)
    lines, told = mine.check(code=5)
    assert "24 too few frames" in told and "4 a step" in lines[0]
    assert "Checked as for a small voice, up to 4 frames a step. For another: --study." in lines
    mine.check("--study", mine.study(model="max_frames_per_step = 1"))


def test_the_sample_is_checked_with_the_corpus_of_a_study(mine):
    assert mine.check("--study", mine.study())[0][-1] == "24 of 24 clips are good, 0 problems."
    assert "№" in mine.check("--study", mine.study(speak="№ 5"), code=2)[1]
    spec = load(mine.study())
    held_out = check(mine.path / "mine", spec.voice.corpus_settings()).held_out
    trained = next(text for name, text in mine.texts.items() if name not in held_out)
    assert "trained on it" in mine.check("--study", mine.study(speak=trained), code=2)[1]


def test_what_a_study_says_is_not_said_twice(mine):
    assert "--study" in mine.check("--study", mine.study(), "--language", "ru", code=2)[1]


def test_problems_are_shown_by_kind_with_their_mend_and_all_of_them_in_a_file(mine):
    for name in list(mine.texts)[:9]:
        (mine.path / "mine" / "wavs" / f"{name}.wav").unlink()
    mine.texts |= {"x1": "words", "x2": "the year 1961"}
    mine.write()
    lines, told = mine.check(code=5)
    assert [line.split(":")[0] for line in lines[:4]] == [
        "line 1",
        "line 2",
        "line 3",
        "... 11 missing audio in all",
    ]
    assert lines[4] == "  Put these recordings into wavs/, or take their rows out."
    assert lines[5].startswith("1 text is spoken in other words than are written")
    assert lines[6].endswith("'the year 1961' is spoken 'the year nineteen sixty-one'")
    [listing] = (mine.path / "runs").iterdir()
    assert f"All of them: {listing}" in lines and f"All 11 problems: {listing}" in told
    assert sum(line.startswith("line ") for line in listing.read_text("utf-8").splitlines()) == 11


def test_clips_beyond_ones_own_limits_are_left_out_and_counted_by_both(mine):
    for name in list(mine.texts)[:6]:
        mine.sound(name, 5)
    study = mine.study("max_seconds = 4.0")
    lines, _ = mine.check("--study", study)
    assert "18 of 24 clips are good, 6 problems." in lines
    assert "  Left out, as max_seconds = 4 asks." in lines
    assert "skipped, of 24 clips: 6 too long (c00, c01, c02, ...)" in mine.started(study)[0]


def test_a_start_tells_of_numbers_that_are_spoken_by_rule(mine):
    mine.texts["c05"] = "these are 2 new words"
    mine.write()
    warning, *_ = mine.started(mine.study())
    assert warning.startswith("1 text is spoken in other words") and warning.endswith("mine-problems.txt")
    assert "'these are two new words'" in (mine.path / "home" / "mine-problems.txt").read_text("utf-8")


def test_the_check_and_a_study_of_one_name_list_apart_and_take_their_old_listings_away(mine):
    mine.texts["c05"] = "these are 2 new words"
    mine.write()
    started, checked = mine.path / "home" / "mine-problems.txt", mine.path / "home" / "mine-check.txt"
    mine.started(mine.study())
    before = started.read_bytes()
    workdir = [
        "--home",
        str(mine.path / "home"),
        "data",
        "check",
        str(mine.path / "mine"),
        "--language",
        "en",
    ]
    assert run_study.main(workdir) == 0
    assert checked.exists() and started.read_bytes() == before
    report = check(mine.path / "mine", load(mine.study()).voice.corpus_settings())
    for path in (started, checked):
        data.write_listing(replace(report, problems=(), notes=()), path)
        assert not path.exists()


def test_nothing_of_the_users_is_changed(mine):
    before = {path: path.read_bytes() for path in (mine.path / "mine").rglob("*") if path.is_file()}
    mine.check()
    mine.started(mine.study())
    assert {path: path.read_bytes() for path in (mine.path / "mine").rglob("*") if path.is_file()} == before
