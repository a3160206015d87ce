"""Start, resume and look at studies that train Tacotron 2 voices.

\b
    run_study.py start quickstart                 create a study, or go on with it
    run_study.py best quickstart                  its best trial
    run_study.py speak quickstart "Hello" -o a.wav
"""

import errno
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import optuna
from rich.console import Console

from dashboards import environment
from dashboards.state import STOP_SECONDS, PagesError
from dashboards.state import stop as stop_pages
from dashboards.synthesis import client as speaker
from model.checkpoint import DamagedCheckpoint
from model.data.corpora import CorpusError
from model.data.preflight import DataError, check
from model.speech.text import TextError
from smart_tuner.lazy import LazyModule
from smart_tuner.notify.telegram import client as telegram
from smart_tuner.repair.rule import Entry
from smart_tuner.repair.words import LANGUAGES, Words
from smart_tuner.store import maintenance as upkeep
from smart_tuner.store.outage import UNREACHABLE, DatabaseGone, StorageLost, in_short
from smart_tuner.store.ratings import ratings_of
from smart_tuner.store.records import repairs_of
from smart_tuner.store.storage import ForeignTables, SchemaError, Storage, StoreError, open_storage
from studies.commands import launch
from studies.file.spec import Spec, SpecError, load, single_training
from studies.report import fixes, history, outputs
from studies.report import summary as report
from studies.report.outputs import PAGES, PICTURES, SOUNDS, TEXTS, OutputFile, UserPath
from studies.run import caches, pool
from studies.run.folders import trial_folder
from studies.run.signals import aside
from studies.run.study import (
    StudyError,
    StudyGone,
    TooManyFailures,
    load_study,
    open_study,
    rdb,
    refuse_undesired,
    set_desired_state,
    stored_spec,
    under_its_name,
)

if TYPE_CHECKING:
    from dashboards import server as serve
    from model.network import warm_start
    from objectives import tacotron2
    from smart_tuner.notify import sender as publishing
    from studies.callbacks import terminal as display
    from studies.callbacks import trackers as tracked
    from studies.commands import doctor
    from studies.commands import notify as notices
    from studies.report import single_page as story
    from studies.report import voices
    from studies.run import artifacts, data, training, worker
    from studies.run import ending as blame
else:  # they load torch, which takes longer than all that a command needs which only reads
    serve = LazyModule("dashboards.server")
    warm_start, tacotron2 = LazyModule("model.network.warm_start"), LazyModule("objectives.tacotron2")
    artifacts, publishing = LazyModule("studies.run.artifacts"), LazyModule("smart_tuner.notify.sender")
    story, tracked = LazyModule("studies.report.single_page"), LazyModule("studies.callbacks.trackers")
    notices = LazyModule("studies.commands.notify")
    blame = LazyModule("studies.run.ending")
    data, doctor, display = (
        LazyModule("studies.run.data"),
        LazyModule("studies.commands.doctor"),
        LazyModule("studies.callbacks.terminal"),
    )
    training, voices, worker = (
        LazyModule("studies.run.training"),
        LazyModule("studies.report.voices"),
        LazyModule("studies.run.worker"),
    )

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
WORKERS = click.option(
    "--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Processes on this machine."
)
WITH_PAGES = click.option("--with-pages", is_flag=True, help="Serve the pages while it runs.")
LINGER = click.option(
    "--linger", is_flag=True, help="Wait for trials that other workers run, to take up those that die."
)
DEVICE = click.option("--device", default="cpu", show_default=True, help="A torch device, such as cuda.")

OPTION = re.compile(r"-[A-Za-z]|--[A-Za-z][\w-]*(=.*)?|-o\S+", re.DOTALL)


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


class TakesText(click.Command):
    """A command whose text may begin with a dash: what has not the form of an option is none."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        with_value = {name for p in self.params if not getattr(p, "is_flag", True) for name in p.opts}
        options, others, rest = list[str](), list[str](), iter(arguments)
        for word in rest:
            if word == "--":
                others += rest
            elif OPTION.fullmatch(word):
                options += [word, *islice(rest, int(word in with_value))]
            else:
                others.append(word)
        return super().parse_args(context, [*options, "--", *others])


class WorkdirError(RuntimeError):
    """The folder for everything cannot be made."""


@dataclass(frozen=True)
class Place:
    """Where everything is kept."""

    workdir: Path
    url: str
    console: Console
    store_url: str | None
    tracking: bool = True

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


@click.group(
    help=__doc__, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--storage", envvar="OPTUNA_STORAGE", help="SQLAlchemy URL; default sqlite:///HOME/study.db.")
@click.option(
    "--home",
    "workdir",
    envvar="SMART_TUNER_HOME",
    default="runs",
    show_default=True,
    type=UserPath(file_okay=False),
    help="Folder for corpora, checkpoints and samples.",
)
@click.option(
    "--artifacts",
    "store",
    envvar="SMART_TUNER_ARTIFACTS",
    help="Keep checkpoints there, too: s3://bucket/prefix or file:///folder.",
)
@click.option("--no-color", is_flag=True, help="Plain text; so does the variable NO_COLOR.")
@click.option("--debug", is_flag=True, help="Show the trace of an error.")
@click.version_option(package_name="smart-tuner")
@click.pass_context
def cli(
    context: click.Context, storage: str | None, workdir: Path, store: str | None, no_color: bool, debug: bool
) -> None:
    caches.keep_in(workdir)
    console = Console(file=aside(sys.stderr), no_color=no_color or None)  # else as NO_COLOR says
    context.obj = Place(workdir, storage or f"sqlite:///{workdir / 'study.db'}", console, store)
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@cli.command()
@click.argument("study")
@click.option("--n-trials", type=click.IntRange(min=1), help="The study's total of trials, not this run's.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the study file's.")
@WITH_PAGES
@NO_FIXES
@WORKERS
@DEVICE
@launch.flags
@TRACKING
@click.pass_obj
def start(
    place: Place,
    study: str,
    n_trials: int | None,
    seed: int | None,
    with_pages: bool,
    no_fixes: bool,
    workers: int,
    device: str,
    launching: launch.Launch | None,
) -> None:
    """Create STUDY (a name in studies/ or a TOML file), or go on with it."""
    spec = _chosen(load(study).with_changes(n_trials, seed), no_fixes)
    if launching is not None:
        if with_pages or workers > 1:
            raise click.UsageError("--with-pages and --workers cannot be used with --launch.")
        launching.check(place.url)
    opened = open_study(spec, place.storage())
    if launching is None:
        with _pages(place, with_pages):
            _work(place, spec, opened, device, workers, _search_on(study, spec, seed, no_fixes))
    else:
        click.echo(launching.run(spec.name, place.workdir, place.url, _environment(place), device))


def _pages(place: Place, wanted: bool) -> AbstractContextManager[None]:
    if not wanted:
        return nullcontext()
    _share(place)
    command = [sys.executable, __file__, "pages"]
    return pool.beside(command, STOP_SECONDS, environment=environment.of_pages(place.url))


def _share(place: Place) -> None:
    """With child processes; a command line would show the database's password."""
    os.environ |= {"OPTUNA_STORAGE": place.url, "SMART_TUNER_HOME": str(place.workdir), **_environment(place)}


def _environment(place: Place) -> dict[str, str]:
    """What is the same for workers on any machine."""
    store = {"SMART_TUNER_ARTIFACTS": place.store_url} if place.store_url else {}
    return {"SMART_TUNER_TRACKING": str(int(place.tracking)), **store}


def _chosen(spec: Spec, no_fixes: bool) -> Spec:
    return spec.without_fixes() if no_fixes else spec


@cli.command()
@click.argument("name")
@click.option("--n-trials", type=click.IntRange(min=1), help="The study's total of trials, not this run's.")
@WITH_PAGES
@WORKERS
@DEVICE
@TRACKING
@click.pass_obj
def resume(
    place: Place, name: str, n_trials: int | None, with_pages: bool, workers: int, device: str
) -> None:
    """Go on with study NAME, also after pause or stop, from the database and checkpoints alone."""
    stored, spec = place.study(name)
    spec = spec.with_changes(n_trials, None)
    study = open_study(spec, rdb(stored))
    set_desired_state(study, "run")
    with _pages(place, with_pages):
        _work(place, spec, study, device, workers, (f"resume {name} {_more(spec)}", "search on"))


@cli.command("worker")
@click.argument("name")
@click.option("--max-trials", type=click.IntRange(min=1), help="End after so many trials.")
@LINGER
@DEVICE
@TRACKING
@click.pass_obj
def join(place: Place, name: str, max_trials: int | None, linger: bool, device: str) -> None:
    """Work on study NAME beside its other workers, from any terminal or machine that reaches its database."""
    pool.end_with_parent()
    stored, spec = place.study(name)
    study = open_study(spec, rdb(stored))
    training.check_device(device)
    with display.Terminal(place.console) as terminal, _publisher(place):
        _run_trials(place, spec, study, device, terminal, max_trials, linger)


@cli.command()
@click.argument("name")
@click.pass_obj
def pause(place: Place, name: str) -> None:
    """Let study NAME's workers, wherever they are, finish their trials and start no others."""
    set_desired_state(place.study(name)[0], "pause")
    click.echo(f"Running trials go on to their end. Start others with: run_study.py resume {name}")


@cli.command()
@click.argument("name")
@click.pass_obj
def stop(place: Place, name: str) -> None:
    """Let study NAME's workers, wherever they are, save their trials and end."""
    set_desired_state(place.study(name)[0], "stop")
    click.echo(f"Workers hear it within 15 seconds, save and end. Go on with: run_study.py resume {name}")


@cli.command()
@click.argument("study")
@click.option("--param", multiple=True, metavar="KEY=VALUE", help="A setting or dimension; may be repeated.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the study file's.")
@click.option("--warm-start", metavar="CHECKPOINT", help="Begin with a public checkpoint in NVIDIA's format.")
@NO_FIXES
@DEVICE
@TRACKING
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
    whole = load(study)
    spec = single_training(whole.with_changes(None, seed), param, warm_start)
    spec = _chosen(spec, no_fixes)
    further = (f"start {shlex.quote(study)}", "search for better values") if whole.space else None
    _work(place, spec, open_study(spec, place.storage()), device, 1, further)


def _search_on(study: str, spec: Spec, seed: int | None, no_fixes: bool) -> tuple[str, str]:
    """The command as it was given, for more trials: a name may be that of no file."""
    given = [shlex.quote(study), *(["--no-fixes"] if no_fixes else [])]
    given += [] if seed is None else [f"--seed {seed}"]
    return f"start {' '.join(given)} {_more(spec)}", "search on"


def _more(spec: Spec) -> str:
    return f"--n-trials {spec.budget.trials + 8}"


def _work(
    place: Place,
    spec: Spec,
    study: optuna.Study,
    device: str,
    workers: int,
    further: tuple[str, str] | None,
) -> None:
    refuse_undesired(study)
    training.check_device(device)
    with display.Terminal(place.console) as terminal, _publisher(place):
        if workers == 1:
            _run_trials(place, spec, study, device, terminal)
        else:
            _run_workers(place, spec, device, workers, terminal)
    click.echo(report.summary(study, spec, place.sample(study), further))
    if history.best_trial(study) is None:
        raise click.exceptions.Exit(1)


@contextmanager
def _publisher(place: Place) -> Iterator[None]:
    """Beside the workers, one process that sends what they put into the outbox, and hears commands."""
    if pool.PARENT in os.environ or not (place.tracking or telegram.account()):
        yield
        return
    _share(place)
    command = [sys.executable, __file__, "track", "--follow"]
    with pool.beside(command, publishing.END_SECONDS, place.workdir / "track.log"):
        yield


def _run_trials(
    place: Place,
    spec: Spec,
    study: optuna.Study,
    device: str,
    terminal: "display.Terminal",
    max_trials: int | None = None,
    linger: bool = False,
) -> None:
    corpus = data.load(spec, place.workdir, terminal.progress, terminal.warned)
    training.check_sample_text(spec, corpus.report)
    if words := corpus.front_end.in_words(spec.objective.speak):
        terminal.warned(f"the sample's numbers are spoken by rule: {words}")
    folder, store = place.folder(spec.name), place.store()
    told = notices.alerting(terminal, study, place.workdir)
    try:
        with told as heard, _tracked(place, study, heard) as (shown, with_tracking):
            job = with_tracking(training.trainings(spec, study, corpus, device, shown))
            worker.Worker(spec, study, job, folder, shown, linger, artifacts=store).work(max_trials)
    except tacotron2.Interrupted:
        terminal.warned(f"saved; go on with: run_study.py resume {spec.name}")
        raise


def _tracked(
    place: Place, study: optuna.Study, shown: "training.Display"
) -> AbstractContextManager["tracked.Tracking"]:
    return tracked.tracking(shown, study, place.workdir) if place.tracking else nullcontext((shown, _same))


def _same(job: "training.Job") -> "training.Job":
    return job


def _run_workers(place: Place, spec: Spec, device: str, count: int, terminal: "display.Terminal") -> None:
    data.load(spec, place.workdir, terminal.progress, terminal.warned)  # once, before all of them want it
    command = [sys.executable, __file__, "worker", spec.name, "--device", device]
    _share(place)
    if code := pool.Pool(command, count, terminal.warned).run():
        raise click.exceptions.Exit(code)


@cli.command("list")
@FORMATS
@click.pass_obj
def list_studies(place: Place, form: str) -> None:
    """All studies in the database."""
    click.echo(report.formatted(report.study_records(place.storage(looking=True)), form))


@cli.command()
@click.argument("name")
@FORMATS
@click.pass_obj
def status(place: Place, name: str, form: str) -> None:
    """How far study NAME is."""
    click.echo(report.formatted(report.status_record(*place.study(name, looking=True)), form))


@cli.command()
@click.argument("name")
@click.option("--state", type=click.Choice([s.name for s in optuna.trial.TrialState], case_sensitive=False))
@FORMATS
@click.pass_obj
def trials(place: Place, name: str, state: str | None, form: str) -> None:
    """The trials of study NAME."""
    study = place.study(name, looking=True)[0]
    click.echo(report.formatted(report.trial_records(study, state and state.upper()), form))


@cli.command()
@click.argument("name")
@FORMATS
@click.pass_obj
def best(place: Place, name: str, form: str) -> None:
    """The best trial of study NAME, in dB (smaller is better), and the bests with and without repairs."""
    study = place.study(name, looking=True)[0]
    found, note = history.best_trial(study), report.voiceless(study)
    if found is None:
        raise StudyError(
            f'Study "{name}" has no completed trial with a voice yet.\n{note or "There is no best."}\n'
            f"Run: run_study.py status {name}"
        )
    if note:
        click.echo(note, err=True)
    click.echo(report.formatted(report.best_record(study, found), form))


def _repairs(study: optuna.Study, trial: int | None = None) -> list[tuple[int, Entry]]:
    return list(repairs_of(rdb(study).ours, study.user_attrs["uid"], trial))


@cli.command("fixes")
@click.argument("name")
@click.option("--trial", type=click.IntRange(min=0), help="Only this one.")
@click.option("--explain", is_flag=True, help="As a story instead of a table.")
@FORMATS
@click.pass_obj
def show_fixes(place: Place, name: str, trial: int | None, explain: bool, form: str) -> None:
    """What rules saw in study NAME, what was changed, and what came of it."""
    study, _ = place.study(name, looking=True)
    rows, words = _repairs(study, trial), Words("en", fixes.words_of(study))
    if explain:
        click.echo(fixes.explained(rows, words) or "Nothing was repaired.")
    else:
        click.echo(report.formatted(fixes.records(rows, words), form))


@cli.command("rules")
@click.argument("study", default="quickstart")
def show_rules(study: str) -> None:
    """The rules of STUDY with their thresholds, as Markdown."""
    click.echo(fixes.rules_page(load(study).rules.chosen()) or "This study's rules are off.")


@cli.command("report")
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
        text = story.page(study, spec, sample, rows, ratings, place.folder(name))
    else:
        text = report.markdown(study, spec, sample, rows, ratings)
    outputs.write(output, f"{text}\n".encode())
    if output != outputs.STDOUT:
        click.echo(output)


def _heard(place: Place, name: str, trial: int | None) -> optuna.Study:
    """The study whose voice is wanted; where the best has none, it is said which is taken in its place."""
    study = place.study(name, looking=True)[0]
    if trial is None and (note := report.voiceless(study)) and history.best_trial(study):
        click.echo(note, err=True)
    return study


@cli.command(cls=TakesText)
@click.argument("name")
@click.argument("text")
@click.option("--trial", type=click.IntRange(min=0), help="Default: the best one.")
@click.option(
    "-o",
    "--output",
    type=OutputFile(SOUNDS),
    default="out.wav",
    show_default=True,
    help=f"A file that ends with {', '.join(SOUNDS)}; - is stdout, as WAV.",
)
@click.option("--picture", type=OutputFile(PICTURES, allow_dash=False), help="The alignment, as PNG.")
@DEVICE
@click.pass_obj
def speak(
    place: Place, name: str, text: str, trial: int | None, output: Path, picture: Path | None, device: str
) -> None:
    """Let a voice of study NAME say TEXT."""
    training.check_device(device)
    study = _heard(place, name, trial)
    number, voice = voices.voice_of(study, trial, place.folder(name), device, place.store())
    speech = voice.speak(text)
    outputs.write(output, voices.encoded(voice, speech, output.suffix.lower() or ".wav"))
    if picture is not None:
        voices.draw(voice, speech, text, picture, f"{text}\n{name}, trial {number}")
    to_stdout = output == outputs.STDOUT
    for written in (None if to_stdout else output, picture):
        if written is not None:
            click.echo(written, err=to_stdout)
    if words := voice.front_end.in_words(text):
        click.echo(f"Numbers are spoken by rule: {words}", err=True)
    if speech.stop == "limit":
        click.echo("The voice did not find its end and was cut at the step limit.", err=True)


@cli.command()
@click.argument("name")
@click.option("--trial", type=click.IntRange(min=0), help="Default: the best one.")
@click.option("-o", "--output", type=UserPath(), required=True, help="A new folder.")
@click.pass_obj
def export(place: Place, name: str, trial: int | None, output: Path) -> None:
    """Copy a trial's voice (weights, symbols, settings, scores) into a folder of its own."""
    click.echo(voices.export(_heard(place, name, trial), trial, place.folder(name), output, place.store()))


@cli.command("pages")
@click.option("--only", metavar="PAGES", help="Some of mlflow,tensorboard,optuna,home.")
@click.option(
    "--port",
    "ports",
    multiple=True,
    envvar="SMART_TUNER_PORTS",
    metavar="PAGE=N",
    help="Another port; may be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--allow-host", "names", multiple=True, metavar="NAME", help="A name to be called by, too.")
@click.option("--insecure", "open_to_all", is_flag=True, help="Ask for no key: open to all who reach it.")
@click.option("--allow-edit", is_flag=True, help="Let optuna-dashboard delete, rename and tell.")
@click.option("--status", "look", is_flag=True, help="Which pages are served, and whether they answer.")
@click.option("--stop", "end", is_flag=True, help="End the process that serves them.")
@FORMATS
@click.pass_obj
def show_pages(
    place: Place, /, only: str | None, ports: tuple[str, ...], look: bool, end: bool, form: str, **others: Any
) -> int:
    """Serve studies to a browser: home and a voice to talk to, optuna-dashboard, TensorBoard, MLflow."""
    if end:
        click.echo("The pages ended." if stop_pages(place.workdir) else "No pages are served.")
        return 0
    if look:
        served = serve.status(place.workdir)
        click.echo(report.formatted(served, form) if served or form == "json" else "No pages are served.")
        return 0 if served and all(row["up"] for row in served) else 1
    pool.end_with_parent()
    options = serve.Options.parsed(only, ports, **others)
    storage = place.storage(looking=True)
    storage.mostly_read()
    with_keys = sys.stdout.isatty()
    pages = serve.Pages(options, storage, place.url, place.workdir, click.echo, with_keys)
    environment.shed(place.url)
    return pages.run()


@cli.command("track")
@click.option("--follow", is_flag=True, help="Go on until asked to stop; workers run this beside them.")
@TRACKING
@click.pass_obj
def track(place: Place, follow: bool) -> None:
    """Send to MLflow what waits for it (MLFLOW_TRACKING_URI, or the database below --home).

    With --follow also to Telegram, whose commands are then heard.
    """
    pool.end_with_parent()
    storage = place.storage()
    if not follow:
        click.echo(publishing.send_once(storage, place.url, place.workdir))
        return
    synthesis = speaker.SynthesisClient(speaker.in_child, (place.url, place.workdir))
    try:
        notices.follow(
            storage,
            place.url,
            place.workdir,
            place.tracking,
            synthesis.answer,
            speaker.LONGEST_TEXT,
            click.echo,
        )
    finally:
        synthesis.close()


@cli.group("notify")
def notify_group() -> None:
    """Try Telegram, look at what waits for it, or send that."""


@notify_group.command("test")
@click.option("--language", type=click.Choice(LANGUAGES), help="Default: both.")
@click.pass_obj
def notify_test(place: Place, language: str | None) -> None:
    """Write to the chat, and say who may command."""
    click.echo(notices.test(place.storage(), language))


@notify_group.command("status")
@FORMATS
@click.pass_obj
def notify_status(place: Place, form: str) -> None:
    """Whether it is set up, what waits and why, and what was heard and not obeyed."""
    click.echo(report.formatted(notices.status(place.storage()), form))


@notify_group.command("flush")
@click.pass_obj
def notify_flush(place: Place) -> None:
    """Send all that waits now."""
    click.echo(notices.flush(place.storage(), place.workdir, place.console.print))


@cli.group("data")
def data_group() -> None:
    """Check recordings, or fetch a corpus."""


@data_group.command("check")
@click.argument("folder", type=UserPath())
@click.option("--study", help="Check as this study would: its limits, frames a step, language and rate.")
@click.option("--language", type=click.Choice(["en", "ru"]), help="Default: en.")
@click.option("--resample-from", type=click.IntRange(min=1), help="The recordings' sample rate, if another.")
@click.pass_obj
def data_check(
    place: Place, folder: Path, study: str | None, language: str | None, resample_from: int | None
) -> None:
    """Read every row and clip of FOLDER (metadata.csv, wavs/) and list what training would refuse."""
    if study and (language or resample_from):
        raise click.UsageError("--language and --resample-from stand in the file of --study.")
    spec = load(study) if study else None
    settings = spec.corpus_settings() if spec else data.usual_settings(language or "en", resample_from)
    with display.Terminal(place.console) as terminal:
        found = check(folder, settings, lambda done, total: terminal.progress("checking clips", done, total))
    place.workdir.mkdir(parents=True, exist_ok=True)
    listing = place.workdir / f"{folder.resolve().name}-check.txt"  # NAME-problems.txt is a study's
    data.write_listing(found, listing)
    for line in data.described(found, listing):
        click.echo(line)
    if spec is None:
        frames = settings.n_frames_per_step
        click.echo(f"Checked as for a small voice, up to {frames} frames a step. For another: --study.")
    if found.refusal:
        raise data.listed(DataError(found.refusal, found), listing)
    if spec is not None:
        training.check_sample_text(spec, found)


@data_group.command("prepare")
@click.argument("corpus", type=click.Choice(["festvox-ru"]))
@click.pass_obj
def data_prepare(place: Place, corpus: str) -> None:
    """Fetch CORPUS and lay it out for training."""
    with display.Terminal(place.console) as terminal:
        click.echo(data.prepare_festvox_ru(place.workdir, terminal.progress))


@cli.group("storage")
def storage_group() -> None:
    """Look at the database, make or upgrade its tables, or copy it."""


@storage_group.command("info")
@FORMATS
@click.pass_obj
def storage_info(place: Place, form: str) -> None:
    """Which database it is, at which revisions, and how much it holds."""
    click.echo(report.formatted(upkeep.info(place.url), form))


@storage_group.command("init")
@click.pass_obj
def storage_init(place: Place) -> None:
    """Make the tables, where there are none."""
    place.storage()
    click.echo(f"{upkeep.info(place.url)['url']} is ready.")


@storage_group.command("upgrade")
@click.option("--optuna", "with_optuna", is_flag=True, help="Optuna's tables, too.")
@click.option("--no-backup", is_flag=True, help="You have one, or need none.")
@FORMATS
@click.pass_obj
def storage_upgrade(place: Place, with_optuna: bool, no_backup: bool, form: str) -> None:
    """Bring the tables up to date, after a backup (beside SQLite's file; of PostgreSQL in --home)."""
    parts = ("smart_tuner", "optuna") if with_optuna else ("smart_tuner",)
    click.echo(report.formatted(upkeep.upgrade(place.url, None if no_backup else place.workdir, parts), form))


@storage_group.command("migrate")
@click.argument("destination")
@FORMATS
@click.pass_obj
def storage_migrate(place: Place, destination: str, form: str) -> None:
    """Copy everything into the empty database at the URL DESTINATION; stop all workers first."""
    click.echo(report.formatted(upkeep.migrate(place.url, destination), form))


@cli.command("doctor")
@click.option("--fix", is_flag=True, help="Mend what can be mended.")
@FORMATS
@click.pass_obj
def examine(place: Place, fix: bool, form: str) -> None:
    """Check this machine, the installation and the database."""
    findings = doctor.examine(place.workdir, place.storage, fix)
    click.echo(report.formatted(findings, form))
    if any(finding["state"] == "FAULT" for finding in findings):
        raise click.exceptions.Exit(3)


EXIT_CODES: dict[type[Exception], int] = {
    PagesError: 2,
    telegram.ChatError: 2,
    StudyGone: 1,
    TooManyFailures: 8,
    StudyError: 2,
    SpecError: 2,
    launch.LaunchError: 2,
    TextError: 2,
    DamagedCheckpoint: 1,
    ForeignTables: 2,
    SchemaError: 7,
    StoreError: 4,
    StorageLost: 4,
    DatabaseGone: 4,
    **dict.fromkeys(UNREACHABLE, 4),
    DataError: 5,
    CorpusError: 5,
    WorkdirError: 6,
}
EXPECTED: tuple[type[Exception], ...] = (*EXIT_CODES, OSError)
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code (README, "Exit codes")."""
    try:
        result = cli.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except EXPECTED as error:
        return _told(error, _exit_code(error), arguments)
    except tacotron2.Interrupted as interrupted:
        return 128 + interrupted.signal if interrupted.signal else 0
    except (warm_start.WarmStartError, artifacts.ArtifactsError) as error:
        return _told(error, 2, arguments)
    except artifacts.ArtifactsLost as error:
        return _told(error, 4, arguments)
    except blame.MachineFault as error:
        return _told(error, 1, arguments)
    except (MemoryError, RuntimeError) as error:
        if (fault := blame.no_memory(error)) is None:
            raise
        return _told(fault, 1, arguments)
    return result if isinstance(result, int) else 0


def _told(error: Exception, code: int, arguments: list[str] | None) -> int:
    if "--debug" in (arguments or sys.argv):
        raise error
    if isinstance(error, OSError) and code == 6:
        text = (
            f"Cannot write {error.filename or 'on this disk'}.\n{error.strerror}.\n"
            "What was saved before is kept: make room, or allow it, and go on as before."
        )
    elif isinstance(error, UNREACHABLE):
        text = f"The database does not do what it should.\n{in_short(error)}\nTry again when it does."
    else:
        text = str(error)
    click.echo(text, aside(sys.stderr))
    return code


def _exit_code(error: Exception) -> int:
    if isinstance(error, OSError):
        return 6 if error.errno in DISK else 1
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


if __name__ == "__main__":
    sys.exit(main())
