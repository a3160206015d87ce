"""What `speak --check` finds: faults planted into spoken sentences, and the same sentences as they should be.

Each sentence is heard as it is, without one of its words, with one of them twice, cut off, as another, and
backwards (babble). An exported voice, or one of espeak-ng, reads the texts so; in recordings, words are taken
out or doubled where the recognizer says that they lie. Of a voice the attention is asked, too: of a text
without a word, or with it twice, as if it had passed the word over or gone back to it; of another one and of
babble as if it had read the whole text.
"""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from model.data.corpora.sentences import MANY, sentences
from model.data.metadata import METADATA, WAVES
from model.speech.audio import read_wave
from model.speech.espeak import SAMPLE_RATE, VOICES, EspeakVoice
from model.speech.vocoder import vocoder_of
from model.speech.voice import Voice, load_voice
from objectives.ear import HEARD_RATE, Ear
from objectives.misreading import Attended, attended, misreading, word_ends
from studies.report.voices import MOST_CER

Wave = NDArray[np.float32]
Clip = tuple[str, Wave]
Way = NDArray[np.int64]  # (S,): the symbol that each step of a voice attends
Said = tuple[Wave, Way, list[int]]  # with where the words of the text end; none of who has no attention
Heard = tuple[Wave, list[Attended] | None]
Case = tuple[str, Mapping[str, Heard]]  # a text, and how it is heard, by kind
SOUND, DROPPED, REPEATED, CUT = "sound", "dropped word", "repeated word", "cut off"
KEPT = 0.62  # of a sentence that is cut off
LEAST_LETTERS = 4  # of a word that is lost or doubled
WORDS = range(4, 10)  # of a recorded sentence


def spoken(say: Callable[[str], Said], texts: list[str], chance: random.Random) -> Iterator[Case]:
    for n, text in enumerate(texts):
        words, end = text[:-1].split(), text[-1]
        wave, path, ends = say(text)
        found = {SOUND: (wave, attention(path, ends))}
        for kind, order in zip((DROPPED, REPEATED), orders(words, chance), strict=True):
            other, way, places = say(" ".join(words[i] for i in order) + end)
            found[kind] = other, attention(moved(way, places, ends, order), ends)
        for kind, other in whole_faults(wave, say(texts[n - 1])[0]).items():
            kept = path[: int(len(path) * KEPT)] if kind == CUT else path
            found[kind] = other, attention(kept, ends)
        yield text, found


def attention(path: Way, ends: list[int]) -> list[Attended] | None:
    return attended(path, ends) if ends else None


def read_by(voice: Voice) -> Callable[[str], Said]:
    vocoder = vocoder_of(None, voice.mel_settings, torch.device("cpu"))

    def say(text: str) -> Said:
        speech = voice.speak(text)
        symbols = speech.alignment.shape[1]
        return vocoder(speech.mel), speech.alignment.argmax(1), word_ends(voice.front_end, text, symbols - 1)

    return say


def espeak(language: str) -> Callable[[str], Said]:
    voice = EspeakVoice(VOICES[language])
    return lambda text: ((voice.say(text) / 32768).astype(np.float32), np.zeros(0, np.int64), [])


def orders(words: list[str], chance: random.Random) -> tuple[list[int], list[int]]:
    """The words without one of them, and with it twice."""
    at = chance.choice([i for i, word in enumerate(words) if len(word) >= LEAST_LETTERS])
    every = list(range(len(words)))
    return every[:at] + every[at + 1 :], every[: at + 1] + every[at:]


def moved(path: Way, said: list[int], ends: list[int], order: list[int]) -> Way:
    """The path through a text as one through the text whose words it has in this order."""
    if not ends:
        return path
    word = np.searchsorted(said, path, side="right").clip(max=len(order) - 1)
    of, starts = np.array(order)[word], np.array([0, *ends])
    place = np.minimum(starts[of] + path - np.array([0, *said])[word], starts[of + 1] - 1)
    return np.where(path < said[-1], place, ends[-1])


def recorded(clips: list[Clip], ear: Ear, count: int, chance: random.Random) -> Iterator[Case]:
    """Recordings (text, wave of HEARD_RATE) whose words are all found in their places."""
    for n, (text, wave) in enumerate(clips):
        segments, _ = ear.model.transcribe(wave, language=ear.language, word_timestamps=True)
        times: list[Any] = [word for segment in segments for word in segment.words]
        long = [i for i, word in enumerate(text.split()) if len(re.sub(r"\W", "", word)) >= LEAST_LETTERS]
        if len(times) != len(text.split()) or not long:
            continue
        word = times[chance.choice(long)]
        start, end = round(word.start * HEARD_RATE), round(word.end * HEARD_RATE)
        found = {
            SOUND: wave,
            DROPPED: np.concatenate([wave[:start], wave[end:]]),
            REPEATED: np.concatenate([wave[:end], wave[start:]]),
        }
        found |= whole_faults(wave, clips[n - 1][1])
        yield text, {kind: (heard, None) for kind, heard in found.items()}
        if (count := count - 1) == 0:
            return


def whole_faults(wave: Wave, other: Wave) -> dict[str, Wave]:
    return {CUT: wave[: int(len(wave) * KEPT)], "another": other, "babble": wave[::-1].copy()}


def is_alarm(ear: Ear, wave: Wave, rate: int, text: str, attention: list[Attended] | None) -> bool:
    heard = ear([wave], rate, [text])
    return bool(misreading(ear, wave, rate, text, heard.texts[0], attention)) or heard.cer > MOST_CER


def recordings_in(folder: Path, chance: random.Random) -> list[Clip]:
    rows = [line.split("|")[:2] for line in (folder / METADATA).read_text("utf-8").splitlines()]
    chosen = [(name, text.replace("+", "")) for name, text in rows if len(text.split()) in WORDS]
    chance.shuffle(chosen)
    rate = HEARD_RATE
    return [(text, read_wave(folder / WAVES / f"{name}.wav", rate, rate)) for name, text in chosen]


@click.command(help=__doc__)
@click.option("--recognizer", default="base", show_default=True)
@click.option("--language", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@click.option("--count", default=40, show_default=True, help="Sentences.")
@click.option("--seed", default=1, show_default=True)
@click.option("--voice", type=click.Path(path_type=Path), help="A folder that `export` made.")
@click.option("--recordings", type=click.Path(path_type=Path), help="LJSpeech layout, 16,000 Hz.")
def main(
    recognizer: str, language: str, count: int, seed: int, voice: Path | None, recordings: Path | None
) -> None:
    ear, chance = Ear(recognizer, language), random.Random(seed)
    if recordings is not None:
        rate, cases = HEARD_RATE, recorded(recordings_in(recordings, chance), ear, count, chance)
    else:
        texts = sentences(language, count, seed, MANY)
        rate, says = SAMPLE_RATE, espeak(language) if voice is None else read_by(load_voice(voice))
        cases = spoken(says, texts, chance)
    found: dict[str, list[bool]] = {}
    console = Console(stderr=True)
    for text, kinds in track(cases, "sentences", total=count, console=console, transient=True):
        for kind, (wave, attention) in kinds.items():
            found.setdefault(kind, []).append(is_alarm(ear, wave, rate, text, attention))
    for kind, alarms in found.items():
        click.echo(f"{kind:14} {sum(alarms)} of {len(alarms)}")
    caught = [alarm for kind, alarms in found.items() if kind != SOUND for alarm in alarms]
    click.echo(f"faults caught {fmean(caught):.1%}, false alarms {fmean(found[SOUND]):.1%}")


if __name__ == "__main__":
    main()
