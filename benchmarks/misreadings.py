"""What `speak --check` finds: faults planted into spoken sentences, and the same sentences as they should be.

Each sentence is heard as it is, without one of its words, with one of them twice, cut off, as another, and
backwards (babble). An exported voice, or one of espeak-ng, reads the texts so; in recordings, words are taken
out or doubled where the recognizer says that they lie.
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
from model.speech.voice import load_voice
from objectives.ear import HEARD_RATE, Ear
from objectives.misreading import misreading
from studies.report.voices import MOST_CER

Wave = NDArray[np.float32]
Clip = tuple[str, Wave]
Case = tuple[str, Mapping[str, Wave]]  # a text, and how it is heard, by kind
SOUND, KEPT = "sound", 0.62  # of a sentence that is cut off
LEAST_LETTERS = 4  # of a word that is lost or doubled
WORDS = range(4, 10)  # of a recorded sentence


def spoken(say: Callable[[str], Wave], texts: list[str], chance: random.Random) -> Iterator[Case]:
    for n, text in enumerate(texts):
        words, end = text[:-1].split(), text[-1]
        at = chance.choice([i for i, word in enumerate(words) if len(word) >= LEAST_LETTERS])
        found = {
            SOUND: say(text),
            "dropped word": say(" ".join(words[:at] + words[at + 1 :]) + end),
            "repeated word": say(" ".join(words[: at + 1] + words[at:]) + end),
        }
        yield text, {**found, **whole_faults(found[SOUND], say(texts[n - 1]))}


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
            "dropped word": np.concatenate([wave[:start], wave[end:]]),
            "repeated word": np.concatenate([wave[:end], wave[start:]]),
        }
        yield text, {**found, **whole_faults(wave, clips[n - 1][1])}
        if (count := count - 1) == 0:
            return


def whole_faults(wave: Wave, other: Wave) -> dict[str, Wave]:
    return {"cut off": wave[: int(len(wave) * KEPT)], "another": other, "babble": wave[::-1].copy()}


def is_alarm(ear: Ear, wave: Wave, rate: int, text: str) -> bool:
    heard = ear([wave], rate, [text])
    return bool(misreading(ear, wave, rate, text, heard.texts[0])) or heard.cer > MOST_CER


def recordings_in(folder: Path, chance: random.Random) -> list[Clip]:
    rows = [line.split("|")[:2] for line in (folder / METADATA).read_text("utf-8").splitlines()]
    chosen = [(name, text.replace("+", "")) for name, text in rows if len(text.split()) in WORDS]
    chance.shuffle(chosen)
    rate = HEARD_RATE
    return [(text, read_wave(folder / WAVES / f"{name}.wav", rate, rate)) for name, text in chosen]


def voice_saying(folder: Path | None, language: str) -> Callable[[str], Wave]:
    """What an exported voice says, or espeak-ng's."""
    if folder is None:
        espeak = EspeakVoice(VOICES[language])
        return lambda text: (espeak.say(text) / 32768).astype(np.float32)
    voice = load_voice(folder)
    vocoder = vocoder_of(None, voice.mel_settings, torch.device("cpu"))
    return lambda text: vocoder(voice.speak(text).mel)


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
        rate, cases = SAMPLE_RATE, spoken(voice_saying(voice, language), texts, chance)
    found: dict[str, list[bool]] = {}
    console = Console(stderr=True)
    for text, kinds in track(cases, "sentences", total=count, console=console, transient=True):
        for kind, wave in kinds.items():
            found.setdefault(kind, []).append(is_alarm(ear, wave, rate, text))
    for kind, alarms in found.items():
        click.echo(f"{kind:14} {sum(alarms)} of {len(alarms)}")
    caught = [alarm for kind, alarms in found.items() if kind != SOUND for alarm in alarms]
    click.echo(f"faults caught {fmean(caught):.1%}, false alarms {fmean(found[SOUND]):.1%}")


if __name__ == "__main__":
    main()
