"""Pictures of a spoken sentence: its alignment and its mel spectrogram."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from model.speech.text import FrontEnd
from model.speech.voice import Speech


def save_alignment(path: Path, speech: Speech, symbols: list[int], front_end: FrontEnd, title: str) -> None:
    """PNG of the attention weights over the letters of the text, above the mel spectrogram."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    top, bottom = figure.subplots(2, 1, height_ratios=(3, 2))
    picture = top.imshow(speech.alignment.T, aspect="auto", origin="lower", interpolation="nearest", vmin=0)
    figure.colorbar(picture, ax=top, label="attention weight")
    _name_symbols(top, symbols, front_end)
    top.set(title=title, xlabel="decoder step", ylabel="symbol")
    picture = bottom.imshow(speech.mel.T, aspect="auto", origin="lower", interpolation="nearest")
    figure.colorbar(picture, ax=bottom, label="ln magnitude")
    bottom.set(xlabel="mel frame", ylabel="mel band")
    figure.savefig(path, dpi=110)


def save_attention(
    path: Path, attention: NDArray[np.float32], symbols: list[int], front_end: FrontEnd, title: str
) -> None:
    """Small PNG of attention weights (decoder steps, symbols), such as a page shows beside others."""
    figure = Figure(figsize=(4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(attention.T, aspect="auto", origin="lower", interpolation="nearest", vmin=0, vmax=1)
    _name_symbols(axes, symbols, front_end)
    axes.set_title(title, fontsize=9)
    axes.set(xlabel="decoder step", ylabel="symbol")
    figure.savefig(path, dpi=90)


def _name_symbols(axes: Axes, symbols: list[int], front_end: FrontEnd) -> None:
    letters = [front_end.symbols[symbol].replace(" ", "␣") for symbol in symbols]
    axes.set_yticks(range(len(letters)), letters, fontsize=max(4, min(9, 300 // len(letters))))


def save_mels(path: Path, recorded: NDArray[np.float32], spoken: NDArray[np.float32], title: str) -> None:
    """PNG of the mel spectrogram (F, 80) of a held-out recording, above that of the voice's own reading."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    rows = figure.subplots(2, 1, sharex=True)
    low, high = float(recorded.min()), float(recorded.max())
    for row, mel, name in zip(rows, (recorded, spoken), ("recorded", "spoken freely"), strict=True):
        picture = row.imshow(
            mel.T, aspect="auto", origin="lower", interpolation="nearest", vmin=low, vmax=high
        )
        row.set(ylabel=f"{name}\nmel band", xlim=(0, max(len(recorded), len(spoken))))
    rows[0].set_title(title)
    rows[1].set_xlabel("mel frame")
    figure.colorbar(picture, ax=list(rows), label="ln magnitude")
    figure.savefig(path, dpi=90)
