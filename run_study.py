"""Start, resume and look at studies that train Tacotron 2 voices.

\b
    run_study.py start quickstart                 create a study, or go on with it
    run_study.py best quickstart                  its best trial
    run_study.py speak quickstart "Hello" -o a.wav
"""

import errno
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import optuna
from rich.console import Console
from sqlalchemy.exc import OperationalError

from model.checkpoint import DamagedCheckpoint
from model.corpora import CorpusError
from model.preflight import CorpusSettings, DataError, check
from model.text import TextError
from model.warm_start import WarmStartError
from objectives.tacotron2 import Interrupted, save_sample
from smart_tuner.repairs import Entry
from smart_tuner.store import StoreError, open_storage, repairs_of
from studies import data, doctor, fixes, launch, report, voices, worker
from studies.spec import Spec, SpecError, load, single_training
from studies.terminal import Terminal

FORMATS = click.option(
    "-f",
    "--format",
    "form",
    type=click.Choice(["table", "json", "value"]),
    default="table",
    show_default=True,
)
NO_FIXES = click.option(
    "--no-fixes", is_flag=True, help="Without automatic fixes, under the name NAME-no-fixes: a control."
)
DEVICE = click.option("--device", default="cpu", show_default=True, help="A torch device, such as cuda.")


class HomeError(RuntimeError):
    """The folder for everything cannot be made."""


@dataclass(frozen=True)
class Place:
    """Where everything is kept."""

    home: Path
    url: str
    console: Console

    def storage(self) -> optuna.storages.RDBStorage:
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"Cannot keep anything in {self.home}.\n{error}\nGive another folder with --home."
            ) from error
        return open_storage(self.url)

    def folder(self, study: str) -> Path:
        return self.home / "studies" / study

    def study(self, name: str) -> tuple[optuna.Study, Spec]:
        study = worker.load_study(name, self.storage())
        return study, Spec.parse_json(study.user_attrs["spec"])

    def repairs(self, study: optuna.Study, trial: int | None = None) -> list[tuple[int, Entry]]:
        return list(repairs_of(self.storage().engine, study.user_attrs["uid"], trial))

    def sample(self, study: optuna.Study) -> str | None:
        """Where the best trial's sound (.wav) and picture (.png) lie, without the ending."""
        best = report.best_trial(study)
        if best is None:
            return None
        return str(worker.trial_folder(self.folder(study.study_name), best.number) / "sample")


@click.group(
    help=__doc__, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--storage", envvar="OPTUNA_STORAGE", help="SQLAlchemy URL; default sqlite:///HOME/study.db.")
@click.option(
    "--home",
    envvar="SMART_TUNER_HOME",
    default="runs",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for corpora, checkpoints and samples.",
)
@click.option("--no-color", is_flag=True, envvar="NO_COLOR", help="Plain text.")
@click.option("--debug", is_flag=True, help="Show the trace of an error.")
@click.version_option(package_name="smart-tuner")
@click.pass_context
def cli(context: click.Context, storage: str | None, home: Path, no_color: bool, debug: bool) -> None:
    console = Console(stderr=True, no_color=no_color)
    context.obj = Place(home, storage or f"sqlite:///{home / 'study.db'}", console)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("study")
@click.option("--n-trials", type=click.IntRange(min=1), help="The study's total of trials, not this run's.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the study file's.")
@NO_FIXES
@DEVICE
@launch.flags
@click.pass_obj
def start(
    place: Place,
    study: str,
    n_trials: int | None,
    seed: int | None,
    no_fixes: bool,
    device: str,
    launching: launch.Launch | None,
) -> None:
    """Create STUDY (a name in studies/ or a TOML file), or go on with it."""
    spec = _chosen(load(study).with_changes(n_trials, seed), no_fixes)
    if launching is None:
        _work(place, spec, device)
    else:
        launching.check(place.url)
        worker.open_study(spec, place.storage())
        click.echo(launching.run(spec.name, place.home, place.url, device))


def _chosen(spec: Spec, no_fixes: bool) -> Spec:
    return spec.without_fixes() if no_fixes else spec


@cli.command()
@click.argument("name")
@click.option("--n-trials", type=click.IntRange(min=1), help="The study's total of trials, not this run's.")
@DEVICE
@click.pass_obj
def resume(place: Place, name: str, n_trials: int | None, device: str) -> None:
    """Go on with study NAME, from the database and checkpoints alone."""
    _work(place, place.study(name)[1].with_changes(n_trials, None), device)


@cli.command()
@click.argument("study")
@click.option("--param", multiple=True, metavar="KEY=VALUE", help="A setting or dimension; may be repeated.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the study file's.")
@click.option("--warm-start", metavar="CHECKPOINT", help="Begin with a public checkpoint in NVIDIA's format.")
@NO_FIXES
@DEVICE
@click.pass_obj
def train(
    place: Place,
    study: str,
    param: tuple[str, ...],
    seed: int | None,
    warm_start: str | None,
    no_fixes: bool,
    device: str,
) -> None:
    """Train one voice as STUDY would: a study of one trial, with nothing searched."""
    spec = single_training(load(study).with_changes(None, seed), param, warm_start)
    _work(place, _chosen(spec, no_fixes), device)


def _work(place: Place, spec: Spec, device: str) -> None:
    study = worker.open_study(spec, place.storage())
    folder = place.folder(spec.name)
    with Terminal(place.console) as terminal:
        corpus = data.load(spec, place.home, terminal.progress, terminal.warned)
        worker.check_sample_text(spec, corpus)
        try:
            worker.work(spec, study, corpus, folder, device, terminal)
        except Interrupted:
            terminal.warned(f"saved; go on with: run_study.py resume {spec.name}")
            raise
    click.echo(report.summary(study, spec, place.sample(study)))
    if report.best_trial(study) is None:
        raise click.exceptions.Exit(1)


@cli.command("list")
@FORMATS
@click.pass_obj
def list_studies(place: Place, form: str) -> None:
    """All studies in the database."""
    click.echo(report.formatted(report.study_records(place.storage()), form))


@cli.command()
@click.argument("name")
@FORMATS
@click.pass_obj
def status(place: Place, name: str, form: str) -> None:
    """How far study NAME is."""
    click.echo(report.formatted(report.status_record(*place.study(name)), form))


@cli.command()
@click.argument("name")
@click.option("--state", type=click.Choice([s.name for s in optuna.trial.TrialState], case_sensitive=False))
@FORMATS
@click.pass_obj
def trials(place: Place, name: str, state: str | None, form: str) -> None:
    """The trials of study NAME."""
    click.echo(report.formatted(report.trial_records(place.study(name)[0], state and state.upper()), form))


@cli.command()
@click.argument("name")
@FORMATS
@click.pass_obj
def best(place: Place, name: str, form: str) -> None:
    """The best trial of study NAME, in dB (smaller is better), and the bests with and without repairs."""
    study = place.study(name)[0]
    found = report.best_trial(study)
    if found is None:
        raise worker.StudyError(
            f'Study "{name}" has no completed trial yet.\nThere is no best.\nRun: run_study.py status {name}'
        )
    click.echo(report.formatted(report.best_record(study, found), form))


@cli.command("fixes")
@click.argument("name")
@click.option("--trial", type=click.IntRange(min=0), help="Only this one.")
@click.option("--explain", is_flag=True, help="As a story instead of a table.")
@FORMATS
@click.pass_obj
def show_fixes(place: Place, name: str, trial: int | None, explain: bool, form: str) -> None:
    """What rules saw in study NAME, what was changed, and what came of it."""
    rows = place.repairs(place.study(name)[0], trial)
    if explain:
        click.echo(fixes.explained(rows) or "Nothing was repaired.")
    else:
        click.echo(report.formatted(fixes.records(rows), form))


@cli.command("rules")
@click.argument("study", default="quickstart")
def show_rules(study: str) -> None:
    """The rules of STUDY with their thresholds, as Markdown."""
    click.echo(fixes.rules_page(load(study).rules.chosen()) or "This study's rules are off.")


@cli.command("report")
@click.argument("name")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; default stdout."
)
@click.pass_obj
def write_report(place: Place, name: str, output: Path | None) -> None:
    """The story of study NAME as Markdown."""
    study, spec = place.study(name)
    text = report.markdown(study, spec, place.sample(study), place.repairs(study))
    if output is None:
        click.echo(text)
    else:
        output.write_text(text + "\n", "utf-8")
        click.echo(output)


@cli.command()
@click.argument("name")
@click.argument("text")
@click.option("--trial", type=click.IntRange(min=0), help="Default: the best one.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="out.wav", show_default=True
)
@DEVICE
@click.pass_obj
def speak(place: Place, name: str, text: str, trial: int | None, output: Path, device: str) -> None:
    """Let a voice of study NAME say TEXT; a picture of its alignment is written beside the sound."""
    number, voice = voices.voice_of(place.study(name)[0], trial, place.folder(name), device)
    stop = save_sample(voice, text, output, f"{name}, trial {number}")
    click.echo(output)
    if stop == "limit":
        click.echo("The voice did not find its end and was cut at the step limit.", err=True)


@cli.command()
@click.argument("name")
@click.option("--trial", type=click.IntRange(min=0), help="Default: the best one.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder.")
@click.pass_obj
def export(place: Place, name: str, trial: int | None, output: Path) -> None:
    """Copy a trial's voice (weights, symbols, settings, scores) into a folder of its own."""
    click.echo(voices.export(place.study(name)[0], trial, place.folder(name), output))


@cli.group("data")
def data_group() -> None:
    """Check recordings, or fetch a corpus."""


@data_group.command("check")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--study", help="Check as this study would; else with default limits.")
@click.option("--language", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@click.option("--resample-from", type=click.IntRange(min=1), help="The recordings' sample rate, if another.")
@click.pass_obj
def data_check(
    place: Place, folder: Path, study: str | None, language: str, resample_from: int | None
) -> None:
    """Read every row and clip of FOLDER (metadata.csv, wavs/) and list what training would refuse."""
    settings = (
        load(study).corpus_settings() if study else CorpusSettings(language, resample_from=resample_from)
    )
    with Terminal(place.console) as terminal:
        found = check(folder, settings, lambda done, total: terminal.progress("checking clips", done, total))
    for problem in found.problems:
        click.echo(f"line {problem.line}: {problem.id}: {problem.reason}: {problem.detail}")
    click.echo(f"{len(found.rows)} of {found.total} clips are good, {len(found.problems)} problems.")
    if found.refusal:
        place.home.mkdir(parents=True, exist_ok=True)
        listing = place.home / f"{folder.resolve().name}-problems.txt"
        raise data.listed(DataError(found.refusal, found), listing)


@data_group.command("prepare")
@click.argument("corpus", type=click.Choice(["festvox-ru"]))
@click.pass_obj
def data_prepare(place: Place, corpus: str) -> None:
    """Fetch CORPUS and lay it out for training."""
    with Terminal(place.console) as terminal:
        click.echo(data.prepare_festvox_ru(place.home, terminal.progress))


@cli.command("doctor")
@FORMATS
@click.pass_obj
def examine(place: Place, form: str) -> None:
    """Check this machine, the installation and the database."""
    findings = doctor.examine(place.home, place.storage)
    click.echo(report.formatted(findings, form))
    if any(finding["state"] == "FAULT" for finding in findings):
        raise click.exceptions.Exit(3)


EXIT_CODES: dict[type[Exception], int] = {
    worker.TooManyFailures: 8,
    worker.StudyError: 2,
    SpecError: 2,
    launch.LaunchError: 2,
    TextError: 2,
    WarmStartError: 2,
    DamagedCheckpoint: 1,
    StoreError: 4,
    OperationalError: 4,
    DataError: 5,
    CorpusError: 5,
    HomeError: 6,
}
EXPECTED: tuple[type[Exception], ...] = (*EXIT_CODES, OSError)
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code (README, "Exit codes")."""
    try:
        result = cli.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except Interrupted as interrupted:
        return 128 + interrupted.signal
    except EXPECTED as error:
        code = _exit_code(error)
        if "--debug" in (arguments or sys.argv):
            raise
        click.echo(str(error), err=True)
        return code
    return result if isinstance(result, int) else 0


def _exit_code(error: Exception) -> int:
    if isinstance(error, OSError):
        return 6 if error.errno in DISK else 1
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


if __name__ == "__main__":
    sys.exit(main())
