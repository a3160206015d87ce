"""What is told of a corpus that keeps no row out: hum, cut off words, rare symbols, texts nearly alike."""

import re

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import iirnotch, lfilter

from model.data.corpora import espeak
from model.data.notes import (
    LEAST_CLIPS_OF_A_SYMBOL,
    LOUDEST_EDGE,
    MOST_HUM,
    Sounds,
    bandwidth,
    edges,
    hum,
    levels,
    longest_pause,
    nearly_alike,
    noise_floor,
    rare_symbols,
)
from model.data.preflight import CorpusSettings, check
from model.speech.audio import read_wave, write_wave

RATE = 22050


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return espeak.prepare(tmp_path_factory.mktemp("spoken") / "mine", "en", 40, 0)


@pytest.fixture(scope="module")
def speech(corpus):
    waves = [read_wave(path, RATE) for path in sorted((corpus / "wavs").iterdir())]
    return [np.pad(wave, RATE // 2) for wave in waves if len(wave) > RATE]


def humming(mains, below, seconds, rate=RATE):
    """A hum with its first harmonics, so many dB below the usual speech."""
    time = np.arange(round(seconds * rate)) / rate
    lines = sum(np.sin(2 * np.pi * mains * k * time) / k for k in (1, 2, 3))
    return (0.1 * 10 ** (-below / 20) * lines).astype(np.float32)


@given(
    st.sampled_from([50, 60]), st.floats(10, 35), st.integers(0, 30), st.sampled_from([16000, 22050, 44100])
)
def test_mains_hum_is_found_with_its_frequency(mains, below, seed, rate):
    noise = np.random.default_rng(seed).normal(0, 1e-4, 3 * rate)
    found = hum(noise + humming(mains, below, 3, rate), rate)
    assert found is not None and found[0] == mains and found[1] > MOST_HUM


@pytest.mark.parametrize("mains", [50, 60])
def test_the_filter_that_is_told_takes_the_hum_away(mains, speech):
    sounds, wave = Sounds(RATE), speech[0] + humming(mains, 20, len(speech[0]) / RATE)[: len(speech[0])]
    sounds.add("one", wave, wave, RATE)
    [note] = sounds.notes()
    bands = re.findall(r"bandreject=f=(\d+):width_type=h:width=(\d+)", note.told)
    assert [int(frequency) for frequency, _ in bands] == [mains, 2 * mains, 3 * mains]
    for frequency, width in bands:
        wave = lfilter(*iirnotch(int(frequency), int(frequency) / int(width), RATE), wave)
    sounds = Sounds(RATE)
    sounds.add("one", wave, wave, RATE)
    assert list(sounds.notes()) == []


@given(st.integers(0, 1000), st.floats(1e-5, 0.3))
def test_noise_does_not_hum(seed, loudness):
    found = hum(np.random.default_rng(seed).normal(0, loudness, 3 * RATE), RATE)
    assert found is not None and found[1] < MOST_HUM


def test_speech_neither_hums_nor_begins_nor_ends_within_a_word(speech):
    sounds = Sounds(RATE)
    for number, wave in enumerate(speech):
        sounds.add(f"clip {number}", wave, wave, RATE)
    assert list(sounds.notes()) == []


@given(st.integers(0, 20), st.floats(0.8, 3.0))
def test_a_long_pause_within_speech_is_told_with_its_length(speech, number, seconds):
    sounds, wave = Sounds(RATE), speech[number]
    middle, pause = len(wave) // 2, np.zeros(round(seconds * RATE), np.float32)
    wave = np.concatenate((wave[:middle], pause, wave[middle:]))
    sounds.add("one", wave, wave, RATE)
    [note] = sounds.notes()
    assert "1 of 1 clips fall silent within" in note.told
    assert seconds - 0.1 < float(re.fullmatch(r"one: ([\d.]+) s", note.lines[0])[1]) < seconds + 0.7


@given(st.integers(0, 20), st.floats(0, 12))
def test_a_noise_that_is_never_quiet_is_told(speech, number, below):
    sounds, wave = Sounds(RATE), speech[number][RATE // 2 : -RATE // 2]
    loudness = np.sqrt(np.square(wave).mean()) * 10 ** (-below / 20)
    noisy = wave + np.random.default_rng(number).normal(0, loudness, len(wave)).astype(np.float32)
    sounds.add("one", noisy, noisy, RATE)
    assert any("noise" in note.told for note in sounds.notes())


@given(st.integers(0, 20), st.floats(0.2, 0.5))
def test_what_was_recorded_at_a_lower_rate_is_told(speech, number, part):
    lower = soxr.resample(soxr.resample(speech[number], RATE, part * RATE), part * RATE, RATE)
    assert bandwidth(lower, RATE) == pytest.approx(part * RATE / 2, rel=0.1)
    for recorded_at, told in ((RATE, True), (round(part * RATE), False)):
        sounds = Sounds(recorded_at)
        sounds.add("one", lower, lower, RATE)
        assert any("frequencies" in note.told for note in sounds.notes()) == told


def test_recordings_at_16_khz_hold_all_that_a_voice_learns(speech):
    sounds = Sounds(RATE)
    for number, wave in enumerate(speech):
        sounds.add(f"{number}", up := soxr.resample(soxr.resample(wave, RATE, 16000), 16000, RATE), up, RATE)
    assert not any("frequencies" in note.told for note in sounds.notes())


def test_words_that_are_cut_off_are_told_with_the_end_at_which(speech):
    sounds, cut = Sounds(RATE), {}
    for number, wave in enumerate(speech[:10]):
        loudest = int(np.argmax(np.abs(wave)))
        part = wave[loudest - 20 :] if number % 2 else wave[: loudest + 20]
        sounds.add(f"clip {number}", part, part, RATE)
        cut[f"clip {number}"] = "beginning" if number % 2 else "end"
    [note] = [note for note in sounds.notes() if "within a word" in note.told]
    assert list(note.lines) == [f"{clip}: {end}" for clip, end in cut.items()]


@given(st.integers(0, 2 * RATE), st.floats(0, 1), st.floats(0, 1))
def test_any_wave_can_be_looked_at(samples, loudness, silent):
    wave = np.full(samples, loudness, np.float32)
    wave[: round(silent * samples)] = 0
    assert all(np.isfinite(level) for level in edges(wave, RATE).values())
    assert np.isfinite(longest_pause(levels(wave, RATE)))
    assert np.isfinite(noise_floor(levels(wave, RATE)) or 0.0)
    assert bandwidth(wave, RATE) is None or np.isfinite(bandwidth(wave, RATE))
    assert hum(wave, RATE) is None or np.isfinite(hum(wave, RATE)[1])


def test_silent_ends_are_quiet(speech):
    assert max(max(edges(wave, RATE).values()) for wave in speech) < LOUDEST_EDGE


@given(st.lists(st.lists(st.integers(0, 9), max_size=12), max_size=30), st.sets(st.integers(0, 7)))
def test_symbols_in_few_clips_are_named_with_their_clips(clips, expected):
    spoken = set(range(8))  # 8 and 9 are a space and a mark
    named = {f"c{number}": symbols for number, symbols in enumerate(clips)}
    notes = list(rare_symbols(named, "abcdefgh .", spoken, expected))
    counts = {
        s: sum(s in those for those in clips) for s in expected | {s for c in clips for s in c} & spoken
    }
    rare = {"abcdefgh"[s] for s, count in counts.items() if count < LEAST_CLIPS_OF_A_SYMBOL}
    told = {line.split(": ")[0] for note in notes for line in note.lines}
    assert told == (rare if clips else set())


@given(st.lists(st.sampled_from("abcdefghij"), min_size=10, max_size=10, unique=True), st.integers(0, 3))
def test_a_held_out_text_that_is_nearly_trained_on_is_told(words, changed):
    other = [*words[: 10 - changed], *("xyz"[:changed])]
    found = list(nearly_alike({"held": " ".join(words)}, {"trained": f"{' '.join(other).upper()}."}))
    assert bool(found) == (changed <= 1)  # 9 of 11 different words are the same, 8 of 12 are not


def test_texts_without_words_are_not_alike():
    assert not list(nearly_alike({"held": "..."}, {"trained": "!"}))


def test_the_check_tells_them(corpus, tmp_path):
    """Through the whole check, from files."""
    folder = tmp_path / "mine"
    (folder / "wavs").mkdir(parents=True)
    lines = (corpus / "metadata.csv").read_text("utf-8").splitlines()
    for number, line in enumerate(lines):
        name = line.split("|")[0]
        wave = np.pad(read_wave(corpus / "wavs" / f"{name}.wav", RATE), RATE)
        if number < 3:
            wave = wave + humming(50, 20, len(wave) / RATE)[: len(wave)]
        write_wave(folder / "wavs" / f"{name}.wav", wave, RATE)
    (folder / "metadata.csv").write_text("\n".join(lines), "utf-8")
    report = check(folder, CorpusSettings(held_out=8))
    [hums] = [note for note in report.notes if "hum" in note.told]
    assert len(hums.lines) == 3 and "50 Hz" in hums.lines[0]
    assert "ffmpeg" in hums.told
