"""What watching costs: the same training with rules and without, in turns, step by step.

Tiers 0 and 1 (every step, and the looks at the network's parts); nothing is validated, since a study
validates anyway. One ratio a block of steps that holds one look; the median of all blocks counts.
"""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from benchmarks.train_step import CASES, timed, training
from objectives.monitored import Monitored
from objectives.quality import Judge, Yardstick
from objectives.tacotron2 import Tacotron2, Tacotron2Run
from smart_tuner.repair.health import Pace
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.rules import RULES
from studies.report.fixes import told
from studies.report.summary import formatted

PLANNED = 50_000


class NoLedger:
    def add(self, entry: Entry) -> Entry:
        raise click.ClickException(f"the run is not healthy: {told(entry)}")

    def flush(self) -> None: ...
    def take(self, entries: Sequence[Entry], step: int) -> None: ...


def compare(name: str, blocks: int) -> dict[str, Any]:
    pace = Pace(PLANNED, validate_every=10 * PLANNED)
    plain, other = training(CASES[name]), training(CASES[name])
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge((), 1, 0, Yardstick(1.0, 0.0))
        run, voices = Tacotron2Run(other, judge), Tacotron2(other.corpus, judge, "")
        watched = Monitored(voices, run, pace, RULES, Path(folder), NoLedger())
        ratios, steps = [], []
        every = pace(50, 20)
        for _ in range(30):  # the first allocate, and windows fill
            plain.advance()
            watched.advance()
        for _ in track(range(blocks), name, console=Console(stderr=True), transient=True):
            alone = with_rules = 0.0
            for _ in range(every):
                alone += timed(plain.advance)
                with_rules += timed(watched.advance)
            ratios.append(with_rules / alone)
            steps.append(alone / every)
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "case": name,
        "step_ms": round(1000 * statistics.median(steps), 1),
        "watching": f"{statistics.median(ratios) - 1:+.2%}",
        "quartiles": f"{quarters[0] - 1:+.2%} to {quarters[2] - 1:+.2%}",
        "blocks": blocks,
    }


@click.command(help=__doc__)
@click.option("--case", "names", multiple=True, type=click.Choice(list(CASES)), help="Default: quickstart.")
@click.option("--blocks", default=15, show_default=True)
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(names: tuple[str, ...], blocks: int, form: str) -> None:
    click.echo(formatted([compare(name, blocks) for name in names or ("quickstart",)], form))


if __name__ == "__main__":
    main()
