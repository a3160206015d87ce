"""Phonemes as input: what espeak-ng makes of a text, or what is given by hand."""

import sys
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.data.corpora.sentences import MANY, sentences
from model.speech import text as front_ends
from model.speech.text import END, FRONT_ENDS, PADDING, PHONEME_INPUT, FrontEnd, TextError, front_end_of

ENGLISH, RUSSIAN = front_end_of("en", PHONEME_INPUT), front_end_of("ru", PHONEME_INPUT)
both = st.sampled_from([ENGLISH, RUSSIAN])


def decoded(front_end, ids):
    return "".join(front_end.symbols[index] for index in ids)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The brave farmer paints a boat.", "ðə bɹˈeɪv fˈɑːɹmɚ pˈeɪnts ɐ bˈoʊt."),
        ("Hello - it's well-known!", "həlˈoʊ - ɪts wˈɛlnˈoʊn!"),
        ("12 (twelve)", "twˈɛlv (twˈɛlv)"),
    ],
)
def test_english_is_read_as_it_sounds_and_keeps_its_punctuation(text, read):
    assert ENGLISH.read(text) == read
    assert decoded(ENGLISH, ENGLISH.encode(text)) == read + END


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("замок", "zamˈok"),
        ("з+амок", "zˈɑmʌk"),
        ("за\u0301мок", "zˈɑmʌk"),
        ("з+амок и зам+ок в саду", "zˈɑmʌk ɪ zamˈok f sˈɑdu"),
        ("вол+ос, волос", "vʌɭˈos, vˈoɭʌs"),
        ("+Окна!", "ˈokna!"),
    ],
)
def test_a_stress_mark_moves_the_stress_and_reduces_the_vowel_that_loses_it(text, read):
    assert RUSSIAN.read(text) == read


def test_phonemes_by_hand_are_read_as_they_stand():
    assert ENGLISH.read("say [[həlˈoʊ]], friend") == "sˈeɪ həlˈoʊ, fɹˈɛnd"
    assert RUSSIAN.read("[[zˈɑmʌk]] стоит. [[ɪ]]") == "zˈɑmʌk stʌˈit. ɪ"
    assert ENGLISH.unknown("[[həlˈoʊ]] café") == {"é": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[ʘ]]", r"'\[\[ʘ\]\]' is read 'ʘ', where ʘ is no phoneme .* by hand, as in \[\[həlˈoʊ\]\]"),
        ("[[ˈ]] ...", "is empty"),
        ("[[]]", "is empty"),
        ("café", "no symbol for 'é'"),
        ("\ue000 [[a]] \ue000", r"no symbol for '\\ue000'"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text, message):
    with pytest.raises(TextError, match=message):
        ENGLISH.encode(text)


@given(st.data(), both)
def test_every_text_of_known_letters_has_phonemes(data, front_end):
    """As many words of one letter or of nonsense as there are: nothing is dropped, nothing unknown."""
    letters = [s for s in FRONT_ENDS[front_end.name].symbols if s.isalpha()]
    text = data.draw(st.text(st.sampled_from([*letters, *" '-,.!?"]), min_size=1, max_size=30))
    text += data.draw(st.sampled_from(letters))
    ids = front_end.encode(text)
    assert front_end.encode(text) == ids
    marks = [c for c in FRONT_ENDS[front_end.name].normalise(text) if c in ",.!?"]
    assert [c for c in decoded(front_end, ids) if c in ",.!?"] == marks


@given(both, st.integers(0, 500))
def test_sentences_have_a_stress_and_symbols_that_are_heard(front_end, seed):
    [text] = sentences(front_end.name, 1, seed, MANY)
    ids = front_end.encode(text)
    assert "ˈ" in decoded(front_end, ids)
    assert 0 < sum(i in front_end.spoken() for i in ids) < len(ids)


def test_marks_of_stress_and_length_are_not_waited_for():
    silent = {s for i, s in enumerate(ENGLISH.symbols) if i not in ENGLISH.spoken()}
    assert {PADDING, END, " ", ".", "ˈ", "ˌ", "ː", "ʲ"} <= silent
    assert not {"ə", "b", "ʃ"} & silent


def test_a_front_end_is_made_again_from_what_was_stored():
    stored = asdict(ENGLISH)
    assert stored["espeak"][0].isdigit()
    assert FrontEnd(**stored).encode("Hello.") == ENGLISH.encode("Hello.")


def test_without_espeak_phonemes_are_refused_and_letters_are_read(monkeypatch):
    front_ends._espeak.cache_clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    try:
        with pytest.raises(TextError, match=r"the extra espeak is not installed"):
            ENGLISH.encode("hello")
        assert front_end_of("en", "letters").encode("hello")
    finally:
        front_ends._espeak.cache_clear()
