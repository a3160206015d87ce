"""Whether the fixes fix: tiny trainings spoilt in known ways, and healthy ones, under eight arms.

The benchmark is an Optuna study in a database: it can be stopped and started again, and several of these
commands share it; what the file of results has already is not run again. Faults run on the held-out half of
their severities; healthy recipes with 25 seeds each.
"""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from optuna.trial import TrialState
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.faults import jobs, report
from benchmarks.faults.arms import Bout, quick
from benchmarks.faults.case import HALVES, Case, all_cases
from benchmarks.faults.jobs import Job
from benchmarks.faults.language import Shape
from benchmarks.faults.paired import told_pairs
from benchmarks.faults.pairs import TRACES, Pair
from benchmarks.faults.search import MODES, search
from benchmarks.faults.setup import Setup
from benchmarks.faults.stage import STAGES, Stage, prepare
from benchmarks.watching import compare

TIMED_STEPS = 30


@click.command(help=__doc__)
@click.option("--stage", "name", type=click.Choice(list(STAGES)), default="tiny", show_default=True)
@click.option("--only", default="", help="Cases, such as F07,H03, or ways to search, such as S-full.")
@click.option("--half", type=click.Choice(HALVES), default="held_out", show_default=True)
@click.option("--searches", is_flag=True, help="Whole studies, too: 30 trials, 7 ways, 5 seeds.")
@click.option("--watching", is_flag=True, help="What watching costs, too; nothing else should run then.")
@click.option("--workers", default=2, show_default=True, help="Processes, one thread each.")
@click.option("--storage", default="sqlite:///runs/faults.db", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Raw results; default runs/faults-STAGE.json.")
@click.option(
    "--earlier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Results by other rules: what has no rules is taken from there.",
)
@click.option(
    "--pairs", is_flag=True, help="Only without rules and with ours; on speech, and of drawn runs, always."
)
@click.option("--work", is_flag=True, hidden=True)
def main(
    name: str,
    only: str,
    half: str,
    searches: bool,
    watching: bool,
    workers: int,
    storage: str,
    out: Path | None,
    earlier: Path | None,
    pairs: bool,
    work: bool,
) -> None:
    stage = STAGES[name]
    cases = all_cases(stage)
    if work:
        run_jobs(stage, cases, storage, earlier, pairs)
        return
    if earlier:
        try:
            report.known_without_rules(stage, report.read(earlier))
        except ValueError as error:
            raise click.BadParameter(f"{earlier}: {error}") from error
    names = only.split(",") if only else list(cases)
    if unknown := set(names) - cases.keys() - MODES.keys():
        raise click.BadParameter(f"{', '.join(sorted(unknown))}; known: {', '.join([*cases, *MODES])}")
    out = out or Path("runs") / f"faults-{stage.name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    study = jobs.open_study(stage, storage)
    wanted = jobs.jobs([cases[one] for one in names if one in cases], half, stage)
    wanted += [job for job in jobs.searches() if searches or job.case in names]
    done = jobs.results(study).keys() | report.known(stage, report.read(out)).keys()
    left = [job for job in wanted if job not in done]
    jobs.recover(study)
    jobs.enqueue(study, left)
    click.echo(f"{len(done)} jobs of this stage are done; {len(left)} are to do.", err=True)
    if left:
        click.echo(f"They take about {told(estimated(stage, cases, left) / workers)}.", err=True)
        follow(stage, storage, left, workers, earlier, pairs)
    found = report.export(stage, study, out)
    if watching:
        found = report.add(out, report.watching_row(compare("quickstart", 15)))
    paired = pairs or stage.name == "speech"
    click.echo(
        told_pairs(found, cases) if paired else report.printed(report.figures(found, cases, half), found)
    )


def run_jobs(stage: Stage, cases: dict[str, Case], storage: str, earlier: Path | None, pairs: bool) -> None:
    """A worker's whole life."""
    unruled = report.known_without_rules(stage, report.read(earlier)) if earlier else {}
    torch.set_num_threads(1)
    prepare(stage)
    study = jobs.open_study(stage, storage)
    for trial, job in jobs.claimed(study):
        began = time.monotonic()
        trial.set_user_attr(jobs.RESULT, result(stage, cases, job, unruled.get(job, {}), pairs))
        study.tell(trial, time.monotonic() - began)


def result(
    stage: Stage, cases: dict[str, Case], job: Job, unruled: dict[str, Any], pairs: bool
) -> dict[str, Any]:
    if job.case in MODES:
        return search(stage, cases, job.case, job.seed)
    with TemporaryDirectory(dir=quick()) as place:
        if pairs or stage.name == "speech" or cases[job.case].drawn:
            of = job.half, job.severity, job.seed
            return Pair(stage, cases[job.case], *of, Path(place), TRACES).arms()
        return Bout(stage, cases[job.case], job.half, job.severity, job.seed, Path(place)).all(unruled)


def estimated(stage: Stage, cases: dict[str, Case], left: Sequence[Job]) -> float:
    """Seconds of one process, from a few steps of the base recipe."""
    torch.set_num_threads(1)
    prepare(stage)
    training = Setup.of(stage, Shape()).training(0)
    for _ in range(5):
        training.advance()
    began = time.monotonic()
    for _ in range(TIMED_STEPS):
        training.advance()
    run = stage.budget * (time.monotonic() - began) / TIMED_STEPS
    return sum(run * cost(cases.get(job.case)) for job in left)


def cost(case: Case | None) -> float:
    """The cost of a job in times of a spoilt run, with all that is not a step; None is a whole study."""
    if case is None:
        return 28.0
    if not case.is_fault:
        return 1.0
    return 6.5 if case.repairable else 2.2


def told(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds > 5400 else f"{seconds / 60:.0f} minutes"


def follow(
    stage: Stage, storage: str, left: Sequence[Job], count: int, earlier: Path | None, pairs: bool
) -> None:
    """Until every worker ended; what they do is read from the database."""
    call = [sys.executable, "-m", "benchmarks.faults", "--stage", stage.name, "--storage", storage, "--work"]
    call += ["--earlier", str(earlier)] if earlier else []
    call += ["--pairs"] if pairs else []
    workers = [subprocess.Popen(call) for _ in range(count)]
    study = jobs.open_study(stage, storage)
    columns = BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("jobs", total=len(left))
        while any(worker.poll() is None for worker in workers):
            time.sleep(2)
            ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            wanted = set(left)
            progress.update(bar, completed=sum(jobs.job_of(trial) in wanted for trial in ended))
    if any(worker.returncode for worker in workers):
        raise click.ClickException("a worker failed; its job is done again by the next call")


if __name__ == "__main__":
    main()
