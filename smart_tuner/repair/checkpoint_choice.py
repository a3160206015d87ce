"""Which checkpoints of a run are sound enough to go back to."""

from collections.abc import Mapping
from typing import Any

from smart_tuner.repair.health import Health
from smart_tuner.repair.rules.reading import WINDOW, by_chance, median

CALM = {
    "unweighted_loss": 1.05,
    "grad_norm": 3.0,
}  # times the best medians: what a good checkpoint may have at most
GOOD = 2  # newest good ones that are kept


class CheckpointChoice:
    """A checkpoint is good when the run was calm and then trained on without trouble for a while, and at the
    milestone when validations before and after it, or of its very weights, found it so. Step 0 is the start.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._marks: dict[int, set[str]] = {}  # of each checkpoint: "calm", "milestone"
        self._troubles: list[int] = []
        self._milestone_at: int | None = None  # the newest validation, if it found the milestone reached

    def saved(self, step: int) -> None:
        """A checkpoint of `step` is written; those that are not kept will be removed."""
        marks = {"calm": self._is_calm(), "milestone": self._milestone_at == step}
        self._marks[step] = {name for name, true in marks.items() if true}
        kept = self.kept()
        self._marks = {s: m for s, m in self._marks.items() if s in kept}

    def kept(self) -> set[int]:
        """The steps of the checkpoints that may still be gone back to."""
        good = [step for step in self._marks if self._is_good(step)]
        unproven = {step for step in self._marks if step + self._proof > self._health.step}
        reached = [step for step, marks in self._marks.items() if "milestone" in marks]
        return {0} | set(sorted(good)[-GOOD:]) | unproven | set(sorted(reached)[-1:])

    def trouble(self) -> None:
        """From now on weights may be damaged."""
        self._troubles.append(self._health.step)

    def validated(self, reached: bool) -> None:
        """The newest weights were found to be at the milestone, or not."""
        step = self._health.step
        if reached and self._milestone_at is not None:
            for saved, marks in self._marks.items():
                if self._milestone_at <= saved <= step:
                    marks.add("milestone")
        self._milestone_at = step if reached else None

    def begin_afresh(self) -> None:
        """Weights or settings changed: the next validation is the first of its kind."""
        self._milestone_at = None

    def newest(self, kind: str) -> int | None:
        """The newest "good" or "milestone" checkpoint; "start" is step 0."""
        if kind == "start":
            return 0
        fit = [s for s, m in self._marks.items() if (self._is_good(s) if kind == "good" else kind in m)]
        return max((step for step in fit if step), default=None)

    def newest_saved(self) -> int | None:
        return max(self._marks, default=None)

    @property
    def _proof(self) -> int:
        """Steps without trouble after which a checkpoint counts as good."""
        return self._health.pace(200, WINDOW)

    def _is_good(self, step: int) -> bool:
        if "calm" not in self._marks[step] or step + self._proof > self._health.step:
            return False
        return not any(step < trouble <= step + self._proof for trouble in self._troubles)

    def _is_calm(self) -> bool:
        """Whether loss and gradients, as far as they are measured, are near the best that they were."""
        measured = [name for name in CALM if self._health.names(name)]
        return bool(measured) and all(self._is_near_best(name) for name in measured)

    def _is_near_best(self, name: str) -> bool:
        """A factor says nothing of a loss that may be negative."""
        now, best = median(self._health, name), self._health.best.get(name)
        most = CALM[name] * by_chance(self._health, 1.0)
        return now is not None and best is not None and (best <= 0 or now <= most * best)

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        marks = [(step, sorted(marks)) for step, marks in self._marks.items()]
        return {"marks": marks, "troubles": self._troubles, "milestone_at": self._milestone_at}

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        new = {"aligned": "milestone"}  # the names that marks had until version 0.2.0
        self._marks = {step: {new.get(mark, mark) for mark in marks} for step, marks in state["marks"]}
        self._troubles = list(state["troubles"])
        self._milestone_at = state["aligned_at" if "aligned_at" in state else "milestone_at"]
