"""Which checkpoints of a run are sound enough to go back to."""

from collections.abc import Mapping
from typing import Any

from smart_tuner.repair.health import Health
from smart_tuner.repair.rules.reading import WINDOW, median

CALM = {"mel": 1.05, "grad_norm": 3.0}  # times the best medians: what a good checkpoint may have at most
GOOD = 2  # newest good ones that are kept


class CheckpointChoice:
    """A checkpoint is good when the run was calm and then trained on without trouble for a while, and
    aligned when validations before and after it, or of its very weights, found it so. Step 0 is the start.
    """

    def __init__(self, health: Health) -> None:
        self._health = health
        self._marks: dict[int, set[str]] = {}  # of each checkpoint: "calm", "aligned"
        self._troubles: list[int] = []
        self._aligned_at: int | None = None  # the newest validation, if it was aligned

    def saved(self, step: int, needed: set[int]) -> None:
        """A checkpoint of `step` is written; those that are neither `needed` nor kept will be removed."""
        marks = {"calm": self._is_calm(), "aligned": self._aligned_at == step}
        self._marks[step] = {name for name, true in marks.items() if true}
        kept = self.kept() | needed
        self._marks = {s: m for s, m in self._marks.items() if s in kept}

    def kept(self) -> set[int]:
        """The steps of the checkpoints that may still be gone back to."""
        good = [step for step in self._marks if self._is_good(step)]
        unproven = {step for step in self._marks if step + self._proof > self._health.step}
        aligned = [step for step, marks in self._marks.items() if "aligned" in marks]
        return {0} | set(sorted(good)[-GOOD:]) | unproven | set(sorted(aligned)[-1:])

    def trouble(self) -> None:
        """From now on weights may be damaged."""
        self._troubles.append(self._health.step)

    def validated(self, aligned: bool) -> None:
        step = self._health.step
        if aligned and self._aligned_at is not None:
            for saved, marks in self._marks.items():
                if self._aligned_at <= saved <= step:
                    marks.add("aligned")
        self._aligned_at = step if aligned else None

    def begin_afresh(self) -> None:
        """Weights or settings changed: the next validation is the first of its kind."""
        self._aligned_at = None

    def newest(self, kind: str) -> int | None:
        """The newest "good" or "aligned" checkpoint; "start" is step 0."""
        if kind == "start":
            return 0
        fit = [s for s, m in self._marks.items() if (self._is_good(s) if kind == "good" else kind in m)]
        return max((step for step in fit if step), default=None)

    @property
    def _proof(self) -> int:
        """Steps without trouble after which a checkpoint counts as good."""
        return self._health.pace(200, WINDOW)

    def _is_good(self, step: int) -> bool:
        if "calm" not in self._marks[step] or step + self._proof > self._health.step:
            return False
        return not any(step < trouble <= step + self._proof for trouble in self._troubles)

    def _is_calm(self) -> bool:
        """Whether loss and gradients are near the best that they were."""
        for name, most in CALM.items():
            now, best = median(self._health, name), self._health.best.get(name)
            if now is None or best is None or now > most * best:
                return False
        return True

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        marks = [(step, sorted(marks)) for step, marks in self._marks.items()]
        return {"marks": marks, "troubles": self._troubles, "aligned_at": self._aligned_at}

    def take(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._marks = {step: set(marks) for step, marks in state["marks"]}
        self._troubles, self._aligned_at = list(state["troubles"]), state["aligned_at"]
