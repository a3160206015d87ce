"""How fast one text is spoken, beside the public implementation.

Both run in one process, in turns, at full size with the same weights, prenet masks and number of
frames, from symbols to the mel behind the postnet. The error is that of the mel, in natural-log units.
"""

import contextlib
import io
import statistics
from collections.abc import Callable
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks import peer
from benchmarks.train_step import timed
from model.network.tacotron2 import Tacotron2
from model.settings import Dimensions, Settings
from model.speech.audio import MelSettings
from studies.report.summary import formatted

SYMBOLS = 80


def sides(frames: int) -> dict[str, Callable[[], Tensor]]:
    """What makes the same mel (frames, 80), each in its way."""
    torch.manual_seed(0)
    theirs = peer.build(Dimensions(), max_decoder_steps=frames).eval()
    ours = Tacotron2(Dimensions()).eval()
    with torch.no_grad():
        theirs.get_parameter("decoder.gate_layer.linear_layer.bias").fill_(-20.0)  # speak up to the limit
    ours.load_state_dict(theirs.state_dict())
    text, lengths = torch.randint(1, 148, (1, SYMBOLS)), torch.tensor([SYMBOLS])
    masks = (torch.rand(frames, 2, 1, 256) < 0.5).float() * 2.0

    def ours_with(weights: torch.dtype) -> Callable[[], Tensor]:
        limits = torch.tensor([frames])
        return lambda: ours.synthesise(text, lengths, Settings(), masks, limits, weights=weights).mels[0]

    @torch.no_grad()
    def by_peer() -> Tensor:
        with peer.prenet_masks(masks), contextlib.redirect_stdout(io.StringIO()):
            mel: Tensor = theirs.inference(text)[1][0].t()  # type: ignore[operator]
            return mel

    return {"peer": by_peer, "float32": ours_with(torch.float32), "bfloat16": ours_with(torch.bfloat16)}


def compare(frames: int, rounds: int) -> list[dict[str, Any]]:
    runs = sides(frames)
    mels = {name: run() for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in track(range(rounds), f"{rounds} rounds", console=Console(stderr=True), transient=True):
        for name, run in runs.items():
            times[name].append(timed(run))
    seconds = frames * MelSettings().hop_length / MelSettings().sample_rate
    rows = []
    for name, measured in times.items():
        ratios = [b / a for a, b in zip(measured, times["peer"], strict=True)]
        median = statistics.median(measured)
        rows.append(
            {
                "side": name,
                "frames": len(mels[name]),
                "frames/s": round(frames / median),
                "real-time factor": round(median / seconds, 4),
                "times the peer": round(statistics.median(times["peer"]) / median, 2),
                "of rounds": f"{min(ratios):.2f}-{max(ratios):.2f}",
                "largest error": float(f"{(mels[name] - mels['peer']).abs().max():.2g}"),
            }
        )
    return rows


@click.command(help=__doc__)
@click.option("--frames", default=400, show_default=True, help="To speak.")
@click.option("--rounds", default=9, show_default=True, help="Turns of each.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(frames: int, rounds: int, form: str) -> None:
    click.echo(formatted(compare(frames, rounds), form))


if __name__ == "__main__":
    main()
