"""Verbs that run trials, and what runs beside them; pause and stop reach every worker by the database."""

import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING

import click
import optuna

from objectives import trial
from objectives.attempt import Callback, Callbacks
from smart_tuner.lazy import LazyModule
from smart_tuner.notify import sender as publishing
from smart_tuner.notify.telegram.client import account
from smart_tuner.notify.telegram.state import ChatState
from smart_tuner.store import attributes
from smart_tuner.store.attributes import AUTO
from smart_tuner.store.leases import Leases
from smart_tuner.store.outage import UNREACHABLE, DatabaseGone
from studies.commands.launch import Launch, flags
from studies.commands.place import DEVICE, PROGRAM, TRACKING, USE, Place
from studies.file.code import CodeError, load_class
from studies.file.spec import Spec, load, single_training
from studies.report import history, summary, winner
from studies.report.described import Described
from studies.run import pool
from studies.run.study import StudyError, open_study, rdb, refuse_undesired, set_desired_state

if TYPE_CHECKING:
    from objectives import tacotron2
    from studies.callbacks import telegram, trackers
    from studies.callbacks import terminal as display
    from studies.run import data, hearing, training, worker
else:  # they load torch, which takes longer than all that a command needs which only reads
    data, training = LazyModule("studies.run.data"), LazyModule("studies.run.training")
    display, trackers = LazyModule("studies.callbacks.terminal"), LazyModule("studies.callbacks.trackers")
    telegram, worker = LazyModule("studies.callbacks.telegram"), LazyModule("studies.run.worker")
    tacotron2, hearing = LazyModule("objectives.tacotron2"), LazyModule("studies.run.hearing")

MORE = 8  # trials, where somebody searches on
FINISH = click.option(
    "--finish",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Train the search's best trial on, to so many steps in all.",
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


@click.command()
@click.argument("study")
@click.option("--n-trials", type=click.IntRange(min=1), help="The study's total of trials, not this run's.")
@FINISH
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the study file's.")
@WITH_PAGES
@NO_FIXES
@WORKERS
@DEVICE
@flags
@TRACKING
@click.pass_obj
def start(
    place: Place,
    study: str,
    n_trials: int | None,
    finish: int | None,
    seed: int | None,
    with_pages: bool,
    no_fixes: bool,
    workers: int,
    device: str | None,
    launching: Launch | None,
) -> None:
    """Create STUDY (a name in studies/ or a TOML file), or go on with it."""
    spec = _chosen(load(study).with_changes(n_trials, seed, finish), no_fixes)
    place = place.trusting(spec.code)
    if launching is not None:
        if with_pages or workers > 1:
            raise click.UsageError("--with-pages and --workers cannot be used with --launch.")
        launching.check(place.url)
    opened = _begun(place, spec, device, launching)
    if launching is None:
        with place.pages(place) if with_pages else nullcontext():
            _work(place, spec, opened, device, workers, _search_on(study, spec, seed, no_fixes))
    else:
        if (store := place.store()) is not None:
            training.share_start(spec, opened, place.workdir, store)
        click.echo(
            launching.run(
                spec.name, place.workdir, place.url, place.environment(), device or attributes.device(opened)
            )
        )


def _chosen(spec: Spec, no_fixes: bool) -> Spec:
    return spec.without_fixes() if no_fixes else spec


@click.command()
@click.argument("name")
@click.option("--n-trials", type=click.IntRange(min=1), help="The study's total of trials, not this run's.")
@FINISH
@click.option(
    "--widen",
    is_flag=True,
    help="Make the ranges half as long again at whose ends the best values lie, and search on there, "
    f"{MORE} trials more if --n-trials does not say how many.",
)
@WITH_PAGES
@WORKERS
@USE
@DEVICE
@TRACKING
@click.pass_obj
def resume(
    place: Place,
    name: str,
    n_trials: int | None,
    finish: int | None,
    widen: bool,
    with_pages: bool,
    workers: int,
    device: str | None,
) -> None:
    """Go on with study NAME, also after pause or stop, from the database and checkpoints alone."""
    stored, spec = place.study(name)
    if widen:
        # What keeps the study from going on is said before anything of it changes.
        training.device_for(stored, device)
        open_study(spec, rdb(stored), place.allowed)
        spec = _widened(stored, spec, n_trials, finish)
    else:
        spec = spec.with_changes(n_trials, None, finish)
    study = open_study(spec, rdb(stored), place.allowed)
    set_desired_state(study, "run")
    with place.pages(place) if with_pages else nullcontext():
        _work(place, spec, study, device, workers, _further(winner.resume(spec), spec))


def _widened(study: optuna.Study, spec: Spec, n_trials: int | None, finish: int | None) -> Spec:
    """The study's file with wider ranges, which is the stored one from now on. Raises StudyError."""
    best = history.best_trial(study)
    ends = [] if best is None else list(winner.wider_ends(study, spec, best))
    if (why := _not_widened(study, spec, bool(ends))) is not None:
        raise StudyError(f'No range of study "{spec.name}" was widened.\n{why}')
    wider = spec.with_ends(ends).with_changes(n_trials or spec.budget.trials + MORE, None, finish)
    study.set_user_attr("spec", wider.model_dump_json())
    for name, side, end in ends:
        click.echo(f"Widened: [space.{name}] {side} = {end!r}")
    return wider


def _not_widened(study: optuna.Study, spec: Spec, has_edges: bool) -> str | None:
    """Why the ranges stay as they are, and what to do, a line each."""
    if not has_edges:
        return (
            "It has no best trial with a value within a tenth of the end of a range that may be longer.\n"
            f"Go on as it is: run_study.py {winner.resume(spec)} --n-trials {spec.budget.trials + MORE}"
        )
    if history.is_worked_on(Leases(rdb(study).ours, study.user_attrs["uid"]).counts()):
        return (
            "Workers train its trials now, and would not know the wider ranges.\n"
            f"Wait, or end them: run_study.py stop {spec.name}"
        )
    if history.is_exhausted(study):
        return (
            "Its sampler tries a list of values, and has come to its end.\n"
            "Start a study under another name with another list."
        )
    return None


@click.command()
@click.argument("name")
@click.option("--max-trials", type=click.IntRange(min=1), help="End after so many trials.")
@LINGER
@USE
@DEVICE
@TRACKING
@click.pass_obj
def join(place: Place, name: str, max_trials: int | None, linger: bool, device: str | None) -> None:
    """Work on study NAME beside its other workers, from any terminal or machine that reaches its database."""
    pool.end_with_parent()
    stored, spec = place.study(name)
    study = open_study(spec, rdb(stored), place.allowed)
    on = training.device_for(study, device)
    with _terminal(place, study) as terminal:
        _run_trials(place, spec, study, on, terminal, max_trials, linger)


@click.command()
@click.argument("name")
@click.pass_obj
def pause(place: Place, name: str) -> None:
    """Let study NAME's workers, wherever they are, finish their trials and start no others."""
    set_desired_state(place.study(name)[0], "pause")
    click.echo(f"Running trials go on to their end. Start others with: run_study.py resume {name}")


@click.command()
@click.argument("name")
@click.pass_obj
def stop(place: Place, name: str) -> None:
    """Let study NAME's workers, wherever they are, save their trials and end."""
    set_desired_state(place.study(name)[0], "stop")
    click.echo(f"Workers hear it within 15 seconds, save and end. Go on with: run_study.py resume {name}")


@click.command()
@click.argument("study")
@click.option("--param", multiple=True, metavar="KEY=VALUE", help="A setting or dimension; may be repeated.")
@click.option("--seed", type=click.IntRange(min=0), help="Instead of the study file's.")
@click.option(
    "--warm-start",
    metavar="PATH",
    help="Begin with another voice: an exported one, study:NAME, study:NAME:TRIAL, or a public checkpoint.",
)
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
    device: str | None,
) -> None:
    """Train one voice as STUDY would: a study of one trial, with nothing searched."""
    whole = load(study)
    spec = single_training(whole.with_changes(None, seed), param, warm_start)
    spec = _chosen(spec, no_fixes)
    place = place.trusting(spec.code)
    further = [(f"start {shlex.quote(study)}", "search for better values")] if whole.space else []
    _work(place, spec, _begun(place, spec, device), device, 1, further)


def _begun(place: Place, spec: Spec, device: str | None, launching: Launch | None = None) -> optuna.Study:
    """The study, made or taken up; none is made for a device that this machine is to use and cannot."""
    if device and launching is None:
        training.usable_device(device)
    return open_study(spec, place.storage(), place.allowed, device=device or AUTO)


def _search_on(study: str, spec: Spec, seed: int | None, no_fixes: bool) -> list[tuple[str, str]]:
    """The command as it was given, to go on with: a name may be that of no file."""
    given = [shlex.quote(study), *(["--no-fixes"] if no_fixes else [])]
    given += [] if seed is None else [f"--seed {seed}"]
    return _further(f"start {' '.join(given)}", spec)


def _further(command: str, spec: Spec) -> list[tuple[str, str]]:
    longer = f"{command} --finish {winner.LONGER * spec.objective.steps}"
    trained = [(longer, "train the best trial on")] if spec.finish.steps is None else []
    searched = [(f"{command} --n-trials {spec.budget.trials + MORE}", "search on")] if spec.space else []
    return [*searched, *trained]


def _work(
    place: Place,
    spec: Spec,
    study: optuna.Study,
    device: str | None,
    workers: int,
    further: Iterable[tuple[str, str]],
) -> None:
    refuse_undesired(study)
    on = training.device_for(study, device)
    with _terminal(place, study) as terminal:
        if workers == 1:
            _run_trials(place, spec, study, on, terminal)
        else:
            _run_workers(place, spec, on, workers, terminal)
    click.echo(summary.summary(study, spec, place.sample(study), further))
    if history.best_trial(study) is None:
        raise click.exceptions.Exit(1)


@contextmanager
def _terminal(place: Place, study: optuna.Study) -> Iterator["display.Terminal"]:
    """What a person sees; messages are sent meanwhile."""
    unit = Described.of(study).unit
    with display.Terminal(place.console, unit) as terminal, _publisher(place, study, terminal.warned):
        yield terminal


@contextmanager
def _publisher(place: Place, study: optuna.Study, warned: Callable[[str], None]) -> Iterator[None]:
    """Beside the workers, one process that sends what they put into the outbox, and hears commands."""
    chat = account()
    if pool.PARENT in os.environ or not (place.tracking or chat):
        yield
        return
    place.share()
    command = [sys.executable, PROGRAM, "track", "--follow"]
    try:
        with pool.beside(command, publishing.END_SECONDS, place.workdir / "track.log"):
            yield
    finally:  # what that process finds out it can only log
        with suppress(*UNREACHABLE, DatabaseGone):
            if chat is not None and (off := ChatState(rdb(study).ours).get(chat.off)):
                warned(f"Telegram is switched off: {off}")


def _run_trials(
    place: Place,
    spec: Spec,
    study: optuna.Study,
    device: str,
    terminal: "display.Terminal",
    max_trials: int | None = None,
    linger: bool = False,
) -> None:
    folder, store = place.folder(spec.name), place.store()
    try:
        with Callbacks([*_told(place, study, spec, terminal), terminal]) as callbacks, ExitStack() as beside:
            objective = training.objective_of(
                spec, study, place.workdir, terminal.progress, terminal.warned, place.allowed, store
            )
            beside.callback(objective.close)
            plan = training.plan_of(spec, place.allowed)
            job = training.trials(spec, study, objective, plan, device, callbacks)
            worker.Worker(spec, study, job, folder, callbacks, linger, artifacts=store).work(max_trials)
            if isinstance(objective, tacotron2.Tacotron2):
                hearing.hear_best(study, spec, objective, folder, device, store, callbacks.warned)
    except trial.Interrupted:
        terminal.warned(f"saved; go on with: run_study.py {winner.resume(spec)}")
        raise


def _told(place: Place, study: optuna.Study, spec: Spec, terminal: "display.Terminal") -> Iterator[Callback]:
    """Who hears how trials go, before the terminal: what they write may have to be told again."""
    if account() is not None:
        yield telegram.Telegram(study, place.workdir)
    if place.tracking:
        yield trackers.Trackers(study, place.workdir, terminal.warned)
    for named in spec.callbacks:
        yield _callback(named, place.allowed)


def _callback(named: str, allowed: Collection[str]) -> Callback:
    """Raises CodeError: it may not be imported, is no Callback, or cannot be made without arguments."""
    kind = load_class(named, allowed, "callback", Callback)
    try:
        made: Callback = kind()
    except TypeError as error:
        raise CodeError(
            f'"{named}" cannot be made: {error}; a callback is made without arguments.'
        ) from error
    return made


def _run_workers(place: Place, spec: Spec, device: str, count: int, terminal: "display.Terminal") -> None:
    if spec.objective.use is None:  # once, before all of them want it
        data.load(spec, place.workdir, terminal.progress, terminal.warned)
    command = [sys.executable, PROGRAM, "worker", spec.name, "--device"]
    devices = training.devices_of(device, count)
    place.share()
    if code := pool.Pool([[*command, own] for own in devices], terminal.warned).run():
        raise click.exceptions.Exit(code)
