"""A search space as a cube: each setting is a number from 0 to 1, on the scale on which it is searched."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from studies.file.space import distributions, nearest_in
from studies.file.spec import Spec

Array = NDArray[np.float64]
Ranged = FloatDistribution | IntDistribution
Source = Ranged | CategoricalDistribution
Values = Mapping[str, Any]

UNDRAWN = 0.5  # where a setting stands whose condition does not hold
NEAR = 0.12  # deviation of a neighbour's settings
KEPT = 0.8  # share of neighbours that have the same choice
APART = 0.7  # from one choice to another, where choices are no numbers


class Space:
    """Draws points of a study's space, n at once: shape (n, number of settings), NaN where a condition does
    not hold. Each has a place in the cube, with a dimension more for every choice that is no number."""

    def __init__(self, spec: Spec) -> None:
        self.sources = cast(dict[str, Source], distributions(spec))
        self._when = {name: parameter.when for name, parameter in spec.space.items()}

    @property
    def dimensions(self) -> int:
        return sum(len(source.choices) if _is_unordered(source) else 1 for source in self.sources.values())

    def drawn(self, count: int, chance: np.random.Generator) -> Array:
        """From all over the space: each of the values that a setting steps through is as likely."""
        return self._conditioned(self._anywhere(count, chance))

    def _anywhere(self, count: int, chance: np.random.Generator) -> Array:
        """The same, whatever holds."""
        found = chance.random((count, len(self.sources)))
        for at, source in enumerate(self.sources.values()):
            if (steps := _steps(source)) is not None:
                found[:, at] = np.floor(found[:, at] * (steps + 1)) / max(1, steps)
        return found

    def near(self, points: Array, chance: np.random.Generator) -> Array:
        """A neighbour of each of the points (n, settings)."""
        anywhere = self._anywhere(len(points), chance)
        found = np.clip(points + chance.normal(0.0, NEAR, points.shape), 0.0, 1.0)
        keeps = chance.random(points.shape) < KEPT
        for at, source in enumerate(self.sources.values()):
            if isinstance(source, CategoricalDistribution):
                found[:, at] = np.where(keeps[:, at], points[:, at], anywhere[:, at])
            elif (steps := _steps(source)) is not None:
                found[:, at] = np.round(found[:, at] * steps) / max(1, steps)
        return self._conditioned(np.where(np.isnan(points), anywhere, found))

    def _conditioned(self, points: Array) -> Array:
        for at, name in enumerate(self.sources):
            for parent, condition in self._when[name].items():
                place = list(self.sources).index(parent)
                given = [
                    not math.isnan(p) and condition.holds(_value(self.sources[parent], p))
                    for p in points[:, place]
                ]
                points[~np.array(given, bool), at] = np.nan
        return points

    def point(self, values: Values) -> Array:
        """Shape (settings,)."""
        return np.array(
            [_unit(source, values[n]) if n in values else np.nan for n, source in self.sources.items()]
        )

    def values(self, point: Sequence[float]) -> dict[str, Any]:
        return {
            name: _value(source, unit)
            for (name, source), unit in zip(self.sources.items(), point, strict=True)
            if not math.isnan(unit)
        }

    def places(self, points: Array) -> Array:
        """Shape (n, dimensions)."""
        columns = []
        for unit, source in zip(points.T, self.sources.values(), strict=True):
            if not _is_unordered(source):
                columns.append(np.nan_to_num(unit, nan=UNDRAWN))
                continue
            last = len(source.choices) - 1
            for choice in range(last + 1):
                is_this = np.where(np.isnan(unit), UNDRAWN, np.round(unit * last) == choice)
                columns.append(APART * is_this)
        return np.stack(columns, axis=1)

    def is_drawn(self, values: Values) -> bool:
        """Whether they are all that a trial needs: values are drawn one after the other."""
        return all(
            name in values
            or not all(parent in values and c.holds(values[parent]) for parent, c in self._when[name].items())
            for name in self.sources
        )


def _is_unordered(source: Source) -> TypeGuard[CategoricalDistribution]:
    """Whether its choices are no numbers; numbers stand in the order in which they are given."""
    if not isinstance(source, CategoricalDistribution):
        return False
    return any(isinstance(choice, bool) or not isinstance(choice, int | float) for choice in source.choices)


def _steps(source: Source) -> int | None:
    """From its first value to the last; None where values are not evenly spaced numbers of their own."""
    if isinstance(source, CategoricalDistribution):
        return len(source.choices) - 1
    return None if source.step is None or source.log else round((source.high - source.low) / source.step)


def _unit(source: Source, value: Any) -> float:
    if isinstance(source, CategoricalDistribution):
        return source.choices.index(value) / max(1, len(source.choices) - 1)
    low, high, here = (_on_scale(source, number) for number in (source.low, source.high, value))
    return (here - low) / (high - low) if high > low else 0.0


def _value(source: Source, unit: float) -> Any:
    if isinstance(source, CategoricalDistribution):
        return source.choices[round(unit * (len(source.choices) - 1))]
    low, high = _on_scale(source, source.low), _on_scale(source, source.high)
    value = low + unit * (high - low)
    return nearest_in(source, math.exp(value) if source.log else value)


def _on_scale(source: Ranged, value: float) -> float:
    return math.log(value) if source.log else value
