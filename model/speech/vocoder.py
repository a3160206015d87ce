"""Turn a log-mel spectrogram back into sound, without a trained vocoder."""

from functools import cache

import librosa
import numpy as np
from numpy.typing import NDArray

from model.speech.audio import SILENCE, MelSettings, mel_filters

LEAST_MAGNITUDE = 1e-10


def griffin_lim(
    mel: NDArray[np.float32], settings: MelSettings, iterations: int = 60, seed: int = 0
) -> NDArray[np.float32]:
    """A wave (N,) whose mel is close to `mel` (F, n_mel_channels) and has as many frames.

    The lost phases are found by the fast Griffin-Lim algorithm (Perraudin et al., WASPAA 2013) from
    random ones drawn from `seed`; the same mel and seed give the same wave.
    """
    hop = settings.hop_length
    # librosa needs one whole window of sound
    lacking = max(0, settings.filter_length // hop + 1 - len(mel))
    whole = np.pad(mel, ((0, lacking), (0, 0)), constant_values=SILENCE)
    magnitudes = np.maximum(_inverse_filters(settings) @ np.exp(whole.T), LEAST_MAGNITUDE)
    wave: NDArray[np.float32] = librosa.griffinlim(
        magnitudes,
        n_iter=iterations,
        hop_length=hop,
        win_length=settings.win_length,
        n_fft=settings.filter_length,
        length=len(whole) * hop - hop // 2,  # in the middle of all lengths that have this many frames
        random_state=seed,
    )
    return wave[: max(0, len(mel) * hop - hop // 2)].astype(np.float32)


@cache
def _inverse_filters(settings: MelSettings) -> NDArray[np.float32]:
    return np.linalg.pinv(mel_filters(settings))
