"""Rules about the size of steps, and a loss that leaves its course."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates
from smart_tuner.repair.rules.reading import WINDOW, by_chance, median, rose, slower
from smart_tuner.repair.rules.usual import DROPOUTS, USUAL


class _Diverging(Rule):
    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        """Whether the loss is as good as ever, or falls again."""
        loss, best = after.get("unweighted_loss"), health.best.get("unweighted_loss", 0.0)
        return loss is not None and (loss <= 1.1 * best or bool(health.falls("unweighted_loss", 2 * WINDOW)))


@dataclass(frozen=True)
class OversizedSteps(_Diverging):
    """From the start, a step changes the weights far too much: nothing learned so is worth keeping.

    The best draws of a search have large steps, too.
    """

    level, priority, tier, votes = 3, 7, "probe", (1, 1)
    hesitates: ClassVar[bool] = True
    needs = ("update/", "learning_rate")
    max_remedies: ClassVar[int] = 2
    max_update: float = -1.65  # log10 of a step's change, of the median part; -1 is TheDeepChecker's bound
    first_steps: int = 2000
    looks: int = 5  # over which the median is taken: a single look scatters by a third
    words: ClassVar[Templates] = {
        "title": ("steps far too large", "слишком большие шаги"),
        "large": (
            "a step changes half of the network's parts by more than {size:.1%} of their size",
            "шаг меняет половину частей сети больше чем на {size:.1%} их размера",
        ),
    }

    def size(self, health: Health) -> float | None:
        """log10 of how much a step changes the median part, of its own size; None with too few looks."""
        parts = health.names("update/")
        looks = [values for name in parts if len(values := health.values(name, self.looks))]
        return float(np.median(np.median(looks, axis=0))) if looks else None

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        size = self.size(health)
        if size is None or size <= self.max_update or health.age > health.pace(self.first_steps, 100):
            return None
        return Alarm("large", {"size": 10**size, "update": size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        tenth, third = slower(settings, 0.1), slower(settings, 1 / 3)
        return [
            Action("anew_and_tenth_rate", tenth, back_to="start"),
            Action("anew_and_third_rate", third, back_to="start"),
        ]


@dataclass(frozen=True)
class OvergrownSteps(OversizedSteps):
    """Later in a run, a step changes the weights far too much: what it learned before is worth keeping."""

    looks: int = 2  # fewer than at the start, where Adam settles: what was learned is being lost
    max_remedies: ClassVar[int] = 3
    words: ClassVar[Templates] = {
        "title": ("steps have grown far too large", "шаги стали слишком большими"),
        "large": (
            "a step now changes half of the network's parts by more than {size:.1%} of their size",
            "шаг теперь меняет половину частей сети больше чем на {size:.1%} их размера",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        size = self.size(health)
        if size is None or size <= self.max_update or health.age <= health.pace(self.first_steps, 100):
            return None
        return Alarm("large", {"size": 10**size, "update": size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("back_and_tenth_rate", slower(settings, 0.1), back_to="good"),
            *[Action("back_and_third_rate", slower(settings, 1 / 3), back_to="good")] * 2,
        ]


@dataclass(frozen=True)
class HeavyDecay(Rule):
    """The weight decay pulls weights to zero faster than they learn. Adam divides it by the gradients' size,
    so that it does not fade where they do (Loshchilov and Hutter 2019, section 2)."""

    level, priority, tier, votes = 3, 10, "probe", (1, 1)
    since: ClassVar[int] = 5
    target: ClassVar[str] = "held_out"
    gain, relative = -0.02, True
    gives_up: ClassVar[str | None] = None
    max_remedies: ClassVar[int] = 1
    needs = ("weight_decay", "aligned")  # of another network than a voice, such a decay may be usual
    max_decay: float = 3e-3
    usual: float = USUAL["weight_decay"].usual
    words: ClassVar[Templates] = {
        "title": ("far too much weight decay", "слишком сильное затухание весов"),
        "heavy": ("the weight decay is {decay:g}", "затухание весов — {decay:g}"),
        "anew_usual_decay": ("start over with {usual:g}", "начать заново, затухание {usual:g}"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        decay = settings.weight_decay
        return Alarm("heavy", {"decay": decay}) if decay > self.max_decay else None

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        usual = {"weight_decay": self.usual}  # little is left of the weights, so they begin anew
        return [Action("anew_usual_decay", usual, back_to="start", values={"usual": self.usual})]


@dataclass(frozen=True)
class HeavyDropout(Rule):
    """Nearly all that passes somewhere in the network is dropped out: what is left teaches hardly anything.
    Usual is half at most (Shen et al. 2017, section 2.2)."""

    level, priority, tier, votes = 3, 9, "probe", (1, 1)
    since: ClassVar[int] = 8
    target: ClassVar[str | None] = None
    gives_up: ClassVar[str | None] = None
    max_remedies: ClassVar[int] = 1
    needs = DROPOUTS
    max_dropout: float = 0.8
    words: ClassVar[Templates] = {
        "title": ("nearly everything is dropped out", "дропаут почти всего"),
        "heavy": ("up to {dropout:.0%} is dropped out: {setting}", "дропаут до {dropout:.0%}: {setting}"),
        "usual_dropouts": ("drop out as much as usual", "обычный дропаут"),
    }

    def _heavy(self, settings: Hyperparameters) -> dict[str, float]:
        shares = {name: float(getattr(settings, name)) for name in DROPOUTS}
        return {name: share for name, share in shares.items() if share > self.max_dropout}

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        found = self._heavy(settings)
        if not found:
            return None
        return Alarm("heavy", {"setting": ", ".join(found), "dropout": max(found.values())})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        changed = self._heavy(settings) or DROPOUTS
        return [Action("usual_dropouts", {name: USUAL[name].usual for name in changed})]


@dataclass(frozen=True)
class Divergence(_Diverging):
    """The loss leaps up (llm-foundry's spike: twice the running mean), or has left its best for good."""

    level, priority, tier = 3, 8, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    max_leap: float = 2.0
    leap_steps: int = 5
    max_rise: float = 1.3
    rise_steps: int = 300
    words: ClassVar[Templates] = {
        "title": ("diverging loss", "потери расходятся"),
        "leapt": (
            "the loss leapt from {usual:.2f} to {unweighted_loss:.2f} for {steps} steps",
            "потери подскочили с {usual:.2f} до {unweighted_loss:.2f}, шагов подряд: {steps}",
        ),
        "left_best": (
            "the loss has been around {unweighted_loss:.2f} for {steps} steps; it was "
            "{best_unweighted_loss:.2f}",
            "потери держатся около {unweighted_loss:.2f}, шагов: {steps}; было {best_unweighted_loss:.2f}",
        ),
        "back_in_another_order": (
            "go back and take the clips in another order",
            "вернуться и взять записи в другом порядке",
        ),
        "back_and_lower_rate": (
            "go back and lower the learning rate",
            "вернуться и снизить скорость обучения",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        name, count = "unweighted_loss", self.leap_steps
        best, recent = health.best.get(name), health.values(name, count)
        long = health.values(name, 5 * WINDOW + count)
        if len(long) and rose(recent.min(), usual := float(np.median(long[:-count])), self.max_leap):
            return Alarm("leapt", {name: float(recent.min()), "usual": usual, "steps": count})
        window = health.pace(self.rise_steps, WINDOW)
        loss = median(health, name, window)
        if loss is None or best is None or not rose(loss, best, self.max_rise * by_chance(health, 2.0)):
            return None
        return Alarm("left_best", {name: loss, "best_unweighted_loss": best, "steps": window})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("back_in_another_order", back_to="good"),
            Action("back_and_lower_rate", slower(settings, 0.67), back_to="good"),
            Action("back_and_halve_rate", slower(settings, 0.5), back_to="good"),
        ]


@dataclass(frozen=True)
class UnstableLoss(Rule):
    """The loss scatters far more than it did: batches are too small, or steps too large."""

    level, priority, tier, target = 7, 5, "probe", "loss_spread"
    gain, relative = -0.25, True
    gives_up: ClassVar[str | None] = None
    max_spread: float = 0.25  # of the log of the mel loss; about a quarter of the loss
    max_ratio: float = 3.0
    words: ClassVar[Templates] = {
        "title": ("unstable loss", "потери скачут"),
        "scatters": (
            "the loss scatters by {loss_spread:.0%} from step to step; in calm times by {calm:.0%}",
            "разброс потерь от шага к шагу {loss_spread:.0%}; в спокойное время {calm:.0%}",
        ),
        "double_batch": (
            "double the batch, in twice as many parts",
            "удвоить пакет, вдвое больше частей",
        ),
        "lower_rate": ("lower the learning rate", "снизить скорость обучения"),
        "forget_sooner": ("let Adam forget sooner", "пусть Adam забывает быстрее"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        now, calm = health.last("loss_spread"), health.best.get("loss_spread")
        if now is None or calm is None or now <= max(self.max_spread, self.max_ratio * calm):
            return None
        if health.falls("unweighted_loss", 4 * WINDOW) is not False:
            return None
        return Alarm("scatters", {"loss_spread": now, "calm": calm})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        doubled = {"batch_size": 2 * settings.batch_size, "micro_batches": 2 * settings.micro_batches}
        return [
            Action("double_batch", doubled),
            Action("lower_rate", slower(settings, 0.7)),
            Action("forget_sooner", {"adam_beta2": 0.99}),
        ]
