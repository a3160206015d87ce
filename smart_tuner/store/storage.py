"""The one place that opens the database: Optuna's storage, and our tables beside it."""

import fcntl
import getpass
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import Engine, create_engine, event, func, inspect, select, text
from sqlalchemy.engine import Connection, ExceptionContext
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from smart_tuner.files import lock
from smart_tuner.store import schema
from smart_tuner.store.loading import BulkLoading
from smart_tuner.store.outage import DatabaseGone
from smart_tuner.store.url import Address, parse

BUSY_SECONDS = 60
IMMEDIATE = "BEGIN IMMEDIATE"
OPTUNAS, OUR_SCHEMA, MLFLOWS = "optuna", "smart_tuner", "mlflow"
LOCK = 0x536D617274  # "Smart", the key of PostgreSQL's advisory lock
# Per engine, of which a process has two: PostgreSQL's 100 connections are to serve many processes.
FEW = {"pool_size": 1, "max_overflow": 2, "pool_pre_ping": True}
READ_ONLY = "25006"  # what PostgreSQL says while another server takes over
GONE = {"42P01", "42703", "3F000"}  # tables, columns or schemas that are not there
NOT_THERE = ("no such table", "no such column")  # the same, as SQLite says it
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
NOT_ALLOWED = ("42501", "3F000")  # of PostgreSQL's errors: a right, or a whole schema, is missing
# libpq asks for this time zone at every connection; Optuna's connects before any event can.
os.environ["PGTZ"] = "UTC"


class StoreError(RuntimeError):
    """The database cannot be opened; the message says which, why and what to do."""


class SchemaError(StoreError):
    """Its tables are of another version of this program or of Optuna."""


class ForeignTables(StoreError):
    """MLflow's tables are where Optuna's would be: neither could be upgraded any more."""


class Storage(BulkLoading):
    """Optuna's storage, and `ours`: the engine of our tables beside it."""

    ours: Engine

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["ours"]
        return state

    def create_study(self, name: str, user_attrs: Mapping[str, Any]) -> None:
        """One that minimizes; nobody ever sees it without its attributes. Raises DuplicatedStudyError."""
        goal = models.StudyDirectionModel(objective=0, direction=StudyDirection.MINIMIZE)
        texts = {key: json.dumps(value) for key, value in user_attrs.items()}
        try:
            with _create_scoped_session(self.scoped_session) as session:
                study = models.StudyModel(study_name=name, directions=[goal])
                session.add(study)
                session.flush()  # which numbers it
                attributes = ({"key": key, "value_json": text} for key, text in texts.items())
                session.add_all(
                    models.StudyUserAttributeModel(study_id=study.study_id, **row) for row in attributes
                )
        except IntegrityError as error:
            raise DuplicatedStudyError(f"there is a study {name} already") from error

    def begin_waiting(self, trial_id: int, mark: str) -> bool:
        """Begin a trial that waits, with a system attribute `mark` from that instant on; False where somebody
        else was faster."""
        with _create_scoped_session(self.scoped_session) as session:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            if trial.state != TrialState.WAITING:
                return False
            trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()
            row = {"trial_id": trial_id, "key": mark, "value_json": json.dumps(True)}
            session.add(models.TrialSystemAttributeModel(**row))
            return True

    def mostly_read(self) -> None:
        """For a process that seldom writes: on SQLite, its reads then make no writer wait."""

    def close(self) -> None:
        """Give back all connections; one that is needed again is opened again."""
        self.engine.dispose()
        self.ours.dispose()


class SQLiteStorage(Storage):
    """Optuna's storage on SQLite that never runs one queued trial twice.

    SQLite ignores FOR UPDATE, so Optuna's own way of claiming a trial lets two workers take the same
    one (optuna issues 4621 and 4002). Every transaction therefore takes the write lock at its start.
    """

    _begin = IMMEDIATE

    def __init__(self, address: Address, **options: Any) -> None:
        super().__init__(address.within(""), {"connect_args": {"timeout": BUSY_SECONDS}}, **options)
        self._prepare()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._prepare()

    def _prepare(self) -> None:
        self.engine.dispose()  # Optuna has connected already, without these events
        self.ours = _serialised(self.engine, lambda: self._begin)

    def mostly_read(self) -> None:
        self._begin = "BEGIN"


class ReadOnlyStorage(Storage):
    """Optuna's storage on an SQLite file that may only be read: nothing is written, not even beside it."""

    def __init__(self, file: Path) -> None:
        options = {"creator": partial(_to_read, file), "poolclass": NullPool}
        super().__init__("sqlite://", options, skip_compatibility_check=True, skip_table_creation=True)
        self.ours = _begun_by(self.engine, lambda: "BEGIN")


def _to_read(file: Path) -> sqlite3.Connection:
    """A connection that only reads.

    SQLite reads by the help of a log of changes, which it may not make here. Where there is none, nobody
    writes, and none is needed; so each connection looks anew, and is given back at once.
    """
    known = file.with_name(f"{file.name}-wal").exists()
    place = f"file:{quote(str(file.resolve()))}?{'mode=ro' if known else 'immutable=1'}"
    return sqlite3.connect(
        place, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )


class PostgreSQLStorage(Storage):
    """Optuna's storage in one schema of a PostgreSQL database, our tables in another."""

    def __init__(self, address: Address, **options: Any) -> None:
        super().__init__(address.within(OPTUNAS), dict(FEW), **options)
        self._address = address
        self._prepare()

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        self._prepare()

    def _prepare(self) -> None:
        self.engine.dispose()
        _in_utc(self.engine)
        self.ours = plain_engine(self._address, OUR_SCHEMA)


def plain_engine(address: Address, name: str) -> Engine:
    """An engine without Optuna, for one schema of PostgreSQL or for SQLite's file."""
    url = address.within(name)
    if address.backend == "postgresql":
        return _in_utc(create_engine(url, **FEW))
    if address.file is not None and only_read(address):
        reading = create_engine("sqlite://", creator=partial(_to_read, address.file), poolclass=NullPool)
        return _begun_by(reading, lambda: "BEGIN")
    return _serialised(create_engine(url, connect_args={"timeout": BUSY_SECONDS}))


def _serialised(engine: Engine, begin: Callable[[], str] = lambda: IMMEDIATE) -> Engine:
    file = _OneFile(engine)

    @event.listens_for(engine, "do_connect")
    def on_do_connect(*_: object) -> None:
        file.check()

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connection.isolation_level = None  # transactions are started by on_begin
        for pragma in ("journal_mode=wal", f"busy_timeout={BUSY_SECONDS * 1000}", "synchronous=normal"):
            connection.execute(f"PRAGMA {pragma}")
        file.note()

    @event.listens_for(engine, "begin")
    def before_begin(_: Connection) -> None:
        file.check()

    return _begun_by(engine, begin)


def _begun_by(engine: Engine, begin: Callable[[], str]) -> Engine:
    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin())

    return _judged(engine)


class _OneFile:
    """Checks that SQLite's file is the same one at every transaction.

    SQLite itself would not notice: a connection goes on to write into a file that was deleted, and the next
    one makes an empty file in its place.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._path = engine, Path(engine.url.database or "")
        self._known: tuple[int, int] | None = None  # device and number

    def note(self) -> None:
        """It was just opened."""
        self._known = self._known or self._found()

    def check(self) -> None:
        """Raises DatabaseGone."""
        if self._known is not None and self._found() != self._known:
            raise _gone(self._engine, "Its file was deleted, moved or replaced while it was in use.")

    def _found(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:  # its disk does not answer: SQLite will say more
            return self._known
        return status.st_dev, status.st_ino


def _judged(engine: Engine) -> Engine:
    """The engine, with errors that tell whether waiting helps, where the driver's own do not."""

    @event.listens_for(engine, "handle_error")
    def on_error(context: ExceptionContext) -> Exception | None:
        fault = context.original_exception
        state = getattr(fault, "sqlstate", None)
        if state == READ_ONLY:
            context.is_disconnect = True  # and where this leads is asked anew: another server may be there
            return OperationalError(context.statement, context.parameters, fault, connection_invalidated=True)
        not_there = isinstance(fault, sqlite3.OperationalError) and str(fault).startswith(NOT_THERE)
        if state in GONE or not_there or getattr(fault, "sqlite_errorcode", None) in DAMAGED:
            raise _gone(engine, str(fault).partition("\n")[0])
        return None

    return engine


def _gone(engine: Engine, why: str) -> DatabaseGone:
    return DatabaseGone(
        f"The database {Address(engine.url.set(query={}))} cannot be used any more.\n{why}\n"
        "What was trained is in the checkpoints. Put the database back as it was, and resume the study."
    )


def _in_utc(engine: Engine) -> Engine:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: object) -> None:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()  # or the pool's rollback would take it back

    return _judged(engine)


def only_read(address: Address) -> bool:
    """Whether this user may read SQLite's file, but not write into it or beside it."""
    file = address.file
    if file is None or not file.exists():
        return False
    places = (file, file.resolve().parent)
    return not all(os.access(place, os.W_OK, effective_ids=True) for place in places)


def open_storage(url: str, looking: bool = False) -> Storage:
    """Optuna's storage at an SQLAlchemy URL; tables are made when there are none, by one process at a time.

    Args:
        looking: nothing will be written, so that a right to read SQLite's file is enough.

    Raises:
        StoreError: the URL is wrong, or its database cannot be reached or was made by other versions.
    """
    address = read_url(url)
    if address.file is not None and only_read(address):
        if looking:
            return _to_look_at(address, address.file)
        raise StoreError(
            f"Cannot write to the database {address}.\nThis user may only read it, or its folder.\n"
            "That is enough to look at studies: list, status, trials, best, fixes, report, speak, export. "
            "For all else ask its owner for the right to write, or give another --storage."
        )
    with explained(address), locked(address) as engine:
        _refuse_closed_schemas(address, engine)
        refuse_foreign_tables(address, engine)
        _refuse_other_revision(address, engine)
        make_schemas(engine)
        storage = raw_storage(address, engine)
        try:
            if storage.get_current_version() != storage.get_head_version():
                raise other_optuna(address, storage)
            with storage.ours.begin() as connection:
                if schema.stamped(connection) is None:
                    schema.bring_up_to_date(connection)
        except BaseException:
            storage.close()
            raise
        return storage


def _to_look_at(address: Address, file: Path) -> Storage:
    with explained(address):
        storage = ReadOnlyStorage(file)
        refuse_foreign_tables(address, storage.engine)
        _refuse_other_revision(address, storage.engine)
        with storage.engine.connect() as connection:
            if schema.current(connection) is None:
                raise StoreError(
                    f"Cannot look at {address}.\nIt has no tables of this program yet.\n"
                    "Let somebody who may write it run: run_study.py storage init"
                )
        if storage.get_current_version() != storage.get_head_version():
            raise other_optuna(address, storage)
        return storage


def read_url(url: str) -> Address:
    try:
        return parse(url)
    except ArgumentError as error:
        raise StoreError(
            "Cannot understand the storage URL.\n"
            f"{error}\nGive one like sqlite:///runs/study.db or postgresql://user@host/name."
        ) from error


def mlflow_url(url: str) -> str:
    """Where MLflow keeps its tables, with the password: beside ours, but never among them."""
    address = read_url(url)
    if address.file is None:
        return address.within(MLFLOWS)
    return f"sqlite:///{address.file.resolve().with_name('mlflow.db')}"


def mlflow_files(workdir: Path) -> Path:
    """Where MLflow keeps files: below it EXPERIMENT/RUN/artifacts."""
    return workdir.resolve() / "artifacts" / "mlflow"


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """What the database or its driver raises becomes a StoreError, which shows no password."""
    try:
        yield
    except (DatabaseError, DatabaseGone, ArgumentError, OSError, StorageInternalError) as error:
        cause = (error.__cause__ if isinstance(error, StorageInternalError) else None) or error
        if isinstance(cause, DatabaseGone):
            cause = cause.__cause__ or cause
        reason = cause.orig if isinstance(cause, DatabaseError) else cause
        if getattr(reason, "sqlstate", None) in NOT_ALLOWED:
            raise _right_missing(address, str(reason)) from error
        raise StoreError(
            f"Cannot open the database {address}.\n{reason}\n"
            "Check that it exists, is reachable and writable, or give another --storage."
        ) from error


def _right_missing(address: Address, reason: str) -> StoreError:
    return StoreError(
        f"Cannot use the database {address}: a right is missing.\n{reason}\n"
        "Let its administrator run, connected to this database:\n"
        f"{granted(address.url.username or getpass.getuser())}"
    )


def _refuse_closed_schemas(address: Address, engine: Engine) -> None:
    """Raises StoreError for schemas that this role may not use, whose tables PostgreSQL calls missing."""
    if address.file is None:
        present = "SELECT nspname FROM pg_namespace WHERE nspname IN (:optuna, :ours)"
        closed = text(f"{present} AND NOT has_schema_privilege(nspname, 'USAGE')")
        with engine.connect() as connection:
            found = connection.execute(closed, {"optuna": OPTUNAS, "ours": OUR_SCHEMA}).scalars().all()
        if found:
            raise _right_missing(address, f"permission denied for schema {', '.join(found)}")


def granted(role: str) -> str:
    """The statements of SQL by which a role that may create no schema can work, and make its tables."""
    name = '"' + role.replace('"', '""') + '"'
    return "\n".join(
        f"  CREATE SCHEMA IF NOT EXISTS {place};\n"
        f"  GRANT USAGE, CREATE ON SCHEMA {place} TO {name};\n"
        f"  GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {place} TO {name};\n"
        f"  GRANT USAGE ON ALL SEQUENCES IN SCHEMA {place} TO {name};"
        for place in (OPTUNAS, OUR_SCHEMA, MLFLOWS)
    )


@contextmanager
def locked(address: Address) -> Iterator[Engine]:
    """Whoever makes or changes tables does so alone until this context ends; an engine to look with."""
    engine = plain_engine(address, OUR_SCHEMA)
    try:
        with _advisory_lock(engine) if address.file is None else _file_lock(address.file):
            yield engine
    finally:
        engine.dispose()


@contextmanager
def _file_lock(database: Path) -> Iterator[None]:
    """Hold a lock file beside the database; closing a lock on itself would lose SQLite's own locks."""
    with os.fdopen(lock(database.with_name(f"{database.name}.lock")), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _advisory_lock(engine: Engine) -> Iterator[None]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SET lock_timeout = '{BUSY_SECONDS}s'"))
        connection.execute(select(func.pg_advisory_lock(LOCK)))
        try:
            yield
        finally:
            connection.invalidate()  # the server unlocks what a closed session held


def refuse_foreign_tables(address: Address, engine: Engine) -> None:
    place = optunas_place(engine)
    names = set(inspect(engine).get_table_names(place))
    if "experiments" in names or ("alembic_version" in names and "version_info" not in names):
        raise ForeignTables(
            f"Cannot use the database {address}{f', schema {place}' if place else ''}.\n"
            "MLflow's tables, or another program's, are in it; both would keep their version in the table "
            "alembic_version.\nGive another --storage, or move MLflow to a database of its own."
        )


def optunas_place(engine: Engine) -> str | None:
    return OPTUNAS if engine.dialect.name == "postgresql" else None


def _refuse_other_revision(address: Address, engine: Engine) -> None:
    with engine.connect() as connection:
        found, known = schema.current(connection), schema.revisions()
    if found in known[:-1]:
        raise SchemaError(
            f"The tables of {address} are those of an older version.\n"
            f"They are at revision {found}; this program needs {known[-1]}.\n"
            "Bring them up to date, after a backup, with: run_study.py storage upgrade"
        )
    if found not in (None, known[-1]):
        raise newer(address, found)


def newer(address: Address, found: str | None) -> SchemaError:
    return SchemaError(
        f"The tables of {address} were made by another version.\n"
        f"They are at revision {found}; this program knows {', '.join(schema.revisions())}.\n"
        "Use the version of the program that made them, or a newer one."
    )


def other_optuna(address: Address, storage: Storage) -> SchemaError:
    found = storage.get_current_version()
    older = found in storage.get_all_versions()
    return SchemaError(
        f"Optuna's tables in {address} are of another version.\n"
        f"They are at revision {found}; Optuna {optuna.__version__} needs {storage.get_head_version()}.\n"
        + (
            "Bring them up to date, after a backup, with: run_study.py storage upgrade --optuna"
            if older
            else "Use the version of Optuna that made them, or a newer one."
        )
    )


def make_schemas(engine: Engine) -> None:
    """Make the schemas that PostgreSQL lacks; where none is missing, no right to make any is needed."""
    if engine.dialect.name == "postgresql":
        present = inspect(engine).get_schema_names()
        with engine.begin() as connection:
            for name in (OPTUNAS, OUR_SCHEMA, MLFLOWS):
                if name not in present:
                    connection.execute(CreateSchema(name))


def raw_storage(address: Address, engine: Engine) -> Storage:
    """The storage of tables of any version. Optuna's are made unless complete: their version comes last."""
    complete = inspect(engine).has_table("alembic_version", optunas_place(engine))
    kind = PostgreSQLStorage if address.backend == "postgresql" else SQLiteStorage
    return kind(address, skip_compatibility_check=True, skip_table_creation=complete)


optuna.logging.set_verbosity(optuna.logging.WARNING)
