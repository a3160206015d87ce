"""What is measured, each as a command that prints a table."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def postgresql_server() -> Iterator[str]:
    """The URL of an empty database on a PostgreSQL server that lives as long as this."""
    sys.path.append(str(Path(__file__).parent.parent / "tests"))
    import postgres  # type: ignore[import-not-found]

    found = postgres.programs()
    if found is None:
        raise click.ClickException("PostgreSQL's programs were not found: install postgresql")
    with postgres.Server(found) as running:
        yield running.url(running.fresh())
