"""Which revision our tables are at, and how they are made and brought up to date.

The scripts are in migrations/versions/. Optuna's tables have revisions of their own, in Optuna's own
table `alembic_version`; nothing here touches them.
"""

from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from smart_tuner.store.tables import TABLES

VERSION_TABLE = "smart_tuner_alembic_version"
UNKNOWN = "unknown"  # of tables without a revision, which this program never leaves


@cache
def revisions() -> tuple[str, ...]:
    """All that this program knows, oldest first."""
    found = ScriptDirectory.from_config(_config(None)).walk_revisions()
    return tuple(script.revision for script in found)[::-1]


def current(connection: Connection) -> str | None:
    """The revision of our tables; None where there are none."""
    there = inspect(connection)
    return stamped(connection) or (UNKNOWN if any(map(there.has_table, TABLES.tables)) else None)


def stamped(connection: Connection) -> str | None:
    """The revision that is written in the database; None when none is."""
    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()


def bring_up_to_date(connection: Connection) -> None:
    """Make what is missing, in the transaction of `connection`: all of it, or nothing."""
    command.upgrade(_config(connection), "head")


def is_ours(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    """For Alembic's comparison: tables of Optuna in the same place are not to be dropped."""
    return kind != "table" or (name or "").startswith("st_")


def _config(connection: Connection | None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
