"""Where a command finds everything, and the options that several commands share."""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import optuna
from rich.console import Console

from smart_tuner.lazy import LazyModule
from smart_tuner.store.storage import Storage, StoreError, open_storage
from studies.file.code import look_in
from studies.file.spec import Spec
from studies.report import history
from studies.run.folders import trial_folder
from studies.run.study import load_study, stored_spec, under_its_name

if TYPE_CHECKING:
    from studies.run import artifacts
else:
    artifacts = LazyModule("studies.run.artifacts")

PROGRAM = str(Path(__file__).resolve().parents[2] / "run_study.py")  # what child processes run
FORMATS = click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json", "value"]),
    default="table",
    show_default=True,
)
DEVICE = click.option(
    "--device",
    help="A torch device, such as cpu; auto: a GPU if there is one. Without it: what the study began with.",
)


def _chosen_tracking(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    context.obj = replace(context.obj, tracking=wanted)


TRACKING = click.option(
    "--tracking/--no-tracking",
    envvar="SMART_TUNER_TRACKING",
    default=True,
    expose_value=False,
    callback=_chosen_tracking,
    help="Whether MLflow, TensorBoard and optuna-dashboard get numbers, pictures and sounds.",
)


def _allowed(context: click.Context, _: click.Parameter, named: tuple[str, ...]) -> None:
    if named:
        look_in(Path.cwd())
        context.obj = context.obj.trusting(named)


USE = click.option(
    "--use",
    envvar="SMART_TUNER_USE",
    multiple=True,
    metavar="MODULE:NAME",
    expose_value=False,
    callback=_allowed,
    help="Code that the study names and that may be imported here; may be repeated.",
)


class WorkdirError(RuntimeError):
    """The folder for everything cannot be made."""


@dataclass(frozen=True)
class Place:
    """Where everything is kept."""

    workdir: Path
    url: str
    console: Console
    store_url: str | None
    pages: Callable[["Place"], AbstractContextManager[Any]] = nullcontext  # serves them beside workers
    tracking: bool = True
    allowed: tuple[str, ...] = ()  # code that may be imported, as "module:Name"

    def storage(self, looking: bool = False) -> Storage:
        """Args: looking: nothing will be written, so that a right to read is enough."""
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkdirError(
                f"Cannot keep anything in {self.workdir}.\n{error}\nGive another folder with --home."
            ) from error
        try:
            storage = open_storage(self.url, looking)
        except StoreError as error:
            if self.url.startswith(f"sqlite:///{self.workdir}/") and not os.access(
                self.workdir, os.W_OK, effective_ids=True
            ):
                raise WorkdirError(
                    f"Cannot write in {self.workdir}.\n{error}\nGive another folder with --home."
                ) from error
            raise
        click.get_current_context().call_on_close(storage.close)
        return storage

    def folder(self, study: str) -> Path:
        return self.workdir / "studies" / study

    def store(self) -> "artifacts.Artifacts | None":
        return artifacts.Artifacts.at(self.store_url) if self.store_url else None

    def study(self, name: str, looking: bool = False) -> tuple[optuna.Study, Spec]:
        """Args: looking: as for `storage`."""
        study = load_study(name, self.storage(looking))
        spec, before = under_its_name(study), self.folder(stored_spec(study).name)
        if spec.name != before.name and before.is_dir() and not self.folder(name).exists():
            with suppress(PermissionError) if looking else nullcontext():
                before.rename(self.folder(name))
        return study, spec

    def sample(self, study: optuna.Study) -> str | None:
        """Where the best trial's sound (.wav) and picture (.png) lie, without the ending."""
        best = history.best_trial(study)
        if best is None:
            return None
        return str(trial_folder(self.folder(study.study_name), best.number) / "sample")

    def environment(self) -> dict[str, str]:
        """What is the same for workers on any machine."""
        store = {"SMART_TUNER_ARTIFACTS": self.store_url} if self.store_url else {}
        code = {"SMART_TUNER_USE": " ".join(self.allowed)} if self.allowed else {}
        return {"SMART_TUNER_TRACKING": str(int(self.tracking)), **store, **code}

    def trusting(self, named: Sequence[str]) -> "Place":
        """The same, with code that the local user named."""
        return replace(self, allowed=(*self.allowed, *named))

    def share(self) -> None:
        """With child processes; a command line would show the database's password."""
        known = {"OPTUNA_STORAGE": self.url, "SMART_TUNER_HOME": str(self.workdir)}
        os.environ |= known | self.environment()
