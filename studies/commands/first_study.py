"""The verb that writes a study file for somebody's own recordings."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.data.preflight import DataError
from model.speech.text import LETTERS, PHONEME_INPUT
from smart_tuner.lazy import LazyModule
from smart_tuner.store.storage import StoreError
from studies.commands.place import DEVICE, Place
from studies.file.spec import NAME
from studies.report import history
from studies.report.outputs import UserPath
from studies.run.study import StudyError

if TYPE_CHECKING:
    from studies.callbacks import terminal as display
    from studies.run import data, first_study, training
else:  # they load torch
    data, first_study = LazyModule("studies.run.data"), LazyModule("studies.run.first_study")
    training, display = LazyModule("studies.run.training"), LazyModule("studies.callbacks.terminal")

NOTHING = "nothing"


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "folder",
    type=UserPath(exists=True, file_okay=False),
    required=True,
    help="Recordings, checked.",
)
@click.option("--language", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@click.option(
    "--hours",
    type=click.FloatRange(min=0.1),
    default=8.0,
    show_default=True,
    help="That this machine may work on it.",
)
@click.option(
    "--begin-with",
    metavar="STUDY",
    help='The voice of another study to begin with, or "nothing". Without it: the best start that is there.',
)
@click.option("-o", "--output", type=UserPath(dir_okay=False), help="The study file; default: NAME.toml.")
@DEVICE
@click.pass_obj
def new(
    place: Place,
    name: str,
    folder: Path,
    language: str,
    hours: float,
    begin_with: str | None,
    output: Path | None,
    device: str | None,
) -> None:
    """Write a study file for the recordings in a folder, and say what to expect of it.

    A few steps are timed on these recordings, so that the study takes the hours that you give it.
    """
    if not NAME.fullmatch(name):
        raise click.UsageError(f'"{name}" is no name of a study: only letters, digits, ".", "-" and "_".')
    file = output or Path(f"{name}.toml")
    if file.exists():
        raise click.UsageError(
            f"{file} is there already, and nothing was changed: choose another name or -o."
        )
    has_phonemes = importlib.util.find_spec("espeakng_loader") is not None
    settings = first_study.settings_of(folder, language, PHONEME_INPUT if has_phonemes else LETTERS)
    usable = training.usable_device(device or "auto")
    place.workdir.mkdir(parents=True, exist_ok=True)
    starts = first_study.starts(settings)
    start = _start(place, begin_with, starts)
    listing = place.workdir / f"{name}-problems.txt"
    try:
        with display.Terminal(place.console) as terminal:
            text, told = first_study.draft(
                name, folder, settings, hours, place.workdir, usable, terminal.progress, start
            )
    except DataError as error:
        raise data.listed(error, listing) from error
    file.write_text(text, "utf-8")
    for line in told:
        click.echo(line)
    if start is None and begin_with is None and starts:
        click.echo("A small voice is understood far sooner that begins with another one.")
        click.echo(
            f'Run: run_study.py start {starts[0]}   and put warm_start = "study:{starts[0]}" into [model].'
        )
    if not has_phonemes:
        click.echo("It reads letters: with the package espeakng-loader it would read phonemes.")
    click.echo(f"Written: {file}. Start it: run_study.py start {file}")


def _start(place: Place, wanted: str | None, known: Sequence[str]) -> str | None:
    """The study with whose voice to begin: the wanted one, else the first of the known ones that has one."""
    if wanted == NOTHING:
        return None
    if wanted is None:
        return next((name for name in known if _has_voice(place, name)), None)
    if history.best_trial(place.study(wanted, looking=True)[0]) is None:
        raise click.UsageError(f'Study "{wanted}" has no voice yet: run_study.py resume {wanted}')
    return wanted


def _has_voice(place: Place, study: str) -> bool:
    """A database that cannot be opened, or was never made, has none."""
    try:
        return history.best_trial(place.study(study, looking=True)[0]) is not None
    except (StudyError, StoreError):
        return False
