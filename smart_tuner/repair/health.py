"""What is known of a run: measures by name and step. What was not measured is missing, never a default."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

KEPT = 400  # newest values of each measure
PASSES = 3  # of each clip
SURE = NormalDist().inv_cdf(0.975)  # standard deviations on either side of a 95 % interval
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """What a measure of a run says of its health. A measure of which nothing is known is `Signal()`.

    Attributes:
        better: its best value is remembered.
        of_weights: that best is given up when weights are renewed or older ones are taken.
        of_run: that best is given up when the run starts over.
        max_worse: a worsening after a repair that counts as harm: in parts of what it was where smaller is
            better, else absolute.
        judged: part of what is compared before and after a repair.
        each_step: measured at every step; the median of the newest ones counts.
        at_milestone: only a validation at which the run's milestone is reached counts for its best.
    """

    better: Literal["smaller", "larger"] | None = None
    of_weights: bool = False
    of_run: bool = False
    max_worse: float | None = None
    judged: bool = False
    each_step: bool = False
    at_milestone: bool = False

    def __post_init__(self) -> None:
        if self.max_worse is not None and not (self.better and self.judged):
            raise ValueError("max_worse needs a better, and judged = True")

    def is_harm(self, before: float, after: float) -> bool:
        if self.max_worse is None:
            return False
        if self.better == "smaller":
            return after > before + self.max_worse * abs(before)
        return after < before - self.max_worse


# What generic rules read means the same in every run that measures it. `unweighted_loss` is the training loss
# in which no setting enters that a repair may change.
COMMON = {
    "unweighted_loss": Signal("smaller", of_weights=True, judged=True, each_step=True),
    "grad_norm": Signal("smaller", judged=True, each_step=True),
    "held_out": Signal("smaller", of_weights=True, max_worse=0.05, judged=True),
    "value": Signal("smaller", judged=True),
    "loss_spread": Signal("smaller", judged=True),  # from step to step, of the log of unweighted_loss
}
OLD_NAMES = {"mel": "unweighted_loss", "best_mel": "best_unweighted_loss"}  # until version 0.2.0


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Measures by the names that they have now."""
    return {OLD_NAMES.get(name, name): value for name, value in values.items()}


@dataclass(frozen=True)
class Trend:
    """The Theil-Sen slope of a measure per step, with its 95 % interval (Sen 1968)."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True)
class Pace:
    """Windows, waits and deadlines in steps.

    They are stated for a plan of 50,000 steps; a shorter plan takes them shorter, never below a floor.
    """

    planned: int  # optimizer steps of the whole training
    validate_every: int  # steps

    def __call__(self, steps: int, floor: int) -> int:
        return min(steps, max(floor, round(steps * self.planned / 50_000)))


class Series:
    """The newest values of one measure with their steps, appended in constant time."""

    def __init__(self) -> None:
        self._rows = np.empty((2, 2 * KEPT))
        self._end = 0

    def append(self, step: int, value: float) -> None:
        if self._end == self._rows.shape[1]:
            self._rows[:, :KEPT] = self._rows[:, -KEPT:]
            self._end = KEPT
        self._rows[:, self._end] = step, value
        self._end += 1

    def after(self, step: int) -> tuple[Values, Values]:
        """Steps and values beyond `step`, oldest first."""
        steps, values = self._rows[:, max(0, self._end - KEPT) : self._end]
        first = int(np.searchsorted(steps, step, side="right"))
        return steps[first:], values[first:]


class Health:
    """The measures of one run. Windows start afresh after whatever makes old values incomparable.

    Args:
        signals: all that the run measures, by name; a name that ends in "/" stands for all that begin so.
        milestone: the signal that is 1 as soon as a sound run has come far enough to be judged by its
            progress. Without one, a run counts as being there from its start.

    Attributes:
        began: the step at which the run started, or started over.
        milestone_at: the step at which the milestone was first reached, or None.
        best: of some measures, the best value so far; a restart does not forget it.
        alarmed: names of the rules whose alarm has not cleared yet.
        clips: of each training clip, over its last passes: the log of its loss over the median of its
            batch, and another measure of it (of speech: attention off the diagonal) beyond that median.
    """

    def __init__(
        self, pace: Pace, signals: Mapping[str, Signal] = COMMON, milestone: str | None = None
    ) -> None:
        self.pace, self.milestone = pace, milestone
        self.declared = frozenset(signals)
        self.signals = {**signals, **COMMON}
        self._seen: dict[str, Series] = {}
        self._fresh_from = -1  # steps up to here are out of every window
        self.step = self.began = 0
        self.milestone_at: int | None = None if milestone else 0
        self.best: dict[str, float] = {}
        self.alarmed: set[str] = set()
        self.clips: dict[str, list[tuple[float, float]]] = {}

    def note(self, step: int, measures: Mapping[str, float]) -> None:
        """Steps must not fall. A value that is not finite is kept: it is what was measured."""
        if step < self.step:
            raise ValueError(f"step {step} comes after {self.step}: consumed steps never fall")
        self.step = step
        for name, value in measures.items():
            if name not in self._seen:
                self._seen[name] = Series()
            self._seen[name].append(step, value)

    def note_clips(self, clips: Mapping[str, tuple[float, float]]) -> None:
        """One batch: by clip, its loss and the other measure of it."""
        rows = np.array(list(clips.values()))
        rows[:, 0] = np.log(np.maximum(rows[:, 0], 1e-9))
        for clip, (loss, away) in zip(clips, (rows - np.median(rows, axis=0)).tolist(), strict=True):
            self.clips[clip] = [*self.clips.get(clip, [])[1 - PASSES :], (loss, away)]

    def improve(self, name: str, value: float) -> None:
        """Remember the best value of a measure; NaN is not one."""
        if not math.isnan(value):
            pick = min if self.signals[name].better == "smaller" else max
            self.best[name] = pick(self.best.get(name, value), value)

    def forget_weights(self) -> None:
        """Let what depends on the weights be best anew: others may be worse than the best that was seen."""
        self.best = {name: value for name, value in self.best.items() if not self.signals[name].of_weights}

    def restart(self, step: int) -> None:
        """Let every window begin after `step`: after a repair or a change of r."""
        self._fresh_from = step

    @property
    def age(self) -> int:
        """Steps since the run started, or started over."""
        return self.step - self.began

    def start_over(self) -> None:
        """The next step is the first of new weights."""
        self.began = self.step
        self.best = {name: value for name, value in self.best.items() if not self.signals[name].of_run}
        self.milestone_at = None if self.milestone else self.step

    def last(self, name: str) -> float | None:
        """The newest value in the window."""
        values = self.values(name)
        return float(values[-1]) if len(values) else None

    def newest(self, name: str) -> tuple[int, float] | None:
        """Step and value of the newest one, also where it is out of every window."""
        steps, values = self._seen[name].after(-1) if name in self._seen else (np.empty(0), np.empty(0))
        return (int(steps[-1]), float(values[-1])) if len(values) else None

    def values(self, name: str, count: int | None = None) -> Values:
        """Values of the window, oldest first; the newest `count` of them, or none when there are fewer."""
        values = self._after(name)[1]
        if count is None:
            return values
        return values[-count:] if len(values) >= count else values[:0]

    def trend(self, name: str, count: int) -> Trend | None:
        """Over the newest `count` values of the window; None when there are fewer or too few."""
        steps, values = (row[-count:] for row in self._after(name))
        if len(values) < max(count, 3):
            return None
        return theil_sen(steps, values)

    def falls(self, name: str, count: int) -> bool | None:
        """Whether the measure surely fell over its newest `count` values; None when there are fewer."""
        trend = self.trend(name, count)
        return None if trend is None else trend.high < 0

    def names(self, start: str) -> list[str]:
        """Measures whose names begin with `start`."""
        return [name for name in self._seen if name.startswith(start)]

    def _after(self, name: str) -> tuple[Values, Values]:
        return self._seen[name].after(self._fresh_from) if name in self._seen else (np.empty(0), np.empty(0))

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "step": self.step,
            "began": self.began,
            "fresh_from": self._fresh_from,
            "milestone_at": self.milestone_at,
            "best": self.best,
            "alarmed": sorted(self.alarmed),
            "clips": self.clips,
            "seen": {name: [row.tolist() for row in series.after(-1)] for name, series in self._seen.items()},
        }

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self.step, self.began, self._fresh_from = state["step"], state["began"], state["fresh_from"]
        self.milestone_at = state["first_aligned" if "first_aligned" in state else "milestone_at"]
        self.best, self.alarmed = renamed(state["best"]), set(state["alarmed"])
        self.clips = {clip: [(loss, away) for loss, away in rows] for clip, rows in state["clips"].items()}
        self._seen = {}
        for name, (steps, values) in renamed(state["seen"]).items():
            series = self._seen[name] = Series()
            for step, value in zip(steps, values, strict=True):
                series.append(step, value)


def spread(values: Values) -> float:
    """1.4826 times the median absolute deviation: a standard deviation that outliers leave alone."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def theil_sen(steps: Values, values: Values) -> Trend:
    """The median of the slopes between any two values; the interval is equation 2.6 of Sen (1968)."""
    runs, rises = (np.subtract.outer(row, row) for row in (steps, values))
    slopes = np.sort(rises[runs > 0] / runs[runs > 0])
    ties = [np.unique(row, return_counts=True)[1] for row in (steps, values)]
    n, lost = len(values), sum((k * (k - 1) * (2 * k + 5)).sum() for k in ties)
    reach = SURE * np.sqrt((n * (n - 1) * (2 * n + 5) - lost) / 18)
    low = max(round((len(slopes) - reach) / 2) - 1, 0)
    high = min(round((len(slopes) + reach) / 2), len(slopes) - 1)
    return Trend(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))
