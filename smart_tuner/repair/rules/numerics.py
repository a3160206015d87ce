"""Rules about numbers and memory: a cut graph, weights that begin too small, NaN, batches that do not fit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates, Value
from smart_tuner.repair.rules.reading import median, slower


@dataclass(frozen=True)
class Integrity(Rule):
    """The graph is cut or weights are not updated: code is to blame, and no setting can help."""

    level, priority, tier, votes = 1, 10, "probe", (3, 3)
    gives_up: ClassVar[str | None] = "FAIL"
    needs = ("silent/", "unchanged/")
    max_remedies: ClassVar[int] = 0
    min_rate: ClassVar[float] = (
        1e-3  # of the full learning rate: with less a step may change nothing in float32
    )
    words: ClassVar[Templates] = {
        "title": ("weights that cannot learn", "веса, которые не обучаются"),
        "cut": ("no gradient reaches {silent}", "градиент не доходит до: {silent}"),
        "frozen": (
            "a gradient reaches {unchanged}, but the weights do not change",
            "градиент доходит до {unchanged}, но веса не меняются",
        ),
        "cut_and_frozen": (
            "no gradient reaches {silent}; a gradient reaches {unchanged}, but the weights do not change",
            "градиент не доходит до: {silent}; до {unchanged} доходит, но веса не меняются",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        silent = self._counts(health, "silent/")
        rate = health.last("learning_rate")
        is_spent = rate is not None and rate < self.min_rate * settings.learning_rate
        unchanged = {} if is_spent else self._counts(health, "unchanged/")
        if settings.gate_weight == 0:  # then its gradient is truly zero
            silent.pop("gate", None)
        if not silent and not unchanged:
            return None
        code = "cut" if not unchanged else "cut_and_frozen" if silent else "frozen"
        evidence: dict[str, Value] = {"silent": ", ".join(silent), "unchanged": ", ".join(unchanged)}
        evidence |= {f"silent/{name}": n for name, n in silent.items()}
        return Alarm(code, evidence | {f"unchanged/{name}": n for name, n in unchanged.items()})

    @staticmethod
    def _counts(health: Health, start: str) -> dict[str, float]:
        newest = {name.removeprefix(start): health.last(name) for name in health.names(start)}
        return {name: count for name, count in newest.items() if count}


@dataclass(frozen=True)
class _PartAtStart(Rule):
    """At the very start, a step changes a part far more or less than the others, as in no fresh network."""

    level, priority, tier, votes = 1, 8, "probe", (2, 2)
    needs = ("update/", "reinitialise")
    max_remedies: ClassVar[int] = 2
    first_steps: int = 20  # then what Adam made of the part looks like any other

    def updates(self, health: Health) -> dict[str, float]:
        """log10 of what a step changes each part by, beside the part's size; empty later on."""
        if health.age > self.first_steps:
            return {}
        start = "update/"
        found = {name.removeprefix(start): health.last(name) for name in health.names(start)}
        return {part: value for part, value in found.items() if value is not None}

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("renew_parts", renew=True)] * self.max_remedies

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return True  # no later look can tell


RENEWED_PARTS = {"renew_parts": ("give these parts new weights", "дать этим частям новые веса")}


@dataclass(frozen=True)
class OversizedPart(_PartAtStart):
    """At the very start, a step changes a part so much less than the others that its weights must be far too
    large: they hardly learn."""

    since: ClassVar[int] = 8
    gives_up: ClassVar[str | None] = None
    max_remedies: ClassVar[int] = 1
    max_deficit: float = 1.3  # log10, below the median part; healthy: up to 0.6
    least_update: ClassVar[float] = -6.0  # log10; what moves less is not trained, which Integrity sees
    words: ClassVar[Templates] = RENEWED_PARTS | {
        "title": ("a part begins far too large", "часть сети начинает со слишком больших весов"),
        "begins_too_large": (
            "a step changes {parts} by as little as {least:.2%} of their size, and the other parts by "
            "{usual:.1%}: these weights begin far too large",
            "шаг меняет {parts} лишь на {least:.2%} их размера, остальные части — на {usual:.1%}: "
            "начальные веса слишком велики",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if not (updates := self.updates(health)):
            return None
        usual = float(np.median(list(updates.values())))
        bound = usual - self.max_deficit
        found = {part: value for part, value in updates.items() if self.least_update < value < bound}
        if not found:
            return None
        evidence: dict[str, Value] = {"parts": ", ".join(found), "least": 10 ** min(found.values())}
        evidence |= {"usual": 10**usual} | {f"update/{part}": value for part, value in found.items()}
        return Alarm("begins_too_large", evidence, parts=tuple(found))


@dataclass(frozen=True)
class StuntedPart(_PartAtStart):
    """At the very start, a step changes a part so much more than the others, and by more than a tenth of its
    size, that its weights must be far too small: it begins from nothing, and all of it alike."""

    gives_up: ClassVar[str | None] = "FAIL"
    max_excess: float = 1.0  # log10, beyond the median part; healthy: up to 0.6
    min_update: ClassVar[float] = -1.0  # log10; healthy: -4 to -1 (TheDeepChecker)
    words: ClassVar[Templates] = RENEWED_PARTS | {
        "title": ("a part begins far too small", "часть сети начинает со слишком малых весов"),
        "too_small": (
            "a step changes {parts} by up to {most:.0%} of their size, and the other parts by {usual:.1%}: "
            "these weights begin far too small",
            "шаг меняет {parts} на величину до {most:.0%} их размера, остальные части — на {usual:.1%}: "
            "начальные веса слишком малы",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if not (updates := self.updates(health)):
            return None
        usual = float(np.median(list(updates.values())))
        bound = max(usual + self.max_excess, self.min_update)
        stunted = {part: value for part, value in updates.items() if value > bound}
        if not stunted:
            return None
        evidence: dict[str, Value] = {"parts": ", ".join(stunted), "most": 10 ** max(stunted.values())}
        evidence |= {"usual": 10**usual} | {f"update/{part}": value for part, value in stunted.items()}
        return Alarm("too_small", evidence, parts=tuple(stunted))


@dataclass(frozen=True)
class UnfitStart(Rule):
    """The first weights lose far more than the best constant frame does, as new ones never do: those of a
    warm start are too large, or are of mels of another scale."""

    level, priority, votes = 1, 7, (1, 1)
    since: ClassVar[int] = 7
    gives_up: ClassVar[str | None] = None
    max_remedies: ClassVar[int] = 1
    gain, relative = -0.1, True
    needs = ("constant", "unweighted_loss", "update/", "reinitialise")
    max_loss: float = 2.2  # of what the best constant frame loses; 161 healthy starts: 1.3 to 1.7
    first_steps: int = 20  # at the first validation, if that comes later
    words: ClassVar[Templates] = {
        "title": ("a start that fits worse than none", "начальные веса хуже, чем никакие"),
        "too_lossy": (
            "the first weights lose {times:.1f} times what the best constant frame does; new ones lose less "
            "than {bound:g} times that: they are too large, or of mels of another scale",
            "потери начальных весов в {times:.1f} раза больше, чем у лучшего постоянного кадра, а у новых "
            "весов — меньше чем в {bound:g} раза: эти веса слишком велики или обучены на мел-спектрах "
            "другого масштаба",
        ),
        "renew_all": ("begin with new weights", "начать с новых весов"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        loss, constant = median(health, "unweighted_loss"), health.last("constant")
        if loss is None or not constant or health.age > max(self.first_steps, health.pace.validate_every):
            return None
        times = loss / constant
        if times <= self.max_loss:
            return None
        parts = tuple(name.removeprefix("update/") for name in health.names("update/"))
        return Alarm("too_lossy", {"times": times, "bound": self.max_loss}, parts=parts)

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("renew_all", renew=True)]


@dataclass(frozen=True)
class NonFinite(Rule):
    """NaN or infinity in a loss or gradient: of a step that was not taken, or, if it was, in the weights."""

    level, priority, tier = 1, 10, "event"
    max_events: int = 3  # within:
    within_steps: int = 100
    words: ClassVar[Templates] = {
        "title": ("NaN or infinity", "NaN или бесконечность"),
        "not_finite": (
            "loss is {loss:g}, gradient norm is {grad_norm:g}",
            "потери {loss:g}, норма градиента {grad_norm:g}",
        ),
        "by_clips": (
            "loss is {loss:g}, gradient norm is {grad_norm:g}, by {names} alone",
            "потери {loss:g}, норма градиента {grad_norm:g}, и только из-за записей: {names}",
        ),
        "spoilt": (
            "after a step its {names} is not finite: the weights are spoilt",
            "после шага не конечно: {names}; веса испорчены",
        ),
        "back_and_clip": (
            "go back and clip gradients at half the norm",
            "вернуться и вдвое снизить предел градиента",
        ),
    }

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        halved = Action("back_and_halve_rate", slower(settings, 0.5), back_to="good")
        if "grad_clip_thresh" not in settings:
            return [halved] * self.max_remedies
        return [
            halved,
            Action(
                "back_and_clip",
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
    words: ClassVar[Templates] = {
        "title": ("out of memory", "не хватает памяти"),
        "too_large": ("{error}", "{error}"),
        "halve_batch": ("halve the batch", "вдвое уменьшить пакет"),
        "split_batch": ("compute each batch in {parts} parts", "считать пакет по частям: {parts}"),
    }

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        if "micro_batches" not in settings:
            return [Action("halve_batch", {"batch_size": settings.batch_size // 2})] * self.max_remedies
        parts = min(2 * settings.micro_batches, settings.batch_size)
        return [Action("split_batch", {"micro_batches": parts}, values={"parts": parts})] * self.max_remedies
