"""The rules: what each sees in a run's health, and what it would do about it, from the cause upwards.

Every threshold is a field, with its source; those without one are this project's, set on healthy and on
spoilt runs of the quickstart's model (benchmarks/promise.py). Measures that a rule reads are listed in
objectives/monitored.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import PASSES, Health, spread
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule

WINDOW = 20  # steps of a median; single steps say little
ALIGNED_SCORE = 0.6  # the least diagonal score of an aligned item, as model/network/alignment.py has it
MOST_FRAMES = 1000  # a step: the limits of a training bring it down to what its weights serve


def median(health: Health, name: str, count: int = WINDOW) -> float | None:
    values = health.values(name, count)
    return float(np.median(values)) if len(values) else None


def share_of_loss(health: Health, part: str, weight: float) -> float | None:
    """What a part makes of the loss, with its weight."""
    value, loss = median(health, part), median(health, "loss")
    return weight * value / loss if value is not None and loss else None


def slower(settings: Hyperparameters, factor: float) -> dict[str, float]:
    return {"learning_rate": settings.learning_rate * factor}


def more(settings: Hyperparameters, name: str, factor: float, least: float) -> dict[str, float]:
    """A factor alone repairs nothing where the value is zero."""
    return {name: max(least, getattr(settings, name) * factor)}


@dataclass(frozen=True)
class FaultyClips(Rule):
    """Clips whose loss or attention stays far from that of all others: wrong text, noise, cut speech."""

    level, priority, votes = 0, 10, (1, 1)
    gives_up: ClassVar[str | None] = "FAIL"
    max_excess: float = 6.0  # robust standard deviations beyond the median clip, and at least:
    min_ratio: float = 2.0  # times the mel loss of its batch's median clip
    min_away: float = 0.25  # more attention off the diagonal than that clip

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        """A clip must stand out in each of its last passes."""
        whole = {clip: rows for clip, rows in health.clips.items() if len(rows) == PASSES}
        if health.first_aligned is None or len(whole) < 20:
            return None
        least = np.array(list(whole.values())).min(axis=1)  # (clips, 2)
        usual = np.median(least, axis=0)
        floors = np.log(self.min_ratio), self.min_away
        far = least > usual + np.maximum([self.max_excess * spread(column) for column in least.T], floors)
        found = tuple(clip for clip, bad in zip(whole, far.any(axis=1), strict=True) if bad)
        if not found:
            return None
        mel, away = least[far.any(axis=1)].max(axis=0)
        shown = ", ".join(found[:5]) + (" …" if len(found) > 5 else "")
        reason = (
            f"in their last {PASSES} passes {len(found)} clips stood out: mel loss up to {np.exp(mel):.1f} "
            f"times, attention off the diagonal {away:+.2f} beside their batches: {shown}"
        )
        return Alarm(reason, {"clips": len(found), "times": float(np.exp(mel)), "away": float(away)}, found)

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("leave these clips out", exclude=True)] * self.max_remedies


@dataclass(frozen=True)
class Integrity(Rule):
    """The graph is cut or weights are not updated: code is to blame, and no setting can help."""

    level, priority, tier, votes = 1, 10, "probe", (3, 3)
    gives_up: ClassVar[str | None] = "FAIL"
    max_remedies: ClassVar[int] = 0

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        silent = self._counts(health, "silent/")
        unchanged = self._counts(health, "unchanged/")
        if settings.gate_weight == 0:  # then its gradient is truly zero
            silent.pop("gate", None)
        parts = []
        if silent:
            parts.append(f"no gradient reaches {', '.join(silent)}")
        if unchanged:
            parts.append(f"a gradient reaches {', '.join(unchanged)}, but the weights do not change")
        if not parts:
            return None
        evidence = {f"silent/{name}": n for name, n in silent.items()}
        return Alarm("; ".join(parts), evidence | {f"unchanged/{name}": n for name, n in unchanged.items()})

    @staticmethod
    def _counts(health: Health, start: str) -> dict[str, float]:
        newest = {name.removeprefix(start): health.last(name) for name in health.names(start)}
        return {name: count for name, count in newest.items() if count}


@dataclass(frozen=True)
class StuntedPart(Rule):
    """At the very start, a part changes so much more of itself than the others that its weights must be far
    too small: it begins from nothing, and all of it alike."""

    level, priority, tier, votes = 1, 8, "probe", (2, 2)
    gives_up: ClassVar[str | None] = "FAIL"
    max_remedies: ClassVar[int] = 2
    max_excess: float = 1.0  # log10, beyond the median part; healthy: up to 0.6
    first_steps: int = 20  # then what Adam made of the part looks like any other

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        start, newest = "update/", {}
        for name in health.names(start):
            if (value := health.last(name)) is not None:
                newest[name.removeprefix(start)] = value
        if not newest or health.age > self.first_steps:
            return None
        usual = float(np.median(list(newest.values())))
        stunted = {part: value for part, value in newest.items() if value > usual + self.max_excess}
        if not stunted:
            return None
        most = 10 ** max(stunted.values())
        reason = (
            f"a step changes {', '.join(stunted)} by up to {most:.0%} of their size, and the other parts by "
            f"{10**usual:.1%}: these weights begin far too small"
        )
        return Alarm(reason, {f"{start}{part}": v for part, v in stunted.items()}, parts=tuple(stunted))

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("give these parts new weights", renew=True)] * self.max_remedies

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return True  # parts that stayed stunted would have been an alarm of their own


@dataclass(frozen=True)
class NonFinite(Rule):
    """NaN or infinity in a loss or gradient; the step was not taken."""

    level, priority, tier = 1, 10, "event"
    max_events: int = 3  # within:
    within_steps: int = 100

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and halve the learning rate", slower(settings, 0.5), back_to="good"),
            Action(
                "go back and clip gradients at half the norm",
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

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        parts = min(2 * settings.micro_batches, settings.batch_size)
        return [Action(f"compute each batch in {parts} parts", {"micro_batches": parts})] * self.max_remedies


class _Diverging(Rule):
    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        """Whether the loss is as good as ever, or falls again."""
        if "mel" not in after:
            return False
        return after["mel"] <= 1.1 * health.best.get("mel", 0.0) or bool(health.falls("mel", 2 * WINDOW))


@dataclass(frozen=True)
class NarrowBatch(Rule):
    """Batches of so few clips that normalisation over them says more of the clips than of the network."""

    level, priority, tier, target = 2, 5, "probe", "held_out"
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    votes: ClassVar[tuple[int, int]] = (1, 1)
    min_clips: int = 3  # fewer are not kept together either: model/data/corpus.py, batches
    clips: int = 8

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if settings.batch_size >= self.min_clips or settings.micro_batches > 1:  # there, memory decides
            return None
        return Alarm(f"a batch is {settings.batch_size} clips", {"batch_size": settings.batch_size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        sizes = self.clips, 2 * self.clips
        return [Action(f"take {size} clips a batch", {"batch_size": size}) for size in sizes]


@dataclass(frozen=True)
class ExplodingGradient(_Diverging):
    """Gradients far above those of this run's calm times, while the loss rises. A busy clip is no fault."""

    level, priority, tier = 3, 9, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    max_ratio: float = 10.0
    max_rise: float = 1.1  # of the median loss over its best

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        norm, mel = median(health, "grad_norm"), median(health, "mel")
        calm, best = health.best.get("grad_norm"), health.best.get("mel")
        if norm is None or mel is None or calm is None or best is None:
            return None
        if norm <= self.max_ratio * calm or mel <= self.max_rise * best:
            return None
        reason = (
            f"gradient norm {norm:.3g} is {norm / calm:.0f} times that of calm steps ({calm:.2g}), and the "
            f"mel loss rose to {mel:.2f} from {best:.2f}"
        )
        return Alarm(reason, {"grad_norm": norm, "calm": calm, "mel": mel, "best_mel": best})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and take a tenth of the learning rate", slower(settings, 0.1), back_to="good"),
            Action("go back and take a third of the learning rate", slower(settings, 1 / 3), back_to="good"),
            Action("start over with a third of the learning rate", slower(settings, 1 / 3), back_to="start"),
        ]


@dataclass(frozen=True)
class OversizedSteps(_Diverging):
    """From the start, a step changes the weights far too much: nothing learned so is worth keeping."""

    level, priority, tier, votes = 3, 7, "probe", (1, 1)
    max_remedies: ClassVar[int] = 2
    max_update: float = -1.65  # log10 of a step's change, of the median part; -1 is TheDeepChecker's bound
    first_steps: int = 2000
    looks: int = 5  # over which the median is taken: a single look scatters by a third

    def size(self, health: Health) -> float | None:
        """log10 of how much a step changes the median part, of its own size; None with too few looks."""
        parts = health.names("update/")
        looks = [values for name in parts if len(values := health.values(name, self.looks))]
        return float(np.median(np.median(looks, axis=0))) if looks else None

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        size = self.size(health)
        if size is None or size <= self.max_update or health.age > health.pace(self.first_steps, 100):
            return None
        reason = f"a step changes half of the network's parts by more than {10**size:.1%} of their size"
        return Alarm(reason, {"update": size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        tenth, third = slower(settings, 0.1), slower(settings, 1 / 3)
        return [
            Action("start over with a tenth of the learning rate", tenth, back_to="start"),
            Action("start over with a third of the learning rate", third, back_to="start"),
        ]


@dataclass(frozen=True)
class OvergrownSteps(OversizedSteps):
    """Later in a run, a step changes the weights far too much: what it learned before is worth keeping."""

    looks: int = 2  # fewer than at the start, where Adam settles: what was learned is being lost
    max_remedies: ClassVar[int] = 3

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        size = self.size(health)
        if size is None or size <= self.max_update or health.age <= health.pace(self.first_steps, 100):
            return None
        reason = f"a step now changes half of the network's parts by more than {10**size:.1%} of their size"
        return Alarm(reason, {"update": size})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and take a tenth of the learning rate", slower(settings, 0.1), back_to="good"),
            *[Action("go back and take a third of it", slower(settings, 1 / 3), back_to="good")] * 2,
        ]


@dataclass(frozen=True)
class Divergence(_Diverging):
    """The loss leaps up (llm-foundry's spike: twice the running mean), or has left its best for good."""

    level, priority, tier = 3, 8, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    max_leap: float = 2.0
    leap_steps: int = 5
    max_rise: float = 1.3
    rise_steps: int = 300

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        best, count = health.best.get("mel"), self.leap_steps
        recent, long = health.values("mel", count), health.values("mel", 5 * WINDOW + count)
        if len(long) and recent.min() > self.max_leap * (usual := float(np.median(long[:-count]))):
            reason = f"the mel loss leapt from {usual:.2f} to {recent.min():.2f} for {count} steps"
            return Alarm(reason, {"mel": float(recent.min()), "usual": usual})
        window = health.pace(self.rise_steps, WINDOW)
        mel = median(health, "mel", window)
        if mel is None or best is None or mel <= self.max_rise * best:
            return None
        reason = f"the mel loss has been around {mel:.2f} for {window} steps; it was {best:.2f}"
        return Alarm(reason, {"mel": mel, "best_mel": best})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [
            Action("go back and take the clips in another order", back_to="good"),
            Action("go back and lower the learning rate", slower(settings, 0.67), back_to="good"),
            Action("go back and halve the learning rate", slower(settings, 0.5), back_to="good"),
        ]


@dataclass(frozen=True)
class VanishingGradients(Rule):
    """Gradients so small that Adam's epsilon, not they, decides the step."""

    level, priority, tier, target = 4, 10, "probe", "mel"
    gain, relative = -0.02, True
    votes: ClassVar[tuple[int, int]] = (2, 2)
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
        elif not small or health.falls("mel", 4 * WINDOW) is not False:
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

    level, priority, tier, target = 4, 9, "probe", "mel"
    gain, relative = -0.02, True
    votes: ClassVar[tuple[int, int]] = (1, 1)
    min_update: float = -4.5  # log10 of a step's change; healthy: -4 to -1 (TheDeepChecker)
    min_change: float = 0.1  # of its size: what a part must at least be able to change in the whole plan
    max_rate: float = 4e-3  # to which the learning rate is raised: the upper end of a usual search space

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        newest = {group: health.last(group) for group in health.names("update/")}
        bound = max(self.min_update, float(np.log10(self.min_change / health.pace.planned)))
        still = {group: v for group, v in newest.items() if v is not None and v < bound}
        if not still or health.first_aligned is not None:
            return None
        names = ", ".join(group.removeprefix("update/") for group in still)
        return Alarm(f"a step changes {names} by less than 10^{bound:.1f}", still)

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        # Below 10^-4.5 two decades and a half more are still a healthy 10^-2. So slow a start taught nothing
        # that is worth its steps, and the deadline of the alignment begins anew.
        rates = [min(settings.learning_rate * 10.0**k, self.max_rate) for k in (2.5, 2.5, 3)]
        anew, *raised = [{"learning_rate": max(settings.learning_rate, rate)} for rate in rates]
        return [
            Action("start over with a higher learning rate", anew, back_to="start"),
            *[Action("raise the learning rate", changes) for changes in raised],
        ]


class _Unaligned(Rule):
    target, gain = "diagonal_score", 0.1

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return super().helped(before, after, health) or bool(health.falls("penalty", 4))


@dataclass(frozen=True)
class TextIgnored(_Unaligned):
    """Swapping the texts hardly changes the loss: the decoder goes on from the frames before alone.

    Guidance can draw a diagonal all the same, over texts that say nothing of what is heard.
    """

    level, priority = 4, 9
    min_text_gain: float = 0.01  # of a run that is not aligned
    min_aligned_text_gain: float = 0.05  # slow healthy runs come there as late as at 94 % of their plan, but:
    min_growth: float = 3.5  # theirs grows by 4 to 8 times itself in a plan's steps, wrong texts' by about 0
    validations: int = 6  # over which that is told
    noise: float = 0.002  # a gain that is no gain
    min_ratio: float = 1e-3  # of the encoder's gradients to the decoder's (AutoTrainer, Zhang et al. 2021)
    deadline: int = 20_000  # steps, at most half of the plan, of an aligned run: twice the alignment's

    def begins_to_listen(self, health: Health) -> bool:
        """A slow run, whose use of the text grows."""
        recent = health.values("text_gain", self.validations)
        rise = health.trend("text_gain", self.validations)
        if rise is None:
            return False
        usual = max(self.noise, float(np.median(recent)))
        return rise.slope * health.pace.planned >= self.min_growth * usual

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        gain = health.last("text_gain")
        encoder, decoder = health.last("gradient/encoder_lstm"), health.last("gradient/decoder")
        if gain is not None and health.last("aligned") and gain < self.min_aligned_text_gain:
            if health.age < min(self.deadline, health.pace.planned // 2):
                return None
            if self.begins_to_listen(health):
                return None
            reason = f"attention is diagonal, but other texts raise the loss by {gain:.1%} only"
            return Alarm(reason, {"text_gain": gain})
        if gain is None or encoder is None or not decoder:
            return None
        if gain >= self.min_text_gain or encoder / decoder >= self.min_ratio:
            return None
        reason = f"other texts raise the loss by {gain:.1%} only; the encoder's gradient is {encoder:.0e}"
        return Alarm(reason, {"text_gain": gain, "encoder": encoder, "decoder": decoder})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        _, guide, hide, fresh = alignment_remedies(settings)
        return [hide, guide, fresh]

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        """Attention that was diagonal all the time proves nothing: the text must be of use."""
        if before.get("diagonal_score", 0.0) < ALIGNED_SCORE and super().helped(before, after, health):
            return True
        return health.best.get("text_gain", 0.0) >= self.min_aligned_text_gain


def alignment_remedies(settings: Hyperparameters) -> list[Action]:
    """A decoder that learned to do without the text keeps the habit when it is guided later: 10.4 dB
    on the quickstart's corpus, where starts anew gave 7.8 and 8.5, so that comes first."""
    guided = "guided_attention_weight"
    anew = more(settings, guided, 2.0, least=1.0) | {"n_frames_per_step": MOST_FRAMES}
    return [
        Action("start over, guided, with as many frames a step as the weights serve", anew, back_to="start"),
        Action("guide the attention harder", more(settings, guided, 2.0, least=4.0)),
        Action("hide a fifth of the frames from the decoder", {"p_frame_dropout": 0.2}),
        Action("give the attention new weights", fresh="attention"),
    ]


@dataclass(frozen=True)
class Collapse(Rule):
    """Attention that was aligned is lost. Waiting never brought it back (keithito/tacotron issue 219)."""

    level, priority, tier = 5, 9, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    max_remedies: ClassVar[int] = 4
    max_drop: float = 0.25
    max_dwell: float = 0.5
    steps: int = 10  # of training, whose attention is known without a validation

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if health.first_aligned is None:
            return None
        away, usual = median(health, "guided", self.steps), health.best.get("guided")
        if away is not None and usual is not None and away > usual + self.max_drop:
            reason = f"attention off the diagonal leapt from {usual:.2f} to {away:.2f} for {self.steps} steps"
            return Alarm(reason, {"guided": away, "best_guided": usual})
        for name in ("diagonal_score", "corr"):
            values, best = health.values(name, 2), health.best.get(name)
            if len(values) and best is not None and values.max() < best - self.max_drop:
                now = float(values[-1])
                return Alarm(f"{name} fell from {best:.2f} to {now:.2f}", {name: now, f"best_{name}": best})
        dwells = health.values("dwell", 2)
        if len(dwells) and (dwell := float(dwells.min())) > self.max_dwell:
            return Alarm(f"attention rests on one symbol for {dwell:.0%} of the time", {"dwell": dwell})
        return None

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        guidance = more(settings, "guided_attention_weight", 1.0, least=0.5)
        return [
            Action("go back to aligned weights, with another order of clips", back_to="aligned"),
            Action("go back and halve the learning rate", slower(settings, 0.5), back_to="aligned"),
            Action("go back and guide the attention", guidance, back_to="aligned"),
            Action("give the attention new weights", fresh="attention"),
        ]

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return after.get("diagonal_score", 0.0) >= ALIGNED_SCORE


@dataclass(frozen=True)
class PoorAlignment(_Unaligned):
    """The decoder does not walk along the text, long after it should.

    A decoder that learns to do without it is known early: the loss falls all the same. Where it does not,
    a run that is guided may only be slow: it has twice the time, and is left alone as long as attention
    draws nearer to the diagonal.
    """

    level, priority = 5, 8
    votes: ClassVar[tuple[int, int]] = (2, 3)  # a third would make a start anew too dear
    max_remedies: ClassVar[int] = 4
    min_diagonal_score: float = 0.3
    clear_diagonal_score: float = 0.4
    late_diagonal_score: float = ALIGNED_SCORE  # at twice the deadline
    deadline: int = 10_000  # steps, at most a quarter of the plan; healthy runs need 2,000 (bshall issue 1)
    max_loss: float = 0.7  # of what the best constant frame loses; above it a guided run may only be slow
    late_loss: float = 0.5  # below which the late score counts
    min_shrink: float = 0.1  # of the attention off the diagonal over three validations, if nothing guides it

    def due(self, health: Health) -> int:
        return min(self.deadline, health.pace.planned // 4)

    def loss(self, health: Health) -> float:
        """The held-out loss, as a share of what the best constant frame loses."""
        loss, constant = health.last("held_out"), health.last("constant")
        return loss / constant if loss and constant else 1.0

    def shrinks(self, health: Health, share: float) -> bool | None:
        """Whether attention draws nearer to the diagonal; None before three validations can tell."""
        penalty, falls = health.values("penalty", 3), health.falls("penalty", 3)
        return falls and bool(penalty[-1] <= (1 - share) * penalty[0])

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        score, penalty = health.last("diagonal_score"), health.last("penalty")
        if score is None or penalty is None or health.first_aligned is not None:
            return None
        due, loss, guided = self.due(health), self.loss(health), settings.guided_attention_weight > 0
        allowed = 2 * due if guided and loss > self.max_loss else due
        if health.age < allowed - (self.votes[0] - 1) * health.pace.validate_every:  # the last vote is due
            return None
        bound = self.clear_diagonal_score if self.name in health.alarmed else self.min_diagonal_score
        if health.age >= 2 * due and loss <= self.late_loss:
            bound = self.late_diagonal_score
        if score >= bound:
            return None
        if loss <= self.max_loss:
            why = f"the loss fell without it, to {loss:.0%} of a constant frame's"
        elif self.shrinks(health, 0.0 if guided else self.min_shrink) is False:
            why = f"the attention off the diagonal ({penalty:.2f}) does not shrink"
        else:
            return None
        reason = f"diagonal score {score:.2f} is below {bound} after {health.age} steps, and {why}"
        return Alarm(reason, {"diagonal_score": score, "penalty": penalty})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return alignment_remedies(settings)


@dataclass(frozen=True)
class StuckAttention(Rule):
    """Attention rests on one symbol, sharply: it will not leave by itself (Rayhane-mamah issue 232)."""

    level, priority, target, gain = 5, 7, "diagonal_score", 0.1
    max_dwell: float = 0.5
    max_focus: float = 0.5

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        dwell, focus = health.last("dwell"), health.last("focus")
        if dwell is None or focus is None or health.first_aligned is not None:
            return None
        if dwell <= self.max_dwell or focus <= self.max_focus:
            return None
        reason = f"attention rests on one symbol for {dwell:.0%} of the time, with a weight of {focus:.2f}"
        return Alarm(reason, {"dwell": dwell, "focus": focus})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return alignment_remedies(settings)[:2] + alignment_remedies(settings)[3:]


@dataclass(frozen=True)
class OverbearingGuide(Rule):
    """Aligned, and still most of the loss is the guide's: it holds the speech back, and bends attention."""

    level, priority, target = 5, 6, "held_out"
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    max_share: float = 0.5  # of the loss; aligned runs of the default guide: some hundredths
    sigma: float = 0.2  # what the guide is widened to: the default

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        share = share_of_loss(health, "guided", settings.guided_attention_weight)
        if share is None or share <= self.max_share or not health.last("aligned"):
            return None
        return Alarm(f"attention is aligned, and {share:.0%} of the loss is its guide's", {"share": share})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        weight, sigma = "guided_attention_weight", "guided_attention_sigma"
        wide = {sigma: max(settings.guided_attention_sigma, self.sigma)}
        return [
            Action(
                "widen the guide, and weigh it once",
                wide | {weight: min(settings.guided_attention_weight, 1.0)},
            ),
            Action("let the guide go", {weight: 0.0}),
        ]


@dataclass(frozen=True)
class OverbearingGate(Rule):
    """Much of the loss is still the gate's: ends weigh so much that the speech hardly counts."""

    level, priority, tier, votes = 6, 7, "probe", (1, 1)
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
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


@dataclass(frozen=True)
class UnstableLoss(Rule):
    """The loss scatters far more than it did: batches are too small, or steps too large."""

    level, priority, tier, target = 7, 5, "probe", "loss_spread"
    gain, relative = -0.25, True
    gives_up: ClassVar[str | None] = None
    max_spread: float = 0.25  # of the log of the mel loss; about a quarter of the loss
    max_ratio: float = 3.0

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        now, calm = health.last("loss_spread"), health.best.get("loss_spread")
        if now is None or calm is None or now <= max(self.max_spread, self.max_ratio * calm):
            return None
        if health.falls("mel", 4 * WINDOW) is not False:
            return None
        reason = f"the mel loss scatters by {now:.0%} from step to step; in calm times by {calm:.0%}"
        return Alarm(reason, {"loss_spread": now, "calm": calm})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        doubled = {"batch_size": 2 * settings.batch_size, "micro_batches": 2 * settings.micro_batches}
        return [
            Action("double the batch, in twice as many parts", doubled),
            Action("lower the learning rate", slower(settings, 0.7)),
            Action("let Adam forget sooner", {"adam_beta2": 0.99}),
        ]


@dataclass(frozen=True)
class Plateau(Rule):
    """Aligned, and the held-out loss no longer falls."""

    level, priority, target, votes = 8, 4, "held_out", (1, 1)
    gain, relative = -0.002, True
    gives_up: ClassVar[str | None] = "COMPLETE"
    min_gain: float = 0.001  # per validation
    validations: int = 10

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        values, trend = (
            health.values("held_out", self.validations),
            health.trend("held_out", self.validations),
        )
        if trend is None or health.first_aligned is None:
            return None
        middle = float(np.median(values))
        gain = -trend.slope * health.pace.validate_every / middle
        if gain >= self.min_gain:
            return None
        reason = f"the held-out loss stays at {middle:.3f} over {self.validations} validations"
        return Alarm(reason, {"held_out": middle, "gain": gain})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return [Action("halve the learning rate", slower(settings, 0.5))] * self.max_remedies


@dataclass(frozen=True)
class Overfit(Rule):
    """The held-out loss rises while the training loss falls, and the speech gets no better."""

    level, priority, target, votes = 8, 3, "held_out", (1, 1)
    gain, relative = -0.002, True
    gives_up: ClassVar[str | None] = "COMPLETE"
    max_rise: float = 0.05
    validations: int = 5

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        values, best = health.values("held_out", self.validations), health.best.get("held_out")
        spoken, best_spoken = health.last("value"), health.best.get("value")
        if not len(values) or best is None or spoken is None or best_spoken is None:
            return None
        if values.min() <= (1 + self.max_rise) * best or spoken <= best_spoken:
            return None
        if not health.falls("mel", 4 * WINDOW):
            return None
        reason = f"the held-out loss rose from {best:.3f} to {values.min():.3f} while the training loss falls"
        return Alarm(reason, {"held_out": float(values.min()), "best_held_out": best, "value": spoken})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        p = min(0.9, settings.p_decoder_dropout + 0.1)
        return [
            Action("more dropout in the decoder", {"p_decoder_dropout": p}),
            Action("ten times the weight decay", more(settings, "weight_decay", 10.0, least=1e-6)),
        ]


RULES: tuple[Rule, ...] = (
    FaultyClips(),
    Integrity(),
    StuntedPart(),
    NonFinite(),
    OutOfMemory(),
    NarrowBatch(),
    ExplodingGradient(),
    Divergence(),
    OversizedSteps(),
    OvergrownSteps(),
    VanishingGradients(),
    DeadModule(),
    TextIgnored(),
    Collapse(),
    PoorAlignment(),
    StuckAttention(),
    OverbearingGuide(),
    OverbearingGate(),
    GateNever(),
    GateSoon(),
    UnstableLoss(),
    Plateau(),
    Overfit(),
)
