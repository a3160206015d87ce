"""What listening costs, and how good vocoders sound.

`cost`: CPU seconds of the vocoder, the recogniser and the predicted MOS for each second of speech, and of a
measure's listening beside 100 steps of the quickstart's network alone, in turns.
`rung`: what listening adds to the quickstart's trials: CPU seconds of studies of the same trials, with
listening beside training and at the end, at the end alone, and without, in turns.
`vocoders`: predicted MOS of the recordings in a folder, and of the same through each vocoder and back.
"""

import os
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks.train_step import CASES, training
from model.speech import hifigan
from model.speech.audio import MelSettings, mel_spectrogram, read_wave
from model.speech.hifigan import load_hifigan
from model.speech.vocoder import GriffinLim, Vocoder, installed, vocoder_of
from objectives.ear import VARIABLE, Ear
from objectives.listening import Hearing
from objectives.mos import Mos
from studies.report.summary import formatted

STEPS = 100  # of a rung
FORMAT = click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
FOLDER = click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
CPU = torch.device("cpu")


def recordings(folder: Path, count: int, resample_from: int | None) -> list[np.ndarray[Any, Any]]:
    """The first WAV files (N,) at 22,050 Hz."""
    files = sorted(folder.glob("*.wav"))[:count]
    if not files:
        raise click.ClickException(f"There is no WAV file in {folder}.")
    return [read_wave(file, MelSettings().sample_rate, resample_from) for file in files]


def cpu_seconds(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def cost(
    folder: Path, sentences: int, resample_from: int | None, recognizer: str, rounds: int
) -> dict[str, Any]:
    settings = MelSettings()
    waves = recordings(folder, sentences, resample_from)
    mels, texts = [mel_spectrogram(wave, settings) for wave in waves], ["a text"] * len(waves)
    seconds = sum(map(len, waves)) / settings.sample_rate
    vocoder, ear, predicts = vocoder_of(None, settings, CPU), Ear(recognizer, "en"), Mos()
    hearing = Hearing(ear, predicts, None, vocoder, settings.sample_rate)
    trained = training(CASES["quickstart"])
    parts: dict[str, Callable[[], Any]] = {
        "vocoder": lambda: [vocoder(mel) for mel in mels],
        "recogniser": lambda: ear(waves, settings.sample_rate, texts),
        "MOS": lambda: predicts(waves, settings.sample_rate),
    }

    def rung() -> None:
        for _ in range(STEPS):
            trained.advance()

    hearing(mels, mels, texts)
    trained.advance()
    times: dict[str, list[float]] = {name: [] for name in (*parts, "rung", "listening")}
    for _ in track(range(rounds), f"{rounds} rounds", console=Console(stderr=True), transient=True):
        times["rung"].append(cpu_seconds(rung))
        times["listening"].append(cpu_seconds(lambda: hearing(mels, mels, texts)))
        for name, run in parts.items():
            times[name].append(cpu_seconds(run))
    shares = [100 * a / b for a, b in zip(times["listening"], times["rung"], strict=True)]
    medians = {name: statistics.median(found) for name, found in times.items()}
    return {
        "sentences": len(waves),
        "seconds of speech": round(seconds, 2),
        **{f"{name}, CPU s per s": round(medians[name] / seconds, 3) for name in parts},
        "listening, CPU s": round(medians["listening"], 2),
        f"{STEPS} steps, CPU s": round(medians["rung"], 1),
        "share of the steps, %": round(statistics.median(shares), 1),
        "of rounds": f"{min(shares):.1f}-{max(shares):.1f}",
    }


def rung(home: Path, sentences: int, trials: int, rounds: int) -> dict[str, Any]:
    """Args: home: of a finished quickstart, whose speech is taken."""
    ears = {
        "listening": f"sentences = {sentences}",
        "at the end alone": "sentences = 0",
        "nobody": 'recognizer = "none"',
    }
    spent: dict[str, list[float]] = {name: [] for name in ears}
    for n in track(range(rounds), f"{rounds} rounds", console=Console(stderr=True), transient=True):
        for name, ear in ears.items():
            with TemporaryDirectory() as folder:
                place, file = Path(folder) / "home", Path(folder) / "quickstart.toml"
                place.mkdir()
                (place / "corpora").symlink_to((home / "corpora").absolute())
                file.write_text(shortened(trials, n + 1, ear))
                environment = {VARIABLE: ""} if name == "nobody" else {}
                spent[name].append(children_seconds(["--home", str(place), "start", str(file)], environment))
    shares = [100 * (a - b) / c for a, b, c in zip(*spent.values(), strict=True)]
    return {
        "trials": trials,
        **{f"{name}, CPU s": round(statistics.median(found), 1) for name, found in spent.items()},
        "share of a rung, %": round(statistics.median(shares), 1),
        "of rounds": f"{min(shares):.1f}-{max(shares):.1f}",
    }


def shortened(trials: int, seed: int, ear: str) -> str:
    """The quickstart's search as a study file of its own: whole trials, and nothing after them."""
    text = (Path(__file__).parents[1] / "studies" / "quickstart.toml").read_text()
    after = r"^\[(?:sampler|search|budget)\]"
    space = re.split(after, text[text.index("[corpus]") :], flags=re.MULTILINE)[0]
    objective = text[text.index("[objective]") : text.index("[finish]")]
    named = f'name = "rung"\nquestion = "What does listening cost?"\nseed = {seed}'
    whole = f'[sampler]\nname = "random"\n[pruner]\nname = "none"\n[budget]\ntrials = {trials}'
    return "\n".join([named, space, whole, f"[ear]\n{ear}", objective])


def children_seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """CPU seconds of the program and of all that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "run_study.py", *arguments]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1", **environment}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loaded(weights: torch.dtype | None) -> Vocoder:
    """The installed HiFi-GAN with weights of this kind; None: Griffin-Lim."""
    settings = MelSettings()
    if weights is None:
        return GriffinLim(settings)

    file = installed()
    if file is None:
        raise click.ClickException("The extra vocoder is not installed.")
    with patch.object(hifigan, "speaking_weights", lambda _: weights):
        return load_hifigan(file, settings, CPU)


def vocoders(folder: Path, count: int, resample_from: int | None) -> list[dict[str, Any]]:
    settings, predicts = MelSettings(), Mos()
    waves = recordings(folder, count, resample_from)
    kinds = {"Griffin-Lim": None, "HiFi-GAN, float32": torch.float32, "HiFi-GAN, bfloat16": torch.bfloat16}
    sides = {name: loaded(weights) for name, weights in kinds.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ("recordings", *sides)}
    for wave in track(waves, "clips", console=Console(stderr=True), transient=True):
        mel, seconds = mel_spectrogram(wave, settings), len(wave) / settings.sample_rate
        found["recordings"].append((predicts([wave], settings.sample_rate), 0.0))
        for name, vocoder in sides.items():
            started = time.process_time()
            sound = vocoder(mel)
            spent = (time.process_time() - started) / seconds
            found[name].append((predicts([sound], settings.sample_rate), spent))
    rows = []
    for name, pairs in found.items():
        scores, costs = zip(*pairs, strict=True)
        rows.append(
            {
                "sound": name,
                "MOS": round(statistics.fmean(scores), 2),
                "of clips": f"{min(scores):.2f}-{max(scores):.2f}",
                "CPU s per s": round(statistics.median(costs), 3),
            }
        )
    return rows


@click.group(help=__doc__)
def main() -> None:
    torch.set_num_threads(1)


RESAMPLE = click.option("--resample-from", type=int, help="Hz, if they are not 22,050.")


@main.command("cost")
@FOLDER
@click.option("--sentences", default=2, show_default=True, help="The first recordings, as if spoken.")
@RESAMPLE
@click.option("--recognizer", default="base", show_default=True)
@click.option("--rounds", default=5, show_default=True)
@FORMAT
def _cost(
    folder: Path, sentences: int, resample_from: int | None, recognizer: str, rounds: int, form: str
) -> None:
    """What listening costs."""
    click.echo(formatted(cost(folder, sentences, resample_from, recognizer, rounds), form))


@main.command("rung")
@click.option("--home", type=click.Path(exists=True, path_type=Path), required=True, help="Of a quickstart.")
@click.option("--sentences", default=2, show_default=True, help="Listened to at each measure.")
@click.option("--trials", default=3, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="Each with other trials.")
@FORMAT
def _rung(home: Path, sentences: int, trials: int, rounds: int, form: str) -> None:
    """What listening adds to whole trials."""
    click.echo(formatted(rung(home, sentences, trials, rounds), form))


@main.command("vocoders")
@FOLDER
@click.option("--clips", default=12, show_default=True)
@RESAMPLE
@FORMAT
def _vocoders(folder: Path, clips: int, resample_from: int | None, form: str) -> None:
    """How good vocoders sound."""
    click.echo(formatted(vocoders(folder, clips, resample_from), form))


if __name__ == "__main__":
    main()
