"""What `data check` says, before anything trains, of recordings and texts that are spoilt.

Clips of recorded Russian (Festvox) are written as files, each kind of fault of the recordings or texts among
the cases is done to them, and they are checked as by `run_study.py data check --listen 30`. What is said lies
in results-before.json.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from benchmarks.faults.paired import BEFORE
from benchmarks.faults.proof import markdown_table
from benchmarks.faults.stage import HOME
from model.data.metadata import METADATA, WAVES
from model.data.preflight import Report, by_reason, check
from model.speech.espeak import SAMPLE_RATE, EspeakVoice
from objectives.ear import Ear
from studies.run import data, heard_corpus

RATE = 16_000  # Hz, of Festvox
CLIPS, LISTENED = 400, 30
SOUND = "sound"  # as they are

Wave = NDArray[np.floating[Any]]
Clips = Sequence[tuple[Wave, str]]


def each(every: int, change: Callable[[Wave, str], tuple[Wave, str]], clips: Clips) -> Clips:
    return [change(*clip) if i % every == 0 else clip for i, clip in enumerate(clips)]


def texts_of_others(part: float, clips: Clips) -> Clips:
    """In the last part of the list each clip has the text of the one before."""
    first = max(1, round((1 - part) * len(clips)))
    return [(w, clips[i - 1][1] if i >= first else text) for i, (w, text) in enumerate(clips)]


def repeated(clips: Clips) -> Clips:
    return [clips[0] if i % 2 == 0 else clip for i, clip in enumerate(clips)]


def second_voice(clips: Clips) -> Clips:
    speaker = EspeakVoice("ru")
    return each(
        2,
        lambda _, text: (soxr.resample(speaker.say(text.replace("+", "")) / 32768, SAMPLE_RATE, RATE), text),
        clips,
    )


def without_letters(clips: Clips) -> Clips:
    letters = sorted({c for _, text in clips for c in text.lower() if c.isalpha()})
    gone = {ord(c): None for letter in letters[::2] for c in (letter, letter.upper())}
    return [(w, text.replace("+", "").translate(gone)) for w, text in clips]


def noisy(wave: Wave, text: str) -> tuple[Wave, str]:
    loudness = np.sqrt(np.square(wave).mean()) * 10 ** (-10 / 20)
    return wave + np.random.default_rng(len(wave)).normal(0, loudness, len(wave)), text


def humming(wave: Wave, text: str) -> tuple[Wave, str]:
    time = np.arange(len(wave)) / RATE
    lines = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in (1, 2, 3))
    return wave + np.sqrt(np.square(wave).mean()) * 10 ** (-20 / 20) * lines, text


def pausing(wave: Wave, text: str) -> tuple[Wave, str]:
    middle = len(wave) // 2
    return np.concatenate((wave[:middle], np.zeros(RATE, np.float32), wave[middle:])), text


def of_a_telephone(wave: Wave, text: str) -> tuple[Wave, str]:
    narrow = soxr.resample(wave, RATE, RATE // 2)
    return soxr.resample(narrow, RATE // 2, RATE)[: len(wave)], text


def echoing(wave: Wave, text: str) -> tuple[Wave, str]:
    """As in a hall where a sound falls by 60 dB in 1.5 seconds, and the echo is as loud as the speech."""
    time = np.arange(int(1.5 * RATE)) / RATE
    echo = np.random.default_rng(0).normal(0, 1, len(time)) * 10 ** (-2 * time)
    length = len(wave) + len(echo)
    heard = np.fft.irfft(np.fft.rfft(wave, length) * np.fft.rfft(echo, length), length)[: len(wave)]
    return wave + heard * np.sqrt(np.square(wave).mean() / np.square(heard).mean()), text


def cut_late(clips: Clips) -> Clips:
    """Half a second late: each lacks its beginning, and has that of the next."""
    late, following = RATE // 2, [*clips[1:], clips[0]]
    return [
        (np.concatenate((wave[late:], other[:late])), text)
        for (wave, text), (other, _) in zip(clips, following, strict=True)
    ]


def by_another_code_page(wave: Wave, text: str) -> tuple[Wave, str]:
    return wave, text.replace("+", "").encode("koi8-r", "ignore").decode("cp1251")


KINDS: Mapping[str, Callable[[Clips], Clips]] = {
    SOUND: lambda clips: clips,
    "F09 Every clip has another clip's text": partial(texts_of_others, 1.0),
    "F30 In half of the list each clip has the text of the one before": partial(texts_of_others, 0.5),
    "F31 A third is 35 dB too quiet": partial(each, 3, lambda w, t: (w * np.float32(10 ** (-35 / 20)), t)),
    "F32 Every other clip hums, 20 dB below the speech": partial(each, 2, humming),
    "F33 A third ends after half of the text": partial(each, 3, lambda w, t: (w[: len(w) // 2], t)),
    "F43 Every other clip is of another person": second_voice,
    "F47 A third is sped up by half": partial(each, 3, lambda w, t: (soxr.resample(w, 1.5 * RATE, RATE), t)),
    "F48 A third is noisy, 10 dB below the speech": partial(each, 3, noisy),
    "F49 Half of the texts lack their second half": partial(
        each, 2, lambda w, t: (w, t[: len(t) // 2].strip().rstrip("+"))
    ),
    "F50 Half of the letters are missing": without_letters,
    "F51 Every other row is one and the same clip": repeated,
    "F62 Every other clip falls silent for a second": partial(each, 2, pausing),
    "F72 Every text is read from its end": partial(each, 1, lambda w, t: (w, t.replace("+", "")[::-1])),
    "F73 Clips end after two thirds of a second": partial(each, 1, lambda w, t: (w[: 2 * RATE // 3], t)),
    "F74 Every other clip is of a telephone": partial(each, 2, of_a_telephone),
    "F76 Every third text is a single letter": partial(each, 3, lambda w, t: (w, t.replace("+", "")[0])),
    "F91 Every other clip echoes": partial(each, 2, echoing),
    "F92 Every clip is cut half a second late": cut_late,
    "F93 Every other text is of another code page": partial(each, 2, by_another_code_page),
    "F94 Every text begins with a title that nobody says": partial(
        each, 1, lambda w, t: (w, f"Рассказ первый. Глава первая. {t}")
    ),
}


def written(clips: Clips, names: Sequence[str], folder: Path) -> None:
    (folder / WAVES).mkdir()
    for name, (wave, _) in zip(names, clips, strict=True):
        soundfile.write(folder / WAVES / f"{name}.wav", np.clip(wave, -1, 1), RATE, subtype="PCM_16")
    lines = [f"{name}|{text}\n" for name, (_, text) in zip(names, clips, strict=True)]
    (folder / METADATA).write_text("".join(lines), "utf-8")


def told(report: Report) -> str:
    found = [by_reason(report.problems)] if report.problems else []
    return "; ".join(found + [note.told for note in report.notes])


@click.command(help=__doc__)
@click.option("--recognizer", default="base", show_default=True)
def main(recognizer: str) -> None:
    folder, ear = data.prepare_festvox_ru(HOME, lambda *_: None), Ear(recognizer, "ru")
    rows = [line.split("|", 1) for line in (folder / METADATA).read_text("utf-8").splitlines()][:CLIPS]
    names = [name for name, _ in rows]
    clips = [
        (soundfile.read(folder / WAVES / f"{name}.wav", dtype="float32")[0], text) for name, text in rows
    ]
    settings, shown, usual = data.usual_settings("ru", RATE), list[dict[str, Any]](), set[str]()
    for kind, spoil in KINDS.items():
        with TemporaryDirectory() as place:
            written(spoil(clips), names, Path(place))
            report = check(Path(place), settings)
            refused, heard = report.refusal is not None, ""
            if not refused:
                hearing = heard_corpus.hear(report, settings, ear, LISTENED, lambda *_: None)
                refused = hearing.refusal is not None
                heard = (hearing.refusal or f"{len(hearing.unlike)} of {hearing.clips}").partition("\n")[0]
        kinds_told = {re.sub(r"\d+", "", n.told) for n in report.notes if "hardly learned" not in n.told}
        usual = kinds_told if kind == SOUND else usual
        shown.append(
            {
                "clips": kind,
                "refused": refused,
                "told": told(report),
                "heard otherwise": heard,
                "named": refused or not kinds_told <= usual,
            }
        )
        click.echo(str(shown[-1]), err=True)
    BEFORE.write_text(json.dumps(shown, ensure_ascii=False, indent=1) + "\n", "utf-8")
    click.echo(markdown_table(shown))


if __name__ == "__main__":
    main()
