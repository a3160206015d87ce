"""What a study tunes: an objective makes runs, and a run trains step by step.

Whatever trains in steps, and can be saved, is an objective; Tacotron 2 is one (objectives/tacotron2.py).
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from smart_tuner.repair.health import COMMON, Health, Signal
from smart_tuner.repair.rule import Hyperparameters
from smart_tuner.store.attributes import with_unit


class NonFinite(FloatingPointError):
    """A loss or gradient is NaN or infinite, and the step was not taken: all is as before it.

    Args:
        measures: the loss, and the gradient's norm where there is one, by the names of their signals.
    """

    def __init__(self, step: int, **measures: float) -> None:
        super().__init__(
            f"step {step}: {', '.join(f'{name} is {value}' for name, value in measures.items())}"
        )
        self.step, self.measures = step, measures


class OutOfMemory(MemoryError):
    """A step needs more memory than there is, and was not taken: all is as before it."""


class ObjectiveError(ValueError):
    """A run does not do what `Run` asks of it; the message says what, and what is expected. Its trial goes on
    from its checkpoint when the code is mended."""


def as_numbers(told: object, by: str) -> dict[str, float]:
    """Signals as plain numbers, from whatever counts as one. Raises ObjectiveError. Args: by: the method."""
    try:
        return {str(name): float(value) for name, value in dict(told).items()}  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise ObjectiveError(f"{by}() returned {told!r}: numbers by name are expected ({error}).") from error


@dataclass(frozen=True)
class Parameter:
    """A number that a study may fix or search.

    Args:
        default: what it is where a study says nothing; whole if the parameter is.
        low, high: the smallest and largest value that it may ever have.
        setting: it may change while a run trains, by a repair; else the run is built with it.
        searched: a study may search it; else it is the same in all of a study's trials.
        parity: of a whole number, if not every one will do.
    """

    default: int | float
    low: float
    high: float
    setting: bool = True
    searched: bool = True
    parity: Literal["odd", "even"] | None = None

    @property
    def type(self) -> type[int] | type[float]:
        return type(self.default)

    def fault(self, value: int | float) -> str | None:
        """Why it cannot be `value`, or None."""
        if self.type is int and not isinstance(value, int):
            return f"must be a whole number, not {value}"
        if not self.low <= value <= self.high:  # also refuses NaN
            return f"must lie between {self.low:g} and {self.high:g}, not be {value}"
        if self.parity and (value % 2 == 1) != (self.parity == "odd"):
            return f"must be {self.parity}, not {value}"
        return None


class Run(ABC):
    """One training.

    It must be able to go on, bit by bit, from what it saved: its random numbers and the order of its data
    come from what `save` keeps, or from the seed and the step.

    Attributes:
        step: optimizer steps taken; they never fall, also where weights go back.
        settings: by name, the parameters that may change; replaced between steps, so to be read at each one.
        probing: the parts of the network are to be measured, too, in the next step (signals with a "/").
        clips: by id, how each item of the last step's batch stood out, for the rule faulty_clips: its loss,
            and a second number such as its attention off the diagonal. None where nothing is known of items.
        n_clips: how many items there are to train on; 0 where none can be left out.
        limits: of settings whose limits are narrower in this run than the objective's.
        shows: files that a person would look at or listen to, by name with their kind, such as
            {"sample.wav": "audio/wav"}; see `show`.
        titles: what trackers call them, if not by the file's name.
        worst: the value of a run that is worth nothing; None where there is no such value.
        waited: seconds of the last step for which it waited for its data.
    """

    step: int = 0
    settings: Mapping[str, int | float] = Hyperparameters({})
    probing: bool = False
    clips: Mapping[str, tuple[float, float]] = {}
    n_clips: int = 0
    limits: Mapping[str, tuple[float, float]] = {}
    shows: Mapping[str, str] = {}
    titles: Mapping[str, str] = {}
    worst: float | None = None
    waited: float = 0.0

    @abstractmethod
    def advance(self) -> Mapping[str, float]:
        """Take one step, and add 1 to `step`; returns signals, "loss" at least ("grad_norm" helps rules).

        Raises:
            NonFinite, OutOfMemory: the step was not taken. A loss that is not finite may as well be returned.
        """

    @abstractmethod
    def measure(self) -> Mapping[str, Any]:
        """What the run is worth now: {"value": ...}, smaller is better, and other numbers to be shown."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write all that a bit-identical continuation needs into an empty folder."""

    @abstractmethod
    def restore(self, folder: Path) -> None:
        """Go on from what `save` wrote."""

    # What need not be there, and makes more repairs or pictures possible

    def worth(self) -> float | None:
        """The value that `measure` would give now, and nothing else: asked before a rule acts and before it
        is judged. None: it is not known between measures."""
        return None

    def validate(self, health: Health) -> Mapping[str, float]:
        """Cheap measures on held-out data, for the rules. Args: health: what is known of the run so far."""
        return {}

    def skip(self) -> Sequence[str]:
        """Leave behind the batch that failed twice; returns those of its items that are to blame alone."""
        return ()

    def roll_back(self, folder: Path) -> None:
        """Take the weights from what `save` wrote; steps stay counted."""
        step, settings = self.step, self.settings
        self.restore(folder)
        self.step, self.settings = step, settings

    def reinitialise(self, part: str) -> None:
        """Give a part of the network new weights."""
        raise NotImplementedError

    def exclude(self, clips: Collection[str]) -> None:
        """Leave items out of training from now on."""
        raise NotImplementedError

    def show(self, folder: Path, title: str) -> None:  # noqa: B027  (need not be there)
        """Keep the files of `shows` in the trial's folder: called after each measure that is its best."""

    def leave(self, folder: Path) -> None:  # noqa: B027
        """After each measure: put what is judged beside training into the trial's folder."""

    def later(self, folder: Path, seconds: float) -> Mapping[int, Mapping[str, Any]]:
        """Numbers of measures that were not known when they were made, by step; those of measures before a
        kill, too. Args: seconds: for which they may be waited for; 0 while the run goes on."""
        return {}

    def draw(self, path: Path) -> None:  # noqa: B027
        """Draw, as PNG, what was seen at the last validation: kept beside each repair and its verdict."""

    @property
    def ways(self) -> frozenset[str]:
        """The repairs that can be made to it, beside other settings."""
        optional = ("reinitialise", "exclude")
        return frozenset({"roll_back"}) | {
            way for way in optional if getattr(type(self), way) is not getattr(Run, way)
        }


class Objective(ABC):
    """Makes runs.

    Attributes:
        parameters: what a study may fix or search.
        signals: what its runs measure, beside loss, grad_norm and value, and what rules may conclude from it.
        milestone: the signal, 0 or 1, that a sound run reaches before it is judged by how well it does.
        unit: of a run's value, such as "dB".
        curves: signals of a step that a page draws while a trial runs.
        measures: numbers of a measure that are shown beside its value, the weightiest first: tables in a
            terminal have room for two, its lines for four, pages and reports for all.
        words: English and Russian of what it measures ("measure.NAME") and its parameters ("setting.NAME").
    """

    parameters: ClassVar[Mapping[str, Parameter]]
    signals: ClassVar[Mapping[str, Signal]] = {"grad_norm": COMMON["grad_norm"]}
    milestone: ClassVar[str | None] = None
    unit: str = ""
    curves: ClassVar[Sequence[str]] = ("loss",)
    measures: ClassVar[Sequence[str]] = ()
    words: Mapping[str, tuple[str, str]] = {}

    def close(self) -> None:  # noqa: B027
        """End what runs beside its runs: called when a worker ends."""

    def shown(self, value: float) -> str:
        """A run's value with its unit."""
        return with_unit(value, self.unit)

    def finishing(
        self, parameters: Mapping[str, int | float], step: int, steps: int
    ) -> Mapping[str, int | float]:
        """Which settings a search's best run shall have when it is trained on, and no longer compared: others
        than it had, such as a learning rate that falls. Args: step, steps: from where, and to where."""
        return {}

    @abstractmethod
    def run(self, parameters: Mapping[str, int | float], seed: int, device: str) -> Run:
        """A new run. Args: parameters: a value for each, and its `settings` are those that may change."""
