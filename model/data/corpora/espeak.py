"""Make a small corpus without downloads: simple sentences spoken by espeak-ng."""

import ctypes
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from model.data.corpora import CorpusError, Recipe, build_once
from model.speech.audio import write_samples

RECIPE_VERSION = 1  # raise when the sentences or the way they are spoken change
VOICES = {"en": "en-us", "ru": "ru"}
WORDS_PER_MINUTE = 165
SAMPLE_RATE = 22050
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
        speaker = EspeakVoice(voice or VOICES[language])
        (part / "wavs").mkdir()
        with (part / "metadata.csv").open("w", encoding="utf-8") as metadata:
            for done, text in enumerate(texts, start=1):
                name = f"{language}_{done:05d}"
                write_samples(part / "wavs" / f"{name}.wav", speaker.say(text), SAMPLE_RATE)
                metadata.write(f"{name}|{text}\n")
                progress(done, clips)
        return {"espeak_version": speaker.version}

    return build_once(folder, recipe, build)


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


class EspeakVoice:
    """One voice of espeak-ng, spoken by its own copy of the library.

    The library carries state from one text to the next (its pitch flutter never restarts), so the same
    texts sound the same only in the same order from a fresh library.
    """

    def __init__(self, voice: str) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise ImportError(
                "espeak-ng speaks this corpus and is not installed: pip install smart-tuner[espeak]"
            ) from error
        with TemporaryDirectory() as temporary:
            self._library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), temporary))
        self._blocks: list[bytes] = []
        self._callback = _SYNTH_CALLBACK(self._keep)  # the library holds no reference: Python must
        data = str(espeakng_loader.get_data_path()).encode()
        rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, _DO_NOT_EXIT)
        if rate != SAMPLE_RATE:
            raise CorpusError(f"espeak-ng did not start with its data in {data.decode()}: answer {rate}")
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(voice.encode()) != _OK:
            raise CorpusError(f"espeak-ng has no voice {voice!r}; those of the languages here: {VOICES}")
        self._library.espeak_SetParameter(_RATE, WORDS_PER_MINUTE, 0)
        self._library.espeak_Info.restype = ctypes.c_char_p
        self.version: str = self._library.espeak_Info(None).decode()

    def say(self, text: str) -> NDArray[np.int16]:
        """Samples (N,) of the text at SAMPLE_RATE."""
        self._blocks.clear()
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded) + 1), 0, _BY_CHARACTER, 0, _UTF8, None, None
        )
        samples = np.frombuffer(b"".join(self._blocks), dtype=np.int16)
        if status != _OK or not samples.any():
            raise CorpusError(f"espeak-ng did not speak {text!r}: status {status}, {len(samples)} samples")
        return samples

    def _keep(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._blocks.append(ctypes.string_at(samples, 2 * count))
        return 0  # go on


# speak_lib.h of espeak-ng
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_SYNCHRONOUS, _DO_NOT_EXIT, _OK, _RATE, _BY_CHARACTER, _UTF8 = 2, 0x8000, 0, 1, 1, 1


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
