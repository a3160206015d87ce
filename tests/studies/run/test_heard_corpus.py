"""`data check --listen` hears whether clips say their texts, and whether one person says them."""

import shutil
from dataclasses import replace

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import run_study
from model.data.corpora import espeak
from model.data.preflight import Row
from objectives.similarity import WIDTH
from studies.run.heard_corpus import ONE_VOICE, HeardCorpus, fitting_rates, rarer_voice, spread

CLIPS = 24


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return espeak.prepare(tmp_path_factory.mktemp("spoken") / "mine", "en", CLIPS, 0)


@pytest.fixture
def check(tmp_path, corpus, whisper):
    """Checks the corpus with these texts for its clips, in their order."""

    def run(texts, *options, code=0):
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / "wavs").symlink_to(corpus / "wavs")
        names = list(texts_of(corpus))
        (folder / "metadata.csv").write_text("".join(f"{n}|{t}\n" for n, t in zip(names, texts, strict=True)))
        command = ["--home", str(tmp_path / "runs"), "data", "check", str(folder), *options]
        assert run_study.main([*command, "--recognizer", str(whisper)]) == code

    return run


def texts_of(corpus):
    return dict(line.split("|") for line in (corpus / "metadata.csv").read_text("utf-8").splitlines())


def test_right_texts_pass(check, corpus, capsys):
    check(texts_of(corpus).values(), "--listen", "8")
    assert "8 clips were heard" in capsys.readouterr().out  # espeak-ng is misheard now and then


def test_texts_that_have_slipped_are_refused_before_anything_trains(check, corpus, capsys):
    texts = list(texts_of(corpus).values())
    check([*texts[1:], texts[0]], "--listen", "8", code=5)
    told = capsys.readouterr()
    assert "Texts do not fit their recordings" in told.err or "shifted text" in told.err


def test_a_single_wrong_text_is_told_and_listed_and_refuses_nothing(check, corpus, tmp_path, capsys):
    texts = list(texts_of(corpus).values())
    check([*texts[:-1], "seven doctors were sleeping"], "--listen", str(CLIPS))
    told = f"line {CLIPS}: "
    found = next(line for line in capsys.readouterr().out.splitlines() if told in line)
    assert "written 'seven doctors were sleeping', heard " in found
    assert found in (tmp_path / "runs" / "mine-check.txt").read_text("utf-8").splitlines()


def test_recordings_whose_files_tell_another_rate_are_refused_with_the_right_one(
    tmp_path, corpus, whisper, capsys
):
    shutil.copytree(corpus, tmp_path / "mine")
    for path in (tmp_path / "mine" / "wavs").iterdir():
        wave, rate = soundfile.read(path)
        soundfile.write(path, wave, rate // 2)
    command = ["--home", str(tmp_path / "runs"), "data", "check", str(tmp_path / "mine"), "--listen", "6"]
    command += ["--resample-from", "11025", "--recognizer", str(whisper)]
    assert run_study.main(command) == 5
    told = capsys.readouterr().err
    assert "another rate than their files say" in told
    fitting = told.split("Played at ")[1].split(" Hz")[0].split(" or ")
    assert "22050" in fitting and f"asetrate={fitting[0]},aresample=22050" in told


def test_recordings_of_two_rates_are_heard(tmp_path, corpus, whisper, capsys):
    """The wanted one and that of --resample-from, which the check takes both."""
    shutil.copytree(corpus, tmp_path / "mine")
    for number, path in enumerate(sorted((tmp_path / "mine" / "wavs").iterdir())):
        if number % 2:
            wave, rate = soundfile.read(path)
            soundfile.write(path, librosa.resample(wave, orig_sr=rate, target_sr=16000), 16000)
    command = ["--home", str(tmp_path / "runs"), "data", "check", str(tmp_path / "mine"), "--listen", "2"]
    assert run_study.main([*command, "--resample-from", "16000", "--recognizer", str(whisper)]) == 0
    assert "2 clips were heard" in capsys.readouterr().out


def test_another_voice_is_listed_as_rows_that_can_be_taken_out():
    rows = [Row(f"c{n}", "some words", None, "", n) for n in range(1, 6)]
    heard = HeardCorpus(30, (), tuple(rows), 22050, 22050, ())
    [note] = heard.notes()
    assert note.lines[0] == "line 1: c1: 'some words'" and len(note.lines) == 5
    assert "  ... 5 in all" in heard.told()
    assert not list(replace(heard, voices=()).notes())


def test_of_long_clips_alone_the_rate_is_not_judged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(11 * 16000), 16000)
    rows = [Row(str(n), "some words", tmp_path / "a.wav", "", n) for n in range(9)]
    assert fitting_rates(rows, 16000, None, lambda *_: None) is None


@given(st.integers(1, 60), st.integers(1, 200))
def test_what_is_heard_is_spread_over_all_clips(count, clips):
    rows = [Row(str(n), "", None, "", n) for n in range(clips)]
    places = [int(row.id) for row in spread(rows, count)]
    assert len(set(places)) == len(places) == min(count, clips)
    assert places == sorted(places) and (len(places) == 1 or places[-1] == clips - 1)


@given(st.integers(0, 1000), st.integers(20, 60), st.floats(0.0, 0.5), st.floats(0.0, 0.95))
def test_two_voices_are_told_from_one_by_their_likeness(seed, clips, share, likeness):
    """Clips of a voice are as like each other as those of Festvox's reader are (0.78 in the median)."""
    random = np.random.default_rng(seed)
    one, noise = np.linalg.qr(random.normal(size=(WIDTH, 2)))[0].T
    other = likeness * one + np.sqrt(1 - likeness**2) * noise
    others = round(share * clips)
    means = np.array([other] * others + [one] * (clips - others))
    vectors = means + random.normal(size=means.shape) * 0.5 / np.sqrt(WIDTH)
    found = rarer_voice(vectors.astype(np.float32))
    if likeness > 0.9 or others < 0.1 * clips - 1:
        assert not found
    if likeness < ONE_VOICE - 0.3 and 0.15 * clips < others < 0.45 * clips:
        assert found == list(range(others))
