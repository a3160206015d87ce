"""docs/proof.md, from the benchmark's raw results; nothing is run."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.faults.arms import ARMS
from benchmarks.faults.case import Case, all_cases
from benchmarks.faults.figures import Figures
from benchmarks.faults.paired import tables
from benchmarks.faults.pictures import save_arms, save_band, save_faults
from benchmarks.faults.report import Record, fault_rows, figures, healthy_rows, study_rows, targets
from benchmarks.faults.stage import STAGES

HERE = Path(__file__).parent
NOTES = HERE / "notes.md"  # what was tried where a target is missed: written by hand
PICTURES = {"proof-arms.png": save_arms, "proof-faults.png": save_faults, "proof-runs.png": save_band}


INTRO = """Made by `python -m benchmarks.faults.proof` from `benchmarks/faults/results-{stage.name}.json`,
the raw results of `python -m benchmarks.faults` (stage {stage.name}, rules and cases {identity}).

{spoilt} spoilt runs and {healthy} healthy ones; a healthy run has {stage.planned} steps, a spoilt one may
consume {stage.budget}, under every arm. The network is the project's own, small; its language is made up, so
that the true alignment is known (`benchmarks/faults/language.py`). A run is in the healthy range when its
free-running distance from held-out recordings is at most {band:.2f} dB, the 97.5th percentile of {base} sound
runs of the base recipe after {stage.planned} steps. Rules were set on the development half of the severities,
these figures are of the other half; what was seen of it before is told at the end. Intervals are 95 %,
bootstrapped over faults."""


STUDIES = """Trials of the base recipe with searched settings. Three of the ways have thirty, of which a fixed
30 % is spoilt by held-out faults; a study that ended earlier keeps its best. The healthy ones go on until
they consumed as many steps as thirty whole trials; ours differs from Optuna's in the sampler's settings, the
pruner and the rules, all at once. `rules` are those, with the cases, by which a study was run. Means over
seeds, and the range."""


PAIRS = ("speech", "pairs")  # of results of runs with and without rules, and of what is said of them


def cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "**no**", None: ""}[value]
    return str(value).replace("|", "\\|")


def markdown_table(rows: Sequence[Record]) -> str:
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(map(cell, row.values())) + " |" for row in rows]
    return "\n".join(lines)


def text(found: Mapping[str, Any], f: Figures, cases: Mapping[str, Case]) -> str:
    stage = STAGES[found["stage"]]
    arms = "\n".join(f"- **{arm}** {what}" for arm, what in ARMS.items())
    missing = "\n".join(f"- {c.name} {c.what} {c.missing}." for c in cases.values() if c.missing)
    harmless = [name for name in sorted({r["case"] for r in f.faulty}) if not f.counts(name)]
    parts = [
        "# Proof: do the fixes fix?",
        INTRO.format(
            stage=stage,
            identity=found["identity"],
            spoilt=len(f.faulty),
            healthy=len(f.healthy),
            band=f.band,
            base=len(f.base),
        ),
        "## What must be shown",
        markdown_table([*targets(f), *found.get("more", [])]),
        "![arms](proof-arms.png)",
        "## Fault by fault",
        "Shares are of runs back in the healthy range at the end; `seen` and `right` are of the rules. Arms:",
        arms,
        markdown_table(fault_rows(f)) if f.faulty else "",
        "![faults](proof-faults.png)",
        "![runs](proof-runs.png)",
        "Left out of the rates of what was seen and repaired, since without rules they do not surely hurt "
        f"(p < .05, d ≥ .5): {', '.join(harmless) or 'none'}.",
        "Not expressed in this stage:",
        missing,
        "## Healthy recipes",
        markdown_table(healthy_rows(f)) if f.healthy else "",
    ]
    if studies := study_rows(found):
        parts += ["## Whole studies", STUDIES, markdown_table(studies)]
    for name in PAIRS:
        if (path := HERE / f"results-{name}.json").exists():
            more = json.loads(path.read_text("utf-8"))
            parts.append((HERE / f"notes-{name}.md").read_text("utf-8").strip())
            for what, rows in tables(more, all_cases(STAGES[more["stage"]])).items():
                parts += [f"**{what[0].upper()}{what[1:]}**", *map(markdown_table, rows)]
    if NOTES.exists():
        parts.append(NOTES.read_text("utf-8").strip())
    return "\n\n".join(part for part in parts if part) + "\n"


@click.command(help=__doc__)
@click.argument("results", type=click.Path(path_type=Path, exists=True), default=HERE / "results-tiny.json")
@click.option("--docs", type=click.Path(path_type=Path), default=Path("docs"), show_default=True)
@click.option("--half", default="held_out", hidden=True)
def main(results: Path, docs: Path, half: str) -> None:
    found = json.loads(results.read_text("utf-8"))
    cases = all_cases(STAGES[found["stage"]])
    f = figures(found, cases, half)
    for name, save in PICTURES.items():
        save(f, docs / name)
    (docs / "proof.md").write_text(text(found, f, cases), "utf-8")
    click.echo(f"{docs / 'proof.md'} and {len(PICTURES)} pictures")


if __name__ == "__main__":
    main()
