"""Rules about the size of steps, and a loss that leaves its course."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule
from smart_tuner.repair.rules.reading import WINDOW, by_chance, median, rose, slower


class _Diverging(Rule):
    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        """Whether the loss is as good as ever, or falls again."""
        loss, best = after.get("unweighted_loss"), health.best.get("unweighted_loss", 0.0)
        return loss is not None and (loss <= 1.1 * best or bool(health.falls("unweighted_loss", 2 * WINDOW)))


@dataclass(frozen=True)
class OversizedSteps(_Diverging):
    """From the start, a step changes the weights far too much: nothing learned so is worth keeping."""

    level, priority, tier, votes = 3, 7, "probe", (1, 1)
    needs = ("update/", "learning_rate")
    max_remedies: ClassVar[int] = 2
    max_update: float = -1.65  # log10 of a step's change, of the median part; -1 is TheDeepChecker's bound
    first_steps: int = 2000
    looks: int = 5  # over which the median is taken: a single look scatters by a third

    def size(self, health: Health) -> float | None:
        """log10 of how much a step changes the median part, of its own size; None with too few looks."""
        parts = health.names("update/")
        looks = [values for name in parts if len(values := health.values(name, self.looks))]
        return float(np.median(np.median(looks, axis=0))) if looks else None

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        size = self.size(health)
        if size is None or size <= self.max_update or health.age > health.pace(self.first_steps, 100):
            return None
        reason = f"a step changes half of the network's parts by more than {10**size:.1%} of their size"
        return Alarm(reason, {"update": size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        tenth, third = slower(settings, 0.1), slower(settings, 1 / 3)
        return [
            Action("start over with a tenth of the learning rate", tenth, back_to="start"),
            Action("start over with a third of the learning rate", third, back_to="start"),
        ]


@dataclass(frozen=True)
class OvergrownSteps(OversizedSteps):
    """Later in a run, a step changes the weights far too much: what it learned before is worth keeping."""

    looks: int = 2  # fewer than at the start, where Adam settles: what was learned is being lost
    max_remedies: ClassVar[int] = 3

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        size = self.size(health)
        if size is None or size <= self.max_update or health.age <= health.pace(self.first_steps, 100):
            return None
        reason = f"a step now changes half of the network's parts by more than {10**size:.1%} of their size"
        return Alarm(reason, {"update": size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and take a tenth of the learning rate", slower(settings, 0.1), back_to="good"),
            *[Action("go back and take a third of it", slower(settings, 1 / 3), back_to="good")] * 2,
        ]


@dataclass(frozen=True)
class Divergence(_Diverging):
    """The loss leaps up (llm-foundry's spike: twice the running mean), or has left its best for good."""

    level, priority, tier = 3, 8, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    max_leap: float = 2.0
    leap_steps: int = 5
    max_rise: float = 1.3
    rise_steps: int = 300

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        name, count = "unweighted_loss", self.leap_steps
        best, recent = health.best.get(name), health.values(name, count)
        long = health.values(name, 5 * WINDOW + count)
        if len(long) and rose(recent.min(), usual := float(np.median(long[:-count])), self.max_leap):
            reason = f"the mel loss leapt from {usual:.2f} to {recent.min():.2f} for {count} steps"
            return Alarm(reason, {name: float(recent.min()), "usual": usual})
        window = health.pace(self.rise_steps, WINDOW)
        loss = median(health, name, window)
        if loss is None or best is None or not rose(loss, best, self.max_rise * by_chance(health, 2.0)):
            return None
        reason = f"the mel loss has been around {loss:.2f} for {window} steps; it was {best:.2f}"
        return Alarm(reason, {name: loss, f"best_{name}": best})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and take the clips in another order", back_to="good"),
            Action("go back and lower the learning rate", slower(settings, 0.67), back_to="good"),
            Action("go back and halve the learning rate", slower(settings, 0.5), back_to="good"),
        ]


@dataclass(frozen=True)
class UnstableLoss(Rule):
    """The loss scatters far more than it did: batches are too small, or steps too large."""

    level, priority, tier, target = 7, 5, "probe", "loss_spread"
    gain, relative = -0.25, True
    gives_up: ClassVar[str | None] = None
    max_spread: float = 0.25  # of the log of the mel loss; about a quarter of the loss
    max_ratio: float = 3.0

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        now, calm = health.last("loss_spread"), health.best.get("loss_spread")
        if now is None or calm is None or now <= max(self.max_spread, self.max_ratio * calm):
            return None
        if health.falls("unweighted_loss", 4 * WINDOW) is not False:
            return None
        reason = f"the mel loss scatters by {now:.0%} from step to step; in calm times by {calm:.0%}"
        return Alarm(reason, {"loss_spread": now, "calm": calm})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        doubled = {"batch_size": 2 * settings.batch_size, "micro_batches": 2 * settings.micro_batches}
        return [
            Action("double the batch, in twice as many parts", doubled),
            Action("lower the learning rate", slower(settings, 0.7)),
            Action("let Adam forget sooner", {"adam_beta2": 0.99}),
        ]
