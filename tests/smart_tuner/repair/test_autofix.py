"""The arbiter, on made-up health and a run that only remembers what was done to it."""

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from model.settings import LIMITS, Settings
from objectives.signals import MILESTONE, SIGNALS
from smart_tuner.repair.autofix import MAX_REPAIRS, AutoFix, GivenUp, policy_hash
from smart_tuner.repair.health import Health, Pace
from smart_tuner.repair.rule import (
    UNRESTRAINED,
    Action,
    Alarm,
    Hyperparameters,
    Restraint,
    Rule,
    settings_at,
)
from smart_tuner.repair.rules import RULES, Collapse, Divergence, GateNever, NonFinite, PoorAlignment
from smart_tuner.repair.words import ENGLISH, Words

START = asdict(Settings(guided_attention_weight=0.0, warmup_steps=5))
GOOD = {
    "aligned": 1.0,
    "diagonal_score": 0.98,
    "corr": 0.99,
    "penalty": 0.02,
    "gate_accuracy": 1.0,
    "gate_late": 0.0,
    "held_out": 1.0,
    "constant": 2.0,
    "dwell": 0.1,
    "focus": 0.6,
}
UNALIGNED = GOOD | {"aligned": 0.0, "diagonal_score": 0.05, "corr": 0.1, "penalty": 0.5}
GUIDED = {"guided_attention_weight": (0.0, 1.0), "n_frames_per_step": (1, 16)}
STEP = {"loss": 1.5, "unweighted_loss": 1.0, "gate": 0.02, "guided": 0.02, "grad_norm": 0.5}
INFINITE = {"loss": 1.0, "grad_norm": math.inf}
LOOK = {"gradient/encoder": 1e-3, "update/encoder": -2.5, "silent/encoder": 0.0, "unchanged/encoder": 0.0}


@dataclass
class Patient:
    """A run that is given measures instead of training; it keeps AutoFix's contract."""

    ways = frozenset({"roll_back", "reinitialise", "exclude"})
    done: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    value: float | None = None

    def roll_back(self, step):
        self.done.append(("roll back", step))

    def reinitialise(self, part):
        self.done.append(("reinitialise", part))

    def exclude(self, clips):
        self.done.append(("exclude", tuple(clips)))

    def worth(self):
        return self.value

    def record(self, entry):
        if entry.kind != "repair":  # whose words are the arbiter's own
            said = ENGLISH.sentence(entry.rule, entry.action, entry.action_values)
            assert said != entry.action or entry.action == "kept"
            assert "?" not in said
        self.rows.append(replace(entry, seq=len(self.rows) + 1))
        return self.rows[-1]

    def kinds(self, *kinds):
        return [row for row in self.rows if row.kind in kinds]


class Ward:
    """Steps a patient through its days: a validation every 25 steps, a checkpoint every 100."""

    def __init__(
        self, rules=RULES, planned=1000, start=START, n_clips=100, restraint=UNRESTRAINED, worst=None
    ):
        self.patient = Patient()
        health = Health(Pace(planned, 25), SIGNALS, MILESTONE)
        record = self.patient.record
        self.fix = AutoFix(self.patient, start, rules, LIMITS, n_clips, health, record, restraint, worst)
        self.step = 0
        self.fix.saved(0)

    def days(self, count, validation=GOOD, step=STEP, probe=LOOK):
        for _ in range(count):
            self.step += 1
            self.fix.stepped(self.step, step, probe if self.step % 20 == 0 else None)
            if self.step % 25 == 0:
                slope = 0.99 ** (self.step / 25)  # a held-out loss that stood still would be a plateau
                self.fix.validated(self.step, validation | {"held_out": slope * validation["held_out"]})
            if self.step % 100 == 0 or self.fix.changed:
                self.fix.saved(self.step)
        return self


def test_a_healthy_run_is_left_alone():
    ward = Ward().days(900)
    assert ward.patient.rows == []
    assert ward.fix.settings() == START


def test_poor_alignment_is_guided_after_its_deadline_once_and_then_judged():
    ward = Ward().days(249, UNALIGNED)  # due at a quarter of the plan
    assert ward.patient.rows == []
    ward.days(1, UNALIGNED)
    [repair] = ward.patient.kinds("repair")
    assert (repair.rule, repair.step, repair.remedy) == ("poor_alignment", 250, 0)
    assert repair.changes == GUIDED
    assert ward.patient.done == [("roll back", 0)]
    assert ward.fix.redone == 250
    assert (repair.reason, repair.evidence["diagonal_score"]) == ("loss_fell", 0.05)
    assert ward.fix.settings().guided_attention_weight == 1.0
    assert ward.fix.in_grace
    ward.days(99)
    assert ward.patient.kinds("verdict") == []
    ward.days(1)
    [verdict] = ward.patient.kinds("verdict")
    assert (verdict.verdict, verdict.parent, verdict.changes) == ("improved", repair.seq, {})
    assert ward.fix.settings().guided_attention_weight == 1.0
    assert not ward.fix.in_grace


def test_what_had_no_effect_is_taken_back_and_the_next_rung_is_tried_until_none_is_left():
    ward = Ward(planned=1000)
    with pytest.raises(GivenUp) as end:
        ward.days(1000, UNALIGNED)
    repairs = ward.patient.kinds("repair")
    assert [r.remedy for r in repairs] == [0, 1, 2, 3]
    assert [dict(r.changes) for r in repairs] == [
        GUIDED,
        {"guided_attention_weight": (1.0, 4.0)},
        {"p_frame_dropout": (0.0, 0.2)},
        {},
    ]
    assert ward.patient.done == [("roll back", 0), ("reinitialise", "attention")]
    assert {v.verdict for v in ward.patient.kinds("verdict")} == {"no effect"}
    assert all(repair.before["diagonal_score"] == 0.05 for repair in repairs)  # known to every verdict
    left = START | {"guided_attention_weight": 1.0, "n_frames_per_step": 16}  # of the start anew
    assert settings_at(10**6, START, ward.fix.entries) == left
    assert end.value.state == "PRUNED"
    assert end.value.entry.rule == "poor_alignment"
    assert "after 4 such repairs" in str(end.value)


LATE_GATE = GOOD | {"gate_accuracy": 0.1, "gate_late": 0.9}


def test_a_second_rung_that_helps_is_kept():
    ward = Ward().days(500, UNALIGNED)
    assert [row.remedy for row in ward.patient.kinds("repair")] == [0, 1]
    ward.days(100)
    assert ward.patient.kinds("verdict")[-1].verdict == "improved"
    assert ward.fix.settings().guided_attention_weight == 4.0


def test_harm_is_undone_with_the_weights_from_before():
    start = START | {"gate_positive_weight": 0.01}
    ward = Ward(start=start).days(100, LATE_GATE)
    ward.days(100, LATE_GATE | {"held_out": 1.2})
    [verdict] = ward.patient.kinds("verdict")
    assert (verdict.verdict, verdict.back_to) == ("harm", 100)
    assert verdict.changes == {"gate_positive_weight": (5.0, 0.01)}
    assert ("roll back", 100) in ward.patient.done


def test_a_late_gate_climbs_its_ladder_and_is_then_only_reported():
    ward = Ward(start=START | {"gate_positive_weight": 0.01}, planned=4000).days(1500, LATE_GATE)
    assert [r.changes["gate_positive_weight"] for r in ward.patient.kinds("repair")] == [
        (0.01, 5.0),
        (0.01, 15.0),
        (0.01, 20.0),
    ]
    assert ward.fix.settings().gate_positive_weight == 0.01
    last = ward.patient.rows[-1]
    assert (last.kind, last.rule) == ("alarm", "gate_never")
    assert (last.action, last.action_values["tried"]) == ("reported_nothing_left", 3)


def test_when_two_faults_come_at_once_the_cause_is_repaired_and_the_other_waits():
    exploded = STEP | {"grad_norm": 50.0, "unweighted_loss": 1.5}
    ward = Ward().days(300)
    ward.days(10, LATE_GATE, exploded)
    [repair] = ward.patient.kinds("repair")
    assert repair.rule == "exploding_gradient"
    ward.days(90, LATE_GATE)
    [alarm] = [row for row in ward.patient.kinds("alarm") if row.rule == "gate_never"]
    assert alarm.step > repair.step
    assert (alarm.action, alarm.action_values) == ("waits_for_verdict", {"step": repair.verify_at})
    ward.days(100, LATE_GATE)
    assert [row.rule for row in ward.patient.kinds("repair")] == ["exploding_gradient", "gate_never"]


@dataclass(frozen=True)
class Nervous(Rule):
    """Sees something at every validation, and always has one more idea."""

    level, priority, votes, max_remedies = 7, 1, (1, 1), 99

    def sees(self, health, settings):
        return Alarm("something", {})

    def remedies(self, settings):
        return [Action("beta", {"adam_beta2": 0.9 + k / 1000}) for k in range(99)]

    def helped(self, before, after, health):
        return True


@dataclass(frozen=True)
class Anxious(Nervous):
    """As nervous, but about the cause."""

    level, priority = 6, 1


@dataclass(frozen=True)
class Loud(Nervous):
    """On the same level, and more urgent."""

    level, priority = 7, 9


def test_rules_that_fire_together_speak_in_causal_order_and_priority_breaks_ties():
    ward = Ward((Nervous(), Loud(), Anxious())).days(50)
    assert [(row.kind, row.rule) for row in ward.patient.rows] == [
        ("repair", "anxious"),
        ("alarm", "loud"),
        ("alarm", "nervous"),
    ]
    assert ward.patient.rows[0].suppressed == ("loud", "nervous")
    waits = ward.patient.rows[1]
    assert (waits.action, waits.action_values) == ("waits_for_cause", {"cause": "anxious"})


def test_exploding_gradients_lead_back_to_good_weights_and_slower_steps():
    ward = Ward().days(390)
    ward.days(21, GOOD, STEP | {"grad_norm": 50.0, "unweighted_loss": 1.5})
    [repair] = ward.patient.kinds("repair")
    assert repair.rule == "exploding_gradient"
    assert repair.back_to == 300
    assert ward.patient.done == [("roll back", 300)]
    assert ward.fix.settings().learning_rate == pytest.approx(START["learning_rate"] / 10 * 0.2, rel=0.9)
    assert settings_at(10**6, START, ward.fix.entries).learning_rate == START["learning_rate"] / 10


def test_without_any_good_state_a_run_starts_over_more_slowly():
    ward = Ward().days(60)
    ward.days(40, GOOD, STEP | {"grad_norm": 50.0, "unweighted_loss": 1.5})
    repair = ward.patient.kinds("repair")[0]
    assert repair.back_to == 0
    assert repair.changes["learning_rate"] == (START["learning_rate"], START["learning_rate"] * 0.1)


STUNTED = {f"update/{part}": -2.0 for part in "abcd"} | {"update/encoder": 0.0, "update/gate": -0.5}


def test_stunted_parts_get_new_weights_and_that_is_all():
    ward = Ward().days(40, probe=LOOK | {"update/encoder": -2.0})
    assert ward.patient.rows == []
    ward = Ward()
    for step in (10, 15):
        ward.fix.stepped(step, STEP, STUNTED)
    [repair] = ward.patient.rows
    assert (repair.rule, repair.fresh, repair.changes) == ("stunted_part", "encoder,gate", {})
    assert ward.patient.done == [("reinitialise", "encoder"), ("reinitialise", "gate")]
    assert repair.ramp > 0


@dataclass(frozen=True)
class Slow(Rule):
    """A cause that takes two votes to be sure of."""

    level, priority, votes = 4, 9, (2, 2)

    def sees(self, health, settings):
        return Alarm("ill", {})

    def remedies(self, settings):
        return [Action("treat", {"learning_rate": 1e-4})]


class Quick(Slow):
    """Its effect, which is seen sooner."""

    level, votes = 5, (1, 1)


class Told(Slow):
    """What is always there, and only reported."""

    level, votes, gives_up = 2, (1, 1), None

    def remedies(self, settings):
        return []


def test_what_is_only_reported_keeps_no_other_rule_waiting_and_undoes_no_repair():
    ward = Ward((Told(), Quick()), restraint=Restraint(), planned=2000).days(190)
    told, *_ = ward.patient.kinds("alarm")
    assert (told.rule, told.action) == ("told", "reported_nothing_left")
    assert [row.rule for row in ward.patient.kinds("repair")] == ["quick"]
    assert [row.verdict for row in ward.patient.kinds("verdict")] == ["eased"]


def test_an_effect_waits_for_a_cause_that_is_only_half_sure():
    ward = Ward((Quick(), Slow())).days(100)
    assert [row.rule for row in ward.patient.kinds("repair")] == ["slow"]
    waits = ward.patient.rows[0]
    assert (waits.action, waits.action_values) == ("waits_for_cause", {"cause": "slow"})


class Hopeless(Slow):
    """Knows nothing to do."""

    priority, votes, gives_up = 8, (1, 1), "PRUNED"

    def remedies(self, settings):
        return []


def test_no_rule_gives_up_while_another_one_of_its_level_may_be_the_cause():
    ward = Ward((Hopeless(), Slow())).days(100)
    assert [row.rule for row in ward.patient.kinds("repair", "end")] == ["slow"]
    assert told_of(ward, "hopeless")[0][2] == "waits_for_cause"
    with pytest.raises(GivenUp, match="hopeless"):
        Ward((Hopeless(),)).days(100)


def test_a_hard_fault_during_a_repairs_wait_is_that_repairs_harm():
    ward = Ward(start=START | {"gate_positive_weight": 0.01}).days(120, LATE_GATE)
    ward.days(20, LATE_GATE, STEP | {"grad_norm": 50.0, "unweighted_loss": 1.5})
    kinds = [(row.kind, row.rule, row.verdict) for row in ward.patient.kinds("repair", "verdict")]
    assert kinds[:3] == [
        ("repair", "gate_never", None),
        ("verdict", "gate_never", "harm"),
        ("repair", "exploding_gradient", None),
    ]
    assert settings_at(10**6, START, ward.fix.entries).gate_positive_weight == 0.01


def stubborn(rule):
    """The rule as if its fault were always there and nothing helped."""

    def sees(self, health, settings):
        return Alarm("still sick", {}, (f"clip{health.step}",))

    changed = {"sees": sees, "helped": lambda *_: False}
    return type(type(rule).__name__, (type(rule),), changed)()


SICK = {  # settings in which every rung of a ladder changes something
    "dead_module": {"learning_rate": 1e-6},
    "heavy_decay": {"weight_decay": 0.1},
    "heavy_dropout": {"p_prenet_dropout": 0.95, "p_attention_dropout": 0.9},
    "spent_rate": {"warmup_steps": 100},
    "clear_prenet": {"p_prenet_dropout": 0.1},
    "gate_never": {"gate_weight": 0.1},
    "gate_soon": {"gate_weight": 0.1},
    "overbearing_gate": {"gate_weight": 4.0, "gate_positive_weight": 100.0},
    "overbearing_guide": {"guided_attention_weight": 20.0, "guided_attention_sigma": 0.05},
}


def remedies(rule):
    return rule.remedies(Hyperparameters(START | SICK.get(rule.name, {})))


REMEDIES = [rule for rule in RULES if rule.tier != "event" and remedies(rule)]


@pytest.mark.parametrize("rule", REMEDIES, ids=lambda rule: rule.name)
def test_every_ladder_is_climbed_rung_by_rung_and_then_it_is_enough(rule):
    start = START | ({"gate_positive_weight": 4.0} | SICK.get(rule.name, {}))
    ward = Ward((stubborn(rule),), planned=20_000, start=start, n_clips=200)
    length = min(rule.max_remedies, len(remedies(rule)))
    if rule.gives_up is None:
        ward.days(3000)
        assert ward.patient.rows[-1].action == "reported_nothing_left"
    else:
        with pytest.raises(GivenUp, match="nothing is left to try") as end:
            ward.days(3000)
        assert (end.value.state, end.value.entry.rule) == (rule.gives_up, rule.name)
    assert [row.remedy for row in ward.patient.kinds("repair")] == list(range(length))
    assert length >= 1


def test_a_rung_that_is_too_dear_gives_way_to_the_next():
    ward = Ward().days(350).days(0)
    ward.fix.health.milestone_at = None
    ward.days(75, UNALIGNED)
    [repair] = [row for row in ward.patient.kinds("repair") if row.rule == "poor_alignment"]
    assert (repair.remedy, repair.back_to, repair.changes) == (
        1,
        None,
        {"guided_attention_weight": (0.0, 4.0)},
    )


def test_redone_work_has_a_limit():
    ward = Ward(planned=400).days(95)
    for _ in range(4):
        ward.fix.not_finite(INFINITE, [])
    assert ward.fix.redone == 95  # nothing had proved good yet
    ward.days(60)  # in which the checkpoint of step 100 could not prove itself
    with pytest.raises(GivenUp, match="95 of at most 125 steps were redone") as end:
        for _ in range(40):
            ward.fix.not_finite(INFINITE, [])
    assert end.value.state == "PRUNED"
    first, *others = ward.patient.kinds("repair")
    assert (first.back_to, {row.back_to for row in others}) == (0, {None})
    assert {row.action for row in others} == {"from_here"}


def test_a_trial_gets_no_more_than_five_repairs():
    ward = Ward((Nervous(), *RULES), planned=10_000)
    with pytest.raises(GivenUp, match=f"{MAX_REPAIRS} repairs were made"):
        ward.days(2000)
    assert len(ward.patient.kinds("repair")) == MAX_REPAIRS


def test_a_cut_graph_fails_at_the_third_look():
    ward = Ward().days(59, GOOD, STEP, LOOK | {"silent/encoder": 4.0})
    assert ward.patient.rows == []
    with pytest.raises(GivenUp, match="no gradient reaches encoder") as end:
        ward.days(1, GOOD, STEP, LOOK | {"silent/encoder": 4.0})
    assert end.value.state == "FAIL"


def test_bad_clips_are_left_out_until_the_data_is_to_blame():
    ward = Ward(n_clips=60)
    for clip in ("a", "b", "c"):
        ward.days(10)
        ward.fix.not_finite(INFINITE, [clip])
    assert ward.patient.done == [("exclude", (clip,)) for clip in "abc"]
    assert ward.fix.settings() == START
    assert ward.fix._next_action(ward.fix._rule(NonFinite))[0] == 0  # its ladder is untouched
    with pytest.raises(GivenUp, match="4 of 60 clips") as end:
        ward.fix.not_finite(INFINITE, ["d"])
    assert end.value.state == "FAIL"


def test_a_few_non_finite_steps_are_skipped_more_lead_back_and_then_it_is_enough():
    ward = Ward().days(300)
    for _ in range(3):
        ward.fix.not_finite(INFINITE, [])
    assert [row.action for row in ward.patient.rows] == ["skip_batch"] * 3
    ward.fix.not_finite(INFINITE, [])
    assert ward.patient.kinds("repair")[0].changes["learning_rate"] == (1e-3, 5e-4)
    for _ in range(4):
        ward.fix.not_finite(INFINITE, [])
    assert ward.patient.kinds("repair")[1].changes == {"grad_clip_thresh": (1.0, 0.5)}
    with pytest.raises(GivenUp, match="nothing is left"):
        for _ in range(4):
            ward.fix.not_finite(INFINITE, [])


def test_too_large_batches_are_computed_in_more_parts_three_times():
    ward = Ward()
    for parts in (2, 4, 8):
        ward.fix.out_of_memory("does not fit")
        assert ward.fix.settings().micro_batches == parts
    assert not ward.fix.in_grace
    with pytest.raises(GivenUp, match="after 3 such repairs"):
        ward.fix.out_of_memory("does not fit")


def test_lost_alignment_leads_back_to_aligned_weights():
    ward = Ward().days(310)
    ward.days(15, UNALIGNED, STEP | {"guided": 0.5})
    [repair] = ward.patient.kinds("repair")
    assert (repair.rule, repair.back_to) == ("collapse", 300)
    ward.days(100)
    assert ward.patient.kinds("verdict")[0].verdict == "improved"


def test_alignment_that_is_lost_again_does_not_wait_for_the_verdict_of_its_first_repair():
    ward = Ward(planned=2000).days(500)
    lost = STEP | {"guided": 0.5}
    ward.days(10, UNALIGNED, lost)  # repaired at 510, to be judged at 625
    ward.days(40).days(10, UNALIGNED, lost)
    first, second = ward.patient.kinds("repair")
    assert (first.rule, second.rule) == ("collapse", "collapse")
    assert first.verify_at > second.step == 556
    assert [v.verdict for v in ward.patient.kinds("verdict")] == ["no effect"]
    assert ward.patient.done == [("roll back", first.back_to), ("roll back", second.back_to)]


def test_alignment_that_is_lost_again_at_once_waits_for_what_may_be_the_cause():
    ward = Ward(planned=2000).days(500)
    ward.days(10, UNALIGNED, STEP | {"guided": 0.5}).days(5).days(20, UNALIGNED, STEP | {"guided": 0.5})
    assert [row.rule for row in ward.patient.kinds("repair")] == ["collapse"]


class Renewing(Rule):
    """Gives an aligned run new weights, once."""

    level, priority, votes, gives_up = 4, 9, (1, 1), None

    def sees(self, health, settings):
        return Alarm("ill", {}) if health.step == 500 else None

    def remedies(self, settings):
        return [Action("new weights", fresh="attention")]


def test_new_weights_of_the_attention_are_not_taken_for_a_collapse():
    ward = Ward((Renewing(), Collapse()), planned=2000).days(500)
    assert ward.patient.done == [("reinitialise", "attention")]
    ward.days(130, UNALIGNED, STEP | {"guided": 0.5})  # beyond the verdict
    assert [row.rule for row in ward.patient.kinds("repair")] == ["renewing"]


def test_at_the_end_a_waiting_repair_is_judged_by_what_is_known():
    ward = Ward().days(250, UNALIGNED).days(30)
    ward.fix.conclude()
    assert ward.patient.rows[-1].verdict == "improved"
    unknown = Ward().days(250, UNALIGNED).days(10)
    unknown.fix.conclude()
    assert unknown.patient.kinds("verdict") == []


def test_it_goes_on_from_its_state_as_if_never_stopped():
    straight, first, second = (Ward() for _ in range(3))
    straight.days(300, UNALIGNED).days(200)
    first.days(300, UNALIGNED).days(60)
    second.fix.take(first.fix.state())
    second.step, second.patient.rows = first.step, list(first.patient.rows)
    second.days(140)
    assert second.patient.rows == straight.patient.rows
    assert second.fix.state() == straight.fix.state()


def test_a_trial_of_an_older_version_goes_on_as_it_would_have_there():
    """A state that commit b90b045 wrote after a collapse, and what it did in the days that follow."""
    older = json.loads((Path(__file__).parent / "state_b90b045.json").read_text())
    ward = Ward(planned=600)
    ward.fix.take(older["state"])
    ward.step, ward.patient.rows = older["step"], list(ward.fix.entries)
    ward.days(30).days(12, UNALIGNED, STEP | {"guided": 0.5}).days(60)
    ward.days(25, GOOD, STEP | {"grad_norm": 50.0, "unweighted_loss": 1.6}).days(100)
    for row, then in zip(ward.patient.rows[2:], older["rows"], strict=True):
        then["remedy"] = then.pop("rung")
        assert {name: as_json(getattr(row, name)) for name in then} == then


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("warm_up", "armed_at"), [(5, 100), (200, 200), (250, 250), (800, 250), (20_000, 250)]
)
def test_rules_wait_for_a_warm_up_but_for_no_more_than_a_quarter_of_the_plan(warm_up, armed_at):
    ward = Ward(planned=1000, start=START | {"warmup_steps": warm_up})
    bad = LOOK | {"update/encoder": -0.5}  # oversized steps, of which five looks tell
    ward.days(-(-armed_at // 20) * 20 - 1, UNALIGNED, probe=bad)
    assert ward.patient.rows == []
    ward.days(21, UNALIGNED, probe=bad)
    assert ward.patient.rows[0].step == -(-armed_at // 20) * 20


def test_settings_can_be_computed_from_the_rows_alone():
    ward = Ward(start=START | {"gate_positive_weight": 0.01}, planned=4000)
    seen = {}
    for _ in range(900):
        ward.days(1, LATE_GATE)
        seen[ward.step] = ward.fix.settings()
    for step, settings in seen.items():
        assert settings_at(step, ward.fix._start, ward.patient.rows) == settings


AT_B90B045 = "1b934808c758b018dfd48e329b9868b9b47ea1ee4cf0b4bbaa19ec7c2b5d6d1e"  # studies of then must go on


@pytest.mark.parametrize("rate", [1e-7, 3e-7])
def test_a_rate_near_its_limit_warms_up_from_no_less_than_that(rate):
    ward = Ward((Nervous(),), start=START | {"learning_rate": rate})
    rates = [ward.days(1).fix.settings().learning_rate for _ in range(200)]
    assert ward.patient.kinds("repair")[0].ramp > 0
    assert min(rates) >= LIMITS["learning_rate"][0]


def test_another_threshold_is_another_policy():
    changed = tuple(
        replace(rule, min_diagonal_score=0.4) if isinstance(rule, PoorAlignment) else rule for rule in RULES
    )
    assert policy_hash(RULES, SIGNALS) == AT_B90B045
    assert policy_hash(changed, SIGNALS) != policy_hash(RULES, SIGNALS)
    assert policy_hash((GateNever(),), SIGNALS) != policy_hash(RULES, SIGNALS)


# Where rules only tell


def restrained(*searched, advises=(), medians=None, **more):
    return Ward(restraint=Restraint(frozenset(searched), frozenset(advises), medians or {}), **more)


def told_of(ward, rule):
    return [(row.kind, row.step, row.action) for row in ward.patient.rows if row.rule == rule]


LARGE = LOOK | {"update/encoder": -0.5}


def test_steps_that_are_too_large_are_left_to_a_search_that_draws_the_rate():
    """As in ten pairs of trials whose rates were the best of their space, and ended 7 dB worse repaired."""
    assert told_of(restrained("batch_size").days(100, probe=LARGE), "oversized_steps")[0][0] == "repair"
    ward = restrained("learning_rate").days(240, probe=LARGE)
    assert told_of(ward, "oversized_steps") == [("alarm", 100, "searched")]
    assert ward.patient.rows[0].action_values == {"names": "learning_rate"}
    assert ward.patient.done == []
    assert ward.fix.settings() == START
    ward.days(20).days(60, probe=LARGE)  # it cleared, and came again
    assert [row.action for row in ward.patient.rows] == ["searched"] * 2


def test_what_is_not_searched_is_tried_and_then_the_search_judges():
    """A leap of the loss is first answered by another order, which is no setting."""
    ward, leap = restrained("learning_rate"), STEP | {"unweighted_loss": 2.5}
    ward.days(390).days(10, GOOD, leap).days(200).days(10, GOOD, leap)
    [repair] = ward.patient.kinds("repair")
    assert (repair.rule, repair.back_to, repair.changes) == ("divergence", 300, {})
    assert ward.patient.rows[-1].action == "searched"
    assert ward.patient.kinds("end") == []


def test_spoilt_weights_are_gone_back_from_at_the_searched_rate():
    """Else a single reading that is missing would end a trial whose values are good."""
    ward, spoilt = restrained("learning_rate"), STEP | {"unweighted_loss": float("nan")}
    ward.days(390).days(1, GOOD, spoilt)
    [repair] = ward.patient.kinds("repair")
    assert (repair.rule, repair.action, repair.back_to, repair.changes) == ("non_finite", "back", 300, {})


def test_a_rule_that_may_not_act_holds_no_other_back():
    """An encoder without guidance: the search draws the rate, and nobody draws the guidance."""
    slow = LOOK | {"update/encoder": -6.0}
    ward = restrained("learning_rate", planned=2000).days(600, UNALIGNED, probe=slow)
    assert {row[2] for row in told_of(ward, "dead_module")} == {"searched"}
    assert ward.patient.kinds("repair")[0].rule == "poor_alignment"


def test_a_start_anew_for_want_of_sound_weights_changes_no_searched_rate():
    ward = restrained("learning_rate").days(60)
    ward.days(40, GOOD, STEP | {"unweighted_loss": 3.0})
    assert ward.patient.kinds("repair", "end") == []
    assert {row.action for row in ward.patient.rows} == {"searched"}


def test_where_a_run_cannot_go_on_it_is_given_up_as_ever():
    ward = restrained("learning_rate", "batch_size", "grad_clip_thresh").days(300)
    with pytest.raises(GivenUp, match="nothing is left") as end:
        for _ in range(40):
            ward.fix.not_finite(INFINITE, [])
    assert end.value.state == "PRUNED"
    assert [(row.action, row.changes) for row in ward.patient.kinds("repair")] == [("back", {})] * 2
    ward = restrained("batch_size")
    ward.fix.out_of_memory("does not fit")  # the batch stays as it was drawn
    assert ward.fix.settings() == START | {"micro_batches": 2}


@pytest.mark.parametrize(("value", "repairs"), [(5.0, []), (5.1, ["poor_alignment"])])
def test_a_trial_in_the_better_half_is_left_alone(value, repairs):
    ward = restrained(medians={100: 9.0, 200: 5.0, 300: 1.0}).days(200, UNALIGNED)
    ward.fix.judged(200, value)
    ward.days(60, UNALIGNED)
    assert [row.rule for row in ward.patient.kinds("repair")] == repairs
    if not repairs:
        [alarm] = ward.patient.rows
        assert (alarm.action, alarm.action_values) == (
            "better_half",
            {"value": 5.0, "median": 5.0, "step": 200},
        )
        ward.fix.judged(260, 5.1)  # it has fallen behind
        ward.days(40, UNALIGNED)
        assert [row.rule for row in ward.patient.kinds("repair")] == ["poor_alignment"]


def test_whatever_others_reached_data_code_and_resources_are_repaired():
    ward = restrained(medians={100: 9.0}).days(100)
    ward.fix.judged(100, 1.0)
    ward.fix.out_of_memory("does not fit")
    ward.fix.not_finite(INFINITE, ["clip"])
    assert [row.rule for row in ward.patient.kinds("repair")] == ["out_of_memory", "non_finite"]


def test_advice_says_what_would_be_done_and_does_nothing():
    ward = restrained(advises=["poor_alignment"]).days(900, UNALIGNED)
    [alarm] = [row for row in ward.patient.rows if row.rule == "poor_alignment"]
    assert (alarm.kind, alarm.step, alarm.action) == ("alarm", 250, "advised")
    english, russian = (
        Words(language).sentence(alarm.rule, alarm.action, alarm.action_values) for language in ("en", "ru")
    )
    assert english == "only advised: start over, guided, with as many frames a step as the weights serve"
    assert russian.startswith("только совет: начать заново, направляя внимание")
    assert ward.patient.kinds("repair", "end") == []
    assert ward.fix.settings() == START


def test_advice_ends_a_trial_only_where_it_cannot_go_on():
    every = [rule.name for rule in RULES]
    cut = LOOK | {"silent/encoder": 4.0}
    ward = restrained(advises=every).days(100, GOOD, STEP, cut)
    assert ENGLISH.sentence("integrity", "advised", ward.patient.rows[0].action_values) == (
        "only advised: end the trial"
    )
    for _ in range(3):
        ward.fix.not_finite(INFINITE, ["clip"])  # passed over, and not left out for good
    with pytest.raises(GivenUp, match="only advised: start over with a tenth"):
        ward.fix.not_finite(INFINITE, [])
    with pytest.raises(GivenUp, match="only advised: compute each batch in 2 parts"):
        restrained(advises=every).fix.out_of_memory("does not fit")
    assert ward.patient.done == []


def test_it_is_another_policy_what_only_advises_and_not_that_of_before():
    hashes = [policy_hash(RULES, SIGNALS, advises) for advises in (None, (), ("plateau",), ["plateau"])]
    assert hashes[0] == AT_B90B045
    assert hashes[2] == hashes[3]
    assert len(set(hashes)) == 3


def test_where_going_back_is_too_dear_no_searched_setting_is_changed_from_here_either():
    ward = restrained("grad_clip_thresh", planned=400).days(95)
    with pytest.raises(GivenUp, match="nothing is left"):
        for _ in range(40):
            ward.fix.not_finite(INFINITE, [])
    assert [row.back_to for row in ward.patient.kinds("repair")] == [0]
    assert ward.fix.settings().grad_clip_thresh == START["grad_clip_thresh"]


def test_an_effect_does_not_wait_for_a_cause_that_only_advises():
    ward = restrained(advises=["slow"], rules=(Quick(), Slow())).days(100)
    assert [row.rule for row in ward.patient.kinds("repair")] == ["quick"]
    assert [row[2] for row in told_of(ward, "slow")] == ["advised"]


class Returning(Slow):
    """Knows nothing but to go back."""

    def remedies(self, settings):
        return [Action("back_in_another_order", back_to="good")]


def test_without_weights_to_go_back_to_a_search_of_the_rate_is_left_to_judge():
    ward = restrained("learning_rate", rules=(Returning(),)).days(90)
    assert told_of(ward, "returning") == [("alarm", ward.patient.rows[0].step, "searched")]


# By what the run itself is worth


def beside(peers, *, worst=10.0, value=None, rules=RULES, searched=("batch_size",), **more):
    """A ward as studies of now have it: sound trials are known, or none are."""
    restraint = Restraint(frozenset(searched), peers=peers, **more)
    ward = Ward(rules, restraint=restraint, planned=2000, worst=worst)
    ward.patient.value = value
    return ward


def first_row(ward, rule="poor_alignment"):
    row = next(row for row in ward.patient.rows if row.rule == rule)
    return row.kind, row.action


@pytest.mark.parametrize(
    ("value", "row"),
    [(9.7, ("alarm", "doing_well")), (9.9, ("repair", "anew_guided")), (None, ("repair", "anew_guided"))],
)
def test_without_peers_a_run_that_says_something_is_only_told_of(value, row):
    assert first_row(beside({}, value=value).days(600, UNALIGNED)) == row


class Hesitant(Slow):
    hesitates = True


def test_where_nothing_is_searched_only_a_rule_that_hesitates_asks_how_the_run_does():
    for rule, kind in ((Slow(), "repair"), (Hesitant(), "alarm")):
        alone = beside({}, value=9.7, rules=(rule,), searched=()).days(100)
        assert first_row(alone, rule.name)[0] == kind
        assert first_row(beside({}, value=9.7, rules=(rule,)).days(100), rule.name) == ("alarm", "doing_well")
    assert [rule.name for rule in RULES if rule.hesitates] == ["oversized_steps", "overgrown_steps"]


class OnlyLost(Slow):
    only_lost = True


@pytest.mark.parametrize(("value", "row"), [(9.7, ("alarm", "worth_something")), (9.9, ("repair", "treat"))])
def test_a_rule_for_lost_runs_leaves_alone_what_is_worth_something(value, row):
    alone = beside({}, value=value, rules=(OnlyLost(),), searched=()).days(100)
    assert first_row(alone, "only_lost") == row
    assert [rule.name for rule in RULES if rule.only_lost] == ["lost_alignment"]


def test_an_alarm_that_stands_to_the_end_has_the_voice_heard_once(monkeypatch):
    ward, heard = beside({}, value=5.0, rules=(OnlyLost(),), searched=()), []
    monkeypatch.setattr(ward.patient, "worth", lambda: heard.append(1) or 5.0)
    ward.days(1500)
    assert first_row(ward, "only_lost") == ("alarm", "worth_something") and len(heard) == 1


def test_a_run_that_was_repaired_once_is_not_taken_for_a_sound_one():
    ward = beside({}, value=9.7, rules=(Divergence(), Hesitant()), searched=()).days(400)
    assert first_row(ward, "hesitant") == ("alarm", "doing_well")
    ward.days(600, GOOD, STEP | {"unweighted_loss": 3.0})
    rows = [(row.kind, row.rule) for row in ward.patient.rows]
    assert ("repair", "hesitant") in rows[rows.index(("repair", "divergence")) :]


def test_a_run_that_has_lost_what_it_was_worth_is_repaired():
    ward = beside({}, value=5.0).days(400)
    ward.fix.judged(400, 5.0)
    ward.patient.value = 5.6
    ward.days(10, GOOD, STEP | {"unweighted_loss": 3.0})
    assert first_row(ward, "divergence")[0] == "repair"
    kept = beside({}, value=5.4).days(400)
    kept.fix.judged(400, 5.0)
    kept.days(10, GOOD, STEP | {"unweighted_loss": 3.0})
    assert first_row(kept, "divergence") == ("alarm", "doing_well")


def test_what_one_rule_heard_before_the_fault_does_not_answer_another():
    ward = beside({}, value=5.0, rules=(Slow(), Divergence())).days(400)
    assert first_row(ward, "slow") == ("alarm", "doing_well")
    asked = ward.fix._asked["slow"]
    ward.patient.value = 9.0  # as the very next step has it
    ward.days(6, GOOD, STEP | {"unweighted_loss": 3.0})
    assert ward.fix.health.step < asked + ward.fix.health.pace.validate_every
    assert first_row(ward, "divergence")[0] == "repair"


@pytest.mark.parametrize(
    ("diagonal", "row"), [(0.1, ("alarm", "like_peers")), (0.5, ("repair", "anew_guided"))]
)
def test_a_rule_of_a_higher_level_acts_on_what_lies_outside_of_its_peers(diagonal, row):
    """However well the run does: others do better."""
    peers = {"diagonal_score": {100: (0.0, 0.0), 400: (diagonal, 0.05)}}
    ward = beside(peers, value=5.0).days(600, UNALIGNED)
    assert first_row(ward) == row


def test_where_its_own_measure_is_not_known_of_peers_their_values_are():
    near, far = ({"value": {400: (value, 0.1)}} for value in (9.0, 5.0))
    assert first_row(beside(near, value=9.9).days(600, UNALIGNED)) == ("alarm", "like_peers")
    assert first_row(beside(far, value=9.9).days(600, UNALIGNED)) == ("repair", "anew_guided")


def test_a_control_is_left_alone_but_for_what_stops_it():
    ward = beside({}, control=True).days(600, UNALIGNED)
    ward.fix.out_of_memory("does not fit")
    assert first_row(ward) == ("alarm", "control")
    assert [row.rule for row in ward.patient.kinds("repair")] == ["out_of_memory"]


class Asked(Patient):
    """Counts how often it was asked what it is worth, which is dear."""

    times = 0

    def worth(self):
        self.times += 1
        return 9.7


def test_a_run_is_asked_what_it_is_worth_once_between_two_validations():
    ward = beside({})
    ward.fix._run = asked = Asked()
    ward.days(400, GOOD)
    assert asked.times == 0
    ward.days(100, GOOD, STEP | {"unweighted_loss": 3.0})
    assert 0 < asked.times <= 100 / 25 + 1


def test_what_is_eased_is_judged_by_the_run_and_the_rule_alone_judges_nothing():
    """Attention is diagonal since, and the voice as mute as before."""
    ward = beside({}, value=10.0).days(525, UNALIGNED)
    assert first_row(ward) == ("repair", "anew_guided")
    mute = ward.days(200).patient.kinds("verdict")
    assert [row.verdict for row in mute] == ["eased"]
    ward.fix.conclude()
    assert ward.patient.rows[-1].verdict == "unknown"
    heard = beside({}, value=10.0).days(525, UNALIGNED)
    heard.patient.value = 6.0
    [verdict] = heard.days(200).patient.kinds("verdict")
    assert (verdict.verdict, verdict.action, verdict.action_values["measure"]) == (
        "improved",
        "heard_kept",
        "value",
    )
    assert (verdict.action_values["found"], verdict.action_values["expected"]) == (6.0, 10.0)


def worth_less_in_the_end():
    """A ward that was worth more and more, and then nothing."""
    ward = beside({}, value=10.0).days(100, UNALIGNED)
    for step, value in ((100, 8.0), (200, 7.0), (300, 6.5), (500, 10.0)):
        ward.days(step - ward.step, UNALIGNED)
        ward.patient.value = value
        ward.fix.judged(ward.step, value)
    return ward


def test_what_did_harm_is_undone_and_its_rule_only_tells_from_then_on():
    """Begun anew, the run is worth less at the same age than it was."""
    ward = worth_less_in_the_end()
    ward.days(25, UNALIGNED)
    repair = ward.patient.kinds("repair")[0]
    assert (repair.rule, repair.back_to) == ("poor_alignment", 0)
    ward.patient.value = 9.9
    ward.days(200)
    verdict = ward.patient.kinds("verdict")[-1]
    assert (verdict.verdict, verdict.action) == ("harm", "heard_undone")
    assert 0 < verdict.back_to <= repair.step
    assert ward.fix.settings().guided_attention_weight == 0.0
    ward.fix.health.milestone_at = None
    ward.days(300, UNALIGNED)
    assert [row.action for row in ward.patient.rows if row.rule == "poor_alignment"][-1] == "did_harm"


class Guiding(Slow):
    """Would change what poor_alignment changed, as it did."""

    def remedies(self, settings):
        return [Action("guide", {"guided_attention_weight": 2.0})]


def test_what_did_harm_is_not_done_again_by_another_rule():
    ward = worth_less_in_the_end()
    assert not ward.days(25, UNALIGNED).fix._did_harm(Guiding())
    ward.patient.value = 9.9
    ward.days(200)
    assert ward.patient.kinds("verdict")[-1].verdict == "harm"
    assert ward.fix._did_harm(Guiding()) and not ward.fix._did_harm(Slow())


def test_no_rule_ends_a_run_that_is_worth_something():
    for value, kinds in ((5.0, []), (10.0, ["end"])):
        ward = beside({"diagonal_score": {100: (1.0, 0.0)}}, value=value)
        ward.fix._rules = tuple(stubborn(rule) for rule in RULES if rule.name == "stuck_attention")
        with suppress(GivenUp):
            ward.days(1900, UNALIGNED)
        assert [row.kind for row in ward.patient.kinds("end")] == kinds
