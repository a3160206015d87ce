"""Verbs for the database: look at it, make or upgrade its tables, or copy it."""

import click

from smart_tuner.store import maintenance
from studies.commands.place import FORMATS, Place
from studies.report.summary import formatted


@click.group()
def storage_group() -> None:
    """Look at the database, make or upgrade its tables, or copy it."""


@storage_group.command("info")
@FORMATS
@click.pass_obj
def storage_info(place: Place, form: str) -> None:
    """Which database it is, at which revisions, and how much it holds."""
    click.echo(formatted(maintenance.info(place.url), form))


@storage_group.command("init")
@click.pass_obj
def storage_init(place: Place) -> None:
    """Make the tables, where there are none."""
    place.storage()
    click.echo(f"{maintenance.info(place.url)['url']} is ready.")


@storage_group.command("upgrade")
@click.option("--optuna", "with_optuna", is_flag=True, help="Optuna's tables, too.")
@click.option("--no-backup", is_flag=True, help="You have one, or need none.")
@FORMATS
@click.pass_obj
def storage_upgrade(place: Place, with_optuna: bool, no_backup: bool, form: str) -> None:
    """Bring the tables up to date, after a backup (beside SQLite's file; of PostgreSQL in --home)."""
    parts = ("smart_tuner", "optuna") if with_optuna else ("smart_tuner",)
    click.echo(formatted(maintenance.upgrade(place.url, None if no_backup else place.workdir, parts), form))


@storage_group.command("migrate")
@click.argument("destination")
@FORMATS
@click.pass_obj
def storage_migrate(place: Place, destination: str, form: str) -> None:
    """Copy everything into the empty database at the URL DESTINATION; stop all workers first."""
    click.echo(formatted(maintenance.migrate(place.url, destination), form))
