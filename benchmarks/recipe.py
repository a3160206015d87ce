"""What other settings make of the base recipe of the benchmark of faults: no rule watches, nothing is spoilt.

Trains each seed with and without them on espeak-ng's English (half development) and recorded Russian (half
held_out), 480 steps of a small voice. Results are added to RESULTS, a file of JSON lines, and what it has
is not trained again; without --setting only its table is printed. Differences are paired by seed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from benchmarks.faults.arms import ended, quick
from benchmarks.faults.case import HALVES, all_cases, spoilt
from benchmarks.faults.course import Course, MemoryLedger
from benchmarks.faults.figures import BASE
from benchmarks.faults.paired import LOSS, VALUE, mean
from benchmarks.faults.proof import markdown_table
from benchmarks.faults.stage import SPEECH, prepare

Run = Mapping[str, Any]


def trained(half: str, settings: Mapping[str, float], seed: int) -> list[list[float]]:
    """Step, dB and held-out loss at each measure."""
    setup = all_cases(SPEECH)[BASE].setup(SPEECH, half, 0, seed)
    for name, value in settings.items():
        setup = spoilt(setup, name, value)
    with TemporaryDirectory(dir=quick()) as place:
        course = Course(SPEECH, setup, 0, setup.training(seed), Path(place), MemoryLedger()).watch(())
        curve = ended(course, SPEECH.planned)["curve"]
    return [[row[0], row[VALUE], row[LOSS]] for row in curve]


def table(runs: list[Run]) -> str:
    """The mean of each settings' ends, and their difference to the base recipe's of the same seeds."""
    base = {(r["half"], r["seed"]): r["curve"] for r in runs if not r["settings"]}
    rows = []
    for half in HALVES:
        for settings in dict.fromkeys(json.dumps(r["settings"]) for r in runs if r["half"] == half):
            of = [r for r in runs if r["half"] == half and json.dumps(r["settings"]) == settings]
            pairs = [(r["curve"], base[half, r["seed"]]) for r in of if (half, r["seed"]) in base]
            for at in (len(of[0]["curve"]) // 2 - 1, -1):
                rows.append(
                    {
                        "half": half,
                        "settings": ", ".join(f"{k} = {v:g}" for k, v in json.loads(settings).items())
                        or "base",
                        "step": of[0]["curve"][at][0],
                        "seeds": len(pairs),
                        "dB": f"{sum(a[at][1] for a, _ in pairs) / max(1, len(pairs)):.2f}",
                        "difference, dB": mean([a[at][1] - b[at][1] for a, b in pairs]),
                        "of the held-out loss": mean([a[at][2] / b[at][2] - 1 for a, b in pairs]),
                    }
                )
    return markdown_table(rows)


@click.command(help=__doc__)
@click.argument("results", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--setting", "chosen", multiple=True, metavar="NAME=VALUE", help="May be repeated.")
@click.option("--half", "halves", multiple=True, type=click.Choice(HALVES), default=HALVES)
@click.option("--seeds", default=3, show_default=True)
def main(results: Path, chosen: tuple[str, ...], halves: tuple[str, ...], seeds: int) -> None:
    runs = [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []
    settings = {name: float(value) for name, _, value in (one.partition("=") for one in chosen)}
    if settings:
        prepare(SPEECH)
    for seed in range(seeds if settings else 0):
        for half in halves:
            for values in ({}, settings):
                what = {"half": half, "settings": values, "seed": seed}
                if any(what.items() <= one.items() for one in runs):
                    continue
                runs.append(what | {"curve": trained(half, values, seed)})
                click.echo(str(runs[-1]), err=True)
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(runs[-1]) + "\n")
    click.echo(table(runs))


if __name__ == "__main__":
    main()
