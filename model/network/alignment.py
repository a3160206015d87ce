"""Whether attention walks along a text: measures of one item's alignment, padding left out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GUIDE_SIGMA = 0.2
LEAST_BAND = 0.15
ROUNDING = 1e-9  # distances of exactly the band's width are common and belong to it


@dataclass(frozen=True)
class AlignmentMeasures:
    """What is known of an S x N alignment; None where fewer than 2, or half, of the rows have a clear top."""

    diagonal_score: float  # weight near the diagonal, 0 for chance, 1 for all of it
    penalty: float  # mean weight off the diagonal
    corr: float  # of the expected position with time
    coverage: float  # share of the spoken symbols that got their due of weight
    back: float | None  # share of steps at which the attended symbol falls back
    leap: float | None  # largest jump, in parts of the text
    jumps: float | None  # jumps of more than max(3, 3N/S) symbols, per 100 symbols
    dwell: float | None  # longest stay on one symbol, in parts of the time
    focus: float  # mean largest weight; says nothing alone: stuck attention is focused too
    n_symbols: int

    @property
    def aligned(self) -> bool:
        if self.back is None or self.leap is None:
            return False
        return (
            self.diagonal_score >= 0.6
            and self.corr >= 0.9
            and self.coverage >= 0.9
            and self.back <= 0.05
            and self.leap <= max(0.15, 3 / self.n_symbols)
        )


def measure(alignment: NDArray[np.float64], spoken: NDArray[np.bool_] | None = None) -> AlignmentMeasures:
    """Measure the true block (S, N) of one item, rows summing to 1.

    The definitions are this project's own. Where every cell lies in the band, nothing can be better
    than chance and the diagonal score is 0.

    Args:
        spoken: (N,) True for symbols that are heard; the others need no weight. None or none True: all are.

    Raises:
        ValueError: no steps or no symbols.
    """
    steps, symbols = alignment.shape
    if not alignment.size:
        raise ValueError(f"alignment of {steps} steps and {symbols} symbols, but both must be at least 1")
    y, x = (np.arange(steps) + 0.5) / steps, (np.arange(symbols) + 0.5) / symbols
    away = np.abs(x - y[:, None])
    near = away <= max(LEAST_BAND, 1 / symbols) + ROUNDING
    base, band = near.mean(), min(1.0, (alignment * near).sum() / steps)
    penalty = (alignment * (1 - np.exp(-(away**2) / (2 * GUIDE_SIGMA**2)))).sum() / steps
    due = alignment.sum(axis=0) >= 0.5 * min(1, steps / symbols)
    heard = due if spoken is None or not spoken.any() else due[spoken]
    return AlignmentMeasures(
        max(0.0, float((band - base) / (1 - base))) if base < 1 else 0.0,
        float(penalty),
        _correlation(alignment),
        float(heard.mean()),
        *_walk(alignment),
        float(alignment.max(axis=1).mean()),
        symbols,
    )


def _correlation(alignment: NDArray[np.float64]) -> float:
    steps, symbols = alignment.shape
    expected = alignment @ np.arange(symbols)
    if expected.std() < 0.01 * symbols:
        return 0.0
    return float(np.corrcoef(expected, np.arange(steps))[0, 1])


def _walk(
    alignment: NDArray[np.float64],
) -> tuple[float | None, float | None, float | None, float | None]:
    """back, leap, jumps and dwell of the largest weights, over rows that have a clear one.

    An alignment cannot tell end silence from being stuck, so dwell counts both.
    """
    steps, symbols = alignment.shape
    clear = alignment.max(axis=1) >= 1.5 / symbols
    if clear.sum() < max(2, steps / 2):  # one row makes no move
        return None, None, None, None
    at = alignment.argmax(axis=1)[clear]
    moves = np.diff(at)
    far = np.abs(moves) > max(3, 3 * symbols / steps)
    ends = np.flatnonzero(np.append(moves != 0, True))
    stays = np.diff(np.append(-1, ends))
    return (
        float((moves < 0).mean()),
        float(np.abs(moves).max() / symbols),
        float(100 * far.sum() / symbols),
        float(stays.max() / steps),
    )
