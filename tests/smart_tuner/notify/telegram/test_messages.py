"""All that can be told is told in both languages, from the language, within Telegram's limits."""

import ast
import math
import re
import string
from dataclasses import fields
from pathlib import Path

import pytest

from model.settings import Settings
from objectives.signals import WORDS
from smart_tuner.notify.telegram.format import LONGEST_CAPTION, plain, split, units
from smart_tuner.notify.telegram.language import PHRASES
from smart_tuner.notify.telegram.messages import KINDS, Words, message
from smart_tuner.repair.words import LANGUAGES

ROOT = Path(__file__).parents[4]
CYRILLIC = re.compile("[А-Яа-яЁё]")
REPAIR = {
    "entry": "repair",
    "step": 1400,
    "rule": "poor_alignment",
    "priority": 8,
    "reason": "no_shrink",
    "evidence": {"diagonal_score": 0.24, "bound": 0.3, "steps": 1400, "penalty": 0.5, "of_constant": 0.9},
    "action": "guide_harder",
    "action_values": {},
    "changes": {"guided_attention_weight": (1.0, 2.0)},
    "back_to": 1000,
    "ramp": 50,
    "clips": [f"clip{n}" for n in range(40)],
    "remedy": 1,
    "verify_at": 1900,
}
BEST = {
    "number": 23,
    "value": 5.81,
    "repairs": 2,
    "letters": 34,
    "recordings": 88,
    "mos": "2.1",
    "recordings_mos": "2.6",
}
WHOLE = {
    "done": 12,
    "budget": 40,
    "states": {"complete": 8, "pruned": 3, "fail": 1, "running": 0},
    "repaired": 4,
    "hours": 3.25,
    "best": BEST,
    "unassisted": {"number": 11, "value": 6.02, "repairs": 0},
    "fresh": {"number": 12, "value": 5.9, "repairs": 0},
    "copy_synthesis": 1.15,
}
SPLIT = {
    "name": "learning_rate",
    "side": "above",
    "bad_bound": 0.01,
    "good_bound": 0.004,
    "bad": 3,
    "good": 4,
}
ADVICE = {
    **{name: REPAIR[name] for name in ("rule", "reason", "evidence", "clips")},
    "ended": 3,
    "finished": 7,
    "tried": {"improved": 1, "no_effect": 3, "harm": 0},
    "split": SPLIT,
    "helped": {"guided_attention_weight": (0.0, 1.0)},
    "batch": {"batch": 32, "parts": 4},
    "skipped": "3 silent, of 812 clips",
    "command": "run_study.py fixes ru --explain",
}
FACTS = {
    "study_gone": [{}],
    "study_start": [{"done": done, "budget": 40, "searched": ["learning_rate"]} for done in (0, 3)],
    "study_end": [WHOLE, WHOLE | {"best": None, "unassisted": None, "fresh": None, "copy_synthesis": None}],
    "study_stop": [
        WHOLE | {"why": why, "detail": "its last 5 trials failed", "command": "run_study.py resume ru"}
        for why in ("stop", "pause", "signal", "failures", "lost", "fault")
    ],
    "best": [BEST | {"was": 6.02, "at_step": 400, "sound": True}, BEST | {"was": None, "at_step": 400}],
    "fix": [REPAIR, REPAIR | {"changes": {}, "back_to": None, "ramp": 0, "clips": [], "verify_at": None}],
    "critical": [
        REPAIR
        | {
            "rule": "divergence",
            "reason": "leapt",
            "evidence": {"usual": 1, "unweighted_loss": 3, "steps": 5},
        },
        REPAIR | {"rule": "integrity", "entry": "end", "reason": "cut", "evidence": {"silent": "encoder"}},
    ],
    "warning": [REPAIR | {"entry": "alarm", "action": "skip_batch"}],
    "verdict": [
        REPAIR | {"verdict": v, "action": a, "changes": c, "back_to": b, "repair_step": 1400, **numbers}
        for v in ("improved", "no effect", "harm")
        for a, c, b in (("kept", {}, None), ("taken back", {"batch_size": (2, 1)}, None), ("undone", {}, 900))
        for numbers in (
            {
                "before": {"diagonal_score": 0.21, "unweighted_loss": "nan"},
                "after": {"diagonal_score": 0.46, "unweighted_loss": 0.5},
            },
            {"before": {}, "after": {}},
        )
    ],
    "trial_bad": [
        {"state": state, "reason": "English", "ended": {"code": code, "values": values}, **curve}
        for state, code, values, curve in (
            ("PRUNED", "behind", {"step": 300}, {"value": 9.4, "median": 7.1}),
            ("FAIL", "worker_died", {"times": 4}, {"value": None, "median": None}),
            ("PRUNED", "given_up", {"rule": "collapse", "action": "many_repairs", "repairs": 5}, {}),
        )
    ],
    "advice": [
        ADVICE,
        ADVICE | {"split": SPLIT | {"side": "below"}, "helped": None, "clips": [], "batch": None},
        ADVICE | {"split": None, "skipped": None, "tried": dict.fromkeys(ADVICE["tried"], 0)},
    ],
    "digest": [
        {
            "counts": dict.fromkeys(
                ("done", "budget", "running", "fixes", "improved", "undone", "pending"), 3
            ),
            "best": b,
        }
        for b in (BEST, None)
    ],
}
EVENTS = [(kind, facts) for kind, several in FACTS.items() for facts in several]


def told(kind, language, facts, **options):
    return message(kind, language, {"study": "ru <base>", "trial": 7, "words": WORDS, **facts}, **options)


def test_every_kind_has_an_example():
    assert FACTS.keys() == KINDS.keys()


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize(("kind", "facts"), EVENTS)
def test_every_event_is_told_in_each_language(kind, facts, language):
    markup = told(kind, language, facts, held=2)
    assert "{" not in markup and "#" not in plain(markup)
    assert "ru &lt;base&gt;" in markup
    assert bool(CYRILLIC.search(markup)) is (language == "ru")
    assert split(markup) == [markup] and units(plain(markup)) <= LONGEST_CAPTION
    assert "None" not in markup


def test_a_russian_message_is_russian_but_for_names():
    text = plain(told("fix", "ru", REPAIR))
    english = set(re.findall(r"[a-z]{3,}", text)) - {
        "base",
        "guided",
        "attention",
        "prenet",
        "clip",
        "poor_alignment",
    }
    assert english <= {"poor", "alignment"}


def test_a_repair_says_what_why_and_when_the_verdict_comes():
    text = plain(told("fix", "en", REPAIR))
    for part in ("1 → 2", "diagonal score 0.24 is below 0.3", "Verdict at step 1900", "weights of step 1000"):
        assert part in text


def test_phrases_have_the_same_places_in_both_languages():
    def places(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    for key, (english, russian_one) in PHRASES.items():
        assert places(english) == places(russian_one), key
        assert english != russian_one or not re.search("[A-Za-z]{3}", re.sub(r"{\w+}", "", english)), key


def test_every_phrase_is_used_and_every_used_phrase_is_there():
    texts = [
        (ROOT / file).read_text("utf-8")
        for file in (
            "smart_tuner/notify/telegram/messages.py",
            "studies/commands/chat.py",
            "studies/commands/notify.py",
        )
    ]
    literals = {
        node.value
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    starts = tuple(text for text in literals if text.endswith("_") and text.islower())
    verdicts_and_states = {
        "improved",
        "no effect",
        "harm",
        "eased",
        "unknown",
        "COMPLETE",
        "PRUNED",
        "FAIL",
        "RUNNING",
        "WAITING",
    }
    unused = [k for k in PHRASES if k not in literals | verdicts_and_states and not k.startswith(starts)]
    assert unused == []


def test_settings_and_measures_have_names():
    named = {key.removeprefix("setting.") for key in WORDS if key.startswith("setting.")}
    assert named == {field.name for field in fields(Settings)}
    assert all(CYRILLIC.search(russian) for _, russian in WORDS.values())


def test_a_row_of_version_0_1_is_told_with_its_sentences():
    old = {name: value for name, value in REPAIR.items() if name not in ("action_values", "remedy")}
    old |= {"reason": "diagonal score 0.24 is below 0.3", "action": "guide the attention", "rung": 1}
    bad = {"state": "PRUNED", "reason": "step 3: behind the other trials", "value": None, "median": None}
    end = {name: value for name, value in WHOLE.items() if name != "copy_synthesis"} | {"ceiling": 3.21}
    for language in LANGUAGES:
        assert "3.21" in message("study_end", language, {"study": "old", **end})
        text = plain(message("fix", language, {"study": "old", "trial": 1, **old}))
        assert "is below 0.3" in text and "guide the attention" in text and "2" in text.partition("1900")[0]
        assert bad["reason"] in message("trial_bad", language, {"study": "old", "trial": 1, **bad})


def test_a_small_value_is_told_with_the_digits_that_tell_it_from_another():
    assert Words("en", {"unit.value": ("", "")}).value(0.00042) == "0.00042"


@pytest.mark.parametrize("value", [math.pi, "nan", 0, 1e-9])
def test_numbers_are_short(value):
    text = Words("en").changes({"batch_size": (value, 1)})
    assert len(text) < 40
