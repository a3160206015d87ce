"""Rules about gradients: exploding, vanishing, or without effect."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule
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

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        norm, loss = median(health, "grad_norm"), median(health, "unweighted_loss")
        calm, best = health.best.get("grad_norm"), health.best.get("unweighted_loss")
        if norm is None or loss is None or calm is None or best is None:
            return None
        if norm <= self.max_ratio * calm or not rose(loss, best, self.max_rise):
            return None
        reason = (
            f"gradient norm {norm:.3g} is {norm / calm:.0f} times that of calm steps ({calm:.2g}), and the "
            f"mel loss rose to {loss:.2f} from {best:.2f}"
        )
        return Alarm(
            reason, {"grad_norm": norm, "calm": calm, "unweighted_loss": loss, "best_unweighted_loss": best}
        )

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and take a tenth of the learning rate", slower(settings, 0.1), back_to="good"),
            Action("go back and take a third of the learning rate", slower(settings, 1 / 3), back_to="good"),
            Action("start over with a third of the learning rate", slower(settings, 1 / 3), back_to="start"),
        ]


@dataclass(frozen=True)
class VanishingGradients(Rule):
    """Gradients so small that Adam's epsilon, not they, decides the step."""

    level, priority, tier = 4, 10, "probe"
    gain, relative = -0.02, True
    votes: ClassVar[tuple[int, int]] = (2, 2)
    needs = ("gradient/", "adam_eps")
    min_gradient: float = 1e-8  # or epsilon, whichever is larger: there the step is half the learning rate
    near: float = 3.0  # times that bound: if half of the parts are so small, a quarter of each step is lost

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        bound, name = max(self.min_gradient, settings.adam_eps), "gradient/"
        newest = {group: v for group in health.names(name) if (v := health.last(group)) is not None}
        small = {group: v for group, v in newest.items() if 0 < v < bound}
        nearly = {group: v for group, v in newest.items() if 0 < v < self.near * bound}
        does = "decides the step"
        if nearly and 2 * len(nearly) >= len(newest):
            small, bound, does = nearly, self.near * bound, "takes a quarter of the step, or more"
        elif not small or health.falls("unweighted_loss", 4 * WINDOW) is not False:
            return None
        worst = min(small, key=small.__getitem__)
        reason = (
            f"the gradients of {', '.join(group.removeprefix(name) for group in small)} are below "
            f"{bound:.1e} (smallest {small[worst]:.1e}), so that Adam's epsilon {does}"
        )
        return Alarm(reason, small)

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        smaller = [max(1e-12, settings.adam_eps / 100.0**k) for k in (1, 2, 3)]
        return [Action("lower Adam's epsilon", {"adam_eps": eps}) for eps in smaller]


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

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        newest = {group: health.last(group) for group in health.names("update/")}
        bound = max(self.min_update, float(np.log10(self.min_change / health.pace.planned)))
        still = {group: v for group, v in newest.items() if v is not None and v < bound}
        if not still or self.is_past(health):
            return None
        names = ", ".join(group.removeprefix("update/") for group in still)
        return Alarm(f"a step changes {names} by less than 10^{bound:.1f}", still)

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
            Action("start over with a higher learning rate", anew, back_to="start"),
            *[Action("raise the learning rate", changes) for changes in raised],
        ]
