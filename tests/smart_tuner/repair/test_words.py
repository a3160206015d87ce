"""Every code has its words in both languages, filled by values that are given; nothing is decided by them."""

import ast
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smart_tuner.repair import autofix, rules
from smart_tuner.repair.rule import Rule
from smart_tuner.repair.rules import RULES
from smart_tuner.repair.words import BUILT_IN, COMMON, LANGUAGES, REPORTED, Reason, Words, of_rules, reason

CYRILLIC = re.compile("[А-Яа-яЁё]")
FILES = [*sorted(Path(rules.__file__).parent.glob("*.py")), Path(autofix.__file__)]
OF_CLASSES = {type(rule).__name__: rule for rule in RULES}
MEASURED = {"loss", "grad_norm"}  # given with every step that was not finite


def texts(node):
    found = (each.value for each in ast.walk(node) if isinstance(each, ast.Constant))
    return {value for value in found if isinstance(value, str)}


def stated(function):
    """The codes of alarms and actions that a function makes: written there, or under a name."""
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("Alarm", "Action"):
            code = call.args[0]
            if isinstance(code, ast.Constant):
                yield code.value
            elif isinstance(code, ast.Name):
                bound = (node for node in ast.walk(function) if isinstance(node, ast.Assign))
                rows = (pair for node in bound for pair in pairs(node.targets[0], node.value))
                yield from (text for name, value in rows if name == code.id for text in sorted(texts(value)))


def pairs(target, value):
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        return [pair for both in zip(target.elts, value.elts, strict=True) for pair in pairs(*both)]
    return [(getattr(target, "id", ""), value)]


def made():
    """Each code, the rule that makes it or None, and the names in the function that does."""
    for file in FILES:
        for top in ast.parse(file.read_text("utf-8")).body:
            rule = OF_CLASSES.get(getattr(top, "name", ""))
            for function in (node for node in ast.walk(top) if isinstance(node, ast.FunctionDef)):
                yield from ((code, rule, texts(function)) for code in stated(function))


MADE = list(made())
OWN = [(rule, code, said) for rule in RULES for code, said in rule.words.items()]


IDS = [f"{code}-{rule.name if rule else None}-{number}" for number, (code, rule, _) in enumerate(MADE)]


@pytest.mark.parametrize(("code", "rule", "given"), MADE, ids=IDS)
def test_a_code_has_words_that_are_filled_by_what_is_given_with_it(code, rule, given):
    names = [code, *(f"{r.name}.{code}" for r in ([rule] if rule else RULES))]
    found = [BUILT_IN[name] for name in names if name in BUILT_IN]
    assert found
    for template in (template for both in found for template in both):
        assert fields(template) <= given | MEASURED


def fields(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@pytest.mark.parametrize(("key", "both"), BUILT_IN.items(), ids=BUILT_IN)
def test_both_languages_say_the_same(key, both):
    english, russian = both
    assert fields(english) == fields(russian)
    assert CYRILLIC.search(russian) or not re.search("[A-Za-z]", re.sub("{.*?}", "", english))
    assert not CYRILLIC.search(english)


def test_rules_have_names_and_no_words_that_nothing_says():
    said = {code for code, _, _ in MADE}
    assert [rule.name for rule in RULES if "title" not in rule.words] == []
    assert [(rule.name, code) for rule, code, _ in OWN if code not in said | {"title"}] == []
    program = {text for file in Path(autofix.__file__).parents[1].rglob("*.py") for text in constants(file)}
    ends = {"behind", "not_chosen", "impure", "not_finite", "out_of_memory", "no_value", "worker_died"}
    assert {key.removeprefix("end.") for key in COMMON if key.startswith("end.")} == ends
    assert {key for key in COMMON if "." not in key} - said - REPORTED - program == set()


def constants(file):
    return texts(ast.parse(file.read_text("utf-8"))) if file.name != "words.py" else set()


@dataclass(frozen=True)
class Rushing(Rule):
    """A rule of somebody's own, with words in English alone."""

    level, priority = 7, 1
    words: ClassVar = {
        "title": "rushed speech",
        "fast": "{pace:.1f} times too fast, in {measure}",
        "slow_down": "slow down",
    }


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_rule_brings_its_own_words(language):
    extra = {**of_rules([Rushing()]), "measure.pace": ("speed", "темп")}
    words = Words(language, extra)
    assert words.rule("rushing") == "rushed speech"
    named = {"en": "speed", "ru": "темп"}[language]
    assert words.sentence("rushing", "fast", {"pace": 2, "measure": "pace/start"}) == (
        f"2.0 times too fast, in {named} start"
    )
    assert words.sentence("rushing", "slow_down", {}) == "slow down"
    assert words.sentence("rushing", "halve_rate_by_some_name", {}) == "halve_rate_by_some_name"
    assert (
        words.sentence("rushing", "back_and_halve_rate", {})
        == COMMON["back_and_halve_rate"][LANGUAGES.index(language)]
    )


def test_a_sentence_of_version_0_1_is_told_as_it_is():
    seen = "poor_alignment", "diagonal score 0.24 is below 0.3", {"gradient/prenet": 1e-9, "norm": "nan"}
    assert all(Words(language).sentence(*seen) == seen[1] for language in LANGUAGES)
    assert Words("ru").end(Reason("step 3: behind the other trials")) == "step 3: behind the other trials"


def test_an_end_is_told_in_both_languages_and_kept_in_english():
    why = reason("behind", step=300)
    assert str(why) == "step 300: behind the other trials"
    assert Words("ru").end(why) == "шаг 300: отстаёт от других испытаний"
    values = {"rule": "collapse", "action": "many_repairs", "repairs": 5, "step": 9}
    given_up = Reason("the whole story", "given_up", values)
    assert Words("en").end(given_up) == "attention was lost: 5 repairs were made"
    assert given_up.rule == "collapse" and why.rule is None


NAMES = st.sampled_from(["a", "b", "measure", "0", "x"])
TEMPLATES = st.text(st.sampled_from("ab0x {}:.%!g1e[]"), max_size=12) | st.text(max_size=9)
VALUES = st.dictionaries(NAMES, st.integers() | st.just(10**400) | st.floats() | st.text(max_size=4))


@given(TEMPLATES, VALUES)
def test_whatever_words_and_values_come_from_outside_something_short_is_said(template, values):
    said = Words("en", {"mine.code": [template, template]}).sentence("mine", "code", values)
    assert len(said) <= len(template) * 400 + 1000


@pytest.mark.parametrize(
    "template", ["{a.__class__}", "{a:>999999999}", "{a:{b}}", "{a!r:.3f}", "{", "{}", "{0[x]}"]
)
def test_a_template_can_reach_nothing_but_its_values(template):
    said = Words("en", {"mine.code": [template, template]}).sentence(
        "mine", "code", {"a": 1.5, "b": 99999999}
    )
    assert len(said) < 30 and "class" not in said.replace(template, "")


def test_a_language_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="not in"):
        Words("xx")
