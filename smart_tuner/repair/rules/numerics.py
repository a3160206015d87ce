"""Rules about numbers and memory: a cut graph, weights that begin too small, NaN, batches that do not fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule
from smart_tuner.repair.rules.reading import slower


@dataclass(frozen=True)
class Integrity(Rule):
    """The graph is cut or weights are not updated: code is to blame, and no setting can help."""

    level, priority, tier, votes = 1, 10, "probe", (3, 3)
    gives_up: ClassVar[str | None] = "FAIL"
    needs = ("silent/", "unchanged/")
    max_remedies: ClassVar[int] = 0

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        silent = self._counts(health, "silent/")
        unchanged = self._counts(health, "unchanged/")
        if settings.gate_weight == 0:  # then its gradient is truly zero
            silent.pop("gate", None)
        parts = []
        if silent:
            parts.append(f"no gradient reaches {', '.join(silent)}")
        if unchanged:
            parts.append(f"a gradient reaches {', '.join(unchanged)}, but the weights do not change")
        if not parts:
            return None
        evidence = {f"silent/{name}": n for name, n in silent.items()}
        return Alarm("; ".join(parts), evidence | {f"unchanged/{name}": n for name, n in unchanged.items()})

    @staticmethod
    def _counts(health: Health, start: str) -> dict[str, float]:
        newest = {name.removeprefix(start): health.last(name) for name in health.names(start)}
        return {name: count for name, count in newest.items() if count}


@dataclass(frozen=True)
class StuntedPart(Rule):
    """At the very start, a part changes so much more of itself than the others that its weights must be far
    too small: it begins from nothing, and all of it alike."""

    level, priority, tier, votes = 1, 8, "probe", (2, 2)
    gives_up: ClassVar[str | None] = "FAIL"
    needs = ("update/", "reinitialise")
    max_remedies: ClassVar[int] = 2
    max_excess: float = 1.0  # log10, beyond the median part; healthy: up to 0.6
    first_steps: int = 20  # then what Adam made of the part looks like any other

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        start, newest = "update/", {}
        for name in health.names(start):
            if (value := health.last(name)) is not None:
                newest[name.removeprefix(start)] = value
        if not newest or health.age > self.first_steps:
            return None
        usual = float(np.median(list(newest.values())))
        stunted = {part: value for part, value in newest.items() if value > usual + self.max_excess}
        if not stunted:
            return None
        most = 10 ** max(stunted.values())
        reason = (
            f"a step changes {', '.join(stunted)} by up to {most:.0%} of their size, and the other parts by "
            f"{10**usual:.1%}: these weights begin far too small"
        )
        return Alarm(reason, {f"{start}{part}": v for part, v in stunted.items()}, parts=tuple(stunted))

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("give these parts new weights", renew=True)] * self.max_remedies

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return True  # parts that stayed stunted would have been an alarm of their own


@dataclass(frozen=True)
class NonFinite(Rule):
    """NaN or infinity in a loss or gradient: of a step that was not taken, or, if it was, in the weights."""

    level, priority, tier = 1, 10, "event"
    max_events: int = 3  # within:
    within_steps: int = 100

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        halved = Action("go back and halve the learning rate", slower(settings, 0.5), back_to="good")
        if "grad_clip_thresh" not in settings:
            return [halved] * self.max_remedies
        return [
            halved,
            Action(
                "go back and clip gradients at half the norm",
                {"grad_clip_thresh": max(0.05, settings.grad_clip_thresh * 0.5)},
                back_to="good",
            ),
        ]

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return True  # the steps were taken: another event would have been an alarm of its own


@dataclass(frozen=True)
class OutOfMemory(Rule):
    """A batch does not fit into memory; the step was not taken."""

    level, priority, tier = 2, 9, "event"

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        if "micro_batches" not in settings:
            return [Action("halve the batch", {"batch_size": settings.batch_size // 2})] * self.max_remedies
        parts = min(2 * settings.micro_batches, settings.batch_size)
        return [Action(f"compute each batch in {parts} parts", {"micro_batches": parts})] * self.max_remedies
