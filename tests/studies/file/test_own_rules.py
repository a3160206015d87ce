"""Rules of a user's own: named in a study file, imported only where somebody here named them."""

import itertools
import sys

import pytest

from objectives.signals import SIGNALS
from smart_tuner.repair.autofix import policy_hash
from smart_tuner.repair.rules import RULES
from studies.file.code import CodeError
from studies.file.sections import Rules
from studies.file.spec import Spec, SpecError, load

HEAD = """
from dataclasses import dataclass
from smart_tuner.repair.rule import Action, Alarm, Rule
"""
RUSHING = """
@dataclass(frozen=True)
class Rushing(Rule):
    level, priority = 6, 4
    min_ratio: float = 0.8
    patience: int = 2

    def sees(self, health, settings):
        return None
"""
NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module of such classes, and returns its name; no two tests share one."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(code):
        name = f"own_rules_{next(NUMBERS)}"
        (tmp_path / f"{name}.py").write_text(HEAD + code)
        return name

    return make


def with_rules(stored=False, **rules):
    return Spec.parse(load("quickstart").model_dump(mode="json") | {"rules": rules}, "test", stored)


def test_an_own_rule_is_asked_beside_the_others_with_the_studys_thresholds(module):
    named = f"{module(RUSHING)}:Rushing"
    spec = with_rules(extra=[named], thresholds={"rushing": {"min_ratio": 0.5}})
    rules = spec.rules.chosen([named])
    assert [rule.name for rule in rules] == [*(rule.name for rule in RULES), "rushing"]
    assert (rules[-1].min_ratio, rules[-1].patience) == (0.5, 2)
    assert named in spec.code
    assert spec.without_fixes().rules.chosen() == ()


def test_what_only_the_database_names_is_not_imported(module):
    name = module(RUSHING)
    stored = with_rules(True, extra=[f"{name}:Rushing"], thresholds={"rushing": {"min_ratio": 0.5}})
    assert Spec.parse_json(stored.model_dump_json()) == stored
    with pytest.raises(SpecError):  # which is explained by looking at what is sound in it
        Spec.parse(stored.model_dump(mode="json") | {"settings": {"wrong": 1}}, "test", True)
    with pytest.raises(CodeError, match=f"--use {name}:Rushing"):
        stored.rules.chosen()
    assert name not in sys.modules


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("class Rushing: ...", "is no subclass of Rule"),
        ("Rushing = 3", "is no subclass of Rule"),
        ("class Rushing(Rule):\n level, priority = 1, 1", "no subclass of Rule that sees something"),
        (RUSHING.replace("level, priority = 6, 4", "level = 6"), "has no priority: a whole number"),
        (RUSHING.replace("level, priority = 6, 4", "pass"), "has no level and no priority"),
        (RUSHING.replace("= 6, 4", "= 6, 4\n    tier = 'event'"), 'the tier "event"'),
        (RUSHING.replace(" = 0.8", ""), "each threshold needs a default"),
        ("", "cannot be imported"),
    ],
)
def test_a_class_that_cannot_be_asked_is_refused_by_its_key(module, code, wrong):
    with pytest.raises(SpecError, match=r"rules\.extra") as refused:
        with_rules(extra=[f"{module(code)}:Rushing"])
    assert wrong in str(refused.value)


def test_a_name_that_is_taken_is_refused(module):
    taken = f"{module(RUSHING.replace('Rushing', 'Plateau'))}:Plateau"
    with pytest.raises(SpecError, match="there is a rule plateau already"):
        with_rules(extra=[taken])
    with pytest.raises(SpecError, match="there is a rule rushing already"):
        with_rules(extra=[f"{module(RUSHING)}:Rushing", f"{module(RUSHING)}:Rushing"])


@pytest.mark.parametrize(
    ("thresholds", "wrong"),
    [
        ({"rushing": {"min_ration": 0.5}}, r"rules\.thresholds\.rushing\.min_ratio"),
        ({"rushing": {"patience": 0.5}}, "must be a whole number"),
        ({"rusher": {}}, r"nearest: rules\.thresholds\.rushing"),
    ],
)
def test_thresholds_of_an_own_rule_are_checked(module, thresholds, wrong):
    with pytest.raises(SpecError, match=wrong):
        with_rules(extra=[f"{module(RUSHING)}:Rushing"], thresholds=thresholds)


def test_an_own_rule_and_its_thresholds_are_part_of_the_policy(module):
    named = f"{module(RUSHING)}:Rushing"
    specs = (with_rules(), with_rules(extra=[named]))
    specs += (with_rules(extra=[named], thresholds={"rushing": {"min_ratio": 0.5}}),)
    hashes = {policy_hash(spec.rules.chosen([named]), SIGNALS) for spec in specs}
    assert len(hashes) == 3
    assert policy_hash(RULES, SIGNALS) in hashes


ADVICE = {"text_ignored", "plateau", "faulty_clips", "unlike_clips"}


@pytest.mark.parametrize(
    ("rules", "advises"),
    [
        ({}, ADVICE),
        ({"mode": "advise"}, {rule.name for rule in RULES}),
        ({"modes": {"plateau": "on", "collapse": "advise"}}, ADVICE - {"plateau"} | {"collapse"}),
        ({"mode": "advise", "modes": {"plateau": "on"}}, {rule.name for rule in RULES} - {"plateau"}),
    ],
)
def test_a_rules_own_mode_goes_before_that_of_all(rules, advises):
    chosen = Rules(**rules)
    assert chosen.advises(chosen.chosen()) == advises


def test_a_mode_of_a_rule_that_there_is_not_is_refused(module):
    with pytest.raises(
        SpecError, match=r"rules\.modes\.platau: is not known; nearest: rules\.modes\.plateau"
    ):
        with_rules(modes={"platau": "on"})
    with pytest.raises(SpecError, match=r"rules\.modes\.plateau"):
        with_rules(modes={"plateau": "off"})
    stored = with_rules(True, extra=[f"{module(RUSHING)}:Rushing"], modes={"rushing": "advise"})
    assert Spec.parse_json(stored.model_dump_json()) == stored
