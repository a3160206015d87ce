"""What is known of a run: measures by name and step. What was not measured is missing, never a default."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import theilslopes

KEPT = 4000  # newest values of each measure


@dataclass(frozen=True)
class Trend:
    """The Theil-Sen slope of a measure per step, with its 95 % interval (Sen 1968)."""

    slope: float
    low: float
    high: float


class Health:
    """The measures of one run. Windows start afresh after whatever makes old values incomparable."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[int, float]]] = {}
        self._fresh_from = 0  # steps up to here are out of every window
        self.step = 0

    def note(self, step: int, measures: Mapping[str, float]) -> None:
        """Steps must not fall. A value that is not finite is kept: it is what was measured."""
        if step < self.step:
            raise ValueError(f"step {step} comes after {self.step}; call restart() when a run goes back")
        self.step = step
        for name, value in measures.items():
            self._seen.setdefault(name, deque(maxlen=KEPT)).append((step, float(value)))

    def restart(self, step: int) -> None:
        """Go on at `step`: after a repair, a resume, a roll back or a change of r."""
        self.step = self._fresh_from = step
        for name, seen in self._seen.items():
            self._seen[name] = deque((row for row in seen if row[0] <= step), maxlen=KEPT)

    def last(self, name: str) -> float | None:
        """The newest value in the window."""
        values = self.values(name)
        return float(values[-1]) if len(values) else None

    def values(self, name: str, count: int | None = None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Values of the window, oldest first; the newest `count` of them, or none when there are fewer."""
        values = np.array([value for _, value in self._rows(name)])
        if count is None:
            return values
        return values[-count:] if len(values) >= count else values[:0]

    def trend(self, name: str, count: int) -> Trend | None:
        """Over the newest `count` values of the window; None when there are fewer or too few."""
        rows = self._rows(name)[-count:]
        if len(rows) < max(count, 3):
            return None
        steps, values = zip(*rows, strict=True)
        found = theilslopes(values, steps)
        return Trend(float(found.slope), float(found.low_slope), float(found.high_slope))

    def _rows(self, name: str) -> list[tuple[int, float]]:
        return [row for row in self._seen.get(name, ()) if row[0] > self._fresh_from]


def spread(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """1.4826 times the median absolute deviation: a standard deviation that outliers leave alone."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))
