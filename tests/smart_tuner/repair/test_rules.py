"""Every threshold from both sides, and what each rule would do."""

from dataclasses import asdict

import numpy as np
import pytest

from model.settings import LIMITS, Settings
from objectives.signals import MILESTONE, SIGNALS
from smart_tuner.repair.health import PASSES, Health, Pace
from smart_tuner.repair.rule import Hyperparameters
from smart_tuner.repair.rules import (
    RULES,
    ClearPrenet,
    Collapse,
    DeadModule,
    DeadPrenet,
    Divergence,
    ExplodingGradient,
    FaultyClips,
    GateNever,
    GateSoon,
    HeavyDecay,
    HeavyDropout,
    Integrity,
    LostAlignment,
    NarrowBatch,
    NonFinite,
    OutOfMemory,
    OverbearingGate,
    OverbearingGuide,
    Overfit,
    OvergrownSteps,
    OversizedPart,
    OversizedSteps,
    Plateau,
    PoorAlignment,
    SpentRate,
    SpokenApart,
    StuckAttention,
    StuntedPart,
    TextIgnored,
    UnfitStart,
    UnlikeClips,
    UnstableLoss,
    VanishingGradients,
)
from smart_tuner.repair.rules.usual import USUAL
from smart_tuner.repair.words import LANGUAGES, Words

S = Hyperparameters(asdict(Settings()))


def having(**changes):
    return Hyperparameters({**S, **changes})


def chart(steps=400, planned=400, milestone_at=None, best=None, **series):
    """Health whose newest values are `series`, each a value or a list of values, one a step."""
    health = Health(Pace(planned, 25), SIGNALS, MILESTONE)
    health.milestone_at = milestone_at
    health.best = dict(best or {})
    rows = {name.replace("__", "/"): np.atleast_1d(values) for name, values in series.items()}
    longest = max(len(values) for values in rows.values())
    for k in range(longest):
        at = {n: v[k - longest + len(v)] for n, v in rows.items() if k >= longest - len(v)}
        health.note(steps - longest + 1 + k, {name: float(value) for name, value in at.items()})
    return health


def flat(value, count=120):
    """Values around `value` that neither rise nor fall."""
    return value * (1 + 0.01 * np.sin(np.arange(count)))


def falling(start, end, count=120):
    return np.linspace(start, end, count)


UNALIGNED = {"diagonal_score": 0.29, "penalty": [0.5, 0.5, 0.5], "held_out": 0.69, "constant": 1.0}
LATE = UNALIGNED | {"diagonal_score": 0.59, "held_out": 0.49, "steps": 200}
SLOW = UNALIGNED | {"held_out": 0.71, "steps": 175}
LEARNED = {"diagonal_score": 0.9, "guided": 0.02}
CALM = {"unweighted_loss": 1.0, "grad_norm": 0.5, "guided": 0.02, "loss_spread": 0.05}
UNFIT = {"unweighted_loss": [2.3] * 20, "constant": 1.0, "update__encoder": -2.0, "steps": 25}
# rule, a sick chart, and what in it makes it healthy
SIDES = [
    (  # lost on held-out clips, and on those that are trained on
        Collapse(),
        {"diagonal_score": [0.6, 0.6], "guided": flat(0.09), "milestone_at": 100, "best": LEARNED},
        {"guided": flat(0.06)},
    ),
    (
        LostAlignment(),
        {"aligned": [1, 1, 1, 0, 0, 0], "guided": flat(0.041), "milestone_at": 100, "best": LEARNED},
        {"guided": flat(0.039)},
    ),
    (
        LostAlignment(),
        {"aligned": [1, 1, 1, 0, 0, 0], "guided": flat(0.041), "milestone_at": 100, "best": LEARNED},
        {"aligned": [1, 1, 1, 0, 1, 0]},
    ),
    (
        LostAlignment(),
        {"aligned": [1, 1, 1, 0, 0, 0], "guided": flat(0.041), "milestone_at": 100, "best": LEARNED},
        {"aligned": [1, 1, 0, 0, 0]},
    ),
    (
        UnlikeClips(),
        {"diagonal_score": [0.6, 0.6], "guided": flat(0.06), "milestone_at": 100, "best": LEARNED},
        {"guided": flat(0.09)},
    ),
    (
        UnlikeClips(),
        {"diagonal_score": [0.6, 0.6], "guided": flat(0.06), "milestone_at": 100, "best": LEARNED},
        {"diagonal_score": [0.66, 0.6]},
    ),
    (SpokenApart(), {"held_out": 2.0, "held_out_by_batch": 1.0}, {"held_out": 1.9}),
    (
        SpokenApart(),
        {"held_out": 2.0, "held_out_by_batch": 1.0},
        {"held_out": [2.0, 2.0], "held_out_by_batch": [1.0, 1.1]},
    ),
    (SpokenApart(), {"in_training": 0.1, "held_out": 1.0}, {"in_training": 0.0}),
    (SpentRate(), {"learning_rate": 4.9e-5, "steps": 300}, {"learning_rate": 5.1e-5}),
    (SpentRate(), {"learning_rate": 4.9e-5, "steps": 300}, {"steps": 301}),
    (DeadPrenet(), {"dead": 0.81}, {"dead": 0.8}),
    (UnfitStart(), UNFIT, {"unweighted_loss": [2.1] * 20}),
    (UnfitStart(), UNFIT, {"constant": 1.1}),
    (UnfitStart(), UNFIT, {"steps": 26}),
    (Integrity(), {"silent__encoder": 3}, {"silent__encoder": 0}),
    (Integrity(), {"unchanged__encoder": 1}, {"unchanged__encoder": 0}),
    (  # what no step can change is no code's fault
        Integrity(),
        {"unchanged__encoder": 1, "learning_rate": 1.1e-3 * S.learning_rate},
        {"learning_rate": 0.9e-3 * S.learning_rate},
    ),
    (
        ExplodingGradient(),
        {"grad_norm": flat(5.1), "unweighted_loss": flat(1.2), "best": CALM},
        {"grad_norm": flat(4.9)},
    ),
    (
        ExplodingGradient(),
        {"grad_norm": flat(50), "unweighted_loss": flat(1.15), "best": CALM},
        {"unweighted_loss": flat(1.05)},
    ),
    (
        Divergence(),
        {"unweighted_loss": [*flat(1.0, 100), *[2.1] * 5], "best": CALM},
        {"unweighted_loss": [*flat(1.0), *[1.9] * 5]},
    ),
    (
        Divergence(),
        {"unweighted_loss": [*flat(1.0, 100), *[2.1] * 5], "best": CALM},
        {"unweighted_loss": [*flat(1.0), *[2.1] * 4]},
    ),
    (Divergence(), {"unweighted_loss": flat(1.32), "best": CALM}, {"unweighted_loss": flat(1.28)}),
    (  # what leaps is no part of what it leaps from
        Divergence(),
        {"unweighted_loss": [*[1.0] * 52, *[1.5] * 48, *[2.9] * 5], "best": {"unweighted_loss": 1.5}},
        {"unweighted_loss": [*[1.0] * 52, *[1.5] * 48, *[1.9] * 5]},
    ),
    (
        VanishingGradients(),
        {"gradient__encoder": 2.9e-8, "unweighted_loss": flat(1.0), "eps": 1e-9},
        {"gradient__encoder": 3.1e-8},
    ),
    (
        VanishingGradients(),
        {"gradient__a": 9e-7, "gradient__b": 1e-3, "gradient__c": 1e-3, "unweighted_loss": flat(1.0)},
        {"unweighted_loss": falling(1.2, 1.0)},
    ),
    (
        VanishingGradients(),
        {"gradient__a": 9e-7, "gradient__b": 1e-3, "gradient__c": 1e-3, "unweighted_loss": flat(1.0)},
        {"gradient__a": 1.1e-6},
    ),
    (
        VanishingGradients(),
        {
            "gradient__a": 2.9e-6,
            "gradient__b": 2.9e-6,
            "gradient__c": 1e-3,
            "unweighted_loss": falling(1.2, 1.0),
        },
        {"gradient__b": 3.1e-6},
    ),
    (
        VanishingGradients(),
        {"gradient__a": 2.9e-6, "gradient__b": 1e-3, "unweighted_loss": falling(1.2, 1.0)},
        {"gradient__a": 3.1e-6},
    ),
    (DeadModule(), {"update__encoder": -4.6, "planned": 50_000}, {"update__encoder": -4.4}),
    (TextIgnored(), {"text_gain": 0.049, "aligned": 1, "steps": 200}, {"text_gain": 0.051}),
    (TextIgnored(), {"text_gain": 0.049, "aligned": 1, "steps": 200}, {"steps": 199}),
    (
        TextIgnored(),
        {"text_gain": [0.004, 0.006, 0.005, 0.006, 0.005, 0.006], "aligned": 1, "planned": 12},
        {"text_gain": [0.004, 0.006, 0.005, 0.014, 0.019, 0.018]},  # begins to listen, by and large
    ),
    (  # a gain that is no more than noise has not grown
        TextIgnored(),
        {"text_gain": [0.0, 0.0004, 0.0008, 0.0012, 0.0016, 0.002], "aligned": 1, "planned": 12},
        {"text_gain": [0.0, 0.001, 0.002, 0.003, 0.004, 0.005]},
    ),
    (TextIgnored(), {"text_gain": 0.049, "aligned": 1, "steps": 200}, {"aligned": 0}),
    (OverbearingGuide(), {"guided": flat(0.51), "loss": flat(1.0), "aligned": 1}, {"guided": flat(0.49)}),
    (OverbearingGuide(), {"guided": flat(0.51), "loss": flat(1.0), "aligned": 1}, {"aligned": 0}),
    (DeadModule(), {"update__encoder": -4.6, "unweighted_loss": flat(1.0)}, {"milestone_at": 100}),
    (DeadModule(), {"update__encoder": -3.7}, {"update__encoder": -3.5}),  # of 400 steps
    (
        TextIgnored(),
        {"text_gain": 0.009, "gradient__encoder_lstm": 9e-7, "gradient__decoder": 1e-3},
        {"text_gain": 0.011},
    ),
    (
        TextIgnored(),
        {"text_gain": 0.009, "gradient__encoder_lstm": 9e-7, "gradient__decoder": 1e-3},
        {"gradient__encoder_lstm": 1.1e-6},
    ),
    (Collapse(), {"guided": flat(0.3), "best": CALM, "milestone_at": 100}, {"guided": flat(0.25)}),
    (Collapse(), {"guided": flat(0.3), "best": CALM, "milestone_at": 100}, {"milestone_at": None}),
    (
        Collapse(),
        {"diagonal_score": [0.7, 0.7], "best": {"diagonal_score": 0.96}, "milestone_at": 100},
        {"diagonal_score": [0.7, 0.72]},
    ),
    (Collapse(), {"dwell": [0.51, 0.51], "milestone_at": 100}, {"dwell": [0.51, 0.49]}),
    (PoorAlignment(), UNALIGNED | {"steps": 150}, {"diagonal_score": 0.31}),
    (PoorAlignment(), UNALIGNED | {"steps": 75}, {"steps": 74}),  # the second vote is due at step 100
    (PoorAlignment(), LATE, {"steps": 199}),
    (PoorAlignment(), LATE, {"diagonal_score": 0.61}),
    (PoorAlignment(), LATE, {"held_out": 0.51}),
    (PoorAlignment(), UNALIGNED, {"milestone_at": 100}),
    (PoorAlignment(), UNALIGNED | {"steps": 100}, {"held_out": 0.71}),  # it may only be slow,
    (PoorAlignment(), SLOW, {"steps": 174}),  # till now,
    (PoorAlignment(), SLOW, {"penalty": [0.5, 0.49, 0.48]}),  # and as long as there is any progress,
    (PoorAlignment(), SLOW, {"penalty": [0.5, 0.5]}),  # or that is not known
    (OverbearingGate(), {"gate": flat(0.21), "loss": flat(1.0)}, {"gate": flat(0.19)}),
    (StuckAttention(), {"dwell": 0.51, "focus": 0.51}, {"dwell": 0.49}),
    (StuckAttention(), {"dwell": 0.51, "focus": 0.51}, {"focus": 0.49}),
    (GateNever(), {"gate_accuracy": 0.69, "gate_late": 0.3, "aligned": 1}, {"gate_accuracy": 0.71}),
    (GateNever(), {"gate_accuracy": 0.69, "gate_late": 0.3, "aligned": 1}, {"aligned": 0}),
    (GateNever(), {"gate_accuracy": 0.6, "gate_late": 0.21, "aligned": 1}, {"gate_late": 0.19}),
    (GateSoon(), {"gate_accuracy": 0.6, "gate_late": 0.19, "aligned": 1}, {"gate_late": 0.21}),
    (GateSoon(), {"gate_accuracy": 0.69, "gate_late": 0.0, "aligned": 1}, {"gate_accuracy": 0.71}),
    (
        UnstableLoss(),
        {"loss_spread": 0.26, "unweighted_loss": flat(1.0), "best": CALM},
        {"loss_spread": 0.24},
    ),
    (
        UnstableLoss(),
        {"loss_spread": 0.46, "unweighted_loss": flat(1.0), "best": {"loss_spread": 0.15}},
        {"loss_spread": 0.44},
    ),
    (
        UnstableLoss(),
        {"loss_spread": 0.26, "unweighted_loss": flat(1.0), "best": CALM},
        {"unweighted_loss": falling(2.0, 1.0)},
    ),
    (Plateau(), {"held_out": [1.0, 1.01] * 5, "milestone_at": 100}, {"held_out": falling(1.1, 1.0, 10)}),
    (Plateau(), {"held_out": [1.0, 1.01] * 5, "milestone_at": 100}, {"milestone_at": None}),
    (
        Overfit(),
        {
            "held_out": [1.06] * 5,
            "value": 6.1,
            "unweighted_loss": falling(1, 0.5),
            "best": {"held_out": 1.0, "value": 6.0},
        },
        {"held_out": [1.06] * 4 + [1.04]},
    ),
    (
        Overfit(),
        {
            "held_out": [1.06] * 5,
            "value": 6.1,
            "unweighted_loss": falling(1, 0.5),
            "best": {"held_out": 1.0, "value": 6.0},
        },
        {"value": 6.0},
    ),
    (
        Overfit(),
        {
            "held_out": [1.06] * 5,
            "value": 6.1,
            "unweighted_loss": falling(1, 0.5),
            "best": {"held_out": 1.0, "value": 6.0},
        },
        {"unweighted_loss": flat(1.0)},
    ),
]


@pytest.mark.parametrize(("rule", "sick", "cure"), SIDES)
def test_a_rule_sees_its_fault_on_one_side_of_each_bound_and_not_on_the_other(rule, sick, cure):
    eps = {"adam_eps": sick["eps"]} if "eps" in sick else {}
    settings = having(**eps)
    sick = {name: value for name, value in sick.items() if name != "eps"}
    alarm = rule.sees(chart(**sick), settings)
    assert alarm is not None
    for language in LANGUAGES:
        assert "?" not in (told := Words(language).sentence(rule.name, alarm.code, alarm.evidence))
        assert told != alarm.code
    assert rule.sees(chart(**(sick | cure)), settings) is None


@pytest.mark.parametrize(
    ("rule", "sick", "sound"),
    [
        (HeavyDecay(), {"weight_decay": 0.0031}, {"weight_decay": 0.003}),
        (ClearPrenet(), {"p_prenet_dropout": 0.19}, {"p_prenet_dropout": 0.2}),
        (ClearPrenet(), {"p_prenet_dropout": 0.0}, {"p_prenet_dropout": 0.0, "p_frame_dropout": 0.1}),
    ],
)
def test_a_rule_sees_a_setting_that_cannot_do_well(rule, sick, sound):
    health = chart(loss=1.0, milestone_at=100)
    alarm = rule.sees(health, having(**sick))
    assert "?" not in Words("ru").sentence(rule.name, alarm.code, alarm.evidence)
    for remedy in rule.remedies(having(**sick)):
        assert rule.sees(health, having(**{**sick, **remedy.changes})) is None
    assert rule.sees(health, having(**sound)) is None


def test_a_schedule_that_has_fallen_is_told_from_one_that_still_warms_up():
    health = chart(learning_rate=1e-5, steps=200)
    codes = [SpentRate().sees(health, having(decay_start_step=at)).code for at in (150, 250)]
    assert codes == ["fallen", "warming"]
    [remedy] = SpentRate().remedies(S)
    assert remedy.changes == {"warmup_steps": 1, "decay_start_step": 10_000_000}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_nothing_measured_is_no_alarm(rule):
    if rule.tier != "event":
        assert rule.sees(Health(Pace(400, 25), SIGNALS, MILESTONE), S) is None


@pytest.mark.parametrize("rule", [PoorAlignment(), GateNever(), GateSoon()], ids=lambda rule: rule.name)
def test_an_alarm_clears_only_beyond_a_looser_bound(rule):
    seen = {
        "diagonal_score": 0.35,
        "penalty": [0.5] * 3,
        "held_out": 0.6,
        "constant": 1.0,
        "gate_accuracy": 0.75,
        "aligned": 1.0,
        "steps": 150,
    }
    health = chart(gate_late=0.25 if isinstance(rule, GateNever) else 0.0, **seen)
    assert rule.sees(health, S) is None
    health.alarmed.add(rule.name)
    assert rule.sees(health, S) is not None


@pytest.mark.parametrize("accuracy", [0.2, 0.6, 0.69])
def test_a_gate_that_is_wrong_opens_either_late_or_soon(accuracy):
    for late in (0.0, 0.5 * (1 - accuracy), 1 - accuracy):
        health = chart(gate_accuracy=accuracy, gate_late=late, aligned=1.0)
        assert [rule.sees(health, S) is None for rule in (GateNever(), GateSoon())].count(True) == 1


@pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
def test_the_share_of_a_part_of_the_loss_is_with_its_weight(weight):
    for share, seen in ((0.49, False), (0.51, True)):
        health = chart(guided=flat(share / weight), loss=flat(1.0), aligned=1)
        assert (OverbearingGuide().sees(health, having(guided_attention_weight=weight)) is not None) == seen


def test_a_loss_that_is_not_known_is_no_sign_that_attention_is_done_without():
    health = chart(diagonal_score=0.29, penalty=[0.5] * 3, steps=100)
    assert PoorAlignment().sees(health, S) is None


ANEW = {"guided_attention_weight": 2.0, "n_frames_per_step": 1000}
REMEDIES = {  # of a rule, from the default settings
    Overfit: [{"p_decoder_dropout": pytest.approx(0.2)}, {"weight_decay": pytest.approx(1e-5)}],
    OutOfMemory: [{"micro_batches": 2}] * 3,
    StuckAttention: [ANEW, {"guided_attention_weight": 4.0}, {}],
    PoorAlignment: [ANEW, {"guided_attention_weight": 4.0}, {"p_frame_dropout": 0.2}, {}],
    GateSoon: [{"gate_weight": 1.0}, *[{"gate_positive_weight": 2.5}] * 3],
    UnstableLoss: [
        {"batch_size": 64, "micro_batches": 2},
        {"learning_rate": pytest.approx(7e-4)},
        {"adam_beta2": 0.99},
    ],
    VanishingGradients: [{"adam_eps": pytest.approx(eps)} for eps in (1e-8, 1e-10, 1e-12)],
    NonFinite: [{"learning_rate": 5e-4}, {"grad_clip_thresh": 0.5}],
    OverbearingGate: [{"gate_positive_weight": 5.0, "gate_weight": 1.0}, {"gate_weight": 0.25}],
    Plateau: [{"learning_rate": 5e-4}] * 3,
}


@pytest.mark.parametrize("kind", REMEDIES, ids=lambda kind: kind.__name__)
def test_what_a_rule_would_change(kind):
    assert [action.changes for action in kind().remedies(S)] == REMEDIES[kind]


@pytest.mark.parametrize(
    ("rule", "settings", "change"),
    [
        (OutOfMemory(), {"batch_size": 3, "micro_batches": 2}, {"micro_batches": 3}),  # no part is empty
        (VanishingGradients(), {"adam_eps": 1e-12}, {"adam_eps": 1e-12}),
        (Overfit(), {"p_decoder_dropout": 0.88}, {"p_decoder_dropout": 0.9}),
    ],
)
def test_a_change_goes_no_further_than_makes_sense(rule, settings, change):
    assert rule.remedies(having(**settings))[0].changes == change


def test_a_run_that_nothing_guides_is_not_only_slow():
    health = chart(**(SLOW | {"steps": 100}))
    assert PoorAlignment().sees(health, S) is None
    unguided = having(guided_attention_weight=0.0)
    assert PoorAlignment().sees(health, unguided) is not None
    for last, seen in ((0.46, True), (0.44, False)):
        shrinking = chart(**(SLOW | {"steps": 100, "penalty": [0.5, 0.48, last]}))
        assert (PoorAlignment().sees(shrinking, unguided) is not None) == seen


def test_a_gate_that_weighs_nothing_has_no_gradient_and_that_is_no_cut():
    health = chart(silent__gate=2)
    assert Integrity().sees(health, S) is not None
    assert Integrity().sees(health, having(gate_weight=0.0)) is None


@pytest.mark.parametrize(
    ("loss", "away", "found"),
    [(1.0, 0.0, ()), (2.2, 0.0, ("c7",)), (1.8, 0.0, ()), (1.0, 0.3, ("c7",)), (1.0, 0.2, ())],
)
def test_a_clip_that_stands_out_in_every_pass_is_faulty(loss, away, found):
    health = chart(milestone_at=50, unweighted_loss=1.0)
    random = np.random.default_rng(0)
    for epoch in range(PASSES):
        for batch in np.arange(40).reshape(4, 10):
            rows = {f"c{i}": (random.uniform(0.98, 1.02), random.uniform(0.02, 0.03)) for i in batch}
            if "c7" in rows and (epoch or found):
                rows["c7"] = loss, 0.025 + away
            health.note_clips(rows)
    alarm = FaultyClips().sees(health, S)
    assert (alarm.clips if alarm else ()) == found


def test_a_clip_that_stood_out_only_once_is_not():
    health = chart(milestone_at=50, unweighted_loss=1.0)
    for epoch in range(PASSES):
        health.note_clips({f"c{i}": (9.0 if i == 3 and epoch == 1 else 1.0, 0.02) for i in range(30)})
    assert FaultyClips().sees(health, S) is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_ladders_name_known_settings_and_every_rung_does_something(rule):
    for action in rule.remedies(having(learning_rate=1e-5)):
        assert action.changes.keys() <= LIMITS.keys()
        assert action.changes or action.back_to or action.fresh or action.exclude or action.renew
        for language in LANGUAGES:
            assert "?" not in (told := Words(language).sentence(rule.name, action.code, action.values))
            assert told != action.code


def test_an_epsilon_that_was_not_small_enough_is_not_tried_again():
    tried = [a.changes["adam_eps"] for a in VanishingGradients().remedies(having(adam_eps=1e-3))]
    assert tried == pytest.approx([1e-5, 1e-7, 1e-9])


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_guidance_grows_even_from_nothing(weight):
    remedies = PoorAlignment().remedies(having(guided_attention_weight=weight))
    assert remedies[0].changes["guided_attention_weight"] == max(1.0, 2 * weight)


def test_a_gate_is_never_weighed_less_for_stopping_late():
    _, *heavier = GateNever().remedies(having(gate_positive_weight=8.0))
    assert [action.changes["gate_positive_weight"] for action in heavier] == [8.0, 15.0, 20.0]


@pytest.mark.parametrize("rule", [GateNever(), GateSoon()])
@pytest.mark.parametrize(("weight", "then"), [(0.0, 1.0), (0.01, 1.0), (1.0, 1.0), (3.0, 3.0)])
def test_a_gate_that_is_hardly_trained_is_trained_first(rule, weight, then):
    assert rule.remedies(having(gate_weight=weight))[0].changes == {"gate_weight": then}


def test_a_rate_that_is_far_too_low_is_raised_by_two_decades_and_a_half_up_to_a_usual_one():
    rates = [
        DeadModule().remedies(having(learning_rate=lr))[0].changes["learning_rate"] for lr in (1e-6, 1e-4)
    ]
    assert rates == pytest.approx([10**-3.5, 4e-3])


@pytest.mark.parametrize(
    ("update", "steps", "seen"), [(-0.9, 20, True), (-0.9, 15, True), (-1.1, 15, False), (-0.9, 21, False)]
)
def test_a_part_that_grows_from_nothing_is_stunted(update, steps, seen):
    others = {"update__a": [-2.0], "update__b": [-1.9], "update__c": [-2.4], "update__d": [-2.0]}
    alarm = StuntedPart().sees(chart(steps=steps, update__encoder=[update], **others), S)
    assert (alarm is not None) == seen
    assert alarm is None or alarm.parts == ("encoder",)


@pytest.mark.parametrize(
    ("update", "steps", "seen"),
    [(-3.4, 20, True), (-3.4, 15, True), (-3.2, 15, False), (-3.4, 21, False), (-30.0, 15, False)],
)
def test_a_part_that_hardly_changes_beside_the_others_is_oversized(update, steps, seen):
    others = {"update__a": [-2.0], "update__b": [-1.9], "update__c": [-2.4], "update__d": [-2.0]}
    alarm = OversizedPart().sees(chart(steps=steps, update__embedding=[update], **others), S)
    assert (alarm.parts if alarm else ()) == ("embedding",) * seen


@pytest.mark.parametrize(("update", "seen"), [(-0.9, True), (-1.1, False)])
def test_beside_parts_that_hardly_move_a_part_as_any_other_is_not_stunted(update, seen):
    others = {"update__a": [-3.8], "update__b": [-3.6], "update__c": [-3.7]}
    assert (StuntedPart().sees(chart(steps=15, update__gate=[update], **others), S) is not None) == seen


@pytest.mark.parametrize(("norm", "seen"), [(4.0, True), (3.0, False)])
def test_a_gradient_vanishes_that_clipping_leaves_hardly_anything_of(norm, seen):
    """Adam gets a hundredth of the norm, so that 1e-3 is 2.5e-6 of 4.0, beside an epsilon of 1e-6."""
    seen_by = chart(gradient__a=1e-3, gradient__b=1e-3, grad_norm=norm, unweighted_loss=1.0)
    clipped = having(grad_clip_thresh=0.01, adam_eps=1e-6)
    assert (VanishingGradients().sees(seen_by, clipped) is not None) == seen
    assert VanishingGradients().sees(seen_by, having(grad_clip_thresh=5.0, adam_eps=1e-6)) is None


@pytest.mark.parametrize(
    ("batch", "parts", "seen"), [(1, 1, True), (2, 1, True), (3, 1, False), (2, 2, False)]
)
def test_a_batch_needs_clips_to_be_normalised_over(batch, parts, seen):
    few = having(batch_size=batch, micro_batches=parts)
    assert (NarrowBatch().sees(chart(unweighted_loss=1.0), few) is not None) == seen


@pytest.mark.parametrize(("share", "seen"), [(0.95, True), (0.8, False)])
def test_what_drops_out_nearly_everything_gets_its_usual_dropout(share, seen):
    heavy = having(p_frame_dropout=share, p_prenet_dropout=0.5)
    assert (HeavyDropout().sees(chart(unweighted_loss=1.0), heavy) is not None) == seen
    [remedy] = HeavyDropout().remedies(heavy)
    assert remedy.changes["p_frame_dropout"] == 0.0 and ("p_prenet_dropout" in remedy.changes) != seen


def test_what_rules_take_for_usual_is_what_settings_have():
    assert {name: usual for name, (_, _, usual) in USUAL.items()}.items() <= asdict(Settings()).items()


@pytest.mark.parametrize("rule", [OverbearingGate(), OverbearingGuide()], ids=lambda rule: rule.name)
def test_mels_that_hardly_count_are_weighed_as_usual_before_another_part_counts_less(rule):
    first, _ = rule.remedies(having(mel_l1_weight=0.0, mel_l2_weight=0.01))
    assert first.changes == {"mel_l1_weight": 1.0, "mel_l2_weight": 1.0}
    assert not rule.remedies(having(mel_l1_weight=1.0, mel_l2_weight=0.0))[0].changes.keys() & first.changes


def test_a_start_that_is_worse_than_none_gets_new_weights_in_every_part():
    health = chart(**UNFIT | {"update__decoder": -3.0})
    assert set(UnfitStart().sees(health, S).parts) == {"encoder", "decoder"}
    [remedy] = UnfitStart().remedies(S)
    assert remedy.renew


@pytest.mark.parametrize("rule", [SpentRate(), ClearPrenet()], ids=lambda rule: rule.name)
def test_a_fault_that_is_a_setting_is_gone_with_it(rule):
    worse = {"held_out": 1.0, "value": 5.0}, {"held_out": 1.1, "value": 5.5}
    assert rule.helped(*worse, chart(loss=1.0))


def test_a_guide_is_let_go_in_two_steps():
    strong = having(guided_attention_weight=20.0, guided_attention_sigma=0.05)
    first, second = (action.changes for action in OverbearingGuide().remedies(strong))
    assert first == {"guided_attention_weight": 1.0, "guided_attention_sigma": 0.2}
    assert second == {"guided_attention_weight": 0.0}


def test_a_text_that_does_not_matter_is_first_made_to_matter():
    assert [*TextIgnored().remedies(S)[0].changes] == ["p_frame_dropout"]


@pytest.mark.parametrize(
    ("diagonal", "gains", "best", "helped"),
    [
        (0.9, [0.01, 0.02, 0.01, 0.02], 0.02, False),  # a penalty that falls says nothing of the text
        (0.9, [0.01], 0.06, True),  # and is no longer measured
        (0.5, [0.01, 0.02, 0.01, 0.02], 0.02, True),
    ],
)
def test_an_aligned_run_listens_if_the_text_is_of_use_to_it(diagonal, gains, best, helped):
    health = chart(text_gain=gains, penalty=falling(0.5, 0.1, 4), best={"text_gain": best})
    assert TextIgnored().helped({"diagonal_score": diagonal}, {}, health) == helped


@pytest.mark.parametrize(
    ("updates", "steps", "seen"),
    [
        ([-1.6, -1.6], 200, True),
        ([-1.66, -1.66], 200, False),
        ([-1.6], 200, False),  # too few looks
        ([-1.6, -1.6], 100, False),  # at the start, another rule's matter
    ],
)
def test_steps_may_grow_too_large_later(updates, steps, seen):
    health = chart(steps=steps, update__a=updates, update__b=updates, update__c=[-2.3] * len(updates))
    assert (OvergrownSteps().sees(health, S) is not None) == seen


def test_rules_have_distinct_names_and_causes_come_first():
    names = [rule.name for rule in RULES]
    assert len(set(names)) == len(names)
    assert "poor_alignment" in names
    levels = [rule.level for rule in RULES]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("updates", "steps", "seen"),
    [
        ([-1.6] * 5, 60, True),
        ([-1.3, -1.3, -1.3, -1.7, -1.7], 60, True),  # a look or two may scatter
        ([-1.3, -1.3, -1.7, -1.7, -1.7], 60, False),
        ([-1.3] * 4, 60, False),  # too few looks
        ([-1.66] * 5, 60, False),
        ([-1.6] * 5, 101, False),  # later, another rule's matter
    ],
)
def test_steps_are_too_large_only_from_the_start_and_for_half_of_the_parts(updates, steps, seen):
    small = [-2.3] * len(updates)
    health = chart(steps=steps, update__a=updates, update__b=updates, update__c=small)
    assert (OversizedSteps().sees(health, S) is not None) == seen
    quiet = chart(steps=steps, update__a=updates, update__b=small, update__c=small)
    assert OversizedSteps().sees(quiet, S) is None
