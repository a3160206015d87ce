"""How well voices are understood that say the same sentences, each beside the first.

TEXTS has a sentence a line, which no voice was trained on. VOICES are folders that `export` made; voices of
one kind that differ by their seeds are joined by commas, and count as one. CER: letters of a hundred that
Whisper hears otherwise, over all sentences. Intervals are of 95 %, bootstrapped over sentences, the same ones
for all voices.
"""

from functools import partial
from pathlib import Path
from statistics import fmean

import click
import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from rich.console import Console
from rich.progress import track

from benchmarks.search.figures import Seeds, bootstrapped
from model.speech.vocoder import vocoder_of
from model.speech.voice import load_voice
from objectives.ear import Ear
from objectives.mos import predictor
from studies.report.summary import rendered
from studies.run.recordings import letters_of

CPU = torch.device("cpu")


class Kind:
    """Voices of one kind, heard.

    Attributes:
        errors, letters: of each voice and sentence.
        mos: predicted, the mean of the voices; None: nothing predicts it.
    """

    def __init__(self, folders: list[Path], texts: list[str], ear: Ear) -> None:
        predicts, console = predictor(), Console(stderr=True)
        errors, letters, mos = [], [], []
        for folder in folders:
            voice = load_voice(folder)
            vocoder, rate = vocoder_of(None, voice.mel_settings, CPU), voice.mel_settings.sample_rate
            spoken = track(texts, f"{folder.name} speaks", console=console, transient=True)
            waves = [vocoder(voice.speak(text).mel) for text in spoken]
            heard = ear(waves, rate, texts).texts
            pairs = [[letters_of(t, ear.language) for t in pair] for pair in zip(texts, heard, strict=True)]
            letters.append([len(written) for written, _ in pairs])
            errors.append([min(len(a), Levenshtein.distance(a, b)) for a, b in pairs])
            mos += [predicts(waves, rate)] if predicts else []
        self.errors, self.letters = np.array(errors), np.array(letters)
        self.mos = fmean(mos) if mos else None

    def cer(self, sentences: Seeds) -> float:
        return float(100 * self.errors[:, sentences].sum() / self.letters[:, sentences].sum())


def difference(one: Kind, other: Kind, sentences: Seeds) -> float:
    return one.cer(sentences) - other.cer(sentences)


@click.command(help=__doc__)
@click.argument("texts", type=click.Path(exists=True, path_type=Path))
@click.argument("voices", nargs=-1, required=True)
@click.option("--recognizer", default="base", show_default=True)
@click.option("--language", type=click.Choice(["en", "ru"]), default="en", show_default=True)
def main(texts: Path, voices: tuple[str, ...], recognizer: str, language: str) -> None:
    lines = texts.read_text("utf-8").splitlines()
    said, ear = [line.strip() for line in lines if line.strip()], Ear(recognizer, language)
    kinds = {names: Kind([Path(name) for name in names.split(",")], said, ear) for names in voices}
    first = next(iter(kinds.values()))
    rows = []
    for names, kind in kinds.items():
        more = bootstrapped(partial(difference, kind, first), len(said))
        mos = "" if kind.mos is None else f"{kind.mos:.2f}"
        rows.append([names, str(bootstrapped(kind.cer, len(said))), str(more), mos])
    click.echo(rendered(["voice", "CER", "beside the first", "predicted MOS"], rows))


if __name__ == "__main__":
    main()
