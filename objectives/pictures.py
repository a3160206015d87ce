"""Pictures of a spoken sentence: its alignment and its mel spectrogram."""

from pathlib import Path

from matplotlib.figure import Figure

from model.text import FrontEnd
from model.voice import Speech


def save_alignment(path: Path, speech: Speech, symbols: list[int], front_end: FrontEnd, title: str) -> None:
    """PNG of the attention weights over the letters of the text, above the mel spectrogram."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 2))
    picture = top.imshow(speech.alignment.T, aspect="auto", origin="lower", interpolation="nearest", vmin=0)
    figure.colorbar(picture, ax=top, label="attention weight")
    letters = [front_end.symbols[symbol].replace(" ", "␣") for symbol in symbols]
    top.set_yticks(range(len(letters)), letters, fontsize=max(4, min(9, 300 // len(letters))))
    top.set(title=title, xlabel="decoder step", ylabel="symbol")
    picture = bottom.imshow(speech.mel.T, aspect="auto", origin="lower", interpolation="nearest")
    figure.colorbar(picture, ax=bottom, label="ln magnitude")
    bottom.set(xlabel="mel frame", ylabel="mel band")
    figure.savefig(path, dpi=110)
