"""Griffin-Lim: the wave it finds has the mel that was asked for."""

import numpy as np
import pytest

from model.speech.audio import SILENCE, MelSettings, mel_spectrogram
from model.speech.vocoder import griffin_lim

SETTINGS = MelSettings()


@pytest.fixture(scope="module")
def vowel():
    """One second of a gliding voice with two formants."""
    time = np.arange(SETTINGS.sample_rate) / SETTINGS.sample_rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * time) / SETTINGS.sample_rate
    harmonics = np.arange(1, 40)
    hertz = 140 * harmonics
    loudness = 1 / (1 + ((hertz - 600) / 200) ** 2) + 0.3 / (1 + ((hertz - 1800) / 300) ** 2)
    wave = (loudness[:, None] * np.sin(harmonics[:, None] * phase)).sum(axis=0)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def test_a_voice_keeps_its_mel(vowel):
    mel = mel_spectrogram(vowel, SETTINGS)
    again = mel_spectrogram(griffin_lim(mel, SETTINGS), SETTINGS)
    assert again.shape == mel.shape
    heard = mel > mel.max() - 5  # 43 dB
    assert np.abs(again - mel)[heard].mean() < 0.25  # 2 dB; random phases alone give 0.38


def test_the_same_seed_gives_the_same_wave_and_another_does_not(vowel):
    mel = mel_spectrogram(vowel, SETTINGS)[:40]
    one, same, other = (griffin_lim(mel, SETTINGS, seed=seed) for seed in (1, 1, 2))
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other, atol=1e-3)


def test_more_iterations_come_closer(vowel):
    mel = mel_spectrogram(vowel, SETTINGS)
    few, many = (mel_spectrogram(griffin_lim(mel, SETTINGS, n), SETTINGS) for n in (1, 60))
    assert np.abs(many - mel).mean() < np.abs(few - mel).mean()


@pytest.mark.parametrize("frames", [1, 2, 4, 5, 50])
def test_a_wave_has_as_many_frames_as_its_mel(vowel, frames):
    wave = griffin_lim(mel_spectrogram(vowel, SETTINGS)[:frames], SETTINGS, iterations=2)
    assert len(wave) == frames * 256 - 128
    assert len(mel_spectrogram(wave, SETTINGS)) == frames


def test_no_frames_make_no_sound():
    assert len(griffin_lim(np.zeros((0, 80), np.float32), SETTINGS)) == 0


@pytest.mark.parametrize("frames", [2, 40])
def test_silence_stays_silent(frames):
    wave = griffin_lim(np.full((frames, 80), SILENCE, np.float32), SETTINGS)
    assert np.abs(wave).max() < 1e-3
