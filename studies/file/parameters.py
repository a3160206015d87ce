"""What a study may fix or search: the names, the values they can take, and when one is drawn."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from fractions import Fraction
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from objectives.base import Parameter as Known
from studies.file.table import Fault, Table, refuse

Number = int | float


class Condition(Table):
    """Draw a parameter only when another one, drawn before it, has such a value."""

    one_of: tuple[Number, ...] = ()
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if bool(self.one_of) == (self.above is not None or self.below is not None):
            refuse([((), "needs either one_of = [...], or above and/or below")])
        return self

    def holds(self, value: Number) -> bool:
        if self.one_of:
            return value in self.one_of
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)


class Conditional(Table):
    when: dict[str, Condition] = Field({})


class FloatRange(Conditional):
    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        refuse(_range_faults(self.low, self.high, self.step, self.log))
        return self

    def values(self) -> Sequence[float]:
        """None where there are no steps."""
        count = 0 if self.step is None else round((self.high - self.low) / self.step) + 1
        return [self.low + number * (self.step or 0) for number in range(count)]


class IntRange(Conditional):
    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        refuse(_range_faults(self.low, self.high, self.step, self.log))
        return self

    def values(self) -> Sequence[int]:
        return range(self.low, self.high + 1, self.step or 1)


class Choice(Conditional):
    type: Literal["categorical"]
    choices: tuple[Number, ...]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not 1 < len(set(self.choices)) == len(self.choices):
            refuse([(("choices",), f"needs two or more different values, not {list(self.choices)}")])
        return self

    def values(self) -> Sequence[Number]:
        return sorted(self.choices)


AnyParameter = FloatRange | IntRange | Choice
Parameter = Annotated[AnyParameter, Field(discriminator="type")]


def _range_faults(low: Number, high: Number, step: Number | None, log: bool) -> Iterator[Fault]:
    if low > high:
        yield ("low",), f"is {low}, above high = {high}"
    if log and low <= 0:
        yield ("low",), f"is {low}, but log = true needs a value above 0"
    if step is None:
        return
    if log:
        yield ("step",), "cannot go with log = true; leave one of them out"
    elif step <= 0:
        yield ("step",), f"is {step}, but must be above 0"
    elif (Fraction(str(high)) - Fraction(str(low))) % Fraction(str(step)):
        yield ("high",), f"is {high}, which steps of {step} from {low} never meet"


def value_fault(name: str, value: Number, known: Mapping[str, Known]) -> str | None:
    """Why the parameter `name` cannot be `value`, or None."""
    text = known[name].fault(value)
    return text and f"{name} {text}"


def name_fault(name: str, known: Mapping[str, str]) -> str:
    """An unknown key, with the nearest of the known ones as `known` writes them."""
    found = " or ".join(known[key] for key in nearest(name, known))
    return f"is not known{'; nearest: ' + found if found else ''}"


def nearest(name: str, known: Mapping[str, str] | Sequence[str]) -> list[str]:
    """The known names most like `name`: several when they are equally near, none when nothing is."""
    likeness = {key: SequenceMatcher(None, name, key).ratio() for key in known}
    best = max(likeness.values(), default=0.0)
    return [key for key, value in likeness.items() if value == best >= 0.6]


def space_faults(space: Mapping[str, AnyParameter], known: Mapping[str, Known] | None) -> Iterator[Fault]:
    """Whatever is wrong with a search space, save for what each table has found in itself.

    Args:
        known: the objective's own parameters; None where its code is not at hand.
    """
    above: dict[str, AnyParameter | None] = {}  # None: itself wrong, so that no condition on it can be judged
    for name, parameter in space.items():
        faults = [] if known is None else list(_parameter_faults(name, parameter, known))
        yield from (((name, *key), text) for key, text in faults)
        for parent, condition in parameter.when.items():
            if text := _condition_fault(parent, condition, above):
                yield (name, "when", parent), text
        above[name] = None if faults else parameter


def _parameter_faults(name: str, parameter: AnyParameter, known: Mapping[str, Known]) -> Iterator[Fault]:
    searched = sorted(key for key, own in known.items() if own.searched)
    if name not in known:
        yield (), name_fault(name, {key: f"space.{key}" for key in searched})
    elif name not in searched:
        yield (), "is the same in every trial, so it cannot be searched"
    elif isinstance(parameter, FloatRange) and known[name].type is int:
        yield ("type",), f'{name} is a whole number: use type = "int"'
    elif isinstance(parameter, IntRange) and known[name].type is float:
        yield ("type",), f'{name} is a fraction: use type = "float"'
    else:
        found = ((key, value_fault(name, value, known)) for key, value in _extremes(parameter))
        wrong = [((key,), text) for key, text in found if text]
        yield from [fault for fault in wrong if fault[0] != ("step",)] or wrong


def _extremes(parameter: AnyParameter) -> list[tuple[str, Number]]:
    """Values by which all values of a parameter can be judged, and the key that is to blame for each."""
    if isinstance(parameter, Choice):
        return [("choices", choice) for choice in parameter.choices]
    ends: list[tuple[str, Number]] = [("low", parameter.low), ("high", parameter.high)]
    if isinstance(parameter, IntRange):  # between two odd ends there may be even values
        ends.append(("step", min(parameter.low + (parameter.step or 1), parameter.high)))
    return ends


def _condition_fault(
    parent: str, condition: Condition, above: Mapping[str, AnyParameter | None]
) -> str | None:
    """Only a parameter that stands above is a parent, so that no two can wait for each other."""
    if parent not in above:
        known = ", ".join(nearest(parent, list(above)) or above) or "none"
        return f"is not a parameter that stands above this one; there is {known}"
    values = above[parent]
    if isinstance(values, FloatRange) and condition.one_of:
        return "is a range of fractions, which meets no value exactly: use above or below"
    return None if values is None or _possible(values, condition) else "never takes such a value"


def _possible(parent: AnyParameter, condition: Condition) -> bool:
    """Whether the parent takes every value of one_of, or some value between above and below."""
    if condition.one_of:
        return not isinstance(parent, FloatRange) and all(
            value in parent.values() for value in condition.one_of
        )
    above = -math.inf if condition.above is None else condition.above
    below = math.inf if condition.below is None else condition.below
    if isinstance(parent, FloatRange):
        return above < below and above < parent.high and below > parent.low
    values = parent.values()
    first = bisect_right(values, above)
    return first < len(values) and values[first] < below
