"""Make a small corpus without downloads: simple sentences spoken by espeak-ng."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

from model.data.corpora import CorpusError, Recipe, build_once
from model.data.corpora.sentences import FEW, sentences
from model.speech.audio import write_samples
from model.speech.espeak import SAMPLE_RATE, VOICES, WORDS_PER_MINUTE, EspeakError, EspeakVoice

VARIED = "varied"  # in place of a voice's name: speaker, pace and pitch are drawn for every clip
# espeak-ng's; f2, f3, f5, Alicia, Reed, caleb and victor do not say the same twice
SPEAKERS = "m1 m2 m3 m4 m5 m6 m7 m8 f1 f4 Andrea Annie belinda linda shelby steph"
PACES, PITCHES = range(100, 156), range(30, 71)  # words a minute; 50 is a speaker's own
RECIPE_VERSION = 1  # raise when the sentences or the way they are spoken change


def prepare(
    folder: Path,
    language: str,
    clips: int,
    seed: int = 0,
    voice: str = "",
    words: str = FEW,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Fill `folder` with `clips` spoken sentences in LJSpeech layout, unless it already holds just these.

    `voice` is espeak-ng's name of one (default: VOICES), or VARIED; `words` the kind of sentences
    (sentences.py). Raises CorpusError, also without the extra `espeak`.
    """
    if clips < 1:
        raise CorpusError(f"a corpus needs at least 1 clip, not {clips}")
    texts = sentences(language, clips, seed, words)
    recipe: Recipe = {
        "corpus": "espeak",
        "recipe_version": RECIPE_VERSION,
        "language": language,
        "voice": voice or VOICES[language],
        "words_per_minute": WORDS_PER_MINUTE,
        "clips": clips,
        "seed": seed,
    }
    if voice == VARIED:
        recipe = {**recipe, "words_per_minute": _told(PACES), "pitch": _told(PITCHES)}
    if words != FEW:  # which corpora of before do not name
        recipe = {**recipe, "words": words}

    def build(part: Path) -> Recipe:
        try:
            return _speak(part, texts, language, _speakers(language, voice, seed), progress)
        except EspeakError as error:
            raise CorpusError(str(error)) from error

    return build_once(folder, recipe, build)


def _told(span: range) -> str:
    return f"{span[0]} to {span[-1]}"


def _speakers(language: str, voice: str, seed: int) -> Iterator[EspeakVoice]:
    """Who says each clip, without an end."""
    if voice != VARIED:
        yield from repeat(EspeakVoice(voice or VOICES[language]))
    speakers = [EspeakVoice(f"{VOICES[language]}+{name}") for name in SPEAKERS.split()]
    draw = random.Random(seed)
    while True:
        speaker = draw.choice(speakers)
        speaker.set_prosody(draw.choice(PACES), draw.choice(PITCHES))
        yield speaker


def _speak(
    folder: Path,
    texts: Sequence[str],
    language: str,
    speakers: Iterable[EspeakVoice],
    progress: Callable[[int, int], None],
) -> Recipe:
    (folder / "wavs").mkdir()
    with (folder / "metadata.csv").open("w", encoding="utf-8") as metadata:
        for done, (text, speaker) in enumerate(zip(texts, speakers, strict=False), start=1):
            name = f"{language}_{done:05d}"
            write_samples(folder / "wavs" / f"{name}.wav", speaker.say(text), SAMPLE_RATE)
            metadata.write(f"{name}|{text}\n")
            progress(done, len(texts))
    return {"espeak_version": speaker.version}
