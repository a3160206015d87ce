"""Long recordings become a corpus that says what is written: really cut, and really heard."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import run_study
from model.data.metadata import PLAIN_ID, key
from model.speech.audio import MelSettings, mel_spectrogram
from model.speech.espeak import EspeakVoice
from objectives.ear import Ear, EarError
from studies.run import recordings

RATE = 22050
SENTENCES = (
    "The happy child draws a cup.",
    "Tomorrow we go to the big market.",
    "My brother has three white horses.",
    "Can the teacher keep a map?",
    "The old garden is full of yellow flowers.",
    "We listen to music every evening.",
    "The train leaves the station at noon.",
)
SKIPPED, MISREAD, TWICE = 2, 4, 5
OTHER = "Seven doctors were sleeping in the kitchen."


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with a recording of the sentences, not all as they are written, and their script."""
    folder, voice = tmp_path_factory.mktemp("source"), EspeakVoice("en-us")
    pause, waves = np.zeros(RATE * 6 // 10, np.int16), []
    for number, text in enumerate(SENTENCES):
        said = {SKIPPED: [], MISREAD: [OTHER], TWICE: [text, text]}.get(number, [text])
        waves += [part for words in said for part in (pause, voice.say(words))]
    soundfile.write(folder / "long one.flac", np.concatenate([*waves, pause]), RATE)
    (folder / "long one.txt").write_text("\n".join(SENTENCES), "utf-8")
    return folder


@pytest.fixture(scope="module")
def make(source, whisper):
    def run(folder, *options, code=0):
        command = ["data", "make", str(source), "-o", str(folder), "--recognizer", str(whisper), *options]
        assert run_study.main(command) == code
        return folder

    return run


def rows_of(folder):
    with open(folder / "cuts.csv", encoding="utf-8", newline="") as table:
        return list(csv.DictReader(table))


def corpus_of(folder):
    lines = (folder / "metadata.csv").read_text("utf-8").splitlines()
    return dict(line.split("|") for line in lines)


@pytest.fixture(scope="module")
def made(make, tmp_path_factory):
    return make(tmp_path_factory.mktemp("made") / "mine")


def test_what_was_read_as_it_is_written_becomes_clips_and_nothing_else_does(made):
    corpus = corpus_of(made)
    plain = [text for n, text in enumerate(SENTENCES) if n not in (SKIPPED, MISREAD, TWICE)]
    assert set(plain) <= set(corpus.values()) <= {*plain, SENTENCES[TWICE]}
    for name in corpus:
        wave, rate = soundfile.read(made / "wavs" / f"{name}.wav")
        assert rate == RATE and 1.0 < len(wave) / rate < 5.0
    out = {row["text"]: row["left_out"] for row in rows_of(made) if row["left_out"] and row["text"]}
    assert out.keys() >= {SENTENCES[SKIPPED], SENTENCES[MISREAD]}
    assert sorted(f.stem for f in (made / "wavs").iterdir()) == sorted(corpus)


def test_edges_are_where_speech_begins_and_ends(made):
    for name in corpus_of(made):
        wave, _ = soundfile.read(made / "wavs" / f"{name}.wav")
        loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max()) / RATE
        assert loud[0] < 0.15 and len(wave) / RATE - loud[-1] < 0.25


def test_clips_are_equally_loud(made):
    import pyloudnorm

    found = [soundfile.read(made / "wavs" / f"{name}.wav")[0] for name in corpus_of(made)]
    loudness = [pyloudnorm.Meter(RATE).integrated_loudness(wave) for wave in found]
    assert max(loudness) - min(loudness) < 1.0


def test_a_finished_corpus_is_not_made_again(make, made, capsys):
    before = (made / "metadata.csv").read_text("utf-8")
    make(made, code=5)
    assert "holds a corpus already" in capsys.readouterr().err
    assert (made / "metadata.csv").read_text("utf-8") == before


@pytest.mark.parametrize("place", ["wavs", "left_out"])
def test_a_folder_with_recordings_of_ones_own_is_left_alone(make, tmp_path, capsys, place):
    (tmp_path / place).mkdir()
    (tmp_path / place / "mine.wav").write_bytes(b"mine")
    make(tmp_path, code=5)
    assert "was not made here" in capsys.readouterr().err
    assert (tmp_path / place / "mine.wav").read_bytes() == b"mine"


@given(st.lists(st.text(min_size=1, max_size=6).filter(lambda t: "/" not in t and "\0" not in t), max_size=6))
def test_clips_of_different_recordings_never_have_one_id(names):
    found = recordings.ids_of([Path(f"{name}.wav") for name in [*names, *names]])
    assert len({key(stem) for stem in found}) == len(found) == 2 * len(names)
    assert all(PLAIN_ID.fullmatch(f"{stem}_0001") for stem in found)


def test_who_was_stopped_listens_to_nothing_twice(make, made, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (made / "heard").rename(tmp_path / "mine" / "heard")
    monkeypatch.setattr(Ear, "words", None)
    try:
        assert corpus_of(make(tmp_path / "mine")) == corpus_of(made)
    finally:
        (tmp_path / "mine" / "heard").rename(made / "heard")


def test_without_a_script_texts_are_drafts(source, whisper, tmp_path, capsys):
    sound = tmp_path / "alone.flac"
    sound.write_bytes((source / "long one.flac").read_bytes())
    command = ["data", "make", str(sound), "-o", str(tmp_path / "mine"), "--recognizer", str(whisper)]
    assert run_study.main(command) == 0
    assert "drafts" in capsys.readouterr().out
    assert "The texts are drafts" in (tmp_path / "mine" / "clips.html").read_text("utf-8")
    assert len(corpus_of(tmp_path / "mine")) > 4


@given(
    st.lists(st.text("abc dé,.", min_size=1).filter(str.strip), max_size=5), st.sampled_from(["srt", "vtt"])
)
def test_of_subtitles_only_their_text_is_read(tmp_path_factory, texts, kind):
    file = tmp_path_factory.mktemp("scripts") / f"a.{kind}"
    cues = [f"{n}\n00:00:0{n}.000 --> 00:00:0{n}.900\n<i>{text}</i>\n" for n, text in enumerate(texts)]
    file.write_text(("WEBVTT\n\n" if kind == "vtt" else "") + "\n".join(cues), "utf-8")
    assert recordings.read_script(file).split() == " ".join(texts).split()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.xyz", b"no sound", "ffmpeg"), ("b.wav", b"", "ffmpeg")],
)
def test_what_is_no_sound_is_refused_in_words(tmp_path, monkeypatch, whisper, capsys, name, content, said):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / name).write_bytes(content)
    command = [
        "data",
        "make",
        str(tmp_path / name),
        "-o",
        str(tmp_path / "out"),
        "--recognizer",
        str(whisper),
    ]
    assert run_study.main(command) == 5
    assert said in capsys.readouterr().err


def test_without_pyloudnorm_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(EarError, match=r"'\.\[ear\]'"):
        recordings.evened(np.ones(RATE, np.float32))


def test_a_folder_without_recordings_is_refused_in_words(tmp_path, whisper, capsys):
    command = ["data", "make", str(tmp_path), "-o", str(tmp_path / "out"), "--recognizer", str(whisper)]
    assert run_study.main(command) == 5
    assert "There are no recordings" in capsys.readouterr().err


@pytest.fixture(scope="module")
def said():
    """A wave of speech and pauses, and where somebody speaks."""
    voice, waves, speech = EspeakVoice("en-us"), [np.zeros(RATE, np.float32)], []
    for text in SENTENCES:
        wave = voice.say(text).astype(np.float32) / 32768
        start = sum(map(len, waves)) / RATE
        speech.append((start, start + len(wave) / RATE))
        waves += [wave, np.zeros(RATE // 2, np.float32)]
    return np.concatenate(waves), speech


@given(st.floats(20, 40), st.integers(0, 50))
@settings(max_examples=8)
def test_noise_goes_and_speech_stays(said, below, seed):
    """By the spectrum that a voice learns: nearer to the sound without the noise, by a quarter at least."""
    wave, speech = said
    noise = np.random.default_rng(seed).normal(0, 0.1 * 10 ** (-below / 20), len(wave)).astype(np.float32)
    clean, before, after = (
        mel_spectrogram(sound, MelSettings())
        for sound in (wave, wave + noise, recordings.denoised(wave + noise, speech))
    )
    assert np.abs(after - clean).mean() < 0.75 * np.abs(before - clean).mean()


def test_without_pauses_nothing_is_known_of_the_noise(said, tmp_path, whisper, capsys, monkeypatch):
    wave, _ = said
    assert recordings.denoised(wave, [(0.0, len(wave) / RATE)]) is None
    soundfile.write(tmp_path / "one.wav", wave, RATE)
    monkeypatch.setattr(recordings, "speech_in", lambda sound: [(0.0, len(wave) / RATE)])
    command = ["data", "make", str(tmp_path / "one.wav"), "-o", str(tmp_path / "mine"), "--denoise"]
    assert run_study.main([*command, "--recognizer", str(whisper)]) == 5
    assert "without --denoise" in capsys.readouterr().err


def test_without_noisereduce_it_is_said_before_anything_is_heard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "noisereduce", None)
    making = recordings.Making(denoises=True)
    with pytest.raises(EarError, match="noisereduce is not installed"):
        recordings.make([(tmp_path / "none.wav", None)], tmp_path / "mine", None, making, lambda *_: None)


def test_noisy_recordings_are_cut_as_well_and_come_out_quieter(source, whisper, tmp_path):
    wave, rate = soundfile.read(source / "long one.flac", dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.01, len(wave)).astype(np.float32)
    soundfile.write(tmp_path / "noisy.wav", wave + noise, rate)
    (tmp_path / "noisy.txt").write_text("\n".join(SENTENCES), "utf-8")
    quietest = {}
    for options in ([], ["--denoise"]):
        folder = tmp_path / f"mine{len(options)}"
        command = ["data", "make", str(tmp_path / "noisy.wav"), "-o", str(folder)]
        assert run_study.main([*command, "--recognizer", str(whisper), *options]) == 0
        assert len(corpus_of(folder)) >= 3
        clips = [soundfile.read(path)[0] for path in sorted((folder / "wavs").iterdir())]
        quietest[len(options)] = np.median([np.quantile(np.abs(clip), 0.02) for clip in clips])
    assert quietest[1] < 0.5 * quietest[0]


def test_one_phrase_that_is_read_otherwise_costs_its_neighbours_nothing(whisper, tmp_path):
    phrases = [
        "My brother has three white horses,",
        "they never listen to loud music,",
        "and the train is late.",
    ]
    voice, pause = EspeakVoice("en-us"), np.zeros(RATE * 4 // 10, np.int16)
    said = [phrases[0], "somebody painted every old window,", phrases[2]]
    waves = [part for words in said for part in (pause, voice.say(words))]
    soundfile.write(tmp_path / "one.wav", np.concatenate([*waves, pause]), RATE)
    (tmp_path / "one.txt").write_text(" ".join(phrases), "utf-8")
    command = ["data", "make", str(tmp_path / "one.wav"), "-o", str(tmp_path / "mine")]
    assert run_study.main([*command, "--recognizer", str(whisper)]) == 0
    assert sorted(corpus_of(tmp_path / "mine").values()) == sorted([phrases[0], phrases[2]])
    left_out = [row["text"] for row in rows_of(tmp_path / "mine") if row["left_out"] and row["text"]]
    assert left_out == [phrases[1]]
