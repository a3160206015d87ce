"""What a study file names as "module:Class", with arguments that are held against the class's signature."""

import math
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import Parameter, signature
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, CmaEsSampler, GridSampler, PartialFixedSampler
from pydantic import Field, JsonValue

from studies.file.code import CodeError, load
from studies.file.distributions import contains, distribution, limits
from studies.file.parameters import AnyParameter, Choice, nearest
from studies.file.table import Fault, Key, Table

SEED = "seed"  # the argument that no file may give
NO_BUSINESS_HERE = re.compile(r"optuna(?!hub:|\.samplers\b|\.pruners\b)\b")
OPTUNAS = re.compile(r"optuna\.(samplers|pruners)\b")  # where a class is that is open to all
NOT_OPTUNAS = "is not in optuna.samplers or optuna.pruners"
SIMPLE = {"int", "float", "bool", "str", "None", "Optional"}
POINTS = {GridSampler: "search_space", PartialFixedSampler: "fixed_params", CmaEsSampler: "x0"}
MATCHES = {
    bool: {"bool"},
    int: {"int", "float"},
    float: {"float"},
    str: {"str"},
}  # annotations that a value fits


class Named(Table):
    """A class by its name, and what it is made with. An argument may be such a table itself."""

    use: str
    args: dict[str, JsonValue] = Field({})


class Unbuildable(ValueError):
    """Nothing can be made of a table; `faults` say which keys of it are wrong, and why."""

    def __init__(self, faults: Collection[Fault]) -> None:
        super().__init__("\n".join(f"  {'.'.join(map(str, key))}: {text}" for key, text in faults))
        self.faults = faults


@dataclass(frozen=True)
class Recipe:
    """A class with its arguments, of which anew objects are made."""

    made: type
    args: dict[str, Any]
    inner: Mapping[str, "Recipe"] = field(default_factory=dict)  # arguments that are made, too

    def make(self, given: Mapping[str, Any]) -> Any:
        """Args: given: by the program, to all that take it and were not given it by the file."""
        known = signature(self.made).parameters
        made = {name: recipe.make(given) for name, recipe in self.inner.items()}
        arguments = {name: value for name, value in given.items() if name in known} | self.args | made
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # it was chosen by its name
            return self.made(**arguments)


def recipe(
    table: Mapping[str, Any],
    base: type,
    group: str,
    allowed: Collection[str],
    given: Mapping[str, Any],
    space: Mapping[str, AnyParameter] | None = None,
) -> Recipe:
    """How to make what `table` names, once it is known that it can be made.

    Args:
        table: as Named has it.
        base: of which the class must be.
        group, allowed: as studies/file/code.py: load takes them.
        given: as Recipe.make takes it.
        space: what is searched, which holds the values that arguments name; None where it is itself wrong.

    Raises:
        Unbuildable: it cannot.
    """
    found = _read(table, base, group, allowed, given, ())
    if space is not None and (faults := list(_point_faults(found, space, ("args",)))):
        raise Unbuildable(faults)
    try:
        found.make(given)
    except Exception as error:  # whatever a class makes of arguments that it was not made for
        text = f"{found.made.__name__} refuses them: {str(error) or type(error).__name__}"
        raise Unbuildable([(("args",), text)]) from error
    return found


def sampler_recipe(
    chosen: Named, space: Mapping[str, AnyParameter] | None, allowed: Collection[str]
) -> tuple[Recipe, dict[str, Any]]:
    """How to make a sampler, and what to give it beside a seed. Raises Unbuildable.

    Args:
        space: None where it is itself wrong, so that no value can be held against it.
    """
    given = {"search_space": {name: list(p.values()) for name, p in (space or {}).items() if p.values()}}
    found = recipe(chosen.model_dump(), BaseSampler, "sampler", allowed, {SEED: 0, **given}, space)
    if space is not None and issubclass(found.made, GridSampler):
        points = {**given, **found.args}["search_space"]
        if without := ", ".join(name for name in space if name not in points):
            text = (
                f"lacks values for {without}: give it a step in [space], or all values here, as search_space"
            )
            raise Unbuildable([(("args",), text)])
    return found, given


def pruner_recipe(chosen: Named, allowed: Collection[str]) -> Recipe:
    """How to make a pruner. Raises Unbuildable."""
    return recipe(chosen.model_dump(), BasePruner, "pruner", allowed, {"min_resource": 1, "max_resource": 1})


def names_in(table: Mapping[str, Any]) -> Iterator[str]:
    """All that a table, and the tables in it, name."""
    yield table["use"]
    for value in table.get("args", {}).values():
        if _is_table(value):
            yield from names_in(value)


def _read(
    table: Mapping[str, Any],
    base: type,
    group: str,
    allowed: Collection[str],
    given: Mapping[str, Any],
    key: Key,
) -> Recipe:
    made = _class(table["use"], base, group, allowed, key)
    args = table.get("args", {})
    if faults := list(argument_faults(made, args, given, (*key, "args"), SEED)):
        raise Unbuildable(faults)
    inner = {
        name: _read(value, object, group, allowed, given, (*key, "args", name))
        for name, value in args.items()
        if _is_table(value)
    }
    return Recipe(made, {name: value for name, value in args.items() if name not in inner}, inner)


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("use"), str)
        and not value.keys() - {"use", "args"}
    )


def _class(name: str, base: type, group: str, allowed: Collection[str], key: Key) -> type:
    if NO_BUSINESS_HERE.match(name):  # such as a storage, which would write where the database says
        raise Unbuildable([((*key, "use"), f'"{name}" {NOT_OPTUNAS}')])
    try:
        found = load(name, allowed, group)
    except CodeError as error:
        near = " or ".join(nearest(name.partition(":")[2], _offered(name.partition(":")[0], base)))
        text = " ".join(str(error).split()) + (f" Nearest: {near}." if near else "")
        raise Unbuildable([((*key, "use"), text)]) from error
    if name.startswith("optuna.") and not OPTUNAS.match(getattr(found, "__module__", "")):
        raise Unbuildable([((*key, "use"), f'"{name}" {NOT_OPTUNAS}')])
    if isinstance(found, type) and issubclass(found, base):
        return found
    wanted = "no class" if base is object else f"no {group}"
    text = f'"{name}" is {wanted}; name a class derived from {base.__module__.split("._")[0]}.{base.__name__}'
    raise Unbuildable([((*key, "use"), text)])


def _offered(module: str, base: type) -> list[str]:
    known: dict[str, Any] = getattr(sys.modules.get(module), "__dict__", {})
    return [name for name, value in known.items() if isinstance(value, type) and issubclass(value, base)]


def argument_faults(
    made: type, args: Mapping[str, Any], given: Collection[str], key: Key, ours: str | None = None
) -> Iterator[Fault]:
    """What is wrong with arguments of a class, as its signature has it.

    Args:
        given: names of further arguments that the program gives.
        key: where `args` stand.
        ours: the argument that no file may give.
    """
    known = signature(made).parameters
    free = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values())
    named = [
        n for n, p in known.items() if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    ]
    accepted = [name for name in named if name != ours]
    for name, value in args.items():
        if name == ours:
            yield (*key, name), "is not given here: it follows from the study's seed and the trial's number"
        elif not _is_finite(value):
            yield (*key, name), f"found {value!r}, expected numbers that are finite"
        elif name in named:
            if text := _type_fault(value, known[name].annotation):
                yield (*key, name), text
        elif not free:
            near = " or ".join(nearest(name, accepted))
            known_here = (
                f"accepted are {', '.join(accepted)}" if accepted else f"{made.__name__} takes no arguments"
            )
            yield (*key, name), f"is not known{f'; nearest: {near}' if near else ''}; {known_here}"
    for name in accepted:
        if known[name].default is Parameter.empty and name not in args and name not in given:
            yield key, f"lacks {name}, which {made.__name__} needs"


def _point_faults(found: Recipe, space: Mapping[str, AnyParameter], key: Key) -> Iterator[Fault]:
    """What is wrong with values that a sampler, or one in it, is told to draw."""
    for kind, name in POINTS.items():
        if issubclass(found.made, kind) and name in found.args:
            yield from _values_faults(found.args[name], kind is GridSampler, space, (*key, name))
    if issubclass(found.made, CmaEsSampler) and isinstance(point := found.args.get("x0"), Mapping):
        drawn = [n for n, p in space.items() if not (p.when or isinstance(p, Choice))]
        if without := ", ".join(name for name in drawn if name not in point):
            yield (*key, "x0"), f"lacks {without}"
    for name, inner in found.inner.items():
        yield from _point_faults(inner, space, (*key, name, "args"))


def _values_faults(table: Any, lists: bool, space: Mapping[str, AnyParameter], key: Key) -> Iterator[Fault]:
    """Args: table: a value, or, with `lists`, a list of them, by the parameter's name."""
    if not isinstance(table, Mapping):
        yield key, f"is {table!r}, but must be a table by the names of parameters"
        return
    for name, values in table.items():
        if name not in space:
            yield (*key, name), f"is not in [space], which has {', '.join(space) or 'nothing'}"
        elif lists and not isinstance(values, list):
            yield (*key, name), f"is {values!r}, but must be a list of values"
        else:
            source = distribution(space[name])
            for value in values if lists else [values]:
                if not contains(source, value):
                    yield (*key, name), f"has {value!r}, which [space] lacks: it must be {limits(source)}"


def _type_fault(value: Any, annotation: Any) -> str | None:
    """What is wrong with a simple value of a simple type; all else is left to the class."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    words = set(re.findall(r"\w+", text))
    if words & {"BaseSampler", "BasePruner"} and not _is_table(value):
        return f'found {value!r}, expected a table such as {{ use = "optuna.samplers:RandomSampler" }}'
    if words <= SIMPLE and words and not words & MATCHES.get(type(value), set()):
        return f"found {value!r}, expected {' or '.join(sorted(words - {'None', 'Optional'}))}"
    return None


def _is_finite(value: Any) -> bool:
    """JSON, and so the database, knows no other numbers; and NaN is not equal to itself."""
    if isinstance(value, Mapping | list):
        return all(map(_is_finite, value.values() if isinstance(value, Mapping) else value))
    return not isinstance(value, float) or math.isfinite(value)
