"""Whether a repair helped: what the run is worth since, beside what it would have come to without it.

A rule's own symptom says what to try. Whether that was worth while is said by the run's value (of speech:
free-running) or, before that says anything, by its held-out loss: beside what the weights before had reached
at the same age, or, beyond that, their trend; else beside what the study's other trials were measured at.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

VALUE, HELD_OUT = "value", "held_out"
# By how much, in parts, a measure must differ from what was expected: values of the same recipe under other
# seeds scatter by a tenth (docs/proof.md), held-out losses far less.
LEAST = {VALUE: 0.1, HELD_OUT: 0.02}
BEYOND = 2.0  # times as much, where what was expected lies beyond what the weights before had reached
FITTED = 8  # newest measures that a trend is taken of; of a single one there is none
SAYS_NOTHING = 0.98  # of the worst value: from there on a value tells good from bad
Points = list[tuple[int, float]]  # ages of the weights in steps, and what they were measured at
Peers = Callable[[str, int], float | None]  # the median of other trials, by measure and age


def says_nothing(value: float, worst: float) -> bool:
    """Whether a value is hardly better than the worst one."""
    return value >= worst - (1 - SAYS_NOTHING) * abs(worst)


@dataclass(frozen=True)
class Told:
    """What came of a repair: improved, no effect, harm, or unknown, and by what."""

    verdict: str
    measure: str = ""
    found: float = math.nan
    expected: float = math.nan


@dataclass
class Outcome:
    """The measures of a run's weights, and of those before the repair that is not judged yet.

    Attributes:
        now: of the present weights, by measure.
        before: of the weights as they were at the repair.
        repair: its row's number; None where nothing is to be judged.
        until: the age at which weights without a sure difference count as no better and no worse.
        since: how many points of each measure `now` had at the repair, or where it went back to.
        undo: the step of a checkpoint from before the repair.
        first: the first value of the run.
    """

    now: dict[str, Points] = field(default_factory=lambda: {VALUE: [], HELD_OUT: []})
    before: dict[str, Points] = field(default_factory=dict)
    repair: int | None = None
    until: int = 0
    since: dict[str, int] = field(default_factory=dict)
    undo: int | None = None
    first: float | None = None

    def note(self, name: str, age: int, value: float) -> None:
        """A measure of the present weights; one that is not finite is as bad as can be, and left out."""
        if math.isfinite(value):
            if name == VALUE and self.first is None:
                self.first = value
            self.now[name] = [point for point in self.now[name] if point[0] < age] + [(age, value)]

    def begin(self, repair: int, age: int, wait: int, back_to: int | None, undo: int | None) -> None:
        """A repair is made to weights of this age. Args: back_to: the age of those that it goes back to."""
        self.before = {name: list(points) for name, points in self.now.items()}
        if back_to is not None:
            self.go_back(back_to)
        self.since = {name: len(points) for name, points in self.now.items()}
        self.undo = undo
        self.repair, self.until = repair, max(age, age if back_to is None else back_to) + 2 * wait

    @property
    def best(self) -> float | None:
        """The smallest value of the present weights and of what they were."""
        return min((value for _, value in self.now[VALUE]), default=None)

    def go_back(self, age: int) -> None:
        """The present weights are those of this age again."""
        self.now = {name: [p for p in points if p[0] <= age] for name, points in self.now.items()}

    def end(self) -> None:
        """It is judged."""
        self.repair = self.undo = None

    def told(self, by: Sequence[str], worst: float | None, peers: Peers, over: bool = False) -> Told | None:
        """What the run says of its repair, or None before it can tell.

        Args:
            by: the measures that may tell, the weightiest first.
            worst: a value that says nothing; None: the first one that was measured.
            over: nothing more will be measured.
        """
        seen: Told | None = None
        for name in by:
            new = self.now[name][self.since.get(name, 0) :]
            if name == VALUE and not self._tells(worst):
                continue
            if not new:
                if over:
                    continue
                return None  # it will tell, and nothing else shall before
            (age, found), expected = new[-1], self._expected(name, new[-1][0], worst)
            points = self.before.get(name, [])
            beyond = expected is not None and age > points[-1][0]
            younger = bool(points) and age < points[0][0]
            expected = peers(name, age) if expected is None else expected
            if expected is None:
                continue
            margin = LEAST[name] * (BEYOND if beyond else 1.0)
            if found < expected - margin * abs(expected):
                return Told("improved", name, found, expected)
            if younger:  # older weights were no better: that is all that can be said
                continue
            # A trend may flatten by itself: beyond what was reached, only what was lost is harm.
            usual = max(expected, points[-1][1]) if beyond else expected
            # A single held-out loss of a young run scatters, and what is undone is dear.
            least = min(value for _, value in (new[-2:] if name == HELD_OUT else new[-1:]))
            if least > usual + LEAST[name] * abs(usual):
                return Told("harm", name, found, usual)
            seen = Told("no effect", name, found, expected)
            if age >= self.until and len(new) > 1:
                return seen
        return (seen or Told("unknown")) if over else None

    def _tells(self, worst: float | None) -> bool:
        """Whether a value, before the repair or since, is better than none at all."""
        values = [value for _, value in (*self.before.get(VALUE, []), *self.now[VALUE])]
        return bool(values) and not says_nothing(min(values), values[0] if worst is None else worst)

    def _expected(self, name: str, age: int, worst: float | None) -> float | None:
        """What the weights before had at this age, or would have had; None where that cannot be told."""
        points = self.before.get(name, [])
        if not points:
            return None
        if age < points[0][0]:
            return points[0][1]
        ages, values = (np.array(column, float) for column in zip(*points, strict=True))
        if age <= ages[-1]:
            return float(np.interp(age, ages, values))
        if name == VALUE and worst is not None and says_nothing(values[-1], worst):
            return float(values[-1])  # nothing came, and nothing comes
        ages, values = ages[-FITTED:], values[-FITTED:]
        if len(values) < 2 or values.min() <= 0 or ages.min() <= 0:
            return None
        slopes = np.diff(np.log(values)) / np.diff(np.log(ages))
        slope = min(0.0, float(np.median(slopes)))  # a rise is not carried on
        return float(values[-1] * (age / ages[-1]) ** slope)

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Outcome":
        found = {f.name: state[f.name] for f in fields(cls)}
        for name in ("now", "before"):
            found[name] = {
                of: [(int(age), float(value)) for age, value in points] for of, points in found[name].items()
            }
        return cls(**found)
