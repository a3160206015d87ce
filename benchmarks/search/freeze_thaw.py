"""Freeze-thaw search (Swersky, Snoek and Adams, 2014, arXiv:1406.3896): a paused trial may go on later.

A Gaussian process over settings and progress says what each trial, paused or new, would come to at its end.
The one that promises most for the steps that are left is trained to its next measure.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.special import ndtr

from benchmarks.search.ledger import Ledger, Trial
from benchmarks.search.table import MEASURES, PLAN, Array, drawn, on_levels

STARTUP = 4  # trials drawn at random
RETUNED = 8  # the process's hyperparameters are tuned anew at every so many choices
CANDIDATES = 120  # new points from all over the space; half as many are near the best trials
BEST, NEAR, KEPT = 4, 0.12, 0.8  # trials that candidates are near; how near; share that keep the last setting
WHOLE, MOST = 25, 130  # trials of which all measures count, of others the newest; measures in all


@dataclass(frozen=True)
class Points:
    """What is known or asked, n at once.

    Args:
        settings: shape (n, 5), 0 to 1.
        progress: shape (n,), the part of the plan.
        trials: shape (n,), whose they are; what two of one trial share, those of two trials do not.
    """

    settings: Array
    progress: Array
    trials: Array


@dataclass(frozen=True)
class Gaps:
    """How far two sets of points lie apart: squares (5, n, m) and (n, m); 1 where the trial is the same."""

    settings: Array
    progress: Array
    same: Array

    @classmethod
    def between(cls, one: Points, other: Points) -> Self:
        settings = one.settings.T[:, :, None] - other.settings.T[:, None]
        progress = one.progress[:, None] - other.progress
        same = one.trials[:, None] == other.trials
        return cls(settings**2, progress**2, same.astype(np.float64))


class CurveModel:
    """A Gaussian process over (settings, progress, trial).

    k = matern(settings) * (constant + rbf(progress)) + own * [same trial] * rbf(progress) + noise

    Its nine hyperparameters, as logarithms: five lengths of the settings' Matern 5/2 kernel, the length of
    progress, the variance that is a trial's own, the noise's deviation, and the constant. They are at the
    mode of their posterior, sought one after the other.
    """

    PRIOR = np.log([0.5, 0.8, 0.8, 0.8, 0.8, 0.6, 0.15, 0.1, 0.5])
    WIDTH = np.array([0.6, 0.6, 0.6, 0.6, 0.6, 0.5, 0.7, 0.8, 0.7])
    STRIDES = (0.5, 0.25)

    def __init__(self) -> None:
        self._hyper: Array = self.PRIOR

    def tune(self, points: Points, values: Array) -> None:
        """Better hyperparameters for `values` (n,)."""
        gaps, scaled = Gaps.between(points, points), (values - values.mean()) / (values.std() + 1e-6)
        least = self._loss(self._hyper, gaps, scaled)
        for stride in self.STRIDES:
            for change in stride * np.eye(len(self._hyper)):
                for tried in (self._hyper + change, self._hyper - change):
                    if (loss := self._loss(tried, gaps, scaled)) < least:
                        self._hyper, least = tried, loss
                        break

    def _loss(self, hyper: Array, gaps: Gaps, values: Array) -> float:
        """Negative logarithm of the posterior, but for a constant."""
        try:
            factor = cho_factor(noisy(hyper, gaps), lower=True, check_finite=False)
        except LinAlgError:
            return np.inf
        fit = 0.5 * values @ cho_solve(factor, values, check_finite=False) + np.log(np.diag(factor[0])).sum()
        return float(fit + 0.5 * (((hyper - self.PRIOR) / self.WIDTH) ** 2).sum())

    def fit(self, points: Points, values: Array) -> None:
        self._middle, self._scale = values.mean(), values.std() + 1e-6
        self._points = points
        gaps = Gaps.between(points, points)
        self._factor = cho_factor(noisy(self._hyper, gaps), lower=True, check_finite=False)
        self._weights = cho_solve(self._factor, (values - self._middle) / self._scale, check_finite=False)

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Means and standard deviations, without noise, each of shape (n,)."""
        between = covariance(self._hyper, Gaps.between(points, self._points))
        known = solve_triangular(self._factor[0], between.T, lower=True, check_finite=False)
        own, constant = np.exp(self._hyper[[6, 8]])
        variance = np.maximum(1 + constant + own - (known**2).sum(0), 1e-6)
        return self._middle + self._scale * (between @ self._weights), self._scale * np.sqrt(variance)


def covariance(hyper: Array, gaps: Gaps) -> Array:
    lengths = np.exp(hyper)
    far = np.sqrt(np.tensordot(5 / lengths[:5] ** 2, gaps.settings, 1) + 1e-12)
    progress = np.exp(-0.5 / lengths[5] ** 2 * gaps.progress)
    matern = (1 + far + far**2 / 3) * np.exp(-far)
    found: Array = matern * (lengths[8] + progress) + lengths[6] * gaps.same * progress
    return found


def noisy(hyper: Array, gaps: Gaps) -> Array:
    noise: Array = (np.exp(2 * hyper[7]) + 1e-6) * np.eye(len(gaps.progress))
    return covariance(hyper, gaps) + noise


def freeze_thaw(ledger: Ledger, seed: int) -> None:
    chance, model = np.random.default_rng(seed), CurveModel()
    for point in drawn(STARTUP, chance):
        ledger.begin(point).go_on()
    choices = 0
    while True:
        points, values = known(ledger.trials)
        if choices % RETUNED == 0:
            model.tune(points, values)
        model.fit(points, values)
        chosen(ledger, model, candidates(ledger.trials, chance)).go_on()
        choices += 1


def known(trials: list[Trial]) -> tuple[Points, Array]:
    """What was measured, and the logarithms of the distances; of trials that are behind only the newest."""
    ahead = set(map(id, sorted(trials, key=lambda trial: trial.best)[:WHOLE]))
    found = [
        (index, at)
        for index, trial in enumerate(trials)
        for at in range(0 if id(trial) in ahead else len(trial.values) - 1, len(trial.values))
    ]
    if len(found) > MOST:
        behind = [entry for entry in found if id(trials[entry[0]]) not in ahead]
        late = set(behind[-(MOST - WHOLE * MEASURES) :])
        found = [entry for entry in found if id(trials[entry[0]]) in ahead or entry in late]
    numbers = np.array(found)
    points = Points(
        np.array([trials[index].point for index, _ in found]), (numbers[:, 1] + 1) / MEASURES, numbers[:, 0]
    )
    return points, np.log([trials[index].values[at] for index, at in found])


def candidates(trials: list[Trial], chance: np.random.Generator) -> Array:
    """New points, shape (180, 5)."""
    anywhere, count = drawn(CANDIDATES, chance), CANDIDATES // 2
    best = np.array([trial.point for trial in sorted(trials, key=lambda trial: trial.best)[:BEST]])
    near = best[chance.integers(len(best), size=count)]
    moved = on_levels(near + chance.normal(0, NEAR, near.shape))
    is_kept = chance.random(count) < KEPT
    moved[:, -1] = np.where(is_kept, near[:, -1], drawn(count, chance)[:, -1])
    return np.vstack([anywhere, moved])


def chosen(ledger: Ledger, model: CurveModel, new: Array) -> Trial:
    """The trial with the largest expected improvement at its end for each step that is left of it."""
    paused = [(index, trial) for index, trial in enumerate(ledger.trials) if not trial.is_whole]
    settings = np.vstack([*(trial.point for _, trial in paused), new])
    trials = np.array([*(index for index, _ in paused), *(-1 - np.arange(len(new)))])
    means, deviations = model.predict(Points(settings, np.ones(len(settings)), trials))
    left = np.array([*(PLAN - trial.step for _, trial in paused), *np.full(len(new), PLAN)])
    best = int(np.argmax(improvement(means, deviations, np.log(ledger.best[-1])) / left))
    return paused[best][1] if best < len(paused) else ledger.begin(settings[best])


def improvement(means: Array, deviations: Array, best: float) -> Array:
    """By how much a normal variable is expected to be below `best`, nothing where it is above."""
    below = (best - means) / deviations
    found: Array = deviations * (below * ndtr(below) + np.exp(-(below**2) / 2) / np.sqrt(2 * np.pi))
    return found
