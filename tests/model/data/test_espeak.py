"""The synthetic corpus: sentences that encode, the same audio for the same recipe, LJSpeech layout."""

import json
import re
import sys
from collections import Counter

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from model.data.corpora import CorpusError
from model.data.corpora.espeak import PACES, VARIED, prepare
from model.data.corpora.sentences import ANY, FEW, LENGTHS, MANY, WORDS, sentences
from model.speech.espeak import SAMPLE_RATE, EspeakError, EspeakVoice
from model.speech.text import FRONT_ENDS

languages, kinds = st.sampled_from(["en", "ru"]), st.sampled_from([FEW, MANY, ANY])


def audio(folder):
    return {path.name: path.read_bytes() for path in (folder / "wavs").iterdir()}


@given(languages, st.integers(0, 300), st.integers(0, 2**32), kinds)
def test_sentences_are_distinct_short_and_encode(language, count, seed, kind):
    found = sentences(language, count, seed, kind)
    assert len(set(found)) == count
    assert all(len(text) in LENGTHS[kind] and FRONT_ENDS[language].encode(text) for text in found)


@given(languages, st.integers(0, 50), st.integers(0, 50), st.integers(0, 2**32), kinds)
def test_more_sentences_continue_the_same_list(language, few, more, seed, kind):
    assert sentences(language, few + more, seed, kind)[:few] == sentences(language, few, seed, kind)


def test_another_seed_gives_other_sentences():
    assert len(set(sentences("en", 200, 0)) & set(sentences("en", 200, 1))) < 20


@pytest.mark.parametrize("language", ["en", "ru"])
def test_sentences_use_every_letter_and_no_rare_word(language):
    text = " ".join(sentences(language, 400, 0)).lower()
    letters = {symbol for symbol in FRONT_ENDS[language].symbols if symbol.isalpha()}
    assert letters == {character for character in text if character.isalpha()}
    words = Counter(re.findall(r"\w+", text))
    assert 80 <= len(words) <= 110
    assert min(words.values()) >= 3


@pytest.mark.parametrize("language", ["en", "ru"])
def test_many_words_are_many_and_use_every_letter(language):
    text = " ".join(sentences(language, 720, 0, MANY)).lower()
    letters = {symbol for symbol in FRONT_ENDS[language].symbols if symbol.isalpha()}
    assert letters == {character for character in text if character.isalpha()}
    assert len(set(re.findall(r"\w+", text))) > 500


@pytest.mark.parametrize("language", ["en", "ru"])
def test_syllables_meet_in_far_more_ways_than_words_do(language):
    pairs = {}
    for kind in (MANY, ANY):
        text = " ".join(sentences(language, 2000, 0, kind)).lower()
        letters = {symbol for symbol in FRONT_ENDS[language].symbols if symbol.isalpha()}
        assert letters == {character for character in text if character.isalpha()}
        pairs[kind] = len(set(re.findall(r"(?=(\w{4}))", text)))
    assert pairs[ANY] > 3 * pairs[MANY]


def test_words_of_a_kind_are_equally_frequent():
    words = Counter(re.findall(r"\w+", " ".join(sentences("ru", 400, 0))))
    counts = [words[thing] for thing in WORDS[FEW]["ru"]["thing"].split(", ")]
    assert max(counts) - min(counts) <= 2


def test_more_sentences_than_there_are_is_refused():
    with pytest.raises(CorpusError, match="distinct ru sentences exist, not 1000000"):
        sentences("ru", 1_000_000, 0)


def test_an_unknown_language_is_refused():
    with pytest.raises(CorpusError, match="'de'; known: en, ru"):
        sentences("de", 1, 0)


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_corpus_has_a_row_and_a_clip_for_every_sentence(tmp_path, language):
    told = []
    folder = prepare(tmp_path / "corpus", language, 3, seed=7, progress=lambda *done: told.append(done))
    rows = [line.split("|") for line in (folder / "metadata.csv").read_text("utf-8").splitlines()]
    assert rows == [[f"{language}_0000{n}", text] for n, text in enumerate(sentences(language, 3, 7), 1)]
    for name, _ in rows:
        clip = soundfile.info(folder / "wavs" / f"{name}.wav")
        assert (clip.samplerate, clip.channels, clip.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert 0.8 < clip.duration < 2.5
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_the_recipe_says_how_to_make_it_again(tmp_path):
    folder = prepare(tmp_path / "corpus", "ru", 1)
    recipe = json.loads((folder / "recipe.json").read_text())
    assert recipe.pop("espeak_version")[0].isdigit()
    assert recipe == {
        "corpus": "espeak",
        "recipe_version": 1,
        "language": "ru",
        "voice": "ru",
        "words_per_minute": 165,
        "clips": 1,
        "seed": 0,
    }


def test_a_recipe_says_which_sentences_only_where_it_must(tmp_path):
    folder = prepare(tmp_path / "corpus", "en", 2, words=MANY)
    assert json.loads((folder / "recipe.json").read_text())["words"] == MANY
    texts = [line.split("|")[1] for line in (folder / "metadata.csv").read_text("utf-8").splitlines()]
    assert texts == sentences("en", 2, 0, MANY) != sentences("en", 2, 0)


def test_the_same_recipe_gives_the_same_audio(tmp_path):
    one, other = prepare(tmp_path / "1", "en", 3), prepare(tmp_path / "2", "en", 3)
    assert audio(one) == audio(other)
    longer = audio(prepare(tmp_path / "3", "en", 4))
    assert audio(one).items() < longer.items()


@pytest.mark.parametrize("language", ["en", "ru"])
def test_varied_speakers_say_the_same_sentences_each_in_its_own_way(tmp_path, language):
    one, other = (prepare(tmp_path / n, language, 12, voice=VARIED) for n in ("1", "2"))
    assert audio(one) == audio(other)
    assert audio(one).items() < audio(prepare(tmp_path / "3", language, 13, voice=VARIED)).items()
    plain = prepare(tmp_path / "plain", language, 12)
    assert (plain / "metadata.csv").read_bytes() == (one / "metadata.csv").read_bytes()
    seconds = [
        [soundfile.info(path).duration for path in sorted((folder / "wavs").iterdir())]
        for folder in (one, plain)
    ]
    longer = [a / b for a, b in zip(*seconds, strict=True)]
    assert all(165 / PACES[-1] - 0.2 < ratio < 165 / PACES[0] + 0.2 for ratio in longer)
    assert max(longer) > 1.15 * min(longer)
    assert json.loads((one / "recipe.json").read_text())["words_per_minute"] == "100 to 155"


def test_different_sentences_and_voices_sound_different():
    american, british = EspeakVoice("en-us"), EspeakVoice("en-gb-x-rp")
    cat, dog = american.say("a cat"), american.say("a dog")
    assert cat.dtype == np.int16 and np.abs(cat).max() > 1000
    assert cat.tobytes() not in (dog.tobytes(), british.say("a cat").tobytes())


def test_a_complete_corpus_needs_no_synthesiser(tmp_path, monkeypatch):
    prepare(tmp_path / "corpus", "en", 2)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    before = audio(tmp_path / "corpus")
    assert audio(prepare(tmp_path / "corpus", "en", 2)) == before


def test_another_recipe_in_the_same_folder_is_refused(tmp_path):
    prepare(tmp_path / "corpus", "en", 2)
    with pytest.raises(CorpusError, match="already holds something else"):
        prepare(tmp_path / "corpus", "en", 2, voice="en-gb-x-rp")


def test_a_missing_synthesiser_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(CorpusError, match=r"the extra espeak is not installed\.\n.*-e '\.\[espeak\]'"):
        prepare(tmp_path / "corpus", "en", 2)
    assert not (tmp_path / "corpus").exists()


def test_an_unknown_voice_is_refused(tmp_path):
    with pytest.raises(CorpusError, match="no voice 'nobody'"):
        prepare(tmp_path / "corpus", "en", 2, voice="nobody")
    assert list(tmp_path.iterdir()) == []


def test_silence_is_an_error():
    with pytest.raises(EspeakError, match="did not speak ''"):
        EspeakVoice("en-us").say("")


@pytest.mark.parametrize("clips", [0, -1])
def test_a_corpus_without_clips_is_refused(tmp_path, clips):
    with pytest.raises(CorpusError, match="at least 1 clip"):
        prepare(tmp_path / "corpus", "en", clips)
