"""Whose fault it is that an attempt at a trial ended: the trial's own, somebody else's, or the machine's."""

import math

import optuna
import torch

from model.training import is_out_of_memory
from objectives.base import End, NonFinite, OutOfMemory
from objectives.trial import Unrepairable
from smart_tuner.repair.words import Reason, reason
from smart_tuner.store.outage import DatabaseGone, Fenced, StorageLost, first_line
from studies.file.space import Unrunnable

OWN = (OutOfMemory, Unrepairable, Unrunnable)


class EndedElsewhere(Fenced):
    """Somebody told Optuna the trial's end, or deleted it: that stands, and this attempt stops."""


class MachineFault(RuntimeError):
    """A part of this machine failed; the message says which, why and what to do."""


def end_by(error: BaseException) -> End | None:
    """What becomes of a trial that `error` ended by its own fault; None: it can go on, perhaps elsewhere.

    Memory that runs out is the trial's fault, wherever it is: its network and batches are too large for here.
    """
    if isinstance(error, StorageLost | DatabaseGone):  # they may say that the server ran out of memory
        return None
    if isinstance(error, optuna.TrialPruned):
        return "PRUNED", None, _reason(error)
    if isinstance(error, NonFinite):
        measures = {"grad_norm": math.nan, **error.measures}
        return "FAIL", None, reason("not_finite", step=error.step, **measures)
    if isinstance(error, OWN):
        return "FAIL", None, _reason(error)
    if is_out_of_memory(error):
        return "FAIL", None, reason("out_of_memory", error=first_line(error))
    return None


def _reason(error: BaseException) -> Reason:
    """What the error was made with, if that is a reason."""
    given = error.args[0] if error.args else None
    return given if isinstance(given, Reason) else Reason(str(error))


def end_with(value: float) -> End:
    """What becomes of a trial that came to its end: databases know no value that is not finite."""
    if math.isfinite(value):
        return "COMPLETE", value, Reason("")
    return "FAIL", None, reason("no_value", value=value)


def explained(error: BaseException) -> MachineFault | None:
    """In words for a person, where it is known what it means and it does not say so."""
    if not isinstance(error, torch.AcceleratorError):
        return None
    return MachineFault(
        f"The accelerator failed.\n{first_line(error)}\n"
        "Its trial goes on from its checkpoint: look at the device (nvidia-smi), then resume the study."
    )


def no_memory(error: BaseException) -> MachineFault | None:
    """What to say where memory ran out outside any trial, if it did."""
    if not is_out_of_memory(error):
        return None
    return MachineFault(
        f"This machine's memory is used up.\n{first_line(error)}\n"
        "End other programs, or run fewer workers, and go on as before."
    )
