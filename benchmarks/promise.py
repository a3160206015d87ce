"""Whether repairs keep the promise: the quickstart's model, spoilt in six ways, with rules and without.

Every run is a trial of the real objective on the quickstart's corpus, planned for 400 steps (b: 200). A
repaired one may take up to 1.3 times as many, since redone steps are made up for. Healthy is: aligned,
stopping in the right place, and a value no worse than the worst of the clean runs after as many steps; after
200 steps not every clean run is. Of e, only runs that were aligned before the fault count. Finished runs
are kept in HOME/promise.jsonl, so that the command can be stopped and called again.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import optuna
import torch

from model.data.corpus import Corpus
from model.settings import Settings
from model.training import ALIGNED_SHARE, StepMeasures, Training
from objectives.base import Callback
from objectives.quality import Judge, yardstick
from objectives.signals import PARAMETERS
from objectives.tacotron2 import Tacotron2, Tacotron2Run
from objectives.trial import Attempt, Start, Trial, Unrepairable
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.rules import RULES
from smart_tuner.repair.rules.attention import TextIgnored
from smart_tuner.store.outage import Outage
from smart_tuner.store.records import TrialRepairs
from smart_tuner.store.storage import open_storage
from studies.file.spec import Spec, load
from studies.report import fixes
from studies.report.summary import formatted
from studies.run import data
from studies.run.training import plan_of

BASE = {
    "learning_rate": 2e-3,
    "batch_size": 16,
    "guided_attention_weight": 1.0,
    "guided_attention_sigma": 0.2,
    "gate_positive_weight": 5.0,
    "p_attention_dropout": 0.1,
}
RANDOMISED_AT = 350  # of 400: left alone for 100 steps, guidance half heals it
MOST = 1.3  # times the planned steps


@dataclass(frozen=True)
class Case:
    what: str
    settings: Mapping[str, float]
    steps: int = 400  # planned
    judged_after: int = 0  # steps: what was measured before a fault says nothing of it


FAULTS = {
    "a": Case("no guidance, r = 1", {"guided_attention_weight": 0.0, "n_frames_per_step": 1}),
    "b": Case("gate's positive weight 0.01", {"gate_positive_weight": 0.01}, steps=200),
    "c": Case("learning rate 30 times too high", {"learning_rate": 30 * BASE["learning_rate"]}),
    "d": Case("a NaN clip that returns every epoch", {}),
    "e": Case(f"attention randomised at step {RANDOMISED_AT}", {}, judged_after=RANDOMISED_AT),
    "f": Case("encoder cut off from the gradient", {}),
}
HEALTHY = {
    "h1": Case("clean", {}),
    "h2": Case("high learning rate, small batch", {"learning_rate": 8e-3, "batch_size": 8}),
    "h3": Case("low learning rate, much dropout", {"learning_rate": 1e-3, "p_attention_dropout": 0.3}),
    "h4": Case("strong guidance, heavy gate", {"guided_attention_weight": 4.0, "gate_positive_weight": 20.0}),
}


class Randomised(Training):
    """Loses its attention once, on the way."""

    def advance(self, closely: bool = False) -> StepMeasures:
        if self.step == RANDOMISED_AT:
            self.reinitialise("attention")
        return super().advance(closely)


def training(case: str, seed: int, corpus: Corpus, spec: Spec) -> Training:
    changes = (FAULTS | HEALTHY)[case].settings
    values = spec.parameters({**BASE, **changes}, PARAMETERS)
    settings = Settings(**{k: v for k, v in values.items() if PARAMETERS[k].setting})  # type: ignore[arg-type]
    dimensions = spec.voice.dimensions(len(corpus.front_end.symbols))
    kind = Randomised if case == "e" else Training
    run = kind(spoilt(corpus) if case == "d" else corpus, dimensions, settings, seed)
    if case == "f":
        encode = run.model.encode
        run.model.encode = lambda *a: encode(*a).detach()  # type: ignore[method-assign]
    return run


def spoilt(corpus: Corpus) -> Corpus:
    items = list(corpus.training)
    mel = items[5].mel.copy()
    mel[3, 4] = np.nan
    items[5] = replace(items[5], mel=mel)
    return replace(corpus, training=tuple(items))


class Told(Callback):
    def repaired(self, entry: Entry) -> None:
        click.echo(f"    {fixes.told(entry)}", err=True)

    def warned(self, text: str) -> None:
        click.echo(text, err=True)


def one(case: str, seed: int, arm: str, workdir: Path) -> dict[str, Any]:
    """A whole run as one trial; what came of it."""
    torch.set_num_threads(1)
    spec = load("quickstart")
    corpus = data.load(spec, workdir, lambda *_: None, lambda text: click.echo(text, err=True))
    judged = corpus.held_out[: spec.objective.sentences]
    judge = Judge(judged, spec.objective.draws, spec.seed, yardstick(judged, corpus.mel_settings))
    rules = RULES if arm == "rules" else ()
    plan = replace(plan_of(spec), steps=(FAULTS | HEALTHY)[case].steps, rules=rules)
    found: dict[str, Any] = {"case": case, "seed": seed, "arm": arm, "state": "COMPLETE", "reason": ""}
    with tempfile.TemporaryDirectory() as place:
        storage = open_storage(f"sqlite:///{place}/study.db")
        study = optuna.create_study(storage=storage, direction="minimize")
        trial, ledger = study.ask(), TrialRepairs(storage, "promise", 0, "benchmark")
        run = training(case, seed, corpus, spec)
        used = max((r.min_aligned_text_gain for r in rules if isinstance(r, TextIgnored)), default=0.0)
        voices = Tacotron2(run.corpus, judge, spec.voice.speak)
        made = Tacotron2Run(run, judge, spec.voice.speak, used)
        attempt = Attempt(trial, Path(place), ledger, Outage(click.echo))
        try:
            Trial(Start(attempt, voices, made, {}, plan, 0), Told()).value()
        except optuna.TrialPruned as end:
            found |= {"state": "PRUNED", "reason": str(end)}
        except (Unrepairable, FloatingPointError) as end:
            found |= {"state": "FAIL", "reason": str(end)}
        entries = ledger.all()
        measures = study.trials[0].user_attrs.get("measures", [])
        storage.engine.dispose()
    keys = ("step", "value", "aligned_share", "gate_accuracy", "failure_share")
    return found | {
        "steps": run.step,
        "curve": [{key: m[key] for key in keys} for m in measures],
        "repairs": [fixes.told(e) for e in entries if e.kind == "repair"],
        "story": fixes.explained((0, e) for e in entries),
    }


def healthy(row: Mapping[str, Any], worst: float, steps: int) -> bool:
    """At its end (by `steps`): aligned, stopping in the right place, as good as clean runs."""
    curve = judged(row, steps)
    if row["state"] != "COMPLETE" or not curve:
        return False
    best, last = min(m["value"] for m in curve), curve[-1]
    return bool(best <= worst and last["aligned_share"] >= ALIGNED_SHARE and last["gate_accuracy"] >= 0.7)


def was_aligned(row: Mapping[str, Any]) -> bool:
    """Whether attention was aligned before the fault: a seed that aligns late has none to lose."""
    before = [m for m in row["curve"] if m["step"] <= (FAULTS | HEALTHY)[row["case"]].judged_after]
    return not before or bool(before[-1]["aligned_share"] >= ALIGNED_SHARE)


def judged(row: Mapping[str, Any], steps: int) -> list[dict[str, float]]:
    after = (FAULTS | HEALTHY)[row["case"]].judged_after
    return [m for m in row["curve"] if after < m["step"] <= steps]


def best_value(row: Mapping[str, Any], steps: int) -> float | None:
    return min((m["value"] for m in judged(row, steps)), default=None)


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    clean = [row for row in rows if row["case"] == "h1"]
    shown = []
    for name, case in (FAULTS | HEALTHY).items():
        for arm in ("off", "rules"):
            of_case = [row for row in rows if (row["case"], row["arm"]) == (name, arm) and was_aligned(row)]
            mine = sorted(of_case, key=lambda row: row["seed"])
            if not mine:
                continue
            values = [best_value(row, case.steps) for row in clean]
            worst = max((v for v in values if v is not None), default=float("nan"))
            limit = round(MOST * case.steps)
            good = sum(healthy(row, worst, limit) for row in mine)
            whole = [healthy(row, worst, case.steps) for row in clean]
            best = [best_value(row, limit) for row in mine]
            shown.append(
                {
                    "case": f"{name}: {case.what}",
                    "arm": arm,
                    "healthy": f"{good}/{len(mine)}",
                    "clean runs healthy": f"{sum(whole)}/{len(clean)}",
                    "clean range": f"{min(v for v in values if v):.2f}-{worst:.2f}" if values else "",
                    "values, dB": ", ".join("-" if v is None else f"{v:.2f}" for v in best),
                    "states": ", ".join(sorted({row["state"] for row in mine})),
                    "steps": ", ".join(str(row["steps"]) for row in mine),
                    "repairs": ", ".join(str(len(row["repairs"])) for row in mine),
                }
            )
    return shown


def apart(run: tuple[str, int, str], workdir: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    call = [sys.executable, "-m", "benchmarks.promise", "--one", str(workdir), *map(str, run)]
    row: dict[str, Any] = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
    return row


@click.command(help=__doc__)
@click.option("--home", "workdir", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--only", default="", help="Cases, such as a,c,h2; default all.")
@click.option("--arms", default="rules,off", show_default=True)
@click.option("--seeds", default=5, show_default=True)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="Processes, one thread each.")
@click.option("-f", "--format", "form", type=click.Choice(["table", "json"]), default="table")
def main(workdir: Path, only: str, arms: str, seeds: int, jobs: int, form: str) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    log = workdir / "promise.jsonl"
    cases = only.split(",") if only else [*HEALTHY, *FAULTS]
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    done = {(row["case"], row["seed"], row["arm"]) for row in rows}
    wanted = [
        (case, seed, arm)
        for seed in range(seeds)
        for case in cases
        for arm in arms.split(",")
        if (case, seed, arm) not in done and not (case in HEALTHY and arm == "off")
    ]
    click.echo(f"{len(wanted)} runs to do, {len(rows)} done", err=True)
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(apart, run, workdir) for run in wanted]):
            row = future.result()
            rows.append(row)
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            click.echo(f"{row['case']} seed {row['seed']} {row['arm']}: done", err=True)
    click.echo(formatted(table(rows), form))


if __name__ == "__main__":
    if len(sys.argv) == 6 and sys.argv[1] == "--one":
        click.echo(json.dumps(one(sys.argv[3], int(sys.argv[4]), sys.argv[5], Path(sys.argv[2]))))
    else:
        main()
