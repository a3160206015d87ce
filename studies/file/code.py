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
from typing import Any

GROUPS = {
    "objective": "smart_tuner.objectives",
    "rule": "smart_tuner.rules",
    "sampler": "smart_tuner.samplers",
    "pruner": "smart_tuner.pruners",
}
HUB = re.compile(
    r"optunahub:(\w[\w-]*(?:/\w[\w-]*)*):(\w+)"
)  # a package of OptunaHub's registry and its class
OPEN_TO_ALL = {"optuna", "optunahub", "objectives"}  # packages that only do what they are known for


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
    if hub := HUB.fullmatch(named):
        return _from_hub(named, *hub.groups())
    module, _, name = named.partition(":")
    if not re.fullmatch(r"[\w.]+:\w+", named):
        raise CodeError(f'"{named}" is not of the form "module:Name".')
    if module.split(".")[0] not in OPEN_TO_ALL and named not in allowed and not _offered(named, group):
        raise CodeError(
            f'"{named}" is named by the database alone, so that it is not imported.\n'
            f"If you trust this code, say so: --use {named}"
        )
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise CodeError(
            f'"{named}" cannot be imported: {error}.\n'
            "Install its package, or start from the folder that holds its module."
        ) from error


def look_in(folder: Path) -> None:
    """Let modules in `folder` be found, also by child processes."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH")]))


def _from_hub(named: str, package: str, name: str) -> Any:
    """Fetched when it is first used on a machine, and kept there by optunahub."""
    try:
        import optunahub
    except ImportError as error:
        raise CodeError(
            f'"{named}" is in OptunaHub, which is not installed here.\nRun: pip install smart-tuner[hub]'
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
