"""Sound in and mels out: bad files are refused by kind, and mels are NVIDIA's."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.speech.audio import (
    SILENCE,
    AudioError,
    MelSettings,
    mel_filters,
    mel_spectrogram,
    read_wave,
    trimmed,
    write_wave,
)

RATE = 22050
SETTINGS = MelSettings()


def tone(hertz, seconds=1.0, amplitude=0.5, rate=RATE):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def test_silence_gives_exactly_the_value_that_pads():
    mel = mel_spectrogram(np.zeros(RATE, np.float32), SETTINGS)
    assert mel.dtype == np.float32
    assert (mel == np.float32(SILENCE)).all()


@given(st.integers(1, 9000))
def test_a_wave_has_one_frame_more_than_whole_hops(samples):
    wave = np.random.default_rng(samples).uniform(-1, 1, samples).astype(np.float32)
    assert mel_spectrogram(wave, SETTINGS).shape == (1 + samples // 256, 80)


@given(st.floats(150, 7500))
def test_a_sine_is_loudest_in_the_band_around_it(hertz):
    edges = librosa.mel_frequencies(82, fmin=0.0, fmax=8000.0)
    band = int(np.median(mel_spectrogram(tone(hertz), SETTINGS).argmax(axis=1)))
    assert edges[band] < hertz < edges[band + 2]


def test_half_the_amplitude_lowers_a_mel_by_ln_2_down_to_the_floor():
    wave = np.random.default_rng(0).uniform(-0.9, 0.9, RATE).astype(np.float32)
    loud, quiet = (mel_spectrogram(amplitude * wave, SETTINGS) for amplitude in (1.0, 0.5))
    np.testing.assert_allclose(loud - quiet, np.log(2), atol=1e-4)
    assert (mel_spectrogram(1e-9 * wave, SETTINGS) == np.float32(SILENCE)).all()


def test_mels_equal_those_of_centred_torch_frames():
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000).astype(np.float32)
    window = torch.hann_window(800, dtype=torch.float64)
    spectrum = torch.stft(
        torch.from_numpy(wave).double(), 1024, 256, 800, window, pad_mode="reflect", return_complex=True
    )
    settings = MelSettings(win_length=800)
    expected = np.log(np.maximum(spectrum.abs().numpy().T @ mel_filters(settings).T, 1e-5))
    np.testing.assert_allclose(mel_spectrogram(wave, settings), expected, atol=1e-4)


def test_a_written_wave_is_read_again_and_clipped(tmp_path):
    wave = np.array([0.0, 0.5, -0.5, 2.0, -2.0], np.float32)
    write_wave(tmp_path / "a.wav", wave, RATE)
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
    read = read_wave(tmp_path / "a.wav", RATE)
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, np.clip(wave, -1, 1), atol=2 / 32768)


def test_declared_resampling_keeps_the_sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(440, rate=16_000), 16_000)
    read = read_wave(tmp_path / "a.wav", RATE, resample_from=16_000)
    assert len(read) == RATE
    np.testing.assert_allclose(read[2000:-2000], tone(440)[2000:-2000], atol=1e-3)


def test_samples_beyond_full_scale_are_read_as_full_scale(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array([3.0, -3.0], np.float32), RATE, subtype="FLOAT")
    assert read_wave(tmp_path / "a.wav", RATE).tolist() == [1.0, -1.0]


def sound(samples, rate=RATE):
    return lambda path: soundfile.write(path, np.array(samples, np.float32), rate, subtype="FLOAT")


def cut_header(path):
    soundfile.write(path, tone(440), RATE)
    path.write_bytes(path.read_bytes()[:30])


@pytest.mark.parametrize(
    ("reason", "make", "named"),
    [
        ("missing audio", lambda path: None, "no file"),
        ("missing audio", lambda path: path.mkdir(), "no file"),
        ("unreadable audio", lambda path: path.write_text("I am a wave"), "not a sound file"),
        ("unreadable audio", lambda path: path.write_bytes(b""), "not a sound file"),
        ("unreadable audio", cut_header, "not a sound file"),
        ("empty audio", sound([]), "no samples"),
        ("not mono", sound([[0.1, 0.2], [0.1, 0.2]]), "2 channels"),
        ("wrong sample rate", sound([0.1], 8000), "8000 Hz, wanted 22050 or 16000"),
        ("not finite audio", sound([0.1, np.nan]), "NaN"),
        ("not finite audio", sound([0.1, -np.inf]), "NaN"),
    ],
)
def test_a_bad_recording_is_refused_by_its_kind(tmp_path, reason, make, named):
    make(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=named) as refused:
        read_wave(tmp_path / "a.wav", RATE, resample_from=16_000)
    assert refused.value.reason == reason
    assert "a.wav" in refused.value.detail


def test_silent_edges_are_cut_but_for_a_margin():
    quiet = np.full(RATE // 2, 1e-4, np.float32)
    wave = np.concatenate([quiet, tone(440), quiet])
    cut = trimmed(wave, RATE, 40.0, keep_seconds=0.05)
    assert len(cut) == pytest.approx(1.1 * RATE, abs=2 * 256)
    assert trimmed(cut, RATE, 40.0).size == pytest.approx(cut.size, abs=2 * 256)


def test_pauses_inside_a_wave_are_kept():
    wave = np.concatenate([tone(440), np.zeros(RATE, np.float32), tone(440)])
    assert len(trimmed(wave, RATE, 40.0)) == len(wave)


def test_no_limit_leaves_the_wave_whole():
    wave = np.concatenate([np.zeros(RATE, np.float32), tone(440)])
    assert trimmed(wave, RATE, None) is wave


@given(st.integers(1, 3000), st.floats(1, 100), st.integers(0, 2**32 - 1))
def test_trimming_takes_one_inner_piece_with_the_loudest_sample(samples, top_db, seed):
    random = np.random.default_rng(seed)
    wave = (random.normal(size=samples) * random.choice([0.0, 1e-3, 1.0], samples)).astype(np.float32)
    cut = trimmed(wave, RATE, top_db, keep_seconds=0.0)
    assert cut.tobytes() in wave.tobytes()
    assert len(cut) > 0


def test_a_wave_that_finds_no_room_is_told_as_a_full_disk(tmp_path):
    (tmp_path / "a.wav").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        write_wave(tmp_path / "a.wav", np.zeros(RATE), RATE)
