"""A rule of one's own: named in study.toml, and asked like every other rule."""

from dataclasses import dataclass

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule


@dataclass(frozen=True)
class AlwaysClipped(Rule):
    """Every gradient is clipped: the threshold, not the gradient, says how far a step goes."""

    level, priority, tier, target, gain = 7, 1, "step", "held_out", -0.01
    needs = ("grad_norm", "grad_clip_thresh")
    steps: int = 20
    words = {"clipped": "{norm:.2g} is the least gradient, clipped to {limit:.2g}", "later": "clip far later"}

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        norms = health.values("grad_norm", self.steps)  # none before there are so many
        if not len(norms) or norms.min() <= settings.grad_clip_thresh:
            return None
        return Alarm("clipped", {"norm": float(norms.min()), "limit": settings.grad_clip_thresh})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("later", {"grad_clip_thresh": 100 * settings.grad_clip_thresh})]
