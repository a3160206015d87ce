"""Find texts that belong to a neighbour's recording, by what lengths tell.

Does the text of a line nearby explain a recording's length better than its own? The logarithms of these
likelihood ratios are added up: over a stretch of lines, and over all as if a share of them were shifted.
Where texts are in their places such a ratio is 1 in the mean, so that a sum above EVIDENCE is rare: of 5,000
random sound lists one, whose lengths repeated in a strict pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SHIFTS = (1, -1, 2, -2)  # lines
SHARES = (0.03, 0.1, 0.33, 0.9)  # of lines that are shifted
EVIDENCE = 12.0  # nats
LEAST_ROWS = 40
NEIGHBOURS = 10  # lines on each side that tell what is usual here: lengths and rates may drift
MOST_DEVIATIONS = 2.5  # a single odd recording is no more evidence than that
LEAST_DEVIATION = 0.05


@dataclass(frozen=True)
class Shift:
    """The recordings of `rows` (from 0) are explained by the texts `by` rows further on."""

    by: int
    rows: tuple[int, ...]


def find_shift(symbols: Sequence[int | None], seconds: Sequence[float | None]) -> Shift | None:
    """Rows in the order of the file, with the length of text and recording; None where one is not known."""
    known = sum(None not in pair for pair in zip(symbols, seconds, strict=True))
    if known < LEAST_ROWS or _is_ordered(symbols):
        return None
    text, sound = _detrended(symbols), _detrended(seconds)
    best, shift = _best(text, sound)
    return shift if best > EVIDENCE else None


def _best(text: Floats, sound: Floats) -> tuple[float, Shift]:
    """The likeliest shift, and its evidence."""
    line = _fitted(text, sound)
    return max((_evidence(text, sound, by, line) for by in SHIFTS), key=lambda found: found[0])


def _is_ordered(lengths: Sequence[float | None]) -> bool:
    """Whether neighbours are alike, as in a file that is sorted by length: then they cannot be told apart."""
    logarithms = np.log([length for length in lengths if length is not None])
    return bool(np.mean(np.square(np.diff(logarithms))) < np.var(logarithms))  # any two: twice the variance


def _detrended(lengths: Sequence[float | None]) -> Floats:
    """Logarithms, without what is usual among the neighbours."""
    logarithms = np.log(np.array([np.nan if length is None else length for length in lengths], np.float64))
    around = np.pad(logarithms, NEIGHBOURS, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(around, 2 * NEIGHBOURS + 1)
    known = np.isfinite(logarithms)
    logarithms[known] -= np.nanmedian(windows[known], axis=1)
    return logarithms


@dataclass(frozen=True)
class _Line:
    """How the length of a recording follows from that of its text, both as logarithms."""

    slope: float
    start: float
    deviation: float

    def surprise(self, text: Floats, sound: Floats) -> Floats:
        """The negative logarithm of the likelihood, but for a constant."""
        deviations = (sound - self.start - self.slope * text) / max(self.deviation, LEAST_DEVIATION)
        return np.minimum(np.square(deviations), MOST_DEVIATIONS**2) / 2


def _fitted(text: Floats, sound: Floats) -> _Line:
    """The closest of the lines through all rows, with the texts where they are or shifted."""
    lines: list[_Line] = []
    for by in (0, *SHIFTS):
        moved = _moved(text, by)
        both = np.isfinite(moved + sound)
        lines += _lines(moved[both], sound[both])
    return min(lines, key=lambda line: line.deviation)


def _lines(text: Floats, sound: Floats) -> tuple[_Line, _Line]:
    """Equal proportions, and the least squares without outliers."""
    equal = fitted = _through(text, sound, 1.0)
    for _ in range(5):
        near = np.abs(sound - fitted.start - fitted.slope * text) <= MOST_DEVIATIONS * fitted.deviation
        spread = np.var(text[near])
        if spread > 0:
            slope = np.mean((text[near] - text[near].mean()) * (sound[near] - sound[near].mean())) / spread
            fitted = _through(text, sound, float(np.clip(slope, 0.0, 1.5)))
    return equal, fitted


def _through(text: Floats, sound: Floats, slope: float) -> _Line:
    rest = sound - slope * text
    start = float(np.median(rest))
    return _Line(slope, start, max(1e-9, 1.4826 * float(np.median(np.abs(rest - start)))))


def _moved(text: Floats, by: int) -> Floats:
    """The text `by` rows further on, at each row."""
    moved = np.full_like(text, np.nan)
    if by >= 0:
        moved[: len(text) - by] = text[by:]
    else:
        moved[-by:] = text[:by]
    return moved


def _evidence(text: Floats, sound: Floats, by: int, line: _Line) -> tuple[float, Shift]:
    """How much more likely a shift makes the recordings, and the rows that say so."""
    gain = line.surprise(text, sound) - line.surprise(_moved(text, by), sound)
    gain = np.nan_to_num(gain, nan=0.0)
    stretch, first, last = _best_stretch(gain)
    stretch -= float(np.log(len(gain)))
    share = max(SHARES, key=lambda share: _mixture(gain, share))
    if stretch >= _mixture(gain, share):
        return stretch, Shift(by, tuple(range(max(first, -by), min(last, len(gain) - by))))
    rows = np.flatnonzero(share * np.exp(gain) > 1 - share)
    return _mixture(gain, share), Shift(by, tuple(rows.tolist()))


def _mixture(gain: Floats, share: float) -> float:
    return float(np.log1p(share * np.expm1(gain)).sum())


def _best_stretch(gain: Floats) -> tuple[float, int, int]:
    """The largest sum of neighbouring values, from the first to before the last."""
    sums = np.concatenate([[0.0], np.cumsum(gain)])
    rises = sums - np.minimum.accumulate(sums)
    last = int(np.argmax(rises))
    first = int(np.argmin(sums[: last + 1]))
    return float(rises[last]), first, last
