"""Make a small corpus without downloads: simple sentences spoken by espeak-ng."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from model.data.corpora import CorpusError, Recipe, build_once
from model.speech.audio import write_samples
from model.speech.espeak import SAMPLE_RATE, VOICES, WORDS_PER_MINUTE, EspeakError, EspeakVoice

RECIPE_VERSION = 1  # raise when the sentences or the way they are spoken change
LENGTHS = range(18, 33)  # characters of a sentence, about 1.1 to 2.3 seconds

TEMPLATES = {
    "en": (
        "the {adjective} {noun} {action}s {thing}.",
        "{adverb} the {noun} {state}s {place}.",
        "can the {noun} {action} {thing}?",
        "{adverb}, the {noun} {state}s {place}!",
    ),
    "ru": (
        "{adjective}ый {he} {action} {thing}.",
        "{adverb} {she} {state} {place}.",
        "где {he} {action} {thing}?",
        "{adjective}ая {she} {action} {thing}.",
        "{adverb} {he} {state} {place}!",
        "да, {she} {state} {place}.",
    ),
}
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "adjective": "old, young, brave, happy, clever, grey, small, funny",
        "noun": "farmer, doctor, teacher, baker, king, queen, boy, girl, woman, cat, dog, fox, horse, bird, "
        "zebra, mouse, sheep, judge, child, nurse",
        "action": "paint, see, find, want, bring, love, hold, move, keep, draw",
        "thing": "a boat, the box, a jar, the book, a cup, the door, a hat, the key, a lamp, the map",
        "adverb": "today, often, now, always, slowly, quickly, soon, maybe, then, quietly",
        "state": "sleep, run, sing, wait, jump, dance, swim, walk, rest, play, work, sit",
        "place": "at home, in town, on a hill, in a park, at noon, all day, at night, near us, outside, "
        "with joy, by the sea, up here",
    },
    "ru": {
        "adjective": "стар, добр, умн, смел, сер, весёл, хитр, юн",
        "he": "брат, кот, дед, врач, мастер, сосед, поэт, ёж, царь, певец",
        "she": "сестра, кошка, мама, лиса, птица, девочка, бабушка, белка, хозяйка, щука",
        "action": "видит, ищет, рисует, любит, несёт, прячет, держит, находит, хочет, чинит",
        "thing": "дом, ключ, хлеб, мёд, зонт, шарф, флаг, мяч, книгу, лампу, чашку, ёлку",
        "adverb": "утром, сегодня, часто, снова, всегда, летом, вечером, тихо, иногда, опять",
        "state": "спит, поёт, гуляет, ждёт, сидит, играет, бежит, живёт, стоит, молчит, смеётся, отдыхает",
        "place": "в саду, дома, у реки, на горе, в лесу, под дождём, за окном, у подъезда, на площади",
    },
}


def prepare(
    folder: Path,
    language: str,
    clips: int,
    seed: int = 0,
    voice: str = "",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Fill `folder` with `clips` spoken sentences in LJSpeech layout, unless it already holds just these.

    `voice` is espeak-ng's name of one (default: VOICES). Raises CorpusError, or ImportError
    without the extra `espeak`.
    """
    if clips < 1:
        raise CorpusError(f"a corpus needs at least 1 clip, not {clips}")
    texts = sentences(language, clips, seed)
    recipe: Recipe = {
        "corpus": "espeak",
        "recipe_version": RECIPE_VERSION,
        "language": language,
        "voice": voice or VOICES[language],
        "words_per_minute": WORDS_PER_MINUTE,
        "clips": clips,
        "seed": seed,
    }

    def build(part: Path) -> Recipe:
        try:
            return _speak(part, texts, language, voice or VOICES[language], progress)
        except EspeakError as error:
            raise CorpusError(str(error)) from error

    return build_once(folder, recipe, build)


def _speak(
    folder: Path, texts: Sequence[str], language: str, voice: str, progress: Callable[[int, int], None]
) -> Recipe:
    speaker = EspeakVoice(voice)
    (folder / "wavs").mkdir()
    with (folder / "metadata.csv").open("w", encoding="utf-8") as metadata:
        for done, text in enumerate(texts, start=1):
            name = f"{language}_{done:05d}"
            write_samples(folder / "wavs" / f"{name}.wav", speaker.say(text), SAMPLE_RATE)
            metadata.write(f"{name}|{text}\n")
            progress(done, len(texts))
    return {"espeak_version": speaker.version}


def sentences(language: str, count: int, seed: int) -> list[str]:
    """`count` distinct sentences with words of about equal frequency; a longer list begins with the shorter.

    Raises CorpusError for an unknown language, or more sentences than there are.
    """
    if language not in TEMPLATES:
        raise CorpusError(f"no sentences in language {language!r}; known: {', '.join(TEMPLATES)}")
    draw = _Decks(WORDS[language], random.Random(f"{language} {seed}"))
    found: dict[str, None] = {}  # a set that keeps its order
    fruitless = 0
    while len(found) < count:
        text = TEMPLATES[language][len(found) % len(TEMPLATES[language])].format_map(draw)
        if len(text) in LENGTHS and (text := text[0].upper() + text[1:]) not in found:
            found[text] = None
            fruitless = 0
        elif (fruitless := fruitless + 1) > 1000:
            raise CorpusError(f"only about {len(found)} distinct {language} sentences exist, not {count}")
    return list(found)


class _Decks:
    """Draws words of each kind like cards from a deck: all of them once before any comes again."""

    def __init__(self, words: Mapping[str, str], dealer: random.Random) -> None:
        self._words = {kind: listed.split(", ") for kind, listed in words.items()}
        self._decks: dict[str, list[str]] = {kind: [] for kind in words}
        self._dealer = dealer

    def __getitem__(self, kind: str) -> str:
        if not self._decks[kind]:
            self._decks[kind] = self._dealer.sample(self._words[kind], len(self._words[kind]))
        return self._decks[kind].pop()
