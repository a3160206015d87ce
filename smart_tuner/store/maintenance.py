"""What is done to a database as a whole: look at it, bring it up to date, copy it into another one."""

import glob
import logging
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from optuna.storages._rdb import models
from sqlalchemy import Connection, Table, func, insert, inspect, null, select, text

from smart_tuner.store import schema
from smart_tuner.store.storage import (
    OPTUNAS,
    OUR_SCHEMA,
    StoreError,
    explained,
    locked,
    make_schemas,
    newer,
    open_storage,
    optunas_place,
    other_optuna,
    plain_engine,
    raw_storage,
    read_url,
    refuse_foreign_tables,
)
from smart_tuner.store.tables import TABLES
from smart_tuner.store.url import Address

OPTUNAS_TABLES: list[Table] = [
    table for table in models.BaseModel.metadata.sorted_tables if table.name != "version_info"
]
OUR_TABLES: list[Table] = TABLES.sorted_tables
ALL_TABLES = (*OPTUNAS_TABLES, *OUR_TABLES)
ROWS = 1000  # written at once


def info(url: str) -> dict[str, Any]:
    """What a database holds, whatever its revision. Raises StoreError; makes and changes nothing."""
    address = _existing(url)
    engine = plain_engine(address, OUR_SCHEMA)
    try:
        with explained(address), engine.connect() as connection:
            return _seen(address, connection)
    finally:
        engine.dispose()


def _existing(url: str) -> Address:
    address = read_url(url)
    if address.file is not None and not address.file.exists():
        raise StoreError(
            f"There is no database {address}.\nNothing was started there yet.\n"
            "Make it with: run_study.py storage init   or give another --storage."
        )
    return address


def _seen(address: Address, connection: Connection) -> dict[str, Any]:
    place = optunas_place(connection.engine)
    look = inspect(connection)
    tables = {
        **{name: f"{place}.{name}" if place else name for name in look.get_table_names(place)},
        **{name: name for name in look.get_table_names() if name in TABLES.tables},
    }

    def asked(what: str, name: str) -> Any:
        return connection.execute(text(f"SELECT {what} FROM {tables[name]}")).scalar()

    counted = ("studies", "trials", *(table.name for table in OUR_TABLES))
    return {
        "url": str(address),
        "backend": address.backend,
        "revision": schema.current(connection),
        "newest_revision": schema.revisions()[-1],
        "optuna_revision": asked("version_num", "alembic_version") if "alembic_version" in tables else None,
        **{name: asked("count(*)", name) if name in tables else 0 for name in counted},
    }


def upgrade(url: str, backups: Path | None, parts: tuple[str, ...] = ("smart_tuner",)) -> dict[str, Any]:
    """Bring tables up to date, after a backup; where they are, nothing is written. Tells what was done.

    Args:
        backups: the folder for PostgreSQL's; SQLite's lies beside its file. None: make none.
        parts: whose tables, of "smart_tuner" and "optuna".

    Raises:
        StoreError: see `open_storage`; or there can be no backup.
    """
    address = _existing(url)
    with explained(address), locked(address) as engine:
        refuse_foreign_tables(address, engine)
        with engine.connect() as connection:
            ours = schema.current(connection)
        if ours is not None and ours not in schema.revisions():
            raise newer(address, ours)
        make_schemas(engine)
        with closing(raw_storage(address, engine)) as storage:
            found = {"smart_tuner": ours, "optuna": storage.get_current_version()}
            newest = {"smart_tuner": schema.revisions()[-1], "optuna": storage.get_head_version()}
            if found["optuna"] not in storage.get_all_versions():
                raise other_optuna(address, storage)
            due = [part for part in parts if found[part] != newest[part]]
            backup = _backup(address, ours or "0000", backups) if due and backups is not None else None
            if "smart_tuner" in due:
                with storage.ours.begin() as connection:
                    schema.bring_up_to_date(connection)
            if "optuna" in due:
                logging.getLogger().addHandler(logging.NullHandler())  # or Optuna's would configure them all
                storage.upgrade()
    steps = {
        part: f"{found[part] or 'none'} to {newest[part]}" if part in due else found[part] for part in found
    }
    return {**steps, "backup": str(backup) if backup else None}


def _backup(address: Address, revision: str, folder: Path) -> Path:
    """A file whose name says of which revision and when; it is whole, or not there."""
    database = address.file or folder / f"{address.url.database}.sql"
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = database.with_name(f"{database.stem}-{revision}-{when}{database.suffix}")
    partial = target.with_name(f"{target.name}.partial")
    if address.file is None:
        _dump(address, partial)
    else:
        for left in target.parent.glob(f"{glob.escape(database.stem)}-*Z{database.suffix}.partial"):
            left.unlink()  # by one that was killed: whoever makes a backup of this file has it locked
        with closing(sqlite3.connect(address.file)) as source, closing(sqlite3.connect(partial)) as copy:
            source.backup(copy)
    os.replace(partial, target)
    return target


def _dump(address: Address, target: Path) -> None:
    """By pg_dump; the password goes by the environment, which no list of processes shows."""
    program = shutil.which("pg_dump")
    if program is None:
        raise StoreError(
            f"Cannot back up {address}.\nThe program pg_dump was not found.\n"
            "Install PostgreSQL's client, or back it up yourself and give --no-backup."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    login = address.url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    chosen = [f"--schema={name}" for name in (OPTUNAS, OUR_SCHEMA)]
    secret = {"PGPASSWORD": address.url.password} if address.url.password else {}
    done = subprocess.run(
        [program, f"--dbname={login}", "--no-password", f"--file={target}", *chosen],
        env=os.environ | secret,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        target.unlink(missing_ok=True)
        raise StoreError(
            f"Cannot back up {address}.\n{done.stderr.strip()}\nBack it up yourself and give --no-backup."
        )


def migrate(source: str, destination: str) -> dict[str, int]:
    """Copy everything into an empty database, with the same ids, in one transaction. Tells rows by table.

    Raises:
        StoreError: see `open_storage`; or the destination holds something already.
    """
    place = read_url(destination)
    if place == _existing(source):
        raise _filled(place, "it is the source itself")
    with closing(open_storage(source)) as old, closing(open_storage(destination)) as new:
        isolated = {"isolation_level": "REPEATABLE READ"} if old.engine.dialect.name == "postgresql" else {}
        with (
            explained(place),
            old.engine.connect().execution_options(**isolated) as reading,
            new.engine.begin() as writing,
        ):
            for table in ALL_TABLES:
                one = select(table).limit(1)
                if writing.execute(one, execution_options=_where(writing, table)).first():
                    raise _filled(place, f"the table {table.name} has rows")
            return {table.name: copied(table, reading, writing) for table in ALL_TABLES}


def _filled(address: Address, why: str) -> StoreError:
    return StoreError(
        f"Cannot copy into {address}.\nIt is not empty: {why}.\nGive the URL of an empty database."
    )


def _where(connection: Connection, table: Table) -> dict[str, Any]:
    """Options by which a connection that looks in Optuna's schema finds our tables in ours (PostgreSQL)."""
    ours = connection.dialect.name == "postgresql" and table.name in TABLES.tables
    return {"schema_translate_map": {None: OUR_SCHEMA}} if ours else {}


def copied(table: Table, reading: Connection, writing: Connection) -> int:
    """Copy a table; how many rows were written. The next id that the database gives is then a free one."""
    count = 0
    numbered = enumerate(rows(table, reading))
    for _, group in groupby(numbered, key=lambda item: (item[0] // ROWS, tuple(item[1]))):
        batch = [row for _, row in group]
        writing.execute(insert(table), batch, execution_options=_where(writing, table))
        count += len(batch)
    [key] = table.primary_key.columns
    if count and writing.dialect.name == "postgresql" and key.type.python_type is int:
        name = f"{OUR_SCHEMA if table.name in TABLES.tables else OPTUNAS}.{table.name}"
        newest = select(func.max(key)).scalar_subquery()
        sequence = func.pg_get_serial_sequence(name, key.name)
        writing.execute(select(func.setval(sequence, newest)), execution_options=_where(writing, table))
    return count


def rows(table: Table, connection: Connection) -> Iterator[dict[str, Any]]:
    """A table's rows, without the columns that are NULL: None would be written as the null of JSON."""
    flags = [column.is_(null()).label(f"no {column.name}") for column in table.columns]
    query = select(table, *flags)
    found = connection.execute(query, execution_options=_where(connection, table) | {"yield_per": ROWS})
    for row in found.mappings():
        yield {c.name: row[c.name] for c in table.columns if not row[f"no {c.name}"]}
