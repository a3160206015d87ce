"""What pydantic found wrong with a study file, as one readable line a key."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from studies.file.parameters import nearest
from studies.file.table import Key, Table

# TOML's words for JSON's.
WORDS = {"an object": "a table", "a valid array": "a list", "a valid integer": "a whole number"}
MAX_SHOWN = 60  # characters of a wrong value
FREE = ("settings", "model", "space")  # tables whose keys are names of settings and dimensions


def described(
    error: ValidationError, root: type[Table], data: Mapping[str, Any], context: dict[str, Any]
) -> dict[str, str]:
    """What is wrong at each dotted key of `data`; a value that fits none of several types gets one line.

    Checks across a table of free names need all of its entries to be sound, so they are repeated on the
    sound ones alone.
    """
    found: dict[tuple[str, ...], tuple[str, list[str]]] = {}
    for fault in error.errors(include_url=False):
        path, start, text = _line(fault, root, data)
        found.setdefault(tuple(path), (start, []))[1].append(text)
    lines = {".".join(path): f"{start}{_either(texts)}" for path, (start, texts) in found.items()}
    broken = {path[:2] for path in found if path[0] in FREE and path[1:2] not in ((), ("size",))}
    sound = {
        table: _without(content, {b[1] for b in broken if b[0] == table}) for table, content in data.items()
    }
    if sound != data:
        try:
            root.model_validate_json(json.dumps(sound, default=str), context=context)
        except ValidationError as rest:
            more = described(rest, root, sound, context)
            lines |= {k: text for k, text in more.items() if k not in lines and not _about(k, broken)}
    return lines


def _without(table: Any, names: set[str]) -> Any:
    return {key: value for key, value in table.items() if key not in names} if names else table


def _about(key: str, broken: set[tuple[str, ...]]) -> bool:
    """Whether a condition, or a sampler's value, only fails because the parameter it names was set aside."""
    sampler = key.startswith("sampler.")
    return any(key.endswith(f".{'' if sampler else 'when.'}{path[1]}") for path in broken if path[1:])


def known_keys(root: type[Table], loc: Key) -> list[str]:
    """The keys that the table at `loc`, as pydantic counts it, may have."""
    tables = [root]
    for part in loc:
        inner = [
            table
            for outer in tables
            for name, field in outer.model_fields.items()
            if part == (field.alias or name)
            for table in _tables(field.annotation)
        ]
        kind = [t for t in tables if any(part in get_args(f.annotation) for f in t.model_fields.values())]
        tables = inner or kind or tables
    return list(dict.fromkeys(f.alias or name for table in tables for name, f in table.model_fields.items()))


def _tables(annotation: Any) -> Iterator[type[Table]]:
    if isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    for inner in get_args(annotation):
        yield from _tables(inner)


def _line(fault: ErrorDetails, root: type[Table], data: object) -> tuple[list[str], str, str]:
    """Key, what was found (may be empty), and what was expected or is wrong."""
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    path = _path(fault["loc"], data, keep_last=kind in ("missing", "fault"))
    if kind == "fault":
        return path, "", fault["msg"]
    if kind == "extra_forbidden" and path in (["sampler", "name"], ["pruner", "name"]):
        return path, "", "stands beside use; give either name or use"
    if kind == "extra_forbidden":
        return path, "", _unknown(path, known_keys(root, fault["loc"][:-1]))
    if kind == "missing":
        return path, "", _missing(path[-1], value)
    if kind == "union_tag_not_found":
        path.append(context["discriminator"].strip("'()"))
        return path, "", _missing(path[-1], value)
    if kind == "union_tag_invalid":
        path.append(context["discriminator"].strip("'()"))
        return path, f"found {_shown(context['tag'])}, expected one of ", context["expected_tags"]
    expected = fault["msg"].removeprefix("Input should be ")
    start = f"found {_shown(value)}{', expected ' if expected != fault['msg'] else ': '}"
    return path, start, WORDS.get(expected, expected)


def _path(loc: Key, data: object, keep_last: bool) -> list[str]:
    """The keys of `loc` that the file has: pydantic also names the kind of table that it tried."""
    path, node = [], data
    for place, part in enumerate(loc):
        if (isinstance(node, dict) and part in node) or (isinstance(node, list) and isinstance(part, int)):
            node = node[part]  # type: ignore[index]
            path.append(str(part))
        elif keep_last and place == len(loc) - 1:
            path.append(str(part))
    return path


def _unknown(path: list[str], known: list[str]) -> str:
    near = " or ".join(".".join([*path[:-1], key]) for key in nearest(path[-1], known))
    return f"is not known; {'nearest: ' + near if near else 'known here: ' + ', '.join(known)}"


def _missing(key: str, table: object) -> str:
    meant = nearest(key, list(table)) if isinstance(table, dict) else []
    return f"is missing{'; is it meant by ' + ' or '.join(meant) + '?' if meant else ''}"


def _shown(value: object) -> str:
    text = "a table" if isinstance(value, dict) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _either(texts: list[str]) -> str:
    choices = list(dict.fromkeys(texts))
    if "a valid number" in choices and "a whole number" in choices:
        choices.remove("a whole number")
    return " or ".join(choices)
