"""How long a training step takes, and what memory, beside the public implementation.

Both run in one process, in turns, over the same batch: forward, losses, backward, clipping, Adam; ours
also with precision "bf16" where the CPU multiplies bfloat16.
The floor is the step's arithmetic at this machine's matrix product rate, measured between the turns.
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks import peer
from model.data.corpus import Corpus, Utterance, collate
from model.data.preflight import Report
from model.network.products import linear, multiplies_bfloat16
from model.settings import PRECISION, SIZES, Dimensions, Precision, Settings
from model.speech.audio import MelSettings
from model.speech.text import FRONT_ENDS
from model.training import Training
from studies.report.summary import formatted


@dataclass(frozen=True)
class Case:
    size: str
    batch: int
    symbols: int
    frames: int
    r: int = 1  # of this project; the peer always makes one frame a step

    @property
    def dimensions(self) -> Dimensions:
        size = SIZES[self.size]
        return replace(size, n_symbols=148, max_frames_per_step=max(self.r, size.max_frames_per_step))


CASES = {
    "full-16": Case("full", 16, 80, 300),
    "full-4": Case("full", 4, 80, 300),
    "small-16": Case("small", 16, 27, 148),  # the quickstart's network and median clip
    "quickstart": Case("small", 16, 27, 148, r=4),  # as the quickstart trains it
}


def training(
    case: Case, device: str = "cpu", precision: Precision = PRECISION, **settings: float
) -> Training:
    rng = np.random.default_rng(0)
    items = tuple(
        Utterance(
            str(i),
            "",
            rng.integers(1, 30, case.symbols),
            rng.normal(-5.0, 2.0, (case.frames, 80)).astype(np.float32),
        )
        for i in range(case.batch)
    )
    corpus = Corpus(items, (), FRONT_ENDS["en"], MelSettings(), "made-up", Report((), (), 0, {}, None))
    own = Settings(n_frames_per_step=case.r, batch_size=case.batch, **settings)  # type: ignore[arg-type]
    return Training(corpus, case.dimensions, own, 0, device, precision)


def ours(case: Case, device: str = "cpu", precision: Precision = PRECISION) -> Callable[[], object]:
    return training(case, device, precision).advance


def theirs(case: Case, device: str = "cpu") -> Callable[[], object]:
    batch, s = collate(training(case).corpus.training).to(torch.device(device)), Settings()
    network = peer.build(case.dimensions).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=s.learning_rate, weight_decay=s.weight_decay)
    return lambda: peer.train_step(network, optimizer, batch, s.grad_clip_thresh)


SIDES: dict[str, Callable[[Case], Callable[[], object]]] = {"ours": ours, "peer": theirs}
if multiplies_bfloat16(torch.device("cpu")):
    SIDES["bf16"] = partial(ours, precision="bf16")


def multiply_adds(case: Case) -> int:
    """Those of one forward pass that no implementation can leave out."""
    d, r = case.dimensions, case.r
    encoder, attention = d.encoder_embedding_dim, d.attention_rnn_dim
    per_symbol = (
        d.encoder_n_convolutions * d.encoder_kernel_size * encoder * encoder
        + 4 * encoder * (encoder + encoder // 2)  # two directions of half the width
        + encoder * d.attention_dim
    )
    features = d.decoder_rnn_dim + encoder
    per_step = (
        d.prenet_dim * (d.n_mel_channels + d.prenet_dim)
        + 4 * attention * (d.prenet_dim + encoder + attention)
        + attention * d.attention_dim
        + case.symbols * d.attention_dim * (2 * d.attention_location_kernel_size + 1)
        + case.symbols * encoder
        + 4 * d.decoder_rnn_dim * (attention + encoder + d.decoder_rnn_dim)
        + features * (d.n_mel_channels * r + 1)
    )
    post = d.postnet_embedding_dim
    between = (d.postnet_n_convolutions - 2) * post * post
    per_frame = d.postnet_kernel_size * (2 * d.n_mel_channels * post + between)
    one = case.symbols * per_symbol + -(-case.frames // r) * per_step + case.frames * per_frame
    return case.batch * one


def rates(size: int = 2048) -> tuple[float, float]:
    """Floating-point operations a second of torch's and of the faster product, both of large squares."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    found = []
    for multiply in (torch.mm, linear):
        seconds = min(timed(lambda m=multiply: m(a, b)) for _ in range(5))  # type: ignore[misc]
        found.append(2 * size**3 / seconds)
    return found[0], max(found)


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def compare(name: str, rounds: int) -> dict[str, Any]:
    case = CASES[name]
    steps = {side: build(case) for side, build in SIDES.items()}
    for step in steps.values():
        step()  # the first allocates
    times: dict[str, list[float]] = {side: [] for side in SIDES}
    speeds = []
    for _ in track(range(rounds), f"{name}: {rounds} rounds", console=Console(stderr=True), transient=True):
        for side, step in steps.items():
            times[side].append(timed(step))
        speeds.append(rates())
    medians = {side: statistics.median(measured) for side, measured in times.items()}
    ratios = {
        side: [b / a for a, b in zip(measured, times["peer"], strict=True)]
        for side, measured in times.items()
    }
    operations = 3 * 2 * multiply_adds(case)  # backward has two products for each one forward
    torch_rate, best_rate = (statistics.median(column) for column in zip(*speeds, strict=True))
    memory = {side: peak_memory(name, side) for side in ("ours", "peer")}
    found = {
        "case": name,
        "r": case.r,
        "ours_s": round(medians["ours"], 3),
        "peer_s": round(medians["peer"], 3),
        "peer/ours": round(medians["peer"] / medians["ours"], 2),
        "of rounds": f"{min(ratios['ours']):.2f}-{max(ratios['ours']):.2f}",
        "floor_s": round(operations / best_rate, 3),
        "ours/floor": round(medians["ours"] * best_rate / operations, 2),
        "GFLOP/s": round(best_rate / 1e9),
        "torch_floor_s": round(operations / torch_rate, 3),
        "torch_GFLOP/s": round(torch_rate / 1e9),
        "ours_MB": round(memory["ours"] / 1e6),
        "peer_MB": round(memory["peer"] / 1e6),
        "memory": round(memory["ours"] / memory["peer"], 2),
    }
    if "bf16" in SIDES:
        found["bf16_s"] = round(medians["bf16"], 3)
        found["peer/bf16"] = round(medians["peer"] / medians["bf16"], 2)
        found["bf16 of rounds"] = f"{min(ratios['bf16']):.2f}-{max(ratios['bf16']):.2f}"
    return found


def peak_memory(name: str, side: str) -> int:
    """Bytes above imports, weights and Adam's state, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.train_step", "--case", name, "--memory-of", side]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak_memory(case: Case, side: str) -> None:
    with torch.device("meta"):
        parameters = sum(p.numel() for p in peer.build(case.dimensions).parameters())
    take_two(SIDES[side](Case("tiny", 2, 9, 12)))  # what the libraries keep for themselves
    before = status("VmRSS")
    take_two(SIDES[side](case))
    click.echo(status("VmHWM") - before - 12 * parameters)


def take_two(step: Callable[[], object]) -> None:
    step()
    step()


def status(field: str) -> int:
    """Bytes, from Linux's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


@click.command(help=__doc__)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Default: all.")
@click.option("--rounds", default=5, show_default=True, help="Turns of each.")
@click.option("--memory-of", type=click.Choice(list(SIDES)), hidden=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(names: tuple[str, ...], rounds: int, memory_of: str | None, form: str) -> None:
    if memory_of is not None:
        print_peak_memory(CASES[names[0]], memory_of)
        return
    click.echo(formatted([compare(name, rounds) for name in names or CASES], form))


if __name__ == "__main__":
    main()
