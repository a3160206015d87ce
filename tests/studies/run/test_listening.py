"""A voice is listened to while it trains, which changes nothing of it; kills lose nothing that was heard."""

import json
import os
import re
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forked import CONTEXT
from small_study import STUDY, changed

import run_study
from model import training
from model.speech.audio import MelSettings
from objectives import ear, mos
from objectives.listening import FOLDER, Hearing, Listener, Means
from objectives.tacotron2 import value_by

PATIENCE_SECONDS = 200
SMALL = changed(STUDY, trials=1, steps=12, measure_every=4, validate_every=4, sentences=2)


def live(folder, recognizer, arguments):
    """The whole program, in a process to whose rules a voice is aligned from its first step on; without a
    recognizer, one that has not the extra for it."""
    os.chdir(folder)
    if recognizer is None:
        os.environ.pop(ear.VARIABLE, None)
        ear.is_installed = lambda: False
    else:
        os.environ[ear.VARIABLE] = str(recognizer)
    training.ALIGNED_SHARE = 0.0
    said = os.open("said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.exit(run_study.main(arguments))


class Home:
    def __init__(self, folder, corpora, study=SMALL):
        folder.mkdir()
        (folder / "small.toml").write_text(study)
        (folder / "runs").mkdir()
        (folder / "runs" / "corpora").symlink_to(corpora)
        self.folder = folder

    def begin(self, recognizer, *arguments):
        begun = CONTEXT.Process(
            target=live, args=(self.folder, recognizer, arguments or ("start", "small.toml")), daemon=True
        )
        begun.start()
        return begun

    def run(self, recognizer, *arguments):
        """The exit code."""
        begun = self.begin(recognizer, *arguments)
        begun.join(PATIENCE_SECONDS)
        assert begun.exitcode is not None, self.said
        return begun.exitcode

    @property
    def said(self):
        return (self.folder / "said.log").read_text()

    def measures(self, number=0):
        (self.folder / "said.log").write_text("")
        assert self.run("none", "trials", "small", "-f", "json") == 0
        trial = json.loads(self.said)[number]
        return [{k: v for k, v in row.items() if k != "seconds"} for row in trial["user_attrs"]["measures"]]


@pytest.fixture
def corpora(once):
    def spoken(folder):
        (folder / "corpora").mkdir()
        assert Home(folder / "first", folder / "corpora").run("none") == 0

    return once("corpora-of-listening", spoken) / "corpora"


HEARD = ("cer", "wer", "mos", "similarity")


def heard(rows):
    return [{name: row.get(name) for name in ("step", "cer", "wer", "mos")} for row in rows]


def unheard(rows):
    return [{name: v for name, v in row.items() if not name.endswith(HEARD)} for row in rows]


def test_what_is_heard_beside_training_is_in_the_measures_also_after_a_kill(tmp_path, corpora, whisper):
    alone, whole, killed = (Home(tmp_path / name, corpora) for name in ("alone", "whole", "killed"))
    assert alone.run("none") == 0
    assert whole.run(whisper) == 0
    assert "known now: letters not understood (CER)" in whole.said and "CER of the recordings" in whole.said
    rows = whole.measures()
    assert [row["step"] for row in rows] == [4, 8, 12]
    assert all(0.0 <= row["cer"] <= 1.0 and 0.0 <= row["wer"] <= 1.0 for row in rows)
    assert all(mos.WORST <= row["mos"] <= mos.BEST for row in rows) == mos.is_installed()
    marks = [{name: row[name] for name in row if name.startswith("recordings_")} for row in rows]
    assert marks[0] == marks[1] == marks[2] and all(f"recordings_{k}" in marks[0] for k in ("cer", "wer"))
    assert unheard(rows) == alone.measures() == unheard(alone.measures())  # training is as it was

    begun, until = killed.begin(whisper), time.monotonic() + PATIENCE_SECONDS
    said = killed.folder / "said.log"
    while not (said.exists() and "waiting until the last measure" in killed.said):  # all steps are trained
        assert begun.is_alive() and time.monotonic() < until
        time.sleep(0.01)
    os.kill(begun.pid, signal.SIGKILL)
    begun.join()
    assert list(killed.folder.glob(f"runs/studies/small/trial-*/{FOLDER}/12.npz"))
    assert killed.run(whisper) == 0
    assert killed.measures() == rows


def test_that_nobody_can_listen_is_said_before_the_first_trial(tmp_path, corpora):
    home = Home(tmp_path / "home", corpora)
    assert home.run(None) == 0
    assert home.said.index(ear.NOT_INSTALLED.splitlines()[1]) < home.said.index("trial 0")


def test_a_trial_that_goes_on_has_what_was_heard_of_the_one_before(tmp_path, corpora, whisper):
    home = Home(tmp_path / "home", corpora)
    assert home.run(whisper) == 0
    before = home.measures()
    [folder] = home.folder.glob(f"runs/studies/small/trial-*/{FOLDER}")
    (folder / "notes.json").write_text("somebody's own")
    assert home.run(whisper, "resume", "small", "--finish", "20") == 0
    assert re.search(rf"│ recordings +│.* {before[0]['recordings_cer']:.4g} +│", home.said)
    after = home.measures(1)
    upto = [row for row in before if row["step"] <= after[-1]["step"]]
    assert after[: len(upto)] == upto and after[-1]["step"] == 20
    assert all("cer" in row for row in after)


def test_trials_are_compared_by_ear_where_the_study_says_so(tmp_path, corpora, whisper):
    home = Home(tmp_path / "home", corpora, SMALL.replace("draws = 1", 'draws = 1\nvalue = "cer"'))
    assert home.run("none") == 2
    assert 'objective.value = "cer"' in home.said and "Install the extra ear" in home.said
    assert home.run(whisper) == 0
    assert " CER" in home.said and "different sentence" not in home.said
    rows = home.measures()
    assert [row["value"] for row in rows] == [row["cer"] for row in rows]
    assert all(row["distance"] > 1.0 and row["spread"] is None for row in rows)


def test_a_voice_that_is_not_aligned_has_the_worst_value_by_ear():
    assert (value_by("cer", {}), value_by("mos", {}), value_by("heard", {})) == (1.0, 4.0, 1.04)
    better, worse = ({"cer": 0.2, "wer": 0.5, "mos": m} for m in (3.0, 2.0))
    assert value_by("heard", better) < value_by("heard", worse)
    assert value_by("mos", better) == 2.0 and value_by("cer", worse) == 0.2


@pytest.fixture
def listener():
    told = []
    made = Listener(Means("/no/recognizer", "en", "griffin-lim", MelSettings()), told.append)
    made.told = told
    yield made
    made.close()


def test_a_recognizer_that_cannot_be_loaded_holds_nobody_up(tmp_path, listener):
    mel = np.full((20, 80), -5.0, np.float32)
    listener.put(tmp_path, 4, [mel], [mel], ["a dog"])
    started = time.monotonic()
    assert listener.found(tmp_path, seconds=60.0) == {}
    assert time.monotonic() - started < 60.0
    assert listener.told[-1] == "not heard: what the voice said at step 4"


def test_files_of_others_in_the_folder_are_left_alone(tmp_path, listener):
    place = tmp_path / FOLDER
    place.mkdir()
    for name, text in (("notes.json", "{}"), ("notes.npz", ""), ("8.json", "{"), ("4.json", '{"cer": 0.5}')):
        (place / name).write_text(text)
    assert listener.found(tmp_path, seconds=0.0) == {4: {"cer": 0.5}}
    assert listener.found(Path("/no/folder"), seconds=1.0) == {}


def test_without_the_predictor_no_mos_is_said():
    class Heard:
        cer, wer = 0.25, 0.5

    mel = np.zeros((3, 80))
    found = Hearing(lambda *_: Heard, None, None, lambda mel: mel[:, 0], 22050)([mel], [mel], ["a"])
    assert found == {"cer": 0.25, "wer": 0.5, "recordings_cer": 0.25, "recordings_wer": 0.5}


def test_recordings_are_heard_once_for_all_voices():
    vocoded = []

    class Heard:
        cer, wer = 0.25, 0.5

    hearing = Hearing(lambda *_: Heard, None, None, lambda mel: vocoded.append(len(mel)) or mel[:, 0], 22050)
    voices, recordings = [np.zeros((frames, 80)) for frames in (3, 4)], [np.zeros((9, 80))]
    found = [hearing([voice], recordings, ["a"]) for voice in voices]
    assert found[0] == found[1] and sorted(vocoded) == [3, 4, 9]
    assert hearing(voices[:1], (), ["b"]) == {"cer": 0.25, "wer": 0.5}  # left by an earlier version
    assert hearing(voices[:1], recordings, ["b"]) == found[0] and sorted(vocoded) == [3, 3, 3, 4, 9, 9]
