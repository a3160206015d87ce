"""Freeze-thaw search (Swersky, Snoek and Adams, 2014, arXiv:1406.3896): a trial that waits may go on later.

At each measure the trial is trained next, or a new one begun, that promises the largest improvement for each
step which is left of it. A trial that waits where not even the best say anything cannot be judged there, and
goes on before all others. The choice depends on the study's seed and on what its trials measured, and on
nothing else.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from smart_tuner.store.attributes import is_of_the_search, yardstick
from studies.file.space import derived
from studies.file.spec import Spec
from studies.search.curves import Array, CurveModel, Points, improvement
from studies.search.silence import say_nothing
from studies.search.space import Space

STARTUP = 4  # trials that are drawn at random
ANYWHERE, NEIGHBOURS = 120, 60  # candidates from all over the space, and near the best trials
BEST = 4  # trials that candidates are near
LARGEST = 1e100  # values beyond are no measures
WORST = 3  # times as far above the middle value as the best is below it: no value is taken to be worse
MOST = 130  # measures that are looked at: the newest of each trial, then all of the best ones'


@dataclass(frozen=True)
class Curve:
    """What is known of a trial.

    Args:
        point: of its values in the space, shape (settings,).
        progress, measured: of each measure, the part of the plan, and a value of which smaller is better.
        waits: whether it may go on.
        runs: whether its next measure is on the way.
    """

    point: Array
    progress: tuple[float, ...]
    measured: tuple[float, ...]
    waits: bool = False
    runs: bool = False

    @property
    def best(self) -> float:
        return min(self.measured, default=np.inf)

    @property
    def left(self) -> float:
        return 1 - (self.progress[-1] if self.progress else 0.0)


class FreezeThaw:
    """Chooses among the curves of one space.

    Args:
        quantum: the part of the plan between two measures.
        mismatch: dB between different sentences; infinite: values are no distances.
    """

    def __init__(self, space: Space, quantum: float, mismatch: float = math.inf) -> None:
        self._space, self._quantum, self._mismatch = space, quantum, mismatch
        self._model = CurveModel(space.dimensions)

    def choice(
        self, curves: Sequence[Curve], chance: np.random.Generator, tunes: bool = True
    ) -> int | dict[str, Any]:
        """The index of the curve that goes on next, or the values of a new trial."""
        if (silent := self._unjudged(curves)) is not None:
            return silent
        if len(curves) < STARTUP or not any(curve.measured for curve in curves):
            return self._space.values(self._space.drawn(1, chance)[0])
        self._know(curves, tunes)
        waiting = [index for index, curve in enumerate(curves) if curve.waits]
        new = self._candidates(curves, chance)
        points = np.vstack([*(curves[index].point for index in waiting), new])
        trials = np.array([*waiting, *(-1 - np.arange(len(new)))])
        left = np.array([*(curves[index].left for index in waiting), *np.ones(len(new))])
        asked = Points(self._space.places(points), np.ones(len(points)), trials)
        means, deviations = self._model.predict(asked)
        at = int(np.argmax(improvement(means, deviations, self._least) / np.maximum(left, self._quantum)))
        return waiting[at] if at < len(waiting) else self._space.values(points[at])

    def _unjudged(self, curves: Sequence[Curve]) -> int | None:
        """The first that waits where no trial can be judged yet."""
        at = defaultdict[float, list[float]](list)
        for curve in curves:
            for progress, value in zip(curve.progress, curve.measured, strict=True):
                at[progress].append(value)
        silent = {progress for progress, values in at.items() if say_nothing(values, self._mismatch)}
        waiting = ((index, curve) for index, curve in enumerate(curves) if curve.waits and curve.measured)
        return next((index for index, curve in waiting if curve.progress[-1] in silent), None)

    def _know(self, curves: Sequence[Curve], tunes: bool) -> None:
        """Also what the trials that run are believed to come to: so that two do not try the same."""
        scaled = _scaled([curve.measured for curve in curves])
        curves = [replace(c, measured=values) for c, values in zip(curves, scaled, strict=True)]
        self._least = min(curve.best for curve in curves)
        points, values = self._known(curves)
        if tunes:
            self._model.tune(points, values)
        self._model.fit(points, values)
        if running := [index for index, curve in enumerate(curves) if curve.runs]:
            places = self._space.places(np.array([curves[index].point for index in running]))
            progress = np.array([1 - curves[index].left + self._quantum for index in running])
            awaited = Points(places, np.minimum(1.0, progress), np.array(running))
            believed = self._model.predict(awaited)[0]
            self._model.fit(_joined(points, awaited), np.concatenate([values, believed]))

    def _known(self, curves: Sequence[Curve]) -> tuple[Points, Array]:
        """What was measured, at most MOST measures of it."""
        found = looked_at(curves)
        points = Points(
            self._space.places(np.array([curves[index].point for index, _ in found])),
            np.array([curves[index].progress[at] for index, at in found]),
            np.array([index for index, _ in found]),
        )
        return points, np.array([curves[index].measured[at] for index, at in found])

    def _candidates(self, curves: Sequence[Curve], chance: np.random.Generator) -> Array:
        best = np.array([curve.point for curve in sorted(curves, key=lambda curve: curve.best)[:BEST]])
        anywhere = self._space.drawn(ANYWHERE, chance)
        return np.vstack(
            [anywhere, self._space.near(best[chance.integers(len(best), size=NEIGHBOURS)], chance)]
        )


def looked_at(curves: Sequence[Curve]) -> list[tuple[int, int]]:
    """Curves and their measures, by indices."""
    ranked = sorted(range(len(curves)), key=lambda index: curves[index].best)
    newest = [(index, len(curves[index].measured) - 1) for index in ranked if curves[index].measured]
    before = [(index, at) for index, last in newest for at in range(last)]
    return sorted([*newest, *before][:MOST])


def _scaled(measured: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """Logarithms, where all values have one: differences matter more among small distances. What is far worse
    than the middle one, or no number, counts as the worst: how bad it is tells nothing of good ones."""
    sane = sorted(value for values in measured for value in values if abs(value) < LARGEST)
    scale = math.log if sane and sane[0] > 0 else float
    least, middle = (scale(sane[at]) for at in (0, len(sane) // 2)) if sane else (0.0, 0.0)
    worst = min(scale(sane[-1]), middle + WORST * (middle - least)) if sane else 0.0
    return [
        tuple(min(worst, scale(value)) if abs(value) < LARGEST else worst for value in values)
        for values in measured
    ]


def _joined(one: Points, other: Points) -> Points:
    return Points(
        np.vstack([one.settings, other.settings]),
        np.concatenate([one.progress, other.progress]),
        np.concatenate([one.trials, other.trials]),
    )


# In a study


def next_trial(study: optuna.Study, spec: Spec, waiting: Collection[int]) -> int | None:
    """The number of the trial that goes on next; None: a new one is to be begun.

    Args:
        waiting: numbers of the trials that may go on.
    """
    trials = study.get_trials(deepcopy=False)
    if any(trial.state == TrialState.WAITING for trial in trials):  # somebody asked for its values
        return None
    curves, space = curves_of(trials, spec, waiting), Space(spec)
    measures = sum(len(curve.measured) for curve in curves.values())
    chance = np.random.default_rng([derived(spec.seed, "next trial", len(curves), measures)])
    mismatch = yardstick(study).get("mismatch", math.inf)
    chosen = FreezeThaw(space, _quantum(spec), mismatch).choice(list(curves.values()), chance)
    return list(curves)[chosen] if isinstance(chosen, int) else None


def curves_of(trials: Sequence[FrozenTrial], spec: Spec, waiting: Collection[int]) -> dict[int, Curve]:
    """By number, those of the search's trials whose values are known. One that failed before it was measured
    is as bad as the worst."""
    space, found = Space(spec), dict[int, Curve]()
    for trial in trials:
        if not is_of_the_search(trial) or not space.is_drawn(trial.params):
            continue
        measured = dict(sorted(trial.intermediate_values.items()))
        if trial.state == TrialState.FAIL and not measured:
            measured = {spec.objective.measure_every: np.nan}
        found[trial.number] = Curve(
            space.point(trial.params),
            tuple(min(1.0, step / spec.objective.steps) for step in measured),
            tuple(measured.values()),
            waits=trial.number in waiting,
            runs=trial.state == TrialState.RUNNING and trial.number not in waiting,
        )
    return found


def _quantum(spec: Spec) -> float:
    return min(1.0, spec.objective.measure_every / spec.objective.steps)


class FreezeThawSampler(BaseSampler):
    """Draws the values of a new trial at once: at random, then those that promise most."""

    def __init__(self, spec: Spec, seed: int) -> None:
        self._spec, self._seed = spec, seed
        self._space = Space(spec)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(self._space.sources)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        others = [other for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        curves = [
            replace(c, runs=c.runs and not c.measured) for c in curves_of(others, self._spec, ()).values()
        ]
        chosen = FreezeThaw(self._space, _quantum(self._spec)).choice(
            curves, np.random.default_rng(self._seed)
        )
        assert isinstance(chosen, dict)  # nothing waits
        return chosen

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """For a setting that was not drawn with the others, as a person had given those."""
        return RandomSampler(self._seed).sample_independent(study, trial, param_name, param_distribution)
