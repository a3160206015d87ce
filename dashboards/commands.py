"""Verbs that need the pages' processes: serve them, and send and hear beside the workers."""

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from dashboards import environment, state
from dashboards.synthesis.client import LONGEST_TEXT, SynthesisClient, in_child
from smart_tuner.lazy import LazyModule
from smart_tuner.notify import sender as publishing
from studies.commands import notify
from studies.commands.place import FORMATS, PROGRAM, TRACKING, Place
from studies.report.summary import formatted
from studies.run import pool

if TYPE_CHECKING:
    from dashboards import server
else:
    server = LazyModule("dashboards.server")


def beside(place: Place) -> AbstractContextManager[None]:
    """Pages served by a process of their own, as long as this context lasts."""
    place.share()
    command = [sys.executable, PROGRAM, "pages"]
    return pool.beside(command, state.STOP_SECONDS, environment=environment.of_pages(place.url))


@click.command()
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
        click.echo("The pages ended." if state.stop(place.workdir) else "No pages are served.")
        return 0
    if look:
        served = server.status(place.workdir)
        click.echo(formatted(served, form) if served or form == "json" else "No pages are served.")
        return 0 if served and all(row["up"] for row in served) else 1
    pool.end_with_parent()
    options = server.Options.parsed(only, ports, **others)
    storage = place.storage(looking=True)
    storage.mostly_read()
    with_keys = sys.stdout.isatty()
    pages = server.Pages(options, storage, place.url, place.workdir, click.echo, with_keys)
    environment.shed(place.url)
    return pages.run()


@click.command()
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
    synthesis = SynthesisClient(in_child, (place.url, place.workdir))
    try:
        notify.follow(
            storage,
            place.url,
            place.workdir,
            place.tracking,
            synthesis.answer,
            LONGEST_TEXT,
            click.echo,
        )
    finally:
        synthesis.close()
