"""Rules about a run that learns no more."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates
from smart_tuner.repair.rules.reading import WINDOW, is_kept_in_training, more, rose, slower


@dataclass(frozen=True)
class Plateau(Rule):
    """The held-out loss of a run that is at its milestone no longer falls.

    It comes as advice: its repairs slowed healthy runs down, and it ended some of them early.
    """

    advises: ClassVar[bool] = True
    level, priority, target, votes = 8, 4, "held_out", (1, 1)
    needs = ("held_out", "learning_rate")
    gain, relative = -0.002, True
    gives_up: ClassVar[str | None] = "COMPLETE"
    min_gain: float = 0.001  # per validation
    validations: int = 10
    words: ClassVar[Templates] = {
        "title": ("no progress", "нет прогресса"),
        "flat": (
            "the held-out loss stays at {held_out:.3f} over {validations} validations",
            "потери на отложенных данных остаются около {held_out:.3f}, проверок: {validations}",
        ),
        "halve_rate": ("halve the learning rate", "вдвое снизить скорость обучения"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        values, trend = (
            health.values("held_out", self.validations),
            health.trend("held_out", self.validations),
        )
        if trend is None or health.milestone_at is None:
            return None
        middle = float(np.median(values))
        gain = -trend.slope * health.pace.validate_every / (abs(middle) or 1.0)
        if gain >= self.min_gain:
            return None
        return Alarm("flat", {"held_out": middle, "gain": gain, "validations": self.validations})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("halve_rate", slower(settings, 0.5))] * self.max_remedies


REGULARISING = {
    "more_dropout": ("more dropout in the decoder", "больше дропаута в декодере"),
    "more_decay": ("ten times the weight decay", "затухание весов в 10 раз больше"),
}


def regularise(settings: Hyperparameters) -> list[Action]:
    p = min(0.9, settings.p_decoder_dropout + 0.1)
    return [
        Action("more_dropout", {"p_decoder_dropout": p}),
        Action("more_decay", more(settings, "weight_decay", 10.0, least=1e-6)),
    ]


@dataclass(frozen=True)
class Overfit(Rule):
    """The held-out loss rises while the training loss falls, and the speech gets no better."""

    level, priority, target, votes = 8, 3, "held_out", (1, 1)
    needs = ("held_out", "value")
    gain, relative = -0.002, True
    gives_up: ClassVar[str | None] = "COMPLETE"
    max_rise: float = 0.05
    validations: int = 5
    words: ClassVar[Templates] = REGULARISING | {
        "title": ("overfitting", "переобучение"),
        "apart": (
            "the held-out loss rose from {best_held_out:.3f} to {held_out:.3f} while the training loss falls",
            "потери на отложенных данных выросли с {best_held_out:.3f} до {held_out:.3f}, а при "
            "обучении падают",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        values, best = health.values("held_out", self.validations), health.best.get("held_out")
        spoken, best_spoken = health.last("value"), health.best.get("value")
        if not len(values) or best is None or spoken is None or best_spoken is None:
            return None
        if not rose(values.min(), best, 1 + self.max_rise) or spoken <= best_spoken:
            return None
        if not health.falls("unweighted_loss", 4 * WINDOW):
            return None
        return Alarm("apart", {"held_out": float(values.min()), "best_held_out": best, "value": spoken})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return regularise(settings)


@dataclass(frozen=True)
class UnlikeClips(Rule):
    """Attention that was aligned on held-out clips is lost there, and kept on those that are trained on.

    It comes as advice: what is learned of too few clips, or of ones unlike the others, no setting mends.
    """

    level, priority, target, votes = 8, 2, "held_out", (1, 1)
    since: ClassVar[int] = 6
    advises: ClassVar[bool] = True
    needs = ("diagonal_score", "guided", "held_out")
    gain, relative = -0.002, True
    max_drop: float = 0.25
    words: ClassVar[Templates] = REGULARISING | {
        "title": (
            "held-out clips are unlike those that are trained on",
            "отложенные записи не как учебные",
        ),
        "lost_elsewhere": (
            "attention on held-out clips fell from {best:.2f} to {now:.2f}, and is kept on those that are "
            "trained on: these are too few, or unlike the others",
            "внимание на отложенных записях упало с {best:.2f} до {now:.2f}, а на учебных сохранилось: "
            "учебных слишком мало, или они не похожи на остальные",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        scores, best = health.values("diagonal_score", 2), health.best.get("diagonal_score")
        if health.milestone_at is None or len(scores) < 2 or best is None or not is_kept_in_training(health):
            return None
        if scores.max() >= best - self.max_drop:
            return None
        return Alarm("lost_elsewhere", {"now": float(scores[-1]), "best": best})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return regularise(settings)
