"""Code that a study file names as "module:Name": imported only where the user, or a package, says so.

A database may be shared: what it alone names is never imported.
"""

import os
import re
import sys
from collections.abc import Collection
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from traceback import extract_tb
from typing import Any

from model.extras import installing

GROUPS = {
    "objective": "smart_tuner.objectives",
    "rule": "smart_tuner.rules",
    "sampler": "smart_tuner.samplers",
    "pruner": "smart_tuner.pruners",
}
HUB = re.compile(
    r"optunahub:(\w[\w-]*(?:/\w[\w-]*)*):(\w+)"
)  # a package of OptunaHub's registry and its class
OPEN_TO_ALL = {"sampler": "optuna", "pruner": "optuna", "objective": "objectives"}  # packages that do no harm


class CodeError(ValueError):
    """The named code cannot be used; the message says what, why and what to do."""


def load(named: str, allowed: Collection[str], group: str) -> Any:
    """What `named`, such as "my_package.voices:Voice", stands for.

    "optunahub:samplers/auto_sampler:AutoSampler" is a class of a package in OptunaHub's registry.

    Args:
        allowed: names that the local user gave: by a study file on the command line, by --use, or by a call.
        group: of GROUPS, whose entry points may offer it, too.

    Raises:
        CodeError: nobody here allowed it, or it is not there.
    """
    hub = HUB.fullmatch(named)
    module, _, name = named.partition(":")
    if not (hub or re.fullmatch(r"[\w.]+:\w+", named)):
        raise CodeError(f'"{named}" is not of the form "module:Name".')
    open_to_all = module.split(".")[0] == OPEN_TO_ALL.get(group)
    if not open_to_all and named not in allowed and not _offered(named, group):
        raise CodeError(
            f'"{named}" is named by the database alone, so that it is not imported.\n'
            f"If you trust this code, say so: --use {named}"
        )
    return _from_hub(named, *hub.groups()) if hub else _imported(named, module, name)


def load_class(named: str, allowed: Collection[str], group: str, base: type) -> type:
    """As `load`, of a class of ours that a user's must be derived from.

    Raises:
        CodeError: as there, and where it is no such class.
    """
    found = load(named, allowed, group)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise CodeError(f'"{named}" is no subclass of smart_tuner.{base.__name__}.')
    return found


def look_in(folder: Path) -> None:
    """Let modules in `folder` be found, also by child processes."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH")]))


def _imported(named: str, module: str, name: str) -> Any:
    """Raises CodeError, with the file and line where the module fails."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        if place_of(error) is None:
            raise CodeError(
                f'"{named}" cannot be imported: {error}.\n'
                "Install its package, or start from the folder that holds its module."
            ) from error
        raise _broken(named, error) from error
    except (Exception, SystemExit) as error:  # whatever its lines do when they are run
        raise _broken(named, error) from error


def _broken(named: str, error: BaseException) -> CodeError:
    said = error.msg if isinstance(error, SyntaxError) else error
    return CodeError(
        f'"{named}" cannot be imported: {place_of(error)}: {type(error).__name__}: {said}.\n'
        "Correct it there, or install what it needs."
    )


def place_of(error: BaseException) -> str | None:
    """The file and line that raised it; None where no line of a module was reached by an import."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    frames = [f for f in extract_tb(error.__traceback__) if "importlib" not in f.filename]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames[1:] else None


def _from_hub(named: str, package: str, name: str) -> Any:
    """Fetched when it is first used on a machine, and kept there by optunahub."""
    try:
        import optunahub
    except ImportError as error:
        raise CodeError(
            f'"{named}" is in OptunaHub, which is not installed here.\nRun: {installing("hub")}'
        ) from error
    try:
        return getattr(optunahub.load_module(package), name)
    except Exception as error:  # of git, of the network, of the package itself
        raise CodeError(
            f'"{named}" cannot be had from OptunaHub: {error}.\n'
            "Check both names, and that this machine reaches the registry and has what the package needs."
        ) from error


def _offered(named: str, group: str) -> bool:
    return any(point.value == named for point in entry_points(group=GROUPS.get(group, group)))
