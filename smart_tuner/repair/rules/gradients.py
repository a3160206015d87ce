"""Rules about gradients: exploding, vanishing, or without effect."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates
from smart_tuner.repair.rules.reading import WINDOW, median, rose, slower
from smart_tuner.repair.rules.steps import _Diverging


@dataclass(frozen=True)
class ExplodingGradient(_Diverging):
    """Gradients far above those of this run's calm times, while the loss rises. A busy clip is no fault."""

    level, priority, tier = 3, 9, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    needs = ("grad_norm",)
    max_ratio: float = 10.0
    max_rise: float = 1.1  # of the median loss over its best
    words: ClassVar[Templates] = {
        "title": ("exploding gradients", "взрыв градиентов"),
        "exploded": (
            "gradient norm {grad_norm:.3g} is {times:.0f} times that of calm steps ({calm:.2g}), and the "
            "loss rose to {unweighted_loss:.2f} from {best_unweighted_loss:.2f}",
            "норма градиента {grad_norm:.3g} в {times:.0f} раз больше, чем в спокойное время ({calm:.2g}), "
            "потери выросли с {best_unweighted_loss:.2f} до {unweighted_loss:.2f}",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        norm, loss = median(health, "grad_norm"), median(health, "unweighted_loss")
        calm, best = health.best.get("grad_norm"), health.best.get("unweighted_loss")
        if norm is None or loss is None or calm is None or best is None:
            return None
        if norm <= self.max_ratio * calm or not rose(loss, best, self.max_rise):
            return None
        evidence = {"grad_norm": norm, "calm": calm, "times": norm / calm}
        return Alarm("exploded", evidence | {"unweighted_loss": loss, "best_unweighted_loss": best})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("back_and_tenth_rate", slower(settings, 0.1), back_to="good"),
            Action("back_and_third_rate", slower(settings, 1 / 3), back_to="good"),
            Action("anew_and_third_rate", slower(settings, 1 / 3), back_to="start"),
        ]


@dataclass(frozen=True)
class VanishingGradients(Rule):
    """Gradients so small that Adam's epsilon, not they, decides the step: as Adam gets them, clipped."""

    level, priority, tier = 4, 10, "probe"
    gain, relative = -0.02, True
    votes: ClassVar[tuple[int, int]] = (2, 2)
    needs = ("gradient/", "adam_eps")
    min_gradient: float = 1e-8  # or epsilon, whichever is larger: there the step is half the learning rate
    near: float = 3.0  # times that bound: if half of the parts are so small, a quarter of each step is lost
    words: ClassVar[Templates] = {
        "title": ("vanishing gradients", "затухание градиентов"),
        "vanished": (
            "the gradients of {parts} are below {bound:.1e} (smallest {smallest:.1e}), so that Adam's "
            "epsilon decides the step",
            "градиенты частей {parts} ниже {bound:.1e} (наименьший {smallest:.1e}): шаг определяет "
            "epsilon в Adam",
        ),
        "nearly_vanished": (
            "the gradients of {parts} are below {bound:.1e} (smallest {smallest:.1e}), so that Adam's "
            "epsilon takes a quarter of the step, or more",
            "градиенты частей {parts} ниже {bound:.1e} (наименьший {smallest:.1e}): epsilon в Adam съедает "
            "не меньше четверти шага",
        ),
        "lower_epsilon": ("lower Adam's epsilon", "снизить epsilon в Adam"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        bound, name = max(self.min_gradient, settings.adam_eps), "gradient/"
        left = self._left_by_clipping(health, settings)
        newest = {group: v * left for group in health.names(name) if (v := health.last(group)) is not None}
        small = {group: v for group, v in newest.items() if 0 < v < bound}
        nearly = {group: v for group, v in newest.items() if 0 < v < self.near * bound}
        code = "vanished"
        if nearly and 2 * len(nearly) >= len(newest):
            small, bound, code = nearly, self.near * bound, "nearly_vanished"
        elif not small or health.falls("unweighted_loss", 4 * WINDOW) is not False:
            return None
        parts = ", ".join(group.removeprefix(name) for group in small)
        return Alarm(code, {"parts": parts, "bound": bound, "smallest": min(small.values()), **small})

    def _left_by_clipping(self, health: Health, settings: Hyperparameters) -> float:
        """The share of a gradient that clipping by the norm of all of them leaves."""
        norm = health.last("grad_norm")
        return settings.grad_clip_thresh / norm if norm and norm > settings.grad_clip_thresh else 1.0

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        smaller = [max(1e-12, settings.adam_eps / 100.0**k) for k in (1, 2, 3)]
        return [Action("lower_epsilon", {"adam_eps": eps}) for eps in smaller]


@dataclass(frozen=True)
class DeadModule(Rule):
    """Weights that hardly move though gradients reach them: steps are too small, or a part died."""

    level, priority, tier = 4, 9, "probe"
    gain, relative = -0.02, True
    votes: ClassVar[tuple[int, int]] = (1, 1)
    needs = ("update/", "learning_rate")
    min_update: float = -4.5  # log10 of a step's change; healthy: -4 to -1 (TheDeepChecker)
    min_change: float = 0.1  # of its size: what a part must at least be able to change in the whole plan
    max_rate: float = 4e-3  # to which the learning rate is raised: the upper end of a usual search space
    words: ClassVar[Templates] = {
        "title": ("weights that hardly move", "веса почти не меняются"),
        "still": (
            "a step changes {parts} by less than 10^{bound:.1f}",
            "шаг меняет {parts} меньше чем на 10^{bound:.1f}",
        ),
        "anew_and_raise_rate": (
            "start over with a higher learning rate",
            "начать заново с большей скоростью обучения",
        ),
        "raise_rate": ("raise the learning rate", "поднять скорость обучения"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        newest = {group: health.last(group) for group in health.names("update/")}
        bound = max(self.min_update, float(np.log10(self.min_change / health.pace.planned)))
        still = {group: v for group, v in newest.items() if v is not None and v < bound}
        if not still or self.is_past(health):
            return None
        parts = ", ".join(group.removeprefix("update/") for group in still)
        return Alarm("still", {"parts": parts, "bound": bound, **still})

    def is_past(self, health: Health) -> bool:
        """Steps may be small once a run has learned something; without a milestone, in most of the plan."""
        if health.milestone is None:
            return health.age > health.pace.planned // 4
        return health.milestone_at is not None

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        # Below 10^-4.5 two decades and a half more are still a healthy 10^-2. So slow a start taught nothing
        # that is worth its steps, and the deadline of the alignment begins anew.
        rates = [min(settings.learning_rate * 10.0**k, self.max_rate) for k in (2.5, 2.5, 3)]
        anew, *raised = [{"learning_rate": max(settings.learning_rate, rate)} for rate in rates]
        return [
            Action("anew_and_raise_rate", anew, back_to="start"),
            *[Action("raise_rate", changes) for changes in raised],
        ]
