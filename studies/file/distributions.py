"""What Optuna draws a parameter from, and which values it may have there."""

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from smart_tuner.store.optuna_private import holds
from studies.file.parameters import AnyParameter, Choice, FloatRange


def distribution(parameter: AnyParameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.choices)
    if isinstance(parameter, FloatRange):
        return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
    return IntDistribution(parameter.low, parameter.high, parameter.log, parameter.step or 1)


def contains(source: BaseDistribution, value: Any) -> bool:
    truth = isinstance(value, bool)  # which Python counts among the numbers
    if isinstance(source, CategoricalDistribution):
        return any(value == choice and truth == isinstance(choice, bool) for choice in source.choices)
    return isinstance(value, int | float) and not truth and holds(source, value)


def limits(source: BaseDistribution) -> str:
    if isinstance(source, CategoricalDistribution):
        return f"one of {', '.join(map(repr, source.choices))}"
    assert isinstance(source, FloatDistribution | IntDistribution)
    kind = "a whole number" if isinstance(source, IntDistribution) else "a number"
    steps = "" if source.step in (None, 1) else f" in steps of {source.step}"
    return f"{kind} from {source.low} to {source.high}{steps}"
