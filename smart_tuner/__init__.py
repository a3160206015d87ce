"""Smart Tuner: studies whose trainings are watched and repaired. These are its public names.

They are imported when they are first asked for: this package itself knows nothing of those that offer them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objectives.base import Callback, NonFinite, Objective, OutOfMemory, Parameter, Run
    from smart_tuner.repair.health import Health, Signal
    from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule
    from studies.run.direct import run_study

__all__ = [
    "Action",
    "Alarm",
    "Callback",
    "Health",
    "Hyperparameters",
    "NonFinite",
    "Objective",
    "OutOfMemory",
    "Parameter",
    "Rule",
    "Run",
    "Signal",
    "run_study",
]
HOMES = {
    "objectives.base": ("Callback", "NonFinite", "Objective", "OutOfMemory", "Parameter", "Run"),
    "smart_tuner.repair.health": ("Health", "Signal"),
    "smart_tuner.repair.rule": ("Action", "Alarm", "Hyperparameters", "Rule"),
    "studies.run.direct": ("run_study",),
}


def __getattr__(name: str) -> Any:
    for module, names in HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
