"""The one place that opens the database."""

from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy import Engine, event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

BUSY_SECONDS = 60


class StoreError(RuntimeError):
    """The database cannot be opened; the message says which, why and what to do."""


class SQLiteStorage(RDBStorage):
    """Optuna's storage on SQLite that never runs one queued trial twice.

    SQLite ignores FOR UPDATE, so Optuna's own way of claiming a trial lets two workers take the same
    one (optuna issues 4621 and 4002). Every transaction therefore takes the write lock at its start.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}})
        _serialise_transactions(self.engine)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        _serialise_transactions(self.engine)


def _serialise_transactions(engine: Engine) -> None:
    engine.dispose()  # Optuna has connected already, without these events

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are started by on_begin
        for pragma in ("journal_mode=wal", f"busy_timeout={BUSY_SECONDS * 1000}", "synchronous=normal"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at an SQLAlchemy URL; tables are made when there are none.

    Raises:
        StoreError: the URL is wrong, or its database cannot be reached or was made by other versions.
    """
    try:
        parsed = make_url(url)
        shown = parsed.render_as_string(hide_password=True)
        escaped = parsed.render_as_string(hide_password=False).replace("{", "%7B").replace("}", "%7D")
        if parsed.get_backend_name() == "sqlite":
            return SQLiteStorage(escaped)
        return RDBStorage(escaped, engine_kwargs={"pool_pre_ping": True})
    except (ArgumentError, ImportError) as error:
        raise StoreError(
            "Cannot understand the storage URL.\n"
            f"{error}\nGive one like sqlite:///runs/study.db or postgresql+psycopg://user@host/name."
        ) from error
    except DatabaseError as error:
        raise StoreError(
            f"Cannot open the database {shown}.\n{error.orig}\n"
            "Check that it exists, is reachable and writable, or give another --storage."
        ) from error
    except RuntimeError as error:  # Optuna's word for a schema of another version
        raise StoreError(f"Cannot use the database {shown}.\n{error}\nRun: optuna storage upgrade") from error


optuna.logging.set_verbosity(optuna.logging.WARNING)
