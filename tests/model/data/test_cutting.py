"""Long recordings are cut where their script has punctuation and their reader pauses."""

import random
import string
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.cutting import AFTER, BEFORE, Piece, cut, phrases

_LETTERS = random.Random(1)
WORDS = ["".join(_LETTERS.choices(string.ascii_lowercase, k=_LETTERS.randint(3, 9))) for _ in range(400)]
PAUSE, JITTER = (0.25, 0.7), 0.3  # seconds between phrases, and by how much a recognizer may be off


def letters(text):
    return "".join(filter(str.isalpha, text.casefold()))


def misspelt(word, chance):
    return "".join(chance.choice("aeiou") if chance.random() < 0.08 else c for c in word)


@dataclass
class Reading:
    """A script as somebody reads it, and what a recognizer makes of that."""

    script: str = ""
    heard: list = field(default_factory=list)
    speech: list = field(default_factory=list)
    spans: list = field(default_factory=list)  # of what is said: phrase, start, end
    now: float = 0.4

    def say(self, phrase, chance):
        start = self.now
        for word in phrase.split():
            end = self.now + 0.07 * len(word)
            off = [chance.uniform(-JITTER, JITTER) for _ in range(2)]
            self.heard.append(Piece(misspelt(word, chance), max(0.0, self.now + off[0]), end + off[1]))
            self.now = end
        self.speech.append((start, self.now))
        self.spans.append((phrase, start, self.now))
        self.now += chance.uniform(*PAUSE)


def read(seed, sentences, skip=(), repeat=()):
    """A reading. Args: skip, repeat: numbers of sentences that are not said, or twice."""
    chance, reading, lines = random.Random(seed), Reading(), []
    for number in range(sentences):
        said = [" ".join(chance.choices(WORDS, k=chance.randint(3, 6))) for _ in range(chance.randint(1, 3))]
        lines.append(", ".join(said) + ".")
        ends = [f"{phrase}," for phrase in said[:-1]] + [f"{said[-1]}."]
        for _ in range(0 if number in skip else 2 if number in repeat else 1):
            for phrase in ends:
                reading.say(phrase, chance)
    reading.script = "\n".join(lines)
    return reading


def true_text(reading, clip):
    """What is really said in a clip; None where it cuts into a phrase."""
    found = []
    for phrase, start, end in reading.spans:
        inside = min(end, clip.end) - max(start, clip.start)
        if inside > 0.05:
            if inside < end - start - 0.01:
                return None
            found.append(phrase)
    return " ".join(found)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 15))
def test_every_clip_says_its_text_and_all_of_the_script_is_cut(seed, sentences):
    reading = read(seed, sentences)
    cuts = cut(reading.script, reading.heard, reading.speech, letters)
    assert [true_text(reading, clip) for clip in cuts.clips] == [clip.text for clip in cuts.clips]
    assert letters("".join(clip.text for clip in cuts.clips)) == letters(reading.script)
    assert not cuts.unheard
    assert not cuts.unwritten
    for clip in cuts.clips:
        first = next(start for _, start, end in reading.spans if end > clip.start)
        last = max(end for _, start, end in reading.spans if start < clip.end)
        assert first - clip.start <= BEFORE + 1e-9
        assert clip.end - last <= AFTER + 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 9))
def test_a_sentence_that_was_skipped_is_listed_and_the_others_are_right(seed, number):
    reading = read(seed, 10, skip=[number])
    cuts = cut(reading.script, reading.heard, reading.speech, letters)
    missing = letters(" ".join(cuts.unheard))
    assert letters(reading.script.splitlines()[number]) in missing
    assert [true_text(reading, clip) for clip in cuts.clips] == [clip.text for clip in cuts.clips]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_a_sentence_that_was_read_twice_is_in_one_clip_or_in_two_and_never_twice(seed, number):
    reading = read(seed, 10, repeat=[number])
    cuts = cut(reading.script, reading.heard, reading.speech, letters)
    wrong = [clip for clip in cuts.clips if true_text(reading, clip) != clip.text]
    assert len(wrong) <= 2  # more is said in them than is written, which the ear hears
    assert wrong or cuts.unwritten or cuts.unheard


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(2.0, 12.0))
def test_no_clip_is_longer_than_is_asked_for(seed, longest):
    reading = read(seed, 8)
    cuts = cut(reading.script, reading.heard, reading.speech, letters, longest=longest)
    assert all(0 < clip.end - clip.start <= longest for clip in cuts.clips)
    told = letters("".join(clip.text for clip in cuts.clips) + "".join(cuts.unheard))
    assert sorted(told) == sorted(letters(reading.script))


def test_a_script_is_read_in_phrases():
    found = phrases("One, two — three. “Four!” she said\nfive 1,5 six")
    assert [(p.text, p.ends_sentence) for p in found] == [
        ("One,", False), ("two —", False), ("three.", True), ("“Four!”", True), ("she said", True),
        ("five 1,5 six", True),
    ]  # fmt: skip


@given(st.text(), st.lists(st.tuples(st.text(max_size=5), st.floats(0, 50), st.floats(0, 5)), max_size=8))
def test_any_script_and_anything_heard_is_cut_or_told(script, heard):
    words = [Piece(text, start, start + length) for text, start, length in sorted(heard, key=lambda w: w[1])]
    cuts = cut(script, words, [(word.start, word.end) for word in words], letters)
    told = letters("".join(clip.text for clip in cuts.clips) + "".join(cuts.unheard))
    assert sorted(told) == sorted(letters(script))
