"""Surrogates of the table: for any point of the space, curves as a training there might have measured.

A curve is the surrogate's mean there and what the mean missed in a run of the table with a like mean. What it
missed is taken from predictions made without that run.
"""

import warnings
from typing import ClassVar

import numpy as np
from scipy.linalg import inv
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmarks.search.table import Array, Table

NEAREST = 15  # runs of the table whose misses may be drawn
AROUND = 21  # runs by which a miss is judged
WEIGHTS = np.linspace(0.3, 1, 4)  # of the measures, where two curves are compared


def features(table: Table, points: Array) -> Array:
    """With a column that tells training without guidance from that with any: shape (n, dimensions + 1)."""
    guided = points[:, list(table.cube.sources).index("guided_attention_weight")]
    return np.column_stack([table.cube.places(points), np.exp(-8 * guided)])


class World:
    """Trainings that take no time."""

    name: ClassVar[str]

    def __init__(self, table: Table, predicted: Array) -> None:
        """Args: predicted: distances of the table's runs, each predicted without that run."""
        self.table = table
        self._predicted = predicted
        self._missed = misses(table, predicted)

    def mean(self, points: Array) -> Array:
        """Distances in dB that are expected at points of shape (n, settings), shape (n, measures)."""
        raise NotImplementedError

    def curve(self, point: Array, chance: np.random.Generator) -> Array:
        """What one training at a point measures, shape (measures,)."""
        mean = np.clip(self.mean(point[None])[0], 0, self.table.largest)
        nearest = np.argsort(np.abs(self._predicted - mean) @ WEIGHTS)[:NEAREST]
        found: Array = np.clip(
            mean + self._missed[chance.choice(nearest)], self.table.least, self.table.largest
        )
        return found


def misses(table: Table, predicted: Array) -> Array:
    """What predictions missed, shape (runs, measures), without what is not the seed's luck.

    Like runs miss nothing in the mean. A surrogate of a few runs misses more than another seed would change:
    where the deviation between seeds is known, misses are shrunk to it.
    """
    missed, ends = table.distances - predicted, predicted[:, -1]
    like = np.array([np.argsort(np.abs(ends - end))[:AROUND] for end in ends])
    missed = missed - missed[like].mean(1)
    spread = np.sqrt((missed[like, -1] ** 2).mean(1))
    found: Array = missed * np.where(ends < table.good, np.minimum(1, table.deviation / spread), 1)[:, None]
    return found


class GaussianProcesses(World):
    """One Gaussian process for each principal component of the curves."""

    name = "Gaussian processes"

    def __init__(self, table: Table) -> None:
        self._middle = table.distances.mean(0)
        _, _, self._components = np.linalg.svd(table.distances - self._middle, full_matrices=False)
        parts = (table.distances - self._middle) @ self._components.T
        self._scale = parts.std(0)
        self._processes = [process(features(table, table.points), part) for part in (parts / self._scale).T]
        left_out = np.column_stack([left_one_out(fitted) for fitted in self._processes])
        super().__init__(table, np.minimum(self._curves(left_out), table.largest))

    def mean(self, points: Array) -> Array:
        at = features(self.table, points)
        return self._curves(np.column_stack([fitted.predict(at) for fitted in self._processes]))

    def _curves(self, parts: Array) -> Array:
        found: Array = self._middle + (parts * self._scale) @ self._components
        return found


def process(at: Array, part: Array) -> GaussianProcessRegressor:
    """A Gaussian process over features (n, dimensions + 1) with values (n,) of deviation 1."""
    kernel = ConstantKernel(1, (0.05, 50)) * Matern(np.full(at.shape[1], 0.8), (0.1, 20), nu=2.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length scale at its bound: no effect
        return GaussianProcessRegressor(
            kernel + WhiteKernel(0.1, (1e-3, 1)), n_restarts_optimizer=1, random_state=0
        ).fit(at, part)


def left_one_out(fitted: GaussianProcessRegressor) -> Array:
    """Each value as predicted without it (Rasmussen and Williams, 2006, equation 5.12)."""
    inverse = inv(fitted.kernel_(fitted.X_train_))
    values: Array = fitted.y_train_
    found: Array = values - inverse @ values / np.diag(inverse)
    return found


class Trees(World):
    """Extremely randomised trees, so that a search by a Gaussian process is not at home."""

    name = "trees"

    def __init__(self, table: Table) -> None:
        forest = ExtraTreesRegressor(40, min_samples_leaf=2, bootstrap=True, oob_score=True, random_state=0)
        forest.fit(features(table, table.points), table.distances)
        self._trees = [tree.tree_ for tree in forest.estimators_]
        super().__init__(table, forest.oob_prediction_)

    def mean(self, points: Array) -> Array:
        at = np.ascontiguousarray(
            features(self.table, points), np.float32
        )  # forest.predict is 30 times as slow for one point
        found: Array = np.mean([tree.predict(at)[..., 0] for tree in self._trees], 0)
        return found


WORLDS = (GaussianProcesses, Trees)
