"""What rules read of a run, and how they change a setting."""

import math

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Hyperparameters

WINDOW = 20  # steps of a median; single steps say little
KEPT = 0.05  # attention off the diagonal beyond its best: so much it scatters while it is aligned


def median(health: Health, name: str, count: int = WINDOW) -> float | None:
    values = health.values(name, count)
    return float(np.median(values)) if len(values) else None


def rose(value: float, best: float, factor: float) -> bool:
    """Whether a loss is beyond so many times its best; a loss that may be negative has no such times."""
    return bool(best > 0 and value > factor * best)


def by_chance(health: Health, spreads: float) -> float:
    """How many times its best a loss may be because it scatters from step to step: e to so many spreads of
    calm times. Bounds for runs with a milestone were set on such runs, and leave it out."""
    if health.milestone is not None:
        return 1.0
    return math.exp(spreads * health.best.get("loss_spread", math.inf))


def share_of_loss(health: Health, part: str, weight: float) -> float | None:
    """What a part makes of the loss, with its weight."""
    value, loss = median(health, part), median(health, "loss")
    return weight * value / loss if value is not None and loss else None


def slower(settings: Hyperparameters, factor: float) -> dict[str, float]:
    return {"learning_rate": settings.learning_rate * factor}


def more(settings: Hyperparameters, name: str, factor: float, least: float) -> dict[str, float]:
    """A factor alone repairs nothing where the value is zero."""
    return {name: max(least, getattr(settings, name) * factor)}


def is_kept_in_training(health: Health) -> bool:
    """Whether attention is as it was at best on the clips that are trained on: what is lost on others was not
    lost by the weights, but is not learned for such clips."""
    away, usual = median(health, "guided", 10), health.best.get("guided")
    return away is not None and usual is not None and away <= usual + KEPT
