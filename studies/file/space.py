"""From a study's search space to Optuna: what is drawn, and from what."""

import hashlib
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from studies.file.distributions import contains, distribution, limits
from studies.file.spec import Spec


class Unrunnable(ValueError):
    """A trial was given values, by somebody who enqueued it, with which none of its study can be run."""


def suggest(trial: optuna.Trial, spec: Spec) -> dict[str, Any]:
    """Draw every parameter, in the order of the file; one whose condition fails is left out."""
    drawn: dict[str, Any] = {}
    for name, parameter in spec.space.items():
        if all(parent in drawn and c.holds(drawn[parent]) for parent, c in parameter.when.items()):
            source = distribution(parameter)
            value = _drawn(trial, name, source)
            drawn[name] = source.to_external_repr(source.to_internal_repr(value))  # 8.0 was given for 8
    return dict(drawn)


def check_given(trial: FrozenTrial, spec: Spec) -> None:
    """What Optuna does not ask of values that a trial was given: it takes those that are out of range, and
    numbers in quotes, and passes over unknown names. Raises Unrunnable."""
    given, known = {**trial.params, **trial.system_attrs.get("fixed_params", {})}, distributions(spec)
    if unknown := sorted(set(given) - set(known)):
        raise Unrunnable(f"it was given {', '.join(unknown)}; the study's parameters are {', '.join(known)}")
    check_drawn(given, spec)


def check_drawn(values: Mapping[str, Any], spec: Spec) -> None:
    """Some samplers draw what lies outside the space: also where nothing is killed, and its params are read
    again, the trial cannot run. Raises Unrunnable."""
    known = distributions(spec)
    for name, value in values.items():
        if not contains(known[name], value):
            raise Unrunnable(f"it was given {name} = {value!r}, which must be {limits(known[name])}")


def distributions(spec: Spec) -> dict[str, BaseDistribution]:
    """What each parameter of the space is drawn from, conditional ones included."""
    return {name: distribution(parameter) for name, parameter in spec.space.items()}


def _drawn(trial: optuna.Trial, name: str, source: BaseDistribution) -> Any:
    if isinstance(source, FloatDistribution):
        return trial.suggest_float(name, source.low, source.high, step=source.step, log=source.log)
    if isinstance(source, IntDistribution):
        return trial.suggest_int(name, source.low, source.high, step=source.step, log=source.log)
    assert isinstance(source, CategoricalDistribution)
    return trial.suggest_categorical(name, source.choices)


def derived(*parts: Any) -> int:
    """A 32-bit seed from SHA-256 of the parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:4], "big")


def nearest_in(source: BaseDistribution, value: float) -> Any:
    """The value of a distribution that is nearest to `value`."""
    if isinstance(source, CategoricalDistribution):
        return min(source.choices, key=lambda choice: abs(float(choice or 0) - value))
    assert isinstance(source, FloatDistribution | IntDistribution)
    value = min(max(value, source.low), source.high)
    if source.step is None:
        return value
    steps = round((value - source.low) / source.step)
    return type(source.low)(source.low + steps * source.step)
