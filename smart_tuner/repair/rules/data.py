"""Rules about the recordings and their batches."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import PASSES, Health, spread
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates, Value
from smart_tuner.repair.rules.usual import LEAST_CLIPS


@dataclass(frozen=True)
class FaultyClips(Rule):
    """Clips whose loss or attention stays far from that of all others: wrong text, noise, cut speech.

    It comes as advice: on recorded speech single sound clips stand out as much, and runs with a tenth of
    wrong texts end where others do, whether their clips are left out or not (docs/proof.md).
    """

    level, priority, votes = 0, 10, (1, 1)
    advises: ClassVar[bool] = True
    needs = ("clips", "exclude")
    gives_up: ClassVar[str | None] = "FAIL"
    max_excess: float = 6.0  # robust standard deviations beyond the median clip, and at least:
    min_ratio: float = 2.0  # times the loss of its batch's median clip
    min_away: float = 0.25  # more attention off the diagonal than that clip
    words: ClassVar[Templates] = {
        "title": ("clips that do not fit their texts", "записи, не подходящие к своему тексту"),
        "stand_out": (
            "in their last {passes} passes {clips} clips stood out: loss up to {times:.1f} times, "
            "attention off the diagonal {away:+.2f} beside their batches: {names}",
            "в последних проходах ({passes}) выделяются записи ({clips}): потери до {times:.1f} раз больше, "
            "внимание вне диагонали {away:+.2f} против их пакетов: {names}",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        """A clip must stand out in each of its last passes."""
        whole = {clip: rows for clip, rows in health.clips.items() if len(rows) == PASSES}
        if health.milestone_at is None or len(whole) < 20:
            return None
        least = np.array(list(whole.values())).min(axis=1)  # (clips, 2)
        usual = np.median(least, axis=0)
        floors = np.log(self.min_ratio), self.min_away
        far = least > usual + np.maximum([self.max_excess * spread(column) for column in least.T], floors)
        found = tuple(clip for clip, bad in zip(whole, far.any(axis=1), strict=True) if bad)
        if not found:
            return None
        loss, away = least[far.any(axis=1)].max(axis=0)
        shown = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
        stand: dict[str, Value] = {
            "times": float(np.exp(loss)),
            "away": float(away),
            "passes": PASSES,
            "names": shown,
        }
        return Alarm("stand_out", {"clips": len(found), **stand}, found)

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("leave_out", exclude=True)] * self.max_remedies


@dataclass(frozen=True)
class NarrowBatch(Rule):
    """Batches of so few clips that normalisation over them says more of the clips than of the network."""

    level, priority, tier, target = 2, 5, "probe", "held_out"
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    votes: ClassVar[tuple[int, int]] = (1, 1)
    needs = ("batch_size",)
    min_clips: int = LEAST_CLIPS  # fewer are not kept together either: model/data/corpus.py, batches
    clips: int = 8
    words: ClassVar[Templates] = {
        "title": ("batches of too few clips", "в пакете слишком мало записей"),
        "few_clips": ("a batch is {batch_size} clips", "записей в пакете: {batch_size}"),
        "more_clips": ("take {size} clips a batch", "брать в пакет записей: {size}"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if settings.batch_size >= self.min_clips or settings.micro_batches > 1:  # there, memory decides
            return None
        return Alarm("few_clips", {"batch_size": settings.batch_size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        sizes = 2 * self.clips, self.clips  # with more clips a step, a voice gets along in fewer of them
        return [Action("more_clips", {"batch_size": size}, values={"size": size}) for size in sizes]
