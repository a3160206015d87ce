"""Verbs that show what is known: of all studies, of one, of its trials, repairs and rules."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click
import optuna
from optuna.trial import FrozenTrial

from objectives.signals import PARAMETERS, SIGNALS
from smart_tuner.lazy import LazyModule
from smart_tuner.repair.autofix import offered
from smart_tuner.repair.rule import WAYS, Entry
from smart_tuner.repair.words import Words
from smart_tuner.store.ratings import ratings_of
from smart_tuner.store.records import repairs_of
from studies.commands.place import FORMATS, Place
from studies.file.spec import load, objective_class
from studies.report import fixes, history, outputs
from studies.report import summary as report
from studies.report.described import words_of
from studies.report.outputs import PAGES, TEXTS, OutputFile
from studies.run.study import StudyError, rdb

if TYPE_CHECKING:
    from studies.report import single_page
else:
    single_page = LazyModule("studies.report.single_page")


@click.command()
@FORMATS
@click.pass_obj
def list_studies(place: Place, form: str) -> None:
    """All studies in the database."""
    click.echo(report.formatted(report.study_records(place.storage(looking=True)), form))


@click.command()
@click.argument("name")
@FORMATS
@click.pass_obj
def status(place: Place, name: str, form: str) -> None:
    """How far study NAME is."""
    click.echo(report.formatted(report.status_record(*place.study(name, looking=True)), form))


@click.command()
@click.argument("name")
@click.option("--state", type=click.Choice([s.name for s in optuna.trial.TrialState], case_sensitive=False))
@FORMATS
@click.pass_obj
def trials(place: Place, name: str, state: str | None, form: str) -> None:
    """The trials of study NAME."""
    study = place.study(name, looking=True)[0]
    click.echo(report.formatted(report.trial_records(study, state and state.upper()), form))


@click.command()
@click.argument("name")
@FORMATS
@click.pass_obj
def best(place: Place, name: str, form: str) -> None:
    """The best trial of study NAME (smaller is better), and the bests with and without repairs."""
    study, spec = place.study(name, looking=True)
    found, note = history.best_trial(study), report.untrained(study)
    if found is None:
        raise StudyError(
            f'Study "{name}" has no completed trial that was trained here.\n{note or "There is no best."}\n'
            f"Run: run_study.py status {name}"
        )
    if note:
        click.echo(note, err=True)
    click.echo(report.formatted(report.best_record(study, spec, found), form))


def _repairs(study: optuna.Study, trial: int | None = None) -> list[tuple[int, Entry]]:
    return list(repairs_of(rdb(study).ours, study.user_attrs["uid"], trial))


@click.command()
@click.argument("name")
@click.option("--trial", type=click.IntRange(min=0), help="Only this one.")
@click.option("--explain", is_flag=True, help="In sentences instead of a table.")
@FORMATS
@click.pass_obj
def show_fixes(place: Place, name: str, trial: int | None, explain: bool, form: str) -> None:
    """What rules saw in study NAME, what was changed, and what came of it."""
    study, _ = place.study(name, looking=True)
    rows, words = _repairs(study, trial), Words("en", words_of(study))
    if explain:
        click.echo(fixes.explained(rows, words) or "Nothing was repaired.")
    else:
        click.echo(report.formatted(fixes.records(rows, words), form))
    ended = {t.number: v for t in study.get_trials(deepcopy=False) if (v := _worth(t)) is not None}
    if told := fixes.balance(rows, ended):
        click.echo(told, err=True)


def _worth(trial: FrozenTrial) -> float | None:
    """The best that an ended trial was measured at."""
    found = [value for value in trial.intermediate_values.values() if math.isfinite(value)]
    return min(found, default=None) if trial.state.is_finished() else None


@click.command()
@click.argument("study", default="quickstart")
def show_rules(study: str) -> None:
    """The rules of STUDY with their thresholds, as Markdown; an own rule's code is imported."""
    spec = load(study)
    used = spec.objective.use
    own = objective_class(used, spec.code) if used else None
    signals, parameters = (own.signals, own.parameters) if own else (SIGNALS, PARAMETERS)
    settings = {name: known.default for name, known in parameters.items() if known.setting}
    names = offered(signals, settings, WAYS)
    rules = spec.rules.chosen(spec.code)
    shown = fixes.rules_page(rules, names, settings, spec.rules.advises(rules))
    click.echo(shown or "This study's rules are off.")


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=OutputFile((*PAGES, *TEXTS)),
    default="-",
    help="A file that ends with .html, .htm, .md or .txt; default stdout.",
)
@click.pass_obj
def write_report(place: Place, name: str, output: Path) -> None:
    """The story of study NAME as Markdown, or, in a file that ends with .html, with pictures and sound."""
    study, spec = place.study(name, looking=True)
    rows, sample = _repairs(study), place.sample(study)
    ratings = ratings_of(rdb(study).ours, study.user_attrs["uid"])
    if output.suffix.lower() in PAGES:
        text = single_page.page(study, spec, sample, rows, ratings, place.folder(name))
    else:
        text = report.markdown(study, spec, sample, rows, ratings)
    outputs.write(output, f"{text}\n".encode())
    if output != outputs.STDOUT:
        click.echo(output)
