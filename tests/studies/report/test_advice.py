"""Advice is made from what a study has shown: other evidence, other advice; without any, none of it."""

import uuid
from contextlib import closing

import optuna
import pytest

from smart_tuner.notify.telegram.messages import message
from smart_tuner.repair.rule import Entry
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage
from studies.file.spec import load
from studies.report.advice import advice
from studies.run.study import open_study

SPACE = {"learning_rate": optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)}


class Shown:
    """A study whose trials ended as a test says."""

    def __init__(self, storage):
        self.storage = storage
        self.study = open_study(load("quickstart"), storage)
        self.uid = self.study.user_attrs["uid"]

    def trial(self, rate, rule=None, *entries, value=6.0):
        trial = self.study.ask(fixed_distributions=SPACE) if rate is None else self._with(rate)
        repairs = TrialRepairs(self.storage, self.uid, trial.number, "policy")
        for entry in entries:
            repairs.add(entry)
        if rule is None:
            self.study.tell(trial, value)
        else:
            repairs.add(entry_of("end", rule))
            trial.set_user_attr("ended_by", {"rule": rule})
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def _with(self, rate):
        self.study.enqueue_trial({"learning_rate": rate})
        return self.study.ask(fixed_distributions=SPACE)

    def advice(self, rule):
        return advice(self.study, rule)


def entry_of(kind, rule, reason="seen", **more):
    return Entry(kind, 100, rule, 5, 8, reason, {"diagonal_score": 0.02}, **more)


@pytest.fixture
def shown(tmp_path):
    with closing(open_storage(f"sqlite:///{tmp_path}/{uuid.uuid4().hex}.db")) as storage:
        yield Shown(storage)


@pytest.mark.parametrize(("bad", "good", "side"), [(0.05, 0.001, "above"), (0.0002, 0.01, "below")])
def test_a_value_that_tells_bad_trials_from_good_ones_is_named(shown, bad, good, side):
    for factor in (1.0, 1.2):
        shown.trial(bad * factor, "poor_alignment")
        shown.trial(good * factor)
    found = shown.advice("poor_alignment")["split"]
    assert (found["name"], found["side"], found["bad"], found["good"]) == ("learning_rate", side, 2, 2)
    assert found["good_bound"] == pytest.approx(good * (1.2 if side == "above" else 1.0))


def test_values_that_overlap_are_not_named(shown):
    for rate, rule in [(0.01, "poor_alignment"), (0.02, None), (0.03, "poor_alignment"), (0.04, None)]:
        shown.trial(rate, rule)
    assert shown.advice("poor_alignment")["split"] is None


def test_one_trial_of_a_side_tells_nothing(shown):
    shown.trial(0.05, "poor_alignment")
    shown.trial(0.001)
    shown.trial(0.002)
    assert shown.advice("poor_alignment")["split"] is None


def test_what_helped_another_trial_is_named(shown):
    repair = entry_of("repair", "poor_alignment", changes={"guided_attention_weight": (0.0, 1.0)})
    shown.trial(0.01, None, repair, entry_of("verdict", "poor_alignment", verdict="improved", parent=1))
    shown.trial(0.02, "poor_alignment")
    found = shown.advice("poor_alignment")
    assert found["helped"] == {"guided_attention_weight": (0.0, 1.0)}
    assert found["tried"] == {"improved": 1, "no_effect": 0, "harm": 0}
    assert (found["ended"], found["finished"]) == (1, 2)


def test_what_did_not_help_is_not_named(shown):
    repair = entry_of("repair", "poor_alignment", changes={"guided_attention_weight": (0.0, 1.0)})
    verdict = entry_of("verdict", "poor_alignment", verdict="no effect", parent=1)
    shown.trial(0.02, "poor_alignment", repair, verdict)
    assert shown.advice("poor_alignment")["helped"] is None


def test_clips_that_were_left_out_are_named(shown):
    shown.trial(0.02, "faulty_clips", entry_of("repair", "faulty_clips", clips=("c1", "c2")))
    assert shown.advice("faulty_clips")["clips"] == ["c1", "c2"]


def test_another_evidence_is_another_advice(shown):
    told = []
    for rates in [(0.05, 0.06), (0.07, 0.08)]:
        for rate in rates:
            shown.trial(rate, "poor_alignment")
            shown.trial(rate / 100)
        facts = {"study": "quickstart", "trial": None, **shown.advice("poor_alignment")}
        told.append([message("advice", language, facts) for language in ("en", "ru")])
    assert len({text for both in told for text in both}) == 4
    assert "space.learning_rate" in told[0][0] and "space.learning_rate" in told[0][1]


def test_without_an_end_that_counts_there_is_no_advice(shown):
    shown.trial(0.02)
    assert shown.advice("poor_alignment") is None
