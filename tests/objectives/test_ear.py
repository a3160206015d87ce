"""What a listener would understand: the same words count alike, and real speech is really heard."""

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.speech.espeak import EspeakVoice
from objectives import ear
from objectives.ear import Ear, EarError, normalised, recognizer_of

TEXTS = st.text(string.ascii_letters + "абвгдеё 0123456789 ,.!?'-\u0301+\u4e00")


@given(TEXTS, st.sampled_from(["en", "ru"]))
def test_what_is_normalised_has_no_case_or_punctuation_and_words_stay_so(text, language):
    plain = normalised(text, language)
    assert plain == plain.casefold() == " ".join(plain.split())
    assert any(c.isdigit() for c in plain) or normalised(plain, language) == plain
    assert all(c.isalnum() or c == " " for c in plain) and "ё" not in plain


@pytest.mark.parametrize(
    ("language", "one", "other"),
    [
        ("en", "Don't stop: 21 dogs!", "dont stop twenty-one dogs"),
        ("ru", "Ещё +Ёлка, 3 кота…", "еще елка три кота"),
        ("ru", "за\u0301мок", "Замок."),
        ("en", "say [[həlˈoʊ]] twice", "Say twice!"),
    ],
)
def test_the_same_words_are_the_same_however_they_are_written(language, one, other):
    assert normalised(one, language) == normalised(other, language)


SENTENCES = (
    "The happy child draws a cup.",
    "Can the teacher keep a map?",
    "Tomorrow we go to the big market.",
)


@pytest.fixture(scope="module")
def spoken():
    """As espeak-ng says them, at 22,050 Hz."""
    voice = EspeakVoice("en-us")
    return [(voice.say(text) / 32768).astype(np.float32) for text in SENTENCES]


@pytest.fixture(scope="module")
def hears(whisper):
    return Ear(str(whisper), "en")


def test_speech_is_understood_and_another_text_is_not(hears, spoken):
    right = hears(spoken, 22050, SENTENCES)
    swapped = hears(spoken, 22050, SENTENCES[1:] + SENTENCES[:1])
    assert right.cer < 0.35 and right.wer <= 0.6
    assert swapped.cer > 0.55
    assert hears(spoken, 22050, SENTENCES) == right  # always alike


def test_silence_says_nothing(hears, spoken):
    assert hears([spoken[0][:0]], 22050, SENTENCES[:1]).cer == 1.0


@pytest.mark.parametrize("recognizer", ["/nowhere/at/all", "no such name"])
def test_where_there_is_nothing_to_hear_with_it_is_said_what_to_do(recognizer):
    with pytest.raises(EarError, match="A name is fetched at its first use"):
        Ear(recognizer, "en")


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setattr(ear, "is_installed", lambda: False)
    with pytest.raises(EarError, match=r"'\.\[ear\]'"):
        Ear("base", "en")


def test_the_environment_comes_before_the_study(monkeypatch):
    monkeypatch.setenv(ear.VARIABLE, "none")
    assert recognizer_of("base") is None
    monkeypatch.setenv(ear.VARIABLE, "/a/folder")
    assert recognizer_of("none") == "/a/folder"
    monkeypatch.delenv(ear.VARIABLE)
    assert (recognizer_of("base"), recognizer_of("none")) == ("base", None)
