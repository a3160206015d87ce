"""Rules on runs that are no speech: little is measured, few settings may change, some ways are missing."""

import math
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pytest

from model.settings import Settings
from objectives.signals import SIGNALS
from smart_tuner.repair.autofix import AutoFix, GivenUp
from smart_tuner.repair.health import Health, Pace, Signal
from smart_tuner.repair.rule import Hyperparameters
from smart_tuner.repair.rules import RULES

RATE = {"learning_rate": 0.1}
LIMITS = {"learning_rate": (1e-5, 1.0), "batch_size": (1, 64), "weight_decay": (0.0, 1.0)}
ALL_WAYS = frozenset({"roll_back", "reinitialise", "exclude"})


@dataclass
class Course:
    """A run that measures only its loss, by default, and that may always go back."""

    start: dict = field(default_factory=lambda: RATE)
    signals: dict = field(default_factory=dict)
    ways: frozenset = frozenset({"roll_back"})
    planned: int = 1000

    def __post_init__(self):
        self.step, self.rows, self.done = 0, [], []
        health = Health(Pace(self.planned, 25), self.signals)
        self.fix = AutoFix(self, self.start, RULES, LIMITS, 100, health, self.record)
        self.fix.saved(0)

    def roll_back(self, step):
        self.done.append(step)

    def reinitialise(self, part):
        self.done.append(part)

    def exclude(self, clips):
        self.done.append(tuple(clips))

    def worth(self):
        return None

    def record(self, entry):
        self.rows.append(replace(entry, seq=len(self.rows) + 1))
        return self.rows[-1]

    def go(self, losses, probe=None, **measured):
        """Steps of these losses; what else is `measured` is known of every validation."""
        for loss in losses:
            self.step += 1
            measures = {"loss": float(loss), "unweighted_loss": float(loss)}
            if "grad_norm" in measured:
                measures["grad_norm"] = measured["grad_norm"]
            self.fix.stepped(self.step, measures, probe if self.step % 20 == 0 else None)
            if self.step % 25 == 0:
                self.fix.validated(self.step, {k: v for k, v in measured.items() if k != "grad_norm"})
            if self.step % 100 == 0 or self.fix.changed:
                self.fix.saved(self.step)
        return self

    def repairs(self):
        return [(row.rule, row.back_to, dict(row.changes)) for row in self.rows if row.kind == "repair"]


def noisy(count, level=1.0, spread=0.05, seed=0):
    return level * np.random.default_rng(seed).lognormal(0, spread, count)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("planned", [300, 3000])
def test_a_healthy_run_is_left_alone_however_its_loss_scatters(spread, planned):
    falling = 0.1 + np.exp(-5 * np.arange(planned) / planned)
    assert Course(planned=planned).go(falling * noisy(planned, spread=spread)).rows == []


@pytest.mark.parametrize("spread", [0.01, 0.3])
def test_a_loss_that_leaves_its_best_leads_back_to_good_weights(spread):
    course = Course().go(noisy(500, spread=spread)).go(noisy(60, 3.0, spread))
    assert course.repairs()[0][:2] == ("divergence", course.done[0])
    assert 200 <= course.done[0] <= 500


def test_a_negative_loss_says_nothing_of_divergence():
    assert Course().go(-5.0 * noisy(500)).go(-2.0 * noisy(100)).rows == []


def test_weights_that_are_poisoned_lead_back_at_once_with_half_the_rate_each_time():
    course = Course().go(noisy(450))
    for rate in (0.05, 0.025, 0.0125):
        course.go([math.nan]).go(noisy(70))
        [*_, (rule, back_to, changes)] = course.repairs()
        assert (rule, changes["learning_rate"][1]) == ("non_finite", pytest.approx(rate))
        assert course.done[-1] == back_to >= 200
    with pytest.raises(GivenUp, match="nothing is left") as end:
        course.go([math.inf])
    assert end.value.state == "PRUNED"


def test_a_poisoned_measure_is_never_remembered():
    course = Course(signals={"grad_norm": Signal()}).go(noisy(200), grad_norm=1.0)
    course.fix.stepped(201, {"loss": 1.0, "unweighted_loss": 1.0, "grad_norm": math.inf}, None)
    assert [rule for rule, *_ in course.repairs()] == ["non_finite"]
    assert course.fix.health.last("grad_norm") is None
    assert course.fix.health.best["grad_norm"] == 1.0


def test_where_there_is_no_way_back_poisoned_weights_end_the_trial():
    course = Course(ways=frozenset()).go(noisy(450))
    with pytest.raises(GivenUp, match="after 0 such repairs") as end:
        course.go([math.nan])
    assert end.value.state == "PRUNED"


def test_clips_that_cannot_be_left_out_are_no_clips_to_blame():
    course = Course().go(noisy(300))
    for _ in range(4):
        course.fix.not_finite({"loss": math.nan, "grad_norm": 1.0}, ["c7"])
    assert [row.kind for row in course.rows] == ["alarm"] * 3 + ["repair"]


@pytest.mark.parametrize(
    ("start", "sizes"), [(RATE, []), (RATE | {"batch_size": 32}, [16, 8, 4]), (RATE | {"batch_size": 2}, [1])]
)
def test_a_batch_that_does_not_fit_is_halved_if_its_size_may_change(start, sizes):
    course = Course(start)
    with pytest.raises(GivenUp, match="nothing is left"):
        for _ in range(4):
            course.fix.out_of_memory("does not fit")
    assert [changes["batch_size"][1] for _, _, changes in course.repairs()] == sizes
    assert all(isinstance(changes["batch_size"][1], int) for _, _, changes in course.repairs())


def test_without_probes_the_loss_is_summed_up_all_the_same_and_may_be_unstable():
    course = Course(planned=1000).go(noisy(400, spread=0.02)).go(noisy(200, spread=0.3))
    assert course.fix.health.best["loss_spread"] == pytest.approx(0.02, rel=0.5)
    assert course.repairs()[0] == ("unstable_loss", None, {"learning_rate": (0.1, pytest.approx(0.07))})


def test_exploding_gradients_need_no_more_than_their_norm():
    course = Course(signals={"grad_norm": Signal()}).go(noisy(450), grad_norm=1.0)
    course.go(noisy(40, 1.5), grad_norm=50.0)
    assert course.repairs()[0][0] == "exploding_gradient"
    assert course.repairs()[0][2] == {"learning_rate": (0.1, pytest.approx(0.01))}


def test_a_run_without_a_milestone_may_rest_on_a_plateau():
    course = Course(signals={"held_out": Signal()}, planned=4000)
    course.go(noisy(500), held_out=1.0)
    assert course.repairs()[0] == ("plateau", None, {"learning_rate": (0.1, 0.05)})
    idle = Course(start={"depth": 3}, signals={"held_out": Signal()}, planned=4000).go(
        noisy(500), held_out=1.0
    )
    assert idle.rows == []  # nothing could be done


def test_an_overfit_run_gets_more_of_the_weight_decay_that_it_has():
    known = {"held_out": Signal(), "value": Signal()}
    course = Course(RATE | {"weight_decay": 1e-3}, known, planned=4000)
    course.go(np.linspace(2, 1, 100), held_out=1.0, value=1.0)
    course.go(np.linspace(1, 0.5, 200), held_out=1.2, value=1.1)
    assert course.repairs()[0] == ("overfit", None, {"weight_decay": (1e-3, 1e-2)})


PROBED = {"update/": Signal(), "gradient/": Signal(), "silent/": Signal(), "unchanged/": Signal()}


@pytest.mark.parametrize(("after", "found"), [(0, "dead_module"), (250, None)])
def test_weights_that_hardly_move_are_dead_only_at_the_start(after, found):
    course = Course({"learning_rate": 1e-4}, PROBED).go(noisy(after), {"update/head": -2.5})
    course.go(noisy(100), {"update/head": -6})
    assert [rule for rule, *_ in course.repairs()] == ([found] if found else [])


def test_a_cut_graph_fails():
    course = Course(signals=PROBED)
    with pytest.raises(GivenUp, match="no gradient reaches head"):
        course.go(noisy(200), {"silent/head": 2.0, "unchanged/head": 0.0})


def test_a_part_of_zeros_is_no_fault_where_no_part_can_be_given_new_weights():
    grown = {"update/a": -2.0, "update/b": -2.0, "update/head": 0.5}
    assert Course(signals=PROBED).go(noisy(100), grown).rows == []


def test_narrow_batches_are_widened():
    course = Course(RATE | {"batch_size": 2}).go(noisy(100))
    assert course.repairs() == [("narrow_batch", None, {"batch_size": (2, 16)})]


def test_clips_stand_out_without_a_milestone_too():
    course = Course(signals={"clips": Signal()}, ways=ALL_WAYS).go(noisy(90))
    for _ in range(3):
        course.fix.health.note_clips({f"c{k}": (9.0 if k == 3 else 1.0, 0.0) for k in range(30)})
    course.go(noisy(10))
    assert course.done == [("c3",)]


def test_harm_is_taken_back_where_there_is_no_way_back():
    known = {"held_out": Signal()}
    course = Course(signals=known, ways=frozenset(), planned=4000).go(noisy(250), held_out=1.0)
    course.go(noisy(100), held_out=1.2)
    [verdict] = [row for row in course.rows if row.kind == "verdict"]
    assert (verdict.verdict, verdict.back_to) == ("harm", None)
    assert verdict.changes == {"learning_rate": (0.05, 0.1)}
    assert course.done == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_may_be_asked_what_it_would_do_where_no_setting_is_known(rule):
    for action in rule.remedies(Hyperparameters({})):
        assert action.code


def test_what_the_run_does_not_offer_leaves_rules_idle():
    offered = {"unweighted_loss", "learning_rate", "roll_back"}
    works = {rule.name for rule in RULES if not rule.missing(offered)}
    assert works == {"non_finite", "out_of_memory", "divergence", "unstable_loss"}
    assert {rule.name for rule in RULES if not rule.missing({*SIGNALS, *asdict(Settings()), *ALL_WAYS})} == {
        rule.name for rule in RULES
    }


def test_a_setting_without_limits_is_never_changed():
    course = Course(RATE | {"adam_eps": 1e-3}, PROBED).go(noisy(400), {"gradient/head": 1e-9})
    assert course.rows == []
