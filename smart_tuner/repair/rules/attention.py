"""Rules about attention: whether the decoder walks along the text."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from smart_tuner.repair.health import Health
from smart_tuner.repair.rule import Action, Alarm, Hyperparameters, Rule, Templates
from smart_tuner.repair.rules.reading import (
    is_kept_in_training,
    median,
    more,
    rose,
    share_of_loss,
    slower,
)
from smart_tuner.repair.rules.usual import USUAL, USUAL_MELS, usual_mels

ALIGNED_SCORE = 0.6  # the least diagonal score of an aligned item, as model/network/alignment.py has it


MOST_FRAMES = 1000  # a step: the limits of a training bring it down to what its weights serve
RENEWING = {"renew_attention": ("give the attention new weights", "дать вниманию новые веса")}
GUIDING = RENEWING | {  # what is said of `alignment_remedies`
    "anew_guided": (
        "start over, guided, with as many frames a step as the weights serve",
        "начать заново, направляя внимание, с наибольшим числом кадров на шаг",
    ),
    "guide_harder": ("guide the attention harder", "сильнее направлять внимание"),
    "hide_frames": ("hide a fifth of the frames from the decoder", "скрыть от декодера пятую часть кадров"),
}


class _Unaligned(Rule):
    target, gain = "diagonal_score", 0.1
    told_by: ClassVar[tuple[str, ...]] = ("value",)  # other frames a step make another held-out loss

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return super().helped(before, after, health) or bool(health.falls("penalty", 4))


@dataclass(frozen=True)
class TextIgnored(_Unaligned):
    """Swapping the texts hardly changes the loss: the decoder goes on from the frames before alone.

    Guidance can draw a diagonal all the same, over texts that say nothing of what is heard. It comes as
    advice: young healthy voices on recorded speech use as little of the text, and its repairs harmed them.
    """

    level, priority = 4, 9
    advises: ClassVar[bool] = True
    needs = ("text_gain", "aligned")
    min_text_gain: float = 0.01  # of a run that is not aligned
    min_aligned_text_gain: float = 0.05  # slow healthy runs come there as late as at 94 % of their plan, but:
    min_growth: float = 3.5  # theirs grows by 4 to 8 times itself in a plan's steps, wrong texts' by about 0
    validations: int = 6  # over which that is told
    noise: float = 0.002  # a gain that is no gain
    min_ratio: float = 1e-3  # of the encoder's gradients to the decoder's (AutoTrainer, Zhang et al. 2021)
    deadline: int = 20_000  # steps, at most half of the plan, of an aligned run: twice the alignment's
    words: ClassVar[Templates] = GUIDING | {
        "title": ("the text is ignored", "текст не учитывается"),
        "diagonal": (
            "attention is diagonal, but other texts raise the loss by {text_gain:.1%} only",
            "внимание идёт по диагонали, но чужой текст увеличивает потери лишь на {text_gain:.1%}",
        ),
        "ignored": (
            "other texts raise the loss by {text_gain:.1%} only; the encoder's gradient is {encoder:.0e}",
            "чужой текст увеличивает потери лишь на {text_gain:.1%}; градиент кодировщика {encoder:.0e}",
        ),
    }

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
            return Alarm("diagonal", {"text_gain": gain})
        if gain is None or encoder is None or not decoder:
            return None
        if gain >= self.min_text_gain or encoder / decoder >= self.min_ratio:
            return None
        return Alarm("ignored", {"text_gain": gain, "encoder": encoder, "decoder": decoder})

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
        Action("anew_guided", anew, back_to="start"),
        Action("guide_harder", more(settings, guided, 2.0, least=4.0)),
        Action("hide_frames", {"p_frame_dropout": 0.2}),
        Action("renew_attention", fresh="attention"),
    ]


LOST = RENEWING | {  # what is said of a `_Lost` rule's remedies
    "back_to_aligned": (
        "go back to aligned weights, with another order of clips",
        "вернуться к выровненным весам, порядок записей другой",
    ),
    "back_and_guide": ("go back and guide the attention", "вернуться и направлять внимание"),
}


class _Lost(Rule):
    def remedies(self, settings: Hyperparameters) -> list[Action]:
        guidance = more(settings, "guided_attention_weight", 1.0, least=0.5)
        return [
            Action("back_to_aligned", back_to="milestone"),
            Action("back_and_halve_rate", slower(settings, 0.5), back_to="milestone"),
            Action("back_and_guide", guidance, back_to="milestone"),
            Action("renew_attention", fresh="attention"),
        ]


@dataclass(frozen=True)
class Collapse(_Lost):
    """Attention that was aligned is lost, also on the clips that are trained on. Waiting never brought it
    back (keithito/tacotron issue 219)."""

    level, priority, tier = 5, 9, "step"
    votes: ClassVar[tuple[int, int]] = (1, 1)
    needs = ("diagonal_score",)
    max_remedies: ClassVar[int] = 4
    max_drop: float = 0.25
    max_dwell: float = 0.5
    steps: int = 10  # of training, whose attention is known without a validation
    words: ClassVar[Templates] = LOST | {
        "title": ("attention was lost", "внимание потеряно"),
        "leapt": (
            "attention off the diagonal leapt from {best_guided:.2f} to {guided:.2f} for {steps} steps",
            "внимание вне диагонали подскочило с {best_guided:.2f} до {guided:.2f}, шагов подряд: {steps}",
        ),
        "fell": (
            "{measure} fell from {best:.2f} to {now:.2f}",
            "{measure}: было {best:.2f}, стало {now:.2f}",
        ),
        "rests": (
            "attention rests on one symbol for {dwell:.0%} of the time",
            "внимание стоит на одном знаке {dwell:.0%} времени",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        if health.milestone_at is None:
            return None
        away, usual = median(health, "guided", self.steps), health.best.get("guided")
        if away is not None and usual is not None and away > usual + self.max_drop:
            return Alarm("leapt", {"guided": away, "best_guided": usual, "steps": self.steps})
        if is_kept_in_training(health):
            return None
        for name in ("diagonal_score", "corr"):
            values, best = health.values(name, 2), health.best.get(name)
            if len(values) and best is not None and values.max() < best - self.max_drop:
                return Alarm("fell", {"measure": name, "now": float(values[-1]), "best": best})
        dwells = health.values("dwell", 2)
        if len(dwells) and (dwell := float(dwells.min())) > self.max_dwell:
            return Alarm("rests", {"dwell": dwell})
        return None

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return after.get("diagonal_score", 0.0) >= ALIGNED_SCORE


@dataclass(frozen=True)
class LostAlignment(_Lost):
    """Attention that was aligned has gone a little off, and the voice with it: too little for a collapse."""

    level, priority, votes = 5, 5, (1, 1)
    since: ClassVar[int] = 9
    only_lost: ClassVar[bool] = True  # a voice may stay good so
    gives_up: ClassVar[str | None] = None
    needs = ("aligned", "guided")
    validations: int = 3
    max_rise: float = 2.0  # times the least attention off the diagonal; a sound run's stays below 1.3
    words: ClassVar[Templates] = LOST | {
        "title": ("attention is no longer aligned", "внимание больше не выровнено"),
        "no_longer": (
            "attention was aligned, and has not been for {validations} validations; off the diagonal it rose "
            "from {best_guided:.3f} to {guided:.3f}",
            "внимание было выровнено, но не выровнено уже столько проверок: {validations}; вне диагонали "
            "выросло с {best_guided:.3f} до {guided:.3f}",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        aligned, count = health.values("aligned"), self.validations
        if health.milestone_at is None or aligned[:-count].sum() < count or aligned[-count:].any():
            return None
        away, usual = median(health, "guided"), health.best.get("guided")
        if away is None or usual is None or not rose(away, usual, self.max_rise):
            return None
        return Alarm("no_longer", {"validations": count, "guided": away, "best_guided": usual})

    def helped(self, before: Mapping[str, float], after: Mapping[str, float], health: Health) -> bool:
        return bool(health.last("aligned"))


@dataclass(frozen=True)
class PoorAlignment(_Unaligned):
    """The decoder does not walk along the text, long after it should.

    A decoder that learns to do without it is known early: the loss falls all the same. Where it does not,
    a run that is guided may only be slow: it has twice the time, and is left alone as long as attention
    draws nearer to the diagonal.
    """

    level, priority = 5, 8
    votes: ClassVar[tuple[int, int]] = (2, 3)  # a third would make a start anew too dear
    needs = ("diagonal_score", "penalty")
    max_remedies: ClassVar[int] = 4
    min_diagonal_score: float = 0.3
    clear_diagonal_score: float = 0.4
    late_diagonal_score: float = ALIGNED_SCORE  # at twice the deadline
    deadline: int = 10_000  # steps, at most a quarter of the plan; healthy runs need 2,000 (bshall issue 1)
    max_loss: float = 0.7  # of what the best constant frame loses; above it a guided run may only be slow
    late_loss: float = 0.5  # below which the late score counts
    min_shrink: float = 0.1  # of the attention off the diagonal over three validations, if nothing guides it
    words: ClassVar[Templates] = GUIDING | {
        "title": ("attention does not align", "внимание не выравнивается"),
        "loss_fell": (
            "diagonal score {diagonal_score:.2f} is below {bound:g} after {steps} steps, and the loss fell "
            "without it, to {of_constant:.0%} of a constant frame's",
            "диагональность {diagonal_score:.2f} ниже {bound:g} после {steps} шагов, а потери упали и без "
            "неё, до {of_constant:.0%} от потерь постоянного кадра",
        ),
        "no_shrink": (
            "diagonal score {diagonal_score:.2f} is below {bound:g} after {steps} steps, and the attention "
            "off the diagonal ({penalty:.2f}) does not shrink",
            "диагональность {diagonal_score:.2f} ниже {bound:g} после {steps} шагов, и внимание вне "
            "диагонали ({penalty:.2f}) не уменьшается",
        ),
    }

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
        if score is None or penalty is None or health.milestone_at is not None:
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
        evidence = {
            "diagonal_score": score,
            "bound": bound,
            "steps": health.age,
            "penalty": penalty,
            "of_constant": loss,
        }
        if loss <= self.max_loss:
            return Alarm("loss_fell", evidence)
        if self.shrinks(health, 0.0 if guided else self.min_shrink) is False:
            return Alarm("no_shrink", evidence)
        return None

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return alignment_remedies(settings)


@dataclass(frozen=True)
class StuckAttention(Rule):
    """Attention rests on one symbol, sharply: it will not leave by itself (Rayhane-mamah issue 232)."""

    level, priority, target, gain = 5, 7, "diagonal_score", 0.1
    told_by: ClassVar[tuple[str, ...]] = ("value",)
    needs = ("dwell", "focus")
    max_dwell: float = 0.5
    max_focus: float = 0.5
    words: ClassVar[Templates] = GUIDING | {
        "title": ("attention is stuck", "внимание застряло"),
        "rests": (
            "attention rests on one symbol for {dwell:.0%} of the time, with a weight of {focus:.2f}",
            "внимание стоит на одном знаке {dwell:.0%} времени, с весом {focus:.2f}",
        ),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        dwell, focus = health.last("dwell"), health.last("focus")
        if dwell is None or focus is None or health.milestone_at is not None:
            return None
        if dwell <= self.max_dwell or focus <= self.max_focus:
            return None
        return Alarm("rests", {"dwell": dwell, "focus": focus})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        return alignment_remedies(settings)[:2] + alignment_remedies(settings)[3:]


@dataclass(frozen=True)
class OverbearingGuide(Rule):
    """Aligned, and still most of the loss is the guide's: it holds the speech back, and bends attention.
    Where the mels weigh next to nothing, they are first weighed as usual."""

    level, priority, target = 5, 6, "held_out"
    gain, relative = -0.02, True
    max_remedies: ClassVar[int] = 2
    gives_up: ClassVar[str | None] = None
    needs = ("guided", "guided_attention_weight", "aligned")
    max_share: float = 0.5  # of the loss; aligned runs of the default guide: some hundredths
    sigma: float = USUAL["guided_attention_sigma"].usual  # what the guide is widened to
    words: ClassVar[Templates] = USUAL_MELS | {
        "title": ("the guide outweighs the speech", "направляющая важнее самой речи"),
        "mostly_guide": (
            "attention is aligned, and {share:.0%} of the loss is its guide's",
            "внимание выровнено, а {share:.0%} потерь приходится на его направляющую",
        ),
        "widen_guide": (
            "widen the guide, and weigh it once",
            "расширить направляющую, её вес — не больше 1",
        ),
        "drop_guide": ("let the guide go", "убрать направляющую"),
    }

    def sees(self, health: Health, settings: Hyperparameters) -> Alarm | None:
        share = share_of_loss(health, "guided", settings.guided_attention_weight)
        if share is None or share <= self.max_share or not health.last("aligned"):
            return None
        return Alarm("mostly_guide", {"share": share})

    def remedies(self, settings: Hyperparameters) -> list[Action]:
        weight, sigma = "guided_attention_weight", "guided_attention_sigma"
        wide = {sigma: max(settings.guided_attention_sigma, self.sigma)}
        once, mels = {weight: min(settings.guided_attention_weight, 1.0)}, usual_mels(settings)
        return [
            Action("usual_mels", mels) if mels else Action("widen_guide", wide | once),
            Action("drop_guide", {weight: 0.0}),
        ]
