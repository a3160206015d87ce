"""Rules about a run that is trained in one way and speaks in another, and about a schedule that is spent."""

from dataclasses import dataclass
from typing import ClassVar

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates
from smart_tuner.repair.rules.usual import USUAL

NEVER = 10_000_000  # steps


@dataclass(frozen=True)
class SpokenApart(Rule):
    """What is validated and spoken is not what is trained: running statistics of batch normalisation that do
    not follow, or a network left in the mode of training. No setting can help.
    """

    level, priority, votes = 1, 7, (3, 3)
    since: ClassVar[int] = 5
    gives_up: ClassVar[str | None] = "FAIL"
    needs = ("held_out", "in_training")
    max_remedies: ClassVar[int] = 0
    min_ratio: float = 2.0  # of the held-out loss by running statistics to that by the batch's own
    words: ClassVar[Templates] = {
        "title": ("spoken otherwise than trained", "речь не такая, как обучение"),
        "statistics": (
            "the held-out loss is {held_out:.2f} by the running statistics of batch normalisation and "
            "{by_batch:.2f} by the batch's own: they do not follow the training",
            "потери на отложенных данных {held_out:.2f} при накопленной статистике пакетной нормировки и "
            "{by_batch:.2f} при статистике самого пакета: накопленная не следует за обучением",
        ),
        "mode": (
            "{share:.0%} of the network's modules are in the mode of training when it is validated",
            "{share:.0%} модулей сети остаются в режиме обучения при проверке",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        share = health.last("in_training")
        if share:
            return Alarm("mode", {"share": share})
        held_out, now = health.newest("held_out"), health.newest("held_out_by_batch")
        if held_out is None or now is None or now[0] != held_out[0]:
            return None  # it is only measured where the two losses lie apart
        if held_out[1] < self.min_ratio * now[1]:
            return None
        return Alarm("statistics", {"held_out": held_out[1], "by_batch": now[1]})


@dataclass(frozen=True)
class SpentRate(Rule):
    """The schedule leaves hardly any learning rate for much of the plan: it has fallen long before its end,
    or is still warming up."""

    level, priority, tier, votes = 4, 11, "probe", (1, 1)
    since: ClassVar[int] = 5
    target: ClassVar[str | None] = None
    gives_up: ClassVar[str | None] = None
    max_remedies: ClassVar[int] = 1
    needs = ("learning_rate", "warmup_steps", "decay_start_step", "decay_half_life")
    max_share: float = 0.05  # of the full rate
    min_left: float = 0.25  # of the plan
    words: ClassVar[Templates] = {
        "title": ("the learning rate is spent", "скорость обучения исчерпана"),
        "fallen": (
            "the learning rate has fallen to {share:.1%} of its full value with {left:.0%} of the plan to go",
            "скорость обучения упала до {share:.1%} от полной, а осталось ещё {left:.0%} плана",
        ),
        "warming": (
            "the learning rate is still warming up, at {share:.1%} of its full value, with {left:.0%} of the "
            "plan to go",
            "скорость обучения всё ещё разогревается: {share:.1%} от полной, осталось {left:.0%} плана",
        ),
        "full_rate": ("take the full rate from here on", "отсюда обучать с полной скоростью"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        rate, left = health.last("learning_rate"), 1 - health.step / health.pace.planned
        if rate is None or left < self.min_left or not settings.learning_rate:
            return None
        share = rate / settings.learning_rate
        if share > self.max_share:
            return None
        if health.step > settings.decay_start_step:
            return Alarm("fallen", {"share": share, "left": left})
        return Alarm("warming", {"share": share, "left": left})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("full_rate", {"warmup_steps": 1, "decay_start_step": NEVER})]


@dataclass(frozen=True)
class DeadPrenet(Rule):
    """Most units of a layer of the prenet are zero whatever frame comes: the decoder hardly hears what it
    said."""

    level, priority, target, gain = 4, 6, "dead", -0.1
    since: ClassVar[int] = 5
    needs = ("dead", "reinitialise")
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    max_dead: float = 0.8
    words: ClassVar[Templates] = {
        "title": ("a dead prenet", "неактивный prenet"),
        "dead": (
            "{dead:.0%} of the units of a layer of the prenet are zero in every frame",
            "{dead:.0%} нейронов в слое prenet равны нулю в каждом кадре",
        ),
        "renew_prenet": ("give the prenet new weights", "дать prenet новые веса"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        dead = health.last("dead")
        return None if dead is None or dead <= self.max_dead else Alarm("dead", {"dead": dead})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("renew_prenet", fresh="prenet")] * self.max_remedies


@dataclass(frozen=True)
class ClearPrenet(Rule):
    """The prenet of an aligned run drops out hardly anything: the decoder learns to go on from the true frame
    before, which it has only in training (Wang et al. 2017, section 3.3, drop out half)."""

    level, priority, votes = 5, 3, (1, 1)
    since: ClassVar[int] = 5
    target: ClassVar[str | None] = None
    gives_up: ClassVar[str | None] = None
    max_remedies: ClassVar[int] = 1
    needs = ("p_prenet_dropout", "p_frame_dropout")
    min_dropout: float = 0.2
    words: ClassVar[Templates] = {
        "title": ("a prenet without dropout", "prenet без дропаута"),
        "clear": (
            "the prenet drops out {dropout:.0%}: what is trained on true frames is not heard in free speech",
            "дропаут prenet — {dropout:.0%}: выученное на верных кадрах не слышно в свободной речи",
        ),
        "usual_dropout": ("drop out half, as usual", "обычный дропаут, половина"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if health.milestone_at is None:  # how it aligns comes first
            return None
        if settings.p_prenet_dropout >= self.min_dropout or settings.p_frame_dropout > 0:
            return None
        return Alarm("clear", {"dropout": settings.p_prenet_dropout})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("usual_dropout", {"p_prenet_dropout": USUAL["p_prenet_dropout"].usual})]
