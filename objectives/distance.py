"""How far apart two log-mel spectrograms sound: mel-cepstral distance along the best time warp."""

import numpy as np
from numpy.typing import NDArray

ORDER = 13  # cepstral coefficients 1 to 13; the level, coefficient 0, does not count
DECIBEL = 10 / np.log(10) * np.sqrt(2)
# Of the mismatch distance (objectives/quality.py, Yardstick.mismatch), by three trainings: an aligned hum, of
# which no sentence had failed, stood at 0.90, the quickstart's trials after 100 steps at 0.90 to 0.98. At
# 0.83 a recogniser had 0.74 of the letters wrong, where a wrong text has 0.85: there words may begin.
NO_SPEECH = 0.85


def cepstra(mel: NDArray[np.float32], order: int = ORDER) -> NDArray[np.float64]:
    """Cepstral coefficients 1..order (F, order) of natural-log mels (F, N)."""
    bands = mel.shape[1]
    d, k = np.arange(1, order + 1), np.arange(bands)
    basis = 2 / bands * np.cos(np.pi * np.outer(k + 0.5, d) / bands)
    found: NDArray[np.float64] = np.asarray(mel, np.float64) @ basis
    return found


def mel_cepstral_distance(a: NDArray[np.float32], b: NDArray[np.float32], order: int = ORDER) -> float:
    """Mean distance in dB along the warp of mels (F1, N) and (F2, N) with the smallest summed distance.

    After R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment" (1993), on
    cepstra of mel bands; comparable within this project only.

    Raises:
        ValueError: no frames, or unequal numbers of bands.
    """
    if not (a.size and b.size and a.shape[1] == b.shape[1]):
        raise ValueError(f"mels of {a.shape} and {b.shape}: both need frames, and equally many bands")
    squares = np.zeros((len(a), len(b)))
    # differences, not |a|^2 + |b|^2 - 2ab: that leaves equal frames 1e-7 dB apart
    for x, y in zip(cepstra(a, order).T, cepstra(b, order).T, strict=True):
        squares += np.subtract.outer(x, y) ** 2
    return warped_mean(DECIBEL * np.sqrt(squares))


def warped_mean(costs: NDArray[np.float64]) -> float:
    """Mean of costs (F1, F2) along the path with the smallest sum.

    Dynamic time warping by steps (1, 1), (1, 0), (0, 1), in this order where sums are equal; one
    anti-diagonal at a time.
    """
    rows, columns = costs.shape
    # of an anti-diagonal: sums and lengths of the paths that end in row i - 1; 0 borders on the first row
    before, last, now = np.full((3, 2, rows + 1), np.inf)
    before[:, 0] = 0.0
    flipped = costs[:, ::-1]
    for diagonal in range(rows + columns - 1):
        first, end = max(0, diagonal - columns + 1), min(rows, diagonal + 1)
        above, here = slice(first, end), slice(first + 1, end + 1)
        best = now[:, here]
        best[:] = before[:, above]
        for step in (last[:, above], last[:, here]):
            np.copyto(best, step, where=step[0] < best[0])
        best[0] += flipped.diagonal(columns - 1 - diagonal)
        best[1] += 1
        before[:, 0] = np.inf  # only the first cell may start a path
        before, last, now = last, now, before
    return float(last[0, rows] / last[1, rows])


def no_speech_yet(value: float, mismatch: float) -> bool:
    """Whether a voice is hardly nearer to its recordings than recordings of other sentences are, both in dB.

    It cannot say the reverse: of a voice at 0.47 of its mismatch distance a recogniser still had 0.66 of the
    letters wrong. Whoever wants to know whether words are spoken must listen.
    """
    return value > NO_SPEECH * mismatch
