"""Pictures of the benchmark: what each arm brought back, and fault by fault."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.faults.arms import ARMS
from benchmarks.faults.figures import Figures, share


def save_arms(f: Figures, path: Path) -> None:
    """Share of the repairable faults that each arm brought back, with 95 % intervals."""
    shares = {arm: share(f.repaired(arm)) for arm in ARMS}
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for at, found in enumerate(shares.values()):
        axes.barh(at, found.rate, color="tab:green" if at == 6 else "tab:gray")
        axes.plot([found.low, found.high], [at, at], color="black")
    axes.set_yticks(range(len(ARMS)), [f"{arm} {what}" for arm, what in ARMS.items()])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="held-out faults back in the healthy range, 95 % interval")
    figure.savefig(path, dpi=110)


def save_faults(f: Figures, path: Path) -> None:
    """The same, fault by fault."""
    rows = {case: [f.repaired(arm)[case] for arm in ARMS] for case in f.repaired("B6")}
    figure = Figure(figsize=(8, 1.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    if not rows:
        axes.set_title("no repairable fault counts yet")
        figure.savefig(path, dpi=110)
        return
    rates = np.array([[np.mean(hits) for hits in arms] for arms in rows.values()]).reshape(-1, len(ARMS))
    picture = axes.imshow(rates, aspect="auto", cmap="RdYlGn", vmin=0, vmax=1)
    axes.set_xticks(range(len(ARMS)), list(ARMS))
    axes.set_yticks(range(len(rows)), [f"{case} {f.cases[case].what[:48]}" for case in rows], fontsize=7)
    figure.colorbar(picture, ax=axes, label="share back in the healthy range")
    figure.savefig(path, dpi=110)


def save_band(f: Figures, path: Path) -> None:
    """How healthy runs go, and spoilt ones without rules and with ours."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    groups = {
        "no rules, spoilt": ("tab:red", [r["arms"]["B0"] for r in f.faulty if r["case"] in f.counting]),
        "ours, spoilt": ("tab:green", [r["arms"]["B6"] for r in f.faulty if r["case"] in f.counting]),
        "healthy": ("tab:gray", [r["arms"]["B6"] for r in f.healthy if r["case"] == "H01"]),
    }
    for label, (colour, runs) in groups.items():
        for at, run in enumerate(runs):
            steps, values = [row[0] for row in run["curve"]], [row[1] for row in run["curve"]]
            axes.plot(steps, values, color=colour, alpha=0.25, lw=0.8, label=None if at else label)
    if f.base:
        axes.axhline(f.band, color="black", ls=":", label=f"healthy range, up to {f.band:.1f} dB")
    axes.set(xlabel="consumed steps", ylabel="distance from recordings, dB")
    if axes.lines:
        axes.legend()
    figure.savefig(path, dpi=110)
