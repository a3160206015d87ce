"""A module that is imported when something of it is first asked for."""

from importlib import import_module
from typing import Any


class LazyModule:
    """Stands for a module, and imports it when an attribute is first asked for.

    importlib's LazyLoader cannot be used: it breaks torch, whose import looks at all modules.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)
