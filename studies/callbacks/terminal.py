"""What a person sees in the terminal while a study runs; all of it on stderr."""

import time
from collections import deque
from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from objectives.attempt import Callback, Measured, Start, Step
from objectives.base import Objective
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import ENGLISH, Words, of_rules
from smart_tuner.store.attributes import with_unit
from studies.report.fixes import told

IN_LINE = 4  # measures beside a value


class Terminal(Callback):
    """Live lines on a terminal; plain lines at each event where there is none.

    Args:
        unit: of values, until a trial begins here.
    """

    def __init__(self, console: Console, unit: str = "") -> None:
        self._console, self._unit = console, unit
        fixed = Column(no_wrap=True)
        self._bars = Progress(
            TextColumn("[bold]{task.fields[name]}", table_column=fixed),
            MofNCompleteColumn(table_column=fixed),
            TextColumn("{task.fields[left]}", table_column=fixed),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TextColumn("{task.description}", table_column=Column(ratio=4, no_wrap=True, overflow="ellipsis")),
            console=console,
            disable=not console.is_terminal,
            transient=True,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._begun: tuple[float, int] | None = None  # when trials were first counted, and how many
        self._trial_seconds: float | None = None  # from one trial to the next, by all workers
        self._trials_left = 0  # beside the one that runs
        self._steps: deque[float] = deque(maxlen=50)
        self._start: Start | None = None
        self._last = ""  # the newest value
        self._said = 0.0
        self._words = ENGLISH  # with those of the study's objective and own rules

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def progress(self, what: str, done: int, total: int) -> None:
        self._show("data", what, done, total)
        if not self._console.is_terminal and (done == total or time.monotonic() - self._said > 10):
            self._line(f"{what}: {done}/{total}")
        if done == total:
            self._hide("data")

    def progressed(self, study: str, done: int, trials: int, best: str) -> None:
        now = time.monotonic()
        first, before = self._begun = self._begun or (now, done)
        self._trial_seconds = (now - first) / (done - before) if done > before else None
        self._trials_left = max(0, trials - done - 1)
        found = f"best {best}" if best else "no value yet"
        self._show("study", f"{found}: {escape(study)}", done, trials)

    def started(self, start: Start) -> None:
        self._start, self._unit, self._last = start, start.objective.unit, ""
        self._words = Words("en", {**start.objective.words, **of_rules(start.plan.rules)})
        self._steps.clear()
        shown = ", ".join(f"{name} {_short(value)}" for name, value in start.parameters.items())
        goes_on = f" goes on from step {start.step}" if start.step else ""
        self._line(f"trial {start.attempt.trial.number}{goes_on}: {shown}")
        self._hide("trial")

    def stepped(self, step: Step) -> None:
        assert self._start is not None
        self._steps.append(step.seconds)
        objective, planned = self._start.objective, self._start.plan.steps
        shown = [f"{_name(objective, k)} {v:.3f}" for k, v in step.signals.items() if k in objective.curves]
        text = "  ".join([*filter(None, [self._last]), *shown])
        pace = median(self._steps)
        left = max(0, planned - step.step) * pace
        self._show("trial", text, step.step, planned, left)
        if "study" in self._tasks:
            each = planned * pace if self._trial_seconds is None else self._trial_seconds
            self._bars.update(self._tasks["study"], left=_clock(left + self._trials_left * each))
        if not self._console.is_terminal and time.monotonic() - self._said > 30:
            self._line(f"  step {step.step}/{planned}  {text}  about {left:.0f} s left")

    def measured(self, measured: Measured) -> None:
        assert self._start is not None
        objective, more = self._start.objective, measured.more
        self._last = objective.shown(measured.value)
        spread = f" (± {more['spread']:.2f})" if more.get("spread") is not None else ""
        known = [name for name in objective.measures if name in more][:IN_LINE]
        numbers = [f"{_name(objective, k)} {more[k]:.2f}" for k in known]
        failed = [f"{count} {kind}" for kind, count in more.get("failures", {}).items()]
        self._line(f"  step {measured.step}: {', '.join([self._last + spread, *numbers, *failed])}")

    def added(self, measured: Measured, more: Mapping[str, Any]) -> None:
        assert self._start is not None
        numbers = [f"{_name(self._start.objective, name)} {value:.2f}" for name, value in more.items()]
        self._line(f"  step {measured.step}, known now: {', '.join(numbers)}")

    def repaired(self, entry: Entry) -> None:
        self._line(f"  {told(entry, self._words)}")

    def ended(self, number: int, state: str, value: float | None, reason: str) -> None:
        self._hide("trial")
        shown = "" if value is None else f" {with_unit(value, self._unit)}"
        self._line(f"trial {number} {state}{shown}{': ' if reason else ''}{reason}")

    def warned(self, text: str) -> None:
        self._line(text)

    def _line(self, text: str) -> None:
        self._said = time.monotonic()
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _show(self, name: str, description: str, done: int, total: int, left: float | None = None) -> None:
        """Args: left: seconds; None where they are not known, or told later."""
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task("", total=total, name=name, left="")
        told: dict[str, Any] = {} if left is None else {"left": _clock(left)}
        self._bars.update(self._tasks[name], completed=done, total=total, description=description, **told)

    def _hide(self, name: str) -> None:
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))


def _name(objective: Objective, measure: str) -> str:
    return objective.words.get(f"measure.{measure}", (measure, measure))[0]


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _clock(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left".replace("days,", "d").replace("day,", "d")
