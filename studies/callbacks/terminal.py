"""What a person sees in the terminal while a study runs; all of it on stderr."""

import time
from collections import deque
from datetime import timedelta
from statistics import median
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column

from model.training import StepMeasures
from objectives.tacotron2 import Measured, Plan
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import ENGLISH, Words, of_rules
from studies.file.spec import Spec
from studies.report.fixes import told


class Terminal:
    """Live lines on a terminal; plain lines at each event where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
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
        self._plan: Plan | None = None
        self._last: Measured | None = None
        self._said = 0.0
        self._words = ENGLISH  # with those of the study's own rules

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

    def study(self, done: int, spec: Spec, best: float | None) -> None:
        found = "no value yet" if best is None else f"best {best:.2f} dB"
        now = time.monotonic()
        first, before = self._begun = self._begun or (now, done)
        self._trial_seconds = (now - first) / (done - before) if done > before else None
        self._trials_left = max(0, spec.budget.trials - done - 1)
        self._show("study", f"{found}: {escape(spec.name)}", done, spec.budget.trials)

    def trial_started(self, number: int, params: dict[str, object], plan: Plan, step: int) -> None:
        self._plan, self._last = plan, None
        self._words = Words("en", of_rules(plan.rules))
        self._steps.clear()
        shown = ", ".join(f"{name} {_short(value)}" for name, value in params.items())
        goes_on = f" goes on from step {step}" if step else ""
        self._line(f"trial {number}{goes_on}: {shown}")
        self._hide("trial")

    def stepped(self, m: StepMeasures) -> None:
        assert self._plan is not None
        self._steps.append(m.seconds)
        text = f"mel {m.mel_l1:.3f}  gate {m.gate:.3f}  off-diagonal {m.guided:.3f}"
        if self._last:
            text = f"{self._last.value:.2f} dB  aligned {self._last.aligned_share:.0%}  {text}"
        pace = median(self._steps)
        left = max(0, self._plan.steps - m.step) * pace
        self._show("trial", text, m.step, self._plan.steps, left)
        if "study" in self._tasks:
            each = self._plan.steps * pace if self._trial_seconds is None else self._trial_seconds
            self._bars.update(self._tasks["study"], left=_clock(left + self._trials_left * each))
        if not self._console.is_terminal and time.monotonic() - self._said > 30:
            self._line(f"  step {m.step}/{self._plan.steps}  {text}  about {left:.0f} s left")

    def measured(self, m: Measured) -> None:
        self._last = m
        spread = "" if m.spread is None else f" (± {m.spread:.2f})"
        failed = "".join(f", {count} {kind}" for kind, count in m.failures.items())
        self._line(
            f"  step {m.step}: {m.value:.2f} dB{spread}, aligned {m.aligned_share:.0%}, "
            f"diagonal {m.diagonal_score:.2f}, gate {m.gate_accuracy:.0%}{failed}"
        )

    def repaired(self, entry: Entry) -> None:
        self._line(f"  {told(entry, self._words)}")

    def saving(self, step: int) -> None: ...

    def sampled(self, step: int) -> None: ...

    def trial_ended(self, number: int, state: str, value: float | None, reason: str) -> None:
        self._hide("trial")
        shown = "" if value is None else f" {value:.2f} dB"
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


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _clock(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left".replace("days,", "d").replace("day,", "d")
