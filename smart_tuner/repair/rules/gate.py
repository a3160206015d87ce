"""Rules about the gate, which ends a sentence."""

from dataclasses import dataclass
from typing import ClassVar

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates
from smart_tuner.repair.rules.reading import more, share_of_loss
from smart_tuner.repair.rules.usual import USUAL, USUAL_MELS, usual_mels


@dataclass(frozen=True)
class OverbearingGate(Rule):
    """Much of the loss is still the gate's: ends weigh so much that the speech hardly counts. Where the mels
    weigh next to nothing, they are first weighed as usual."""

    level, priority, tier, votes = 6, 7, "probe", (1, 1)
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    needs = ("gate", "gate_weight")
    max_share: float = 0.2  # of the loss, once rules may act; with ends that weigh 5 then 0.1, with 20 0.15
    positive_weight: float = USUAL["gate_positive_weight"].usual  # what the ends weigh then
    words: ClassVar[Templates] = USUAL_MELS | {
        "title": ("the gate outweighs the speech", "остановка важнее самой речи"),
        "mostly_gate": (
            "{share:.0%} of the loss is the gate's",
            "{share:.0%} потерь приходится на остановку",
        ),
        "usual_ends": ("weigh the ends as usual", "вернуть обычный вес концов фраз"),
        "lighter_gate": ("let the gate's loss count less", "снизить вклад потерь остановки"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        share = share_of_loss(health, "gate", settings.gate_weight)
        if share is None or share <= self.max_share:
            return None
        return Alarm("mostly_gate", {"share": share})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        ends = {"gate_positive_weight": min(settings.gate_positive_weight, self.positive_weight)}
        gate = ends | {"gate_weight": min(settings.gate_weight, 1.0)}
        mels = usual_mels(settings)
        return [
            Action("usual_mels", mels) if mels else Action("usual_ends", gate),
            Action("lighter_gate", {"gate_weight": settings.gate_weight / 4}),
        ]


@dataclass(frozen=True)
class _Gate(Rule):
    level, priority, target, gain = 6, 6, "gate_accuracy", 0.1
    told_by: ClassVar[tuple[str, ...]] = ("value",)  # the held-out loss is of mels alone
    max_remedies: ClassVar[int] = 4
    gives_up: ClassVar[str | None] = None
    needs = ("gate_accuracy", "gate_late")
    min_gate_accuracy: float = 0.7
    clear_gate_accuracy: float = 0.8

    def wrong(self, health: Health) -> tuple[float, float] | None:
        """Accuracy and share of late stops, where the accuracy is too low and attention is aligned."""
        accuracy, late = health.last("gate_accuracy"), health.last("gate_late")
        if accuracy is None or late is None or not health.last("aligned"):
            return None
        bound = self.clear_gate_accuracy if self.name in health.alarmed else self.min_gate_accuracy
        return None if accuracy >= bound else (accuracy, late)


HEAVIER_GATE = {"heavier_gate": ("let the gate's loss count", "учитывать потери остановки")}


def train_the_gate(settings: Hyperparameters) -> Action:
    """A gate whose loss hardly counts opens anywhere; where it counts, this changes nothing."""
    return Action("heavier_gate", more(settings, "gate_weight", 1.0, least=1.0))


@dataclass(frozen=True)
class GateNever(_Gate):
    """The gate opens late or never: ends are rare, so they must weigh more."""

    words: ClassVar[Templates] = HEAVIER_GATE | {
        "title": ("speech does not stop", "речь не останавливается"),
        "late": (
            "only {gate_accuracy:.0%} of the sentences stop in the right place; {gate_late:.0%} stop "
            "late or never",
            "вовремя останавливаются лишь {gate_accuracy:.0%} фраз; поздно или никогда — {gate_late:.0%}",
        ),
        "heavier_ends": ("weigh the ends {times:g} times", "вес концов фраз: {times:g}"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        found = self.wrong(health)
        if found is None or found[1] < 0.5 * (1 - found[0]):
            return None
        return Alarm("late", {"gate_accuracy": found[0], "gate_late": found[1]})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        weight, now = "gate_positive_weight", settings.gate_positive_weight
        times = (5.0, 15.0, 20.0)
        heavier = [Action("heavier_ends", {weight: max(now, w)}, values={"times": w}) for w in times]
        return [train_the_gate(settings), *heavier]


@dataclass(frozen=True)
class GateSoon(_Gate):
    """The gate opens too early: ends weigh too much."""

    words: ClassVar[Templates] = HEAVIER_GATE | {
        "title": ("speech stops early", "речь обрывается рано"),
        "early": (
            "only {gate_accuracy:.0%} of the sentences stop in the right place; most stop early",
            "вовремя останавливаются лишь {gate_accuracy:.0%} фраз; большинство — рано",
        ),
        "halve_ends": ("halve the weight of the ends", "вдвое снизить вес концов фраз"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        found = self.wrong(health)
        if found is None or found[1] >= 0.5 * (1 - found[0]):
            return None
        return Alarm("early", {"gate_accuracy": found[0], "gate_late": found[1]})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        half = {"gate_positive_weight": settings.gate_positive_weight / 2}
        return [train_the_gate(settings), *[Action("halve_ends", half)] * 3]
