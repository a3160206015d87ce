"""What trials of a search would come to: a Gaussian process over settings and progress.

Swersky, Snoek and Adams, 2014, arXiv:1406.3896.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from smart_tuner.lazy import LazyModule

linalg, special = LazyModule("scipy.linalg"), LazyModule("scipy.special")  # scipy takes a second to load

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """What is known or asked, n at once.

    Args:
        settings: shape (n, d), 0 to 1.
        progress: shape (n,), the part of the plan.
        trials: shape (n,), whose they are; what two of one trial share, those of two trials do not.
    """

    settings: Array
    progress: Array
    trials: Array


@dataclass(frozen=True)
class Gaps:
    """How far two sets of points lie apart: squares (d, n, m) and (n, m); 1 where the trial is the same."""

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

    Its hyperparameters, as logarithms: d lengths of the settings' Matern 5/2 kernel, the length of progress,
    the variance that is a trial's own, the noise's deviation, and the constant. They are near the mode of
    their posterior, sought one after the other from the middle of their prior.

    Args:
        dimensions: d.
    """

    LENGTH = (0.7, 0.6)  # median and logarithmic deviation of a length's prior
    OTHERS = ((0.6, 0.5), (0.15, 0.7), (0.1, 0.8), (0.5, 0.7))
    STRIDES = (0.5, 0.25, 0.5, 0.25)

    def __init__(self, dimensions: int) -> None:
        medians, self._width = np.array([self.LENGTH] * dimensions + list(self.OTHERS)).T
        self._prior: Array = np.log(medians)
        self._hyper = self._prior

    def tune(self, points: Points, values: Array) -> None:
        """Choose hyperparameters for `values` (n,), whatever they were before."""
        gaps, scaled = Gaps.between(points, points), (values - values.mean()) / (values.std() + 1e-6)
        self._hyper = self._prior
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
            factor = linalg.cho_factor(noisy(hyper, gaps), lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            return np.inf
        explained = 0.5 * values @ linalg.cho_solve(factor, values, check_finite=False)
        away = 0.5 * (((hyper - self._prior) / self._width) ** 2).sum()
        return float(explained + np.log(np.diag(factor[0])).sum() + away)

    def fit(self, points: Points, values: Array) -> None:
        self._middle, self._scale = values.mean(), values.std() + 1e-6
        self._points = points
        gaps = Gaps.between(points, points)
        self._factor = linalg.cho_factor(noisy(self._hyper, gaps), lower=True, check_finite=False)
        scaled = (values - self._middle) / self._scale
        self._weights = linalg.cho_solve(self._factor, scaled, check_finite=False)

    def predict(self, points: Points) -> tuple[Array, Array]:
        """Means and standard deviations, without noise, each of shape (n,)."""
        between = covariance(self._hyper, Gaps.between(points, self._points))
        known = linalg.solve_triangular(self._factor[0], between.T, lower=True, check_finite=False)
        own, constant = np.exp(self._hyper[[-3, -1]])
        variance = np.maximum(1 + constant + own - (known**2).sum(0), 1e-6)
        return self._middle + self._scale * (between @ self._weights), self._scale * np.sqrt(variance)


def covariance(hyper: Array, gaps: Gaps) -> Array:
    *lengths, over_time, own, _, constant = np.exp(hyper)
    far = np.sqrt(np.tensordot(5 / np.square(lengths), gaps.settings, 1) + 1e-12)
    progress = np.exp(-0.5 / over_time**2 * gaps.progress)
    matern = (1 + far + far**2 / 3) * np.exp(-far)
    found: Array = matern * (constant + progress) + own * gaps.same * progress
    return found


def noisy(hyper: Array, gaps: Gaps) -> Array:
    noise: Array = (np.exp(2 * hyper[-2]) + 1e-6) * np.eye(len(gaps.progress))
    return covariance(hyper, gaps) + noise


def improvement(means: Array, deviations: Array, best: float) -> Array:
    """By how much a normal variable is expected to be below `best`, nothing where it is above."""
    below = (best - means) / deviations
    density = np.exp(-(below**2) / 2) / np.sqrt(2 * np.pi)
    found: Array = deviations * (below * special.ndtr(below) + density)
    return found
