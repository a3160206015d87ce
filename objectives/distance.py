"""How far apart two log-mel spectrograms sound: mel-cepstral distance along the best time warp."""

import numpy as np
from numpy.typing import NDArray

ORDER = 13  # cepstral coefficients 1 to 13; the level, coefficient 0, does not count
DECIBEL = 10 / np.log(10) * np.sqrt(2)


def cepstra(mel: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cepstral coefficients 1..13 (F, 13) of natural-log mels (F, N)."""
    bands = mel.shape[1]
    d, k = np.arange(1, ORDER + 1), np.arange(bands)
    basis = 2 / bands * np.cos(np.pi * np.outer(k + 0.5, d) / bands)
    found: NDArray[np.float64] = np.asarray(mel, np.float64) @ basis
    return found


def mel_cepstral_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean distance in dB along the warp of mels (F1, N) and (F2, N) with the smallest summed distance."""
    ca, cb = cepstra(a), cepstra(b)
    squares = (ca**2).sum(1)[:, None] + (cb**2).sum(1) - 2 * ca @ cb.T
    return _warped_mean(DECIBEL * np.sqrt(np.maximum(squares, 0.0)))


def _warped_mean(costs: NDArray[np.float64]) -> float:
    """Dynamic time warping, steps (1, 1), (1, 0), (0, 1); one anti-diagonal at a time."""
    rows, columns = costs.shape
    # cell (i, j) lies on anti-diagonal i + j; index i + 1, with an infinite border at 0
    before = last = np.full(rows + 1, np.inf)
    before_n = last_n = np.zeros(rows + 1)
    flipped = costs[:, ::-1]
    for diagonal in range(rows + columns - 1):
        first, end = max(0, diagonal - columns + 1), min(rows, diagonal + 1)
        own = flipped.diagonal(columns - 1 - diagonal)
        i = slice(first + 1, end + 1)
        up = slice(first, end)
        choices = np.stack((before[up], last[up], last[i]))
        lengths = np.stack((before_n[up], last_n[up], last_n[i]))
        if diagonal == 0:
            choices[:], lengths[:] = 0.0, 0.0
        chosen = choices.argmin(axis=0)[None]
        now, now_n = np.full(rows + 1, np.inf), np.zeros(rows + 1)
        now[i] = np.take_along_axis(choices, chosen, 0)[0] + own
        now_n[i] = np.take_along_axis(lengths, chosen, 0)[0] + 1
        before, before_n, last, last_n = last, last_n, now, now_n
    return float(last[rows] / last_n[rows])
