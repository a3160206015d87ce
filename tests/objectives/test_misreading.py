"""Lost and repeated words are found and named, in speech that is really heard."""

from types import SimpleNamespace

import numpy as np
import pytest

from model.speech.espeak import EspeakVoice
from objectives.ear import Ear
from objectives.misreading import Misreading, misreading
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


class Reader:
    """A voice that says, one after the other, what it is told to."""

    mel_settings = SimpleNamespace(sample_rate=RATE)

    def __init__(self, waves):
        self.waves, self.spoken = waves, []

    def speak(self, text, seed=0):
        self.spoken.append(seed)
        return seed

    def sound(self, speech):
        return self.waves[speech]


@pytest.mark.parametrize(
    ("said", "kept", "readings"),
    [
        ([SOUND], 0, 1),
        ([LOST, SOUND], 1, 2),
        ([OTHER, LOST, OTHER, OTHER], 1, READINGS),
    ],
)
def test_of_several_readings_the_first_sound_one_is_kept_or_the_best(hears, say, said, kept, readings):
    voice = Reader([say(text) for text in said])
    reading, count = checked(voice, TEXT, hears)
    assert (reading.speech, count) == (kept, readings)
    assert voice.spoken == list(range(readings))
    assert reading.is_sound == (said[kept] == SOUND)


def test_marks_for_the_voice_alone_are_no_words(hears, say):
    """Numbers, stress marks and phonemes by hand, as a text may have them."""
    wave = say("The three captains opened the door.")
    text = "The 3 capt+ains [[həlˈoʊ]] opened - the door."
    assert not misreading(hears, wave, RATE, text, hears([wave], RATE, [text]).texts[0])
