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
# Until there were revisions, tables were made without one: these tell which it would have been.
UNSTAMPED = {
    frozenset({"st_repair"}): "0001",
    frozenset({"st_repair", "st_lease", "st_checkpoint", "st_outbox"}): "0002",
    frozenset({"st_repair", "st_lease", "st_checkpoint", "st_outbox", "st_rating"}): "0003",
    frozenset({"st_repair", "st_lease", "st_checkpoint", "st_outbox", "st_rating", "st_chat"}): "0004",
}
UNKNOWN = "unknown"


@cache
def revisions() -> tuple[str, ...]:
    """All that this program knows, oldest first."""
    found = ScriptDirectory.from_config(_config(None)).walk_revisions()
    return tuple(script.revision for script in found)[::-1]


def current(connection: Connection) -> str | None:
    """The revision of our tables; None where there are none."""
    return stamped(connection) or _unstamped(connection)


def _unstamped(connection: Connection) -> str | None:
    there = inspect(connection)
    ours = frozenset(name for name in there.get_table_names() if name in TABLES.tables)
    if ours == TABLES.tables.keys() and "steps" in {c["name"] for c in there.get_columns("st_lease")}:
        return revisions()[-1]
    return UNSTAMPED.get(ours, UNKNOWN) if ours else None


def stamped(connection: Connection) -> str | None:
    """The revision that is written in the database; None when none is."""
    return MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE}
    ).get_current_revision()


def bring_up_to_date(connection: Connection) -> None:
    """Make what is missing, in the transaction of `connection`: all of it, or nothing."""
    config = _config(connection)
    revision = current(connection)
    if revision is not None:
        command.stamp(config, revision)
    command.upgrade(config, "head")


def is_ours(_: Any, name: str | None, kind: str, *__: Any) -> bool:
    """For Alembic's comparison: tables of Optuna in the same place are not to be dropped."""
    return kind != "table" or (name or "").startswith("st_")


def _config(connection: Connection | None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
