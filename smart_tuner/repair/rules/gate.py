"""Rules about the gate, which ends a sentence."""

from dataclasses import dataclass
from typing import ClassVar

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule
from smart_tuner.repair.rules.reading import more, share_of_loss


@dataclass(frozen=True)
class OverbearingGate(Rule):
    """Much of the loss is still the gate's: ends weigh so much that the speech hardly counts."""

    level, priority, tier, votes = 6, 7, "probe", (1, 1)
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    needs = ("gate", "gate_weight")
    max_share: float = 0.2  # of the loss, once rules may act; with ends that weigh 5 then 0.1, with 20 0.15
    positive_weight: float = 5.0  # what the ends weigh then: the default

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        share = share_of_loss(health, "gate", settings.gate_weight)
        if share is None or share <= self.max_share:
            return None
        return Alarm(f"{share:.0%} of the loss is the gate's", {"share": share})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        ends = {"gate_positive_weight": min(settings.gate_positive_weight, self.positive_weight)}
        return [
            Action("weigh the ends as usual", ends | {"gate_weight": min(settings.gate_weight, 1.0)}),
            Action("let the gate's loss count less", {"gate_weight": settings.gate_weight / 4}),
        ]


@dataclass(frozen=True)
class _Gate(Rule):
    level, priority, target, gain = 6, 6, "gate_accuracy", 0.1
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


def train_the_gate(settings: Hyperparameters) -> Action:
    """A gate whose loss hardly counts opens anywhere; where it counts, this changes nothing."""
    return Action("let the gate's loss count", more(settings, "gate_weight", 1.0, least=1.0))


@dataclass(frozen=True)
class GateNever(_Gate):
    """The gate opens late or never: ends are rare, so they must weigh more."""

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        found = self.wrong(health)
        if found is None or found[1] < 0.5 * (1 - found[0]):
            return None
        right, late = found
        reason = f"only {right:.0%} of the sentences stop in the right place; {late:.0%} stop late or never"
        return Alarm(reason, {"gate_accuracy": found[0], "gate_late": found[1]})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        weight, now = "gate_positive_weight", settings.gate_positive_weight
        heavier = [Action(f"weigh the ends {w:g} times", {weight: max(now, w)}) for w in (5.0, 15.0, 20.0)]
        return [train_the_gate(settings), *heavier]


@dataclass(frozen=True)
class GateSoon(_Gate):
    """The gate opens too early: ends weigh too much."""

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        found = self.wrong(health)
        if found is None or found[1] >= 0.5 * (1 - found[0]):
            return None
        reason = f"only {found[0]:.0%} of the sentences stop in the right place; most stop early"
        return Alarm(reason, {"gate_accuracy": found[0], "gate_late": found[1]})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        half = {"gate_positive_weight": settings.gate_positive_weight / 2}
        return [train_the_gate(settings), *[Action("halve the weight of the ends", half)] * 3]
