"""A search space as a cube: each setting is a number from 0 to 1, on the scale on which it is searched."""

import math
from collections.abc import Mapping
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
    """Draws values of a study's space, and gives them their place in the cube."""

    def __init__(self, spec: Spec) -> None:
        self.sources = cast(dict[str, Source], distributions(spec))
        self._when = {name: parameter.when for name, parameter in spec.space.items()}

    @property
    def dimensions(self) -> int:
        return sum(len(source.choices) if _is_unordered(source) else 1 for source in self.sources.values())

    def drawn(self, chance: np.random.Generator) -> dict[str, Any]:
        """From all over the space."""
        return self._following({}, chance)

    def near(self, values: Values, chance: np.random.Generator) -> dict[str, Any]:
        """A neighbour of `values`."""
        return self._following(values, chance)

    def _following(self, values: Values, chance: np.random.Generator) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, source in self.sources.items():
            if not self._holds(name, found):
                continue
            if isinstance(source, CategoricalDistribution):
                keeps = name in values and chance.random() < KEPT
                found[name] = values[name] if keeps else source.choices[chance.integers(len(source.choices))]
            elif name in values:
                found[name] = _at(source, _place(source, values[name]) + NEAR * chance.normal())
            else:
                found[name] = _anywhere(source, chance)
        return found

    def is_drawn(self, values: Values) -> bool:
        """Whether they are all that a trial needs: values are drawn one after the other."""
        return all(name in values for name in self.sources if self._holds(name, values))

    def _holds(self, name: str, values: Values) -> bool:
        """Whether the condition of a setting does."""
        return all(parent in values and c.holds(values[parent]) for parent, c in self._when[name].items())

    def place(self, values: Values) -> Array:
        """Shape (dimensions,)."""
        found: list[float] = []
        for name, source in self.sources.items():
            if not _is_unordered(source):
                found.append(_place(source, values[name]) if name in values else UNDRAWN)
            elif name in values:
                found += [APART * (choice == values[name]) for choice in source.choices]
            else:
                found += [APART * UNDRAWN] * len(source.choices)
        return np.array(found)


def _is_unordered(source: Source) -> TypeGuard[CategoricalDistribution]:
    """Whether its choices are no numbers; numbers stand in the order in which they are given."""
    if not isinstance(source, CategoricalDistribution):
        return False
    return any(isinstance(choice, bool) or not isinstance(choice, int | float) for choice in source.choices)


def _place(source: Source, value: Any) -> float:
    if isinstance(source, CategoricalDistribution):
        return source.choices.index(value) / max(1, len(source.choices) - 1)
    low, high, here = (_on_scale(source, number) for number in (source.low, source.high, value))
    return (here - low) / (high - low) if high > low else 0.0


def _on_scale(source: Ranged, value: float) -> float:
    return math.log(value) if source.log else value


def _at(source: Ranged, place: float) -> Any:
    low, high = _on_scale(source, source.low), _on_scale(source, source.high)
    value = low + min(max(place, 0.0), 1.0) * (high - low)
    return nearest_in(source, math.exp(value) if source.log else value)


def _anywhere(source: Ranged, chance: np.random.Generator) -> Any:
    """Each of the values that it steps through is as likely as another."""
    if source.step is None or source.log:
        return _at(source, chance.random())
    steps = round((source.high - source.low) / source.step)
    return nearest_in(source, source.low + source.step * int(chance.integers(steps + 1)))
