"""What is done to a database as a whole: look at it, bring it up to date, copy it into another one."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Collection, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages._rdb import models
from sqlalchemy import Connection, Engine, Table, func, insert, inspect, select, text

from smart_tuner import schema
from smart_tuner.address import Address
from smart_tuner.store import (
    OPTUNAS,
    OUR_SCHEMA,
    SchemaError,
    Storage,
    StoreError,
    explained,
    locked,
    make_schemas,
    newer,
    open_storage,
    optunas_place,
    plain_engine,
    raw_storage,
    read_url,
    refuse_foreign_tables,
)
from smart_tuner.tables import TABLES

OPTUNAS_TABLES: list[Table] = [
    table for table in models.BaseModel.metadata.sorted_tables if table.name != "version_info"
]
OUR_TABLES: list[Table] = TABLES.sorted_tables
ROWS = 1000  # written at once


def info(url: str) -> dict[str, Any]:
    """What a database holds, whatever its revision. Raises StoreError; makes and changes nothing."""
    address = read_url(url)
    if address.file is not None and not address.file.exists():
        raise StoreError(
            f"There is no database {address}.\nNothing was started there yet.\n"
            "Make it with: run_study.py storage init   or give another --storage."
        )
    engine = plain_engine(address, OUR_SCHEMA)
    try:
        with explained(address), engine.connect() as connection:
            return _seen(address, connection)
    finally:
        engine.dispose()


def _seen(address: Address, connection: Connection) -> dict[str, Any]:
    place = optunas_place(connection.engine)
    optunas, ours = (set(inspect(connection).get_table_names(schema)) for schema in (place, None))
    revision = None
    if "alembic_version" in optunas:
        revision = connection.execute(text(f"SELECT version_num FROM {_dot(place)}alembic_version")).scalar()
    counts = {name: _count(connection, _dot(place) + name, optunas) for name in ("studies", "trials")}
    return {
        "url": str(address),
        "backend": address.backend,
        "revision": schema.current(connection),
        "newest_revision": schema.revisions()[-1],
        "optuna_revision": revision,
        **counts,
        **{table.name: _count(connection, table.name, ours) for table in OUR_TABLES},
    }


def _dot(place: str | None) -> str:
    return f"{place}." if place else ""


def _count(connection: Connection, name: str, known: Collection[str]) -> int:
    if name.rpartition(".")[2] not in known:
        return 0
    return int(connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one())


def upgrade(url: str, backups: Path | None, parts: Collection[str] = ("smart_tuner",)) -> dict[str, Any]:
    """Bring a database up to date, after a backup; where nothing is to be done, nothing is written.

    Args:
        backups: the folder for PostgreSQL's; SQLite's lies beside its file. None: make none.
        parts: of "smart_tuner" and "optuna".

    Raises:
        StoreError: see `open_storage`; or the backup failed.
    """
    address = read_url(url)
    with explained(address), locked(address) as engine:
        refuse_foreign_tables(address, engine)
        before = _revisions(address, engine)
        wanted = {"smart_tuner": schema.revisions()[-1], "optuna": _newest_optuna(address, engine)}
        due = [part for part in wanted if part in parts and before[part] != wanted[part]]
        done: dict[str, Any] = {"backup": None}
        if due and backups is not None and any(before.values()):
            done["backup"] = str(_backup(address, before["smart_tuner"] or "empty", backups))
        if due:
            make_schemas(engine)
        _apply(address, engine, due)
        after = _revisions(address, engine)
    for part in wanted:
        done[part] = f"{before[part] or 'none'} to {after[part]}" if part in due else f"{after[part]}"
    return done
