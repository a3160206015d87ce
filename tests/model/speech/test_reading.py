"""Version 2 of the front ends: texts in the words that are spoken, and Russian ones with their stress."""

import hashlib
import json
import re
import sys
from contextlib import suppress
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.reading.__main__ import is_right, lines
from model.data.corpora.sentences import MANY, sentences
from model.network.tacotron2 import Tacotron2
from model.settings import SIZES, Settings
from model.speech import russian, stress
from model.speech.audio import MelSettings
from model.speech.english import spoken
from model.speech.lexicon import LexiconError, read_lexicon
from model.speech.text import (
    END,
    FRONT_ENDS,
    INVISIBLE,
    LETTERS,
    PHONEME_INPUT,
    FrontEnd,
    TextError,
    front_end_of,
)
from model.speech.voice import DESCRIPTION, Voice, load_voice, save_voice

RUSSIAN = front_end_of("ru", LETTERS, in_words=True, with_stress=True)
ENGLISH = front_end_of("en", LETTERS, in_words=True)
RUSSIAN_CHARACTERS = (
    "абвеёийосыьстАБСМ  0123456789.,:;-–—!?()\"«»+'/%№$€₽°²xvIXVabzGQ@_&#=*~\u0301\u00ad\u200b×½"
)
ENGLISH_CHARACTERS = "abdehimnorstxyABDIVX  0123456789.,:;-–—!?()\"'/%$€£¢°²@_&#+=*~\u00ad\u200b"

anything = st.one_of(
    st.tuples(st.just(RUSSIAN), st.text(max_size=30) | st.text(RUSSIAN_CHARACTERS, max_size=30)),
    st.tuples(st.just(ENGLISH), st.text(max_size=30) | st.text(ENGLISH_CHARACTERS, max_size=30)),
)
russian_words = st.text("абвгдежзийклмнопрстуфхцчшщъыьэюя", min_size=1, max_size=8)


def decoded(front_end, ids):
    return "".join(front_end.symbols[index] for index in ids)


@pytest.mark.parametrize("language", ["ru", "en"])
def test_most_lines_that_no_rule_was_made_on_are_read_rightly(language):
    front_end = RUSSIAN if language == "ru" else ENGLISH
    found = [is_right(front_end, text, read) for half, _, text, read in lines(language) if half == "held out"]
    assert len(found) == 100
    assert sum(found) >= 95


@given(anything)
def test_a_text_is_read_or_refused_and_reading_is_done_once(case):
    front_end, text = case
    unknown = None
    try:
        unknown = front_end.unknown(text)
        ids = front_end.encode(text)
    except TextError:
        return
    assert unknown == {}
    assert decoded(front_end, ids) == front_end.read(text) + END
    assert front_end.normalise(front_end.normalise(text)) == front_end.normalise(text)


@given(st.characters(exclude_categories=["Cs", "Cc", "Z"]), st.sampled_from([RUSSIAN, ENGLISH]))
def test_no_character_vanishes_unsaid(character, front_end):
    """What is neither a word afterwards nor punctuation nor invisible is told as unknown."""
    word = "дом" if front_end is RUSSIAN else "tree"
    text = f"{word} {character} {word}"
    if character in INVISIBLE or character in "'’‘ʼ\"«»„“”‟()-‐‑‒–—―,.:;!?… +\u0301":
        return
    if not front_end.unknown(text):
        assert len(front_end.normalise(text).split()) > 2


@given(st.lists(russian_words, min_size=1, max_size=4), st.data())
def test_marks_by_hand_stay_beside_numbers(words, data):
    vowels = [w for w in words if re.search("[аеиоуыэюя]", w)]
    marked = {w: re.sub("([аеиоуыэюя])", r"+\1", w, count=1) for w in vowels}
    text = " ".join(marked.get(w, w) for w in words) + data.draw(
        st.sampled_from([".", " 5 км.", ", 1945 год"])
    )
    read = RUSSIAN.read(text)
    for word in marked.values():
        assert word in re.split(r"[^\w+]+", read)


@given(st.sampled_from(["en", "ru"]), st.integers(0, 300))
def test_a_text_with_nothing_to_put_into_words_is_read_as_by_version_1(language, seed):
    [text] = sentences(language, 1, seed, MANY)
    front_end = front_end_of(language, LETTERS, in_words=True)
    assert front_end.encode(text) == FRONT_ENDS[language].encode(text)
    assert front_end.in_words(text) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("На горе стоит замок, а на двери замок.", "на гор+е сто+ит зам+ок, а на двер+и зам+ок."),
        ("З+амок и за\u0301мок", "з+амок и з+амок"),
        ("Зам+ок, еще елка", "зам+ок, ещ+ё +ёлка"),
        ("2 волоса и 2 вол+оса", "два в+олоса и два вол+оса"),
        ("21 книга № 3", "двадцать одн+а кн+ига н+омер три"),
        ("Пиши\u00adте\u200b нам", "пиш+ите нам"),
    ],
)
def test_stress_is_that_of_the_hand_or_of_the_model(text, read):
    assert RUSSIAN.read(text).replace("дв+адцать", "двадцать") == read


def test_torch_goes_on_to_train_with_all_its_threads():
    before = torch.get_num_threads()
    stress._accentor.cache_clear()
    torch.set_num_threads(2)
    try:
        sys.modules.pop("silero_stress.accentor", None)
        sys.modules.pop("silero_stress", None)
        stress.installed()
        assert torch.get_num_threads() == 2
        stress.marked("замок на горе", {}, by_model=True)
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled() and torch.get_default_dtype() is torch.float32
    finally:
        torch.set_num_threads(before)


def test_phonemes_come_after_words_and_stress():
    front_end = front_end_of("ru", PHONEME_INPUT, in_words=True, with_stress=True)
    assert front_end.read("Двери на замке, 2 замка.") == front_end.read("Двери на замке, два замка.")
    assert front_end.read("еще") == front_end.read("ещ+ё")
    assert front_end.read("5 [[ˈa]]") == "pʲˈɑtʲ ˈa"
    assert "ˈ" in front_end.read("видео-игра").partition("ɪɡ")[0]


@pytest.mark.parametrize(
    ("text", "mends"),
    [("cтол 5", {"c": "с"}), ("5 TAM", {"t": "т", "a": "а", "m": "м"}), ("5 ❤", {"❤": "write out"})],
)
def test_look_alikes_and_signs_are_refused_as_ever(text, mends):
    assert RUSSIAN.mends(text) == mends
    with pytest.raises(TextError, match="no symbol for"):
        RUSSIAN.encode(text)


@pytest.mark.parametrize("name", ["en", "ru"])
def test_invisible_characters_are_dropped_and_counted_by_version_2_alone(name):
    front_end, text = (
        (RUSSIAN, "да\u200bм\u00ad\u00ad") if name == "ru" else (ENGLISH, "ca\u200bt\u00ad\u00ad")
    )
    assert front_end.dropped(text) == {"\u200b": 1, "\u00ad": 2}
    assert front_end.encode(text) == front_end.encode(re.sub("[\u200b\u00ad]", "", text))
    assert FRONT_ENDS[name].dropped(text) == {}
    assert FRONT_ENDS[name].unknown(text) == {"\u200b": 1, "\u00ad": 2}


def test_a_lexicon_comes_before_the_model_and_after_the_hand(tmp_path):
    file = tmp_path / "lexicon.tsv"
    file.write_text("# mine\n\nтворог\tтв+орог\nGoogle\tгу\u0301гл\nхлеб-соль\tхлеб-с+оль\n", "utf-8")
    lexicon = read_lexicon(file)
    assert lexicon == (("google", "г+угл"), ("творог", "тв+орог"), ("хлеб-соль", "хлеб-с+оль"))
    front_end = front_end_of("ru", LETTERS, in_words=True, with_stress=True, lexicon=lexicon)
    assert front_end.read("Творог, твор+ог, Google.") == "тв+орог, твор+ог, г+угл."
    assert RUSSIAN.read("Творог") == "тв+орог"
    moved = front_end_of("ru", LETTERS, with_stress=True, lexicon=(("творог", "твор+ог"),))
    assert moved.read("Творог") == "твор+ог"
    alone = front_end_of("ru", LETTERS, lexicon=lexicon)
    assert alone.read("Творог и замок, хлеб-соль") == "тв+орог и замок, хлеб-с+оль"
    english = front_end_of("en", LETTERS, in_words=True, lexicon=(("nguyen", "win"),))
    assert english.read("Mr. Nguyen") == "mister win"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe", "Cannot read the lexicon"),
        ("творог".encode(), "Line 1: there is no tab"),
        ("а\tа\nдва слова\tдв+а".encode(), "Line 2: 'два слова' is not one word"),
        ("том\tт+ом\nТом\tтом".encode(), "Line 2: 'том' has two readings"),
    ],
)
def test_a_lexicon_that_cannot_be_used_is_refused_with_its_line(tmp_path, content, why):
    file = tmp_path / "lexicon.tsv"
    file.write_bytes(content)
    with pytest.raises(LexiconError, match=why):
        read_lexicon(file)


@pytest.mark.parametrize("reading", ["dog", "+тв"])
def test_a_reading_that_cannot_be_spoken_is_refused(reading):
    with pytest.raises(TextError, match=re.escape(reading[:2])):
        front_end_of("ru", LETTERS, lexicon=(("творог", reading),))


@pytest.mark.parametrize("package", ["ru_normalizr", "silero_stress"])
def test_without_the_extra_it_is_said_how_to_get_it_and_how_to_do_without(monkeypatch, package):
    russian._normalizer.cache_clear()
    stress._accentor.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    try:
        with pytest.raises(
            TextError, match=r"extra russian is not installed(.|\n)*\.\[russian\](.|\n)*stress = false"
        ):
            front_end_of("ru", LETTERS, in_words=True, with_stress=True)
        assert front_end_of("ru", LETTERS).encode("дом 5")
        assert front_end_of("en", LETTERS, in_words=True).encode("5 km")
    finally:
        russian._normalizer.cache_clear()
        stress._accentor.cache_clear()


def test_a_stored_front_end_is_made_again_with_its_steps_and_lexicon():
    lexicon = (("творог", "тв+орог"),)
    made = front_end_of("ru", LETTERS, in_words=True, with_stress=True, lexicon=lexicon)
    again = FrontEnd(**asdict(made))
    assert again == made
    assert again.otherwise() == []
    assert again.encode("Творог, 5 %") == made.encode("Творог, 5 %")
    other = FrontEnd(**{**asdict(made), "words": "ru-normalizr 0.1"})
    assert other.otherwise() == [f"trained with ru-normalizr 0.1, read with {made.words}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Room 407, flight 100.", "Room four oh seven, flight one hundred."),
        ("24/7 and 1 1/2", "twenty-four seven and one and a half"),
        ("In 1945 soldiers came.", "In one thousand, nine hundred and forty-five soldiers came."),
        ("WE ARE HERE", "we are here"),
        ("STOP THE CAR", "stop the CAR"),
        ("The PDFs", "The p d f's"),
        ("007", "oh oh seven"),
        (".5 km", "zero point five kilometers"),
        (
            "25 jul 2012, Jan-15-2020",
            "the twenty-fifth of July, twenty twelve, January fifteenth, twenty twenty",
        ),
        ("He may march 5 miles", "He may march five miles"),
        ("-5 km, -$3 and 4-2", "minus five kilometers, minus three dollars and four to two"),
    ],
)
def test_english_rules(text, said):
    assert spoken(text).replace("one and one half", "one and a half") == said


def outcome(front_end, text):
    try:
        return str(front_end.encode(text))
    except TextError as error:
        return str(error)


@pytest.mark.parametrize(
    ("language", "read", "digest"),
    [
        ("ru", LETTERS, "6d3e74f0d5c47729"),
        ("ru", PHONEME_INPUT, "1a2809972876d721"),
        ("en", LETTERS, "7fe0abf7d0c62876"),
        ("en", PHONEME_INPUT, "878de51a5ef0b0d7"),
    ],
)
def test_version_1_reads_as_it_did_before_there_was_another(language, read, digest):
    """The digests are of the code that knew no other version, with espeak-ng 1.52.0."""
    texts = [text for _, _, text, _ in lines(language)]
    texts += ["З+амок [[ʌ]] 5\u00ad", "за\u0301мок и кт+о-т+о", "cтол iPhone"]
    front_end = front_end_of(language, read)
    assert front_end.version == 1
    said = "\n".join(outcome(front_end, text) for text in texts)
    assert hashlib.sha256(said.encode()).hexdigest()[:16] == digest


@pytest.mark.parametrize("front_end", [FRONT_ENDS["ru"], RUSSIAN], ids=["1", "2"])
def test_a_stored_voice_speaks_as_it_was_trained(tmp_path, front_end):
    front_end = replace(front_end, lexicon=(("творог", "твор+ог"),)) if front_end is RUSSIAN else front_end
    torch.manual_seed(0)
    network = Tacotron2(replace(SIZES["tiny"], n_symbols=len(front_end.symbols))).eval()
    voice = Voice(network, front_end, MelSettings(), Settings())
    save_voice(voice, tmp_path)
    if front_end.version == 1:  # as version 0.1 wrote it
        stored = json.loads((tmp_path / DESCRIPTION).read_text("utf-8"))
        for key in ("espeak", "words", "stress", "lexicon"):
            del stored["front_end"][key]
        (tmp_path / DESCRIPTION).write_text(json.dumps(stored), "utf-8")
    again = load_voice(tmp_path)
    assert again.front_end == front_end
    np.testing.assert_array_equal(again.speak("Творог").mel, voice.speak("Творог").mel)


@pytest.mark.parametrize("front_end", [RUSSIAN, ENGLISH], ids=["ru", "en"])
def test_long_texts_are_read_at_once(front_end):
    """A pattern that tries every way to part a word would never end here."""
    letter = "а" if front_end is RUSSIAN else "a"
    for part in (letter, letter.upper(), f"{letter}.", f"{letter}-", "1", "1,", "IX", f"{letter} "):
        with suppress(TextError):
            front_end.encode(part * 400 + "❤")
