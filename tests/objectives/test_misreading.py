"""Lost and repeated words are found and named, in speech that is really heard."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.speech.espeak import EspeakVoice
from model.speech.text import FRONT_ENDS, front_end_of
from objectives.ear import Ear
from objectives.misreading import Misreading, attended, misreading, word_ends
from studies.report.voices import READINGS, checked

RATE = 22050
TEXT = "The captain opened the heavy door."
SOUND, LOST, REPEATED = TEXT, "The captain opened the door.", "The captain captain opened the heavy door."
OTHER = "I would like some coffee with milk."


@pytest.fixture(scope="module")
def hears(whisper):
    return Ear(str(whisper), "en")


@pytest.fixture(scope="module")
def say():
    """A text (any) as espeak-ng says it."""
    voice = EspeakVoice("en-us")
    return lambda text: (voice.say(text) / 32768).astype(np.float32)


def found_in(hears, wave):
    return misreading(hears, wave, RATE, TEXT, hears([wave], RATE, [TEXT]).texts[0])


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (SOUND, Misreading((), ())),
        (LOST, Misreading(("heavy",), ())),
        (REPEATED, Misreading((), ("captain",))),
    ],
)
def test_what_was_said_otherwise_is_named(hears, say, said, found):
    assert found_in(hears, say(said)) == found


def test_an_end_cut_off_another_text_and_babble_are_no_reading_of_it(hears, say):
    cut = found_in(hears, say("The captain"))
    assert set(cut.lost) & {"opened", "heavy", "door"}
    assert found_in(hears, say(OTHER))
    assert found_in(hears, say(TEXT)[::-1].copy())
    assert found_in(hears, say(TEXT)[:0]).lost == tuple(TEXT.rstrip(".").split())


def path_of(words, ends):
    """The symbols that attention passes which reads words in this order, two steps each."""
    return np.array([at for word in words for at in range([0, *ends][word], ends[word]) for _ in range(2)])


ORDERS = {SOUND: [0, 1, 2, 3, 4, 5], LOST: [0, 1, 2, 3, 5], REPEATED: [0, 1, 1, 2, 3, 4, 5]}


class Reader:
    """A voice that says, one after the other, what it is told to."""

    mel_settings = SimpleNamespace(sample_rate=RATE)
    front_end = FRONT_ENDS["en"]

    def __init__(self, say, texts):
        self.waves, self.spoken = [say(text) for text in texts], []
        symbols = len(self.front_end.read(TEXT))
        paths = [
            path_of(ORDERS.get(text, ORDERS[SOUND]), word_ends(self.front_end, TEXT, symbols))
            for text in texts
        ]
        self.alignments = [np.eye(symbols + 1, dtype=np.float32)[path] for path in paths]

    def speak(self, text, seed=0):
        self.spoken.append(seed)
        return SimpleNamespace(seed=seed, alignment=self.alignments[seed])

    def sound(self, speech):
        return self.waves[speech.seed]


@pytest.mark.parametrize(
    ("said", "kept", "readings"),
    [
        ([SOUND], 0, 1),
        ([LOST, SOUND], 1, 2),
        ([OTHER, LOST, OTHER, OTHER], 1, READINGS),
    ],
)
def test_of_several_readings_the_first_sound_one_is_kept_or_the_best(hears, say, said, kept, readings):
    voice = Reader(say, said)
    reading, count = checked(voice, TEXT, hears)
    assert (reading.speech.seed, count) == (kept, readings)
    assert voice.spoken == list(range(readings))
    assert reading.is_sound == (said[kept] == SOUND)


def test_marks_for_the_voice_alone_are_no_words(hears, say):
    """Numbers, stress marks and phonemes by hand, as a text may have them."""
    wave = say("The three captains opened the door.")
    text = "The 3 capt+ains [[həlˈoʊ]] opened - the door."
    assert not misreading(hears, wave, RATE, text, hears([wave], RATE, [text]).texts[0])


@given(st.lists(st.integers(2, 9), min_size=3, max_size=12), st.data())
def test_attention_that_passes_a_word_over_or_goes_back_to_it_is_known(lengths, data):
    ends, words = np.cumsum(lengths).tolist(), list(range(len(lengths)))
    at = data.draw(st.sampled_from(words))
    whole, lost, twice = (
        attended(path_of(order, ends), ends)
        for order in (words, words[:at] + words[at + 1 :], words[: at + 1] + words[at:])
    )
    assert not any(word.passed_over or word.read_again for word in whole)
    assert [i for i in words if lost[i].passed_over] == [at] == [i for i in words if twice[i].read_again]
    assert not any(word.read_again for word in lost) and not any(word.passed_over for word in twice)


@pytest.mark.parametrize("read", ["letters", "phonemes"])
@pytest.mark.parametrize("text", [TEXT, "The 3 captains - in the end - o'clock!", "A."])
def test_words_end_in_their_order_within_the_text(read, text):
    front_end = front_end_of("en", read)
    symbols = len(front_end.read(text))
    ends = word_ends(front_end, text, symbols)
    assert [0, *ends] == sorted({0, *ends}) and ends[-1] == symbols


def test_what_is_hard_to_hear_is_not_lost_where_attention_read_it(hears, say):
    wave, ends = say(LOST), word_ends(FRONT_ENDS["en"], TEXT, len(FRONT_ENDS["en"].read(TEXT)))
    heard = hears([wave], RATE, [TEXT]).texts[0]

    def found(order):
        return misreading(hears, wave, RATE, TEXT, heard, attended(path_of(order, ends), ends))

    assert (found(ORDERS[LOST]).lost, found(ORDERS[SOUND])) == (("heavy",), Misreading((), ()))
