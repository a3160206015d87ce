"""Hand a study's workers to a scheduler: the options of `start --launch`, and what they ask for."""

import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from smart_tuner.store.storage import read_url
from studies.commands import kubernetes, slurm
from studies.commands.place import PROGRAM
from studies.commands.scheduler import STORAGE_VARIABLE, LaunchError, worker_command
from studies.report.outputs import MANIFESTS, STDOUT, OutputFile

FLAGS = (
    click.option(
        "--launch", type=click.Choice(["slurm", "kubernetes"]), help="Let a scheduler run the workers."
    ),
    click.option("--jobs", type=click.IntRange(min=1), help="With --launch: how many; each runs one trial."),
    click.option("--image", help="With --launch kubernetes: an image that has run_study.py."),
    click.option(
        "--option",
        "options",
        multiple=True,
        metavar="KEY=VALUE",
        help="With --launch: of sbatch, or a resource or name in the cluster; may be repeated.",
    ),
    click.option(
        "-o",
        "--output",
        type=OutputFile(MANIFESTS),
        help="With --launch kubernetes: a .yaml file for the manifest; default stdout.",
    ),
)


@dataclass(frozen=True)
class Launch:
    """What `start --launch` was asked for."""

    target: str
    jobs: int
    image: str | None
    options: Mapping[str, str]
    output: Path | None

    def check(self, url: str) -> None:
        """Before anything is stored. Raises LaunchError when workers could not share the database."""
        if read_url(url).file is not None:
            raise LaunchError(
                f"Cannot launch workers on {self.target} with an SQLite database.\n"
                "It is a file of this machine, and damaged or slow when shared over a network.\n"
                f"Set {STORAGE_VARIABLE} to one like postgresql+psycopg://user:password@host/name."
            )

    def run(self, study: str, workdir: Path, url: str, environment: Mapping[str, str], device: str) -> str:
        """Launch the workers of an existing study. Returns what is to be told.

        Args:
            environment: of every job; no secrets.
        """
        if self.target == "kubernetes":
            command = worker_command(["run_study.py"], kubernetes.HOME_IN_POD, study, device)
            job = kubernetes.manifest(command, study, self.image or "", self.jobs, self.options, environment)
            text: str = yaml.safe_dump(job)
            if self.output in (None, STDOUT):
                return text
            self.output.write_text(text, "utf-8")
            return f"{self.output}\nRun it: kubectl create -f {self.output}"
        command = worker_command([sys.executable, PROGRAM], str(workdir.resolve()), study, device)
        folder = workdir.resolve() / "studies" / study / "slurm"
        options = {"job-name": f"smart-tuner-{study}", **self.options}
        jobs = slurm.submit(command, {STORAGE_VARIABLE: url, **environment}, self.jobs, folder, options, None)
        return f"{len(jobs)} jobs: {jobs[0].job_id} to {jobs[-1].job_id}; what they say is in {folder}"


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a launch; it gets them as `launching`, None without --launch."""

    for option in reversed(FLAGS):
        command = option(command)

    @functools.wraps(command)
    def with_launch(
        *arguments: Any,
        launch: str | None,
        jobs: int | None,
        image: str | None,
        options: tuple[str, ...],
        output: Path | None,
        **others: Any,
    ) -> Any:
        asked = {"--jobs": jobs, "--image": image, "--option": options, "--output": output}
        _check_flags(launch, {name for name, value in asked.items() if value})
        launching = Launch(launch, jobs or 0, image, _pairs(options), output) if launch else None
        return command(*arguments, launching=launching, **others)

    return with_launch


def _check_flags(launch: str | None, given: set[str]) -> None:
    needed = {None: set(), "slurm": {"--jobs"}, "kubernetes": {"--jobs", "--image"}}[launch]
    allowed = {None: set(), "slurm": {"--option"}, "kubernetes": {"--option", "--output"}}[launch]
    if missing := sorted(needed - given):
        raise click.UsageError(f"--launch {launch} needs {' and '.join(missing)}.")
    if extra := sorted(given - needed - allowed):
        kind = f"with --launch {launch}" if launch else "without --launch"
        raise click.UsageError(f"{' and '.join(extra)} cannot be used {kind}.")


def _pairs(options: Sequence[str]) -> dict[str, str]:
    for option in options:
        if not re.fullmatch(r"[^=]+=.+", option):
            raise click.UsageError(f'--option "{option}" is not KEY=VALUE.')
    return dict(option.split("=", 1) for option in options)
