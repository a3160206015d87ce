"""The pages' processes: three servers in this one, MLflow in a child; each is started again when it dies."""

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import httpx
import uvicorn
from a2wsgi import WSGIMiddleware

from dashboards import mlflow_server, programs, state
from dashboards.environment import PASSWORD
from dashboards.guard import ASGI, Guard, hosts, key_of
from dashboards.pages import home as home_page
from dashboards.state import PagesError, Write
from smart_tuner import files
from smart_tuner.store.storage import Storage

PORTS = {"mlflow": 5000, "tensorboard": 5001, "optuna": 5002, "home": 5003}
WHAT = {
    "home": "studies as they run, what was fixed, a voice to talk to",
    "optuna": "optuna-dashboard: history, importance, parameters",
    "tensorboard": "TensorBoard: curves, pictures and sounds along training",
    "mlflow": "MLflow: runs, parameters, artifacts",
}
LOCAL = ("127.0.0.1", "::1")
ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # and how they are reached from here
FEWEST_CHARACTERS = 12
POLL_SECONDS = 0.5
FIRST_PAUSE, LONGEST_PAUSE, SOUND_SECONDS = 1.0, 60.0, 120.0  # before a dead page is started again
END_SECONDS = 8.0


@dataclass(frozen=True)
class Options:
    """What a person asked for.

    Args:
        names: by which the pages may be called besides localhost.
        open_to_all: no page asks for its key.
    """

    only: tuple[str, ...] = tuple(PORTS)
    ports: dict[str, int] = field(default_factory=dict)
    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    open_to_all: bool = False
    allow_edit: bool = False

    def __post_init__(self) -> None:
        if self.host.lower() == "localhost":  # browsers try ::1 first, where somebody else may listen
            object.__setattr__(self, "host", "127.0.0.1")

    @classmethod
    def parsed(cls, only: str | None, ports: Sequence[str], **others: Any) -> "Options":
        """From the command line: names with commas, and PAGE=N. Raises PagesError for what is neither."""
        chosen = tuple(PORTS) if only is None else tuple(name.strip() for name in only.split(","))
        given = dict[str, int]()
        for text in ports:
            page, _, number = text.partition("=")
            if not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
                raise PagesError(
                    f'Cannot read "{text}".\nIt is no page with a port.\nGive one like home=5103.'
                )
            given[page] = int(number)
        if unknown := [name for name in (*chosen, *given) if name not in PORTS]:
            raise PagesError(
                f"There is no page {', '.join(unknown)}.\nThe pages are: {', '.join(PORTS)}.\n"
                "Name some of them, with commas between."
            )
        options = cls(chosen, given, **others)
        if len({options.port(page) for page in chosen}) < len(chosen):
            raise PagesError("Two pages cannot have one port.\nGive each its own with --port PAGE=N.")
        return options

    def port(self, page: str) -> int:
        return self.ports.get(page, PORTS[page])

    def address(self, page: str) -> str:
        """The page's address, as a person types it."""
        if self.host not in ANY:
            return self.bound(page)
        name = self.names[0]
        return f"http://{name}/" if re.search(r":\d+$", name) else f"http://{name}:{self.port(page)}/"

    def bound(self, page: str) -> str:
        """The page's address on this machine itself."""
        host = ANY.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port(page)}/"

    def guard(self, page: str, secret: str | None, password: str | None = None) -> Guard:
        """Args: secret: what the pages' keys are made of; None: they ask for none."""
        own = () if self.host in (*LOCAL, *ANY) else (f"[{self.host}]" if ":" in self.host else self.host,)
        known = hosts(self.port(page), (*own, *self.names))
        key = None if secret is None else key_of(secret, page)
        return replace(self._rule(page), hosts=known, key=key, password=password)

    def _rule(self, page: str) -> Guard:
        rules = {
            "mlflow": mlflow_server.RULE,
            "tensorboard": programs.TENSORBOARD,
            "optuna": programs.OPTUNA_EDITED if self.allow_edit else programs.OPTUNA,
        }
        return rules.get(page) or Guard(page)  # the home page is our own

    def secret(self) -> str | None:
        """What the pages' keys are made of, new at each start; None where they ask for none.

        Raises PagesError for a host without a name to be called by.
        """
        if self.host in ANY and not self.names:
            raise PagesError(
                f"With --host {self.host} the pages must know their name.\n"
                "Requests by any other name are refused.\nGive it: --allow-host box.example"
            )
        return None if self.open_to_all else secrets.token_urlsafe(32)

    def password(self) -> str | None:
        """What opens every page besides its key. Raises PagesError for one that is soon guessed."""
        password = os.environ.get(PASSWORD)
        if self.open_to_all or not password:
            return None
        if len(password) < FEWEST_CHARACTERS or not password.isprintable():
            raise PagesError(
                f"The password in {PASSWORD} cannot be used.\nIt has {len(password)} characters, and needs "
                f"{FEWEST_CHARACTERS} that can be typed.\nGive another, or none: the pages have keys, too."
            )
        return password


class Server(Protocol):
    """Runs one page."""

    def alive(self) -> bool: ...
    def ask_to_end(self) -> None: ...
    def end(self) -> None: ...
    @property
    def child(self) -> int | None: ...


class InThread:
    """A server of an ASGI application in a thread of this process.

    Args:
        place: where it listens; closed when it ends.
    """

    child = None

    def __init__(self, app: ASGI, place: socket.socket) -> None:
        self._socket = place
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=2,
            h11_max_incomplete_event_size=32_768,
            ws="none",
        )
        self._server = uvicorn.Server(config)
        name = f"port {place.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.closing(self._socket):
            self._server.run(sockets=[self._socket])

    def alive(self) -> bool:
        return self._thread.is_alive()

    def ask_to_end(self) -> None:
        self._server.should_exit = True

    def end(self) -> None:
        self.ask_to_end()
        self._thread.join(END_SECONDS)


class InChild:
    """A server that is a program of its own; its output goes into a file.

    Args:
        stdin: a descriptor; the program may listen on it.
    """

    def __init__(
        self, command: list[str], environment: dict[str, str], log: Path, stdin: int = subprocess.DEVNULL
    ) -> None:
        with os.fdopen(files.log(log), "ab") as file:
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def child(self) -> int | None:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def ask_to_end(self) -> None:
        if self.alive():
            self._process.terminate()

    def end(self) -> None:
        """End the program and all others of its session."""
        self.ask_to_end()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def bound(host: str, port: int) -> socket.socket:
    """A socket on that port. Raises OSError when somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        # What it accepts inherits this, also in MLflow's process, which does not know that it is TCP's.
        taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        taken.listen(128)
    except OSError:
        taken.close()
        raise
    return taken


class Pages:
    """All pages that were asked for, kept alive until somebody wants them to end.

    Args:
        say: called with what a person should know.
        with_keys: whether it may show keys; where output goes into a file, others may read it.
    """

    def __init__(
        self,
        options: Options,
        storage: Storage,
        url: str,
        workdir: Path,
        say: Callable[[str], None],
        with_keys: bool = False,
    ) -> None:
        self._options, self._storage, self._url, self._workdir, self._say = (
            options,
            storage,
            url,
            workdir,
            say,
        )
        self._with_keys = with_keys
        secret, password = options.secret(), options.password()
        self._guards = {page: options.guard(page, secret, password) for page in options.only}
        self._sockets: dict[str, socket.socket] = {}
        self._servers: dict[str, Server] = {}
        self._begun: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._up: dict[str, bool] = {}
        self._over = threading.Event()
        self.signal: int | None = None

    def run(self) -> int:
        """Serve until a signal comes; the exit code. Raises PagesError for a port that is taken."""
        with state.alone(self._workdir) as write, self._ports():
            before = {n: signal.signal(n, self._stop) for n in (signal.SIGINT, signal.SIGTERM)}
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            try:
                for page in self._options.only:
                    self._start(page)
                self._write(write)
                self._welcome()
                threading.Thread(target=self._look, name="look", daemon=True).start()
                self._watch(write)
            finally:
                for number, old in before.items():
                    signal.signal(number, old)
                for server in self._servers.values():
                    server.ask_to_end()
                for server in self._servers.values():
                    server.end()
        return 128 + (self.signal or 0) if self.signal else 0

    def stop(self) -> None:
        self._over.set()

    def _stop(self, number: int, _: object) -> None:
        self.signal = number
        self._over.set()

    @contextlib.contextmanager
    def _ports(self) -> Iterator[None]:
        """Hold all ports until this context ends: while a page starts or is down, nobody else can listen
        there and be sent its key."""
        with contextlib.ExitStack() as kept:
            for page in self._options.only:
                self._sockets[page] = kept.enter_context(self._place(page))
            yield

    def _place(self, page: str) -> socket.socket:
        port = self._options.port(page)
        try:
            return bound(self._options.host, port)
        except OSError as error:
            raise PagesError(
                f"Cannot serve {page} on port {port} of {self._options.host}.\n{error.strerror}.\n"
                f"End what has it, or give another: --port {page}={port + 100}"
            ) from error

    def _welcome(self) -> None:
        shown = self._address if self._with_keys else self._options.address
        for page in sorted(self._options.only, key=list(WHAT).index):
            self._say(f"{page:<12} {shown(page):<26} {WHAT[page]}")
        if self._options.open_to_all:
            self._say("Anybody who reaches these ports can read and write these pages (--insecure).")
        elif not self._with_keys:
            self._say(
                "Their keys, which are not written into a file, are shown by: run_study.py pages --status"
            )

    def _address(self, page: str) -> str:
        """The page's address with its key; whoever has it needs nothing else."""
        return self._options.address(page).rstrip("/") + self._guards[page].entrance

    def _start(self, page: str) -> None:
        self._begun[page] = time.monotonic()
        self._servers[page] = self._made(page)

    def _made(self, page: str) -> Server:
        guard, place = self._guards[page], self._sockets[page]
        if page == "mlflow":
            command = mlflow_server.command(self._workdir, guard)
            environment = mlflow_server.environment(self._url, self._workdir, guard)
            return InChild(command, environment, self._workdir / "pages-mlflow.log", place.fileno())
        return InThread(guard.asgi(self._app(page)), place.dup())

    def _app(self, page: str) -> ASGI:
        if page == "home":
            return home_page.app(self._storage, self._url, self._workdir, self.known, self.entrances())
        made: dict[str, Callable[[], Any]] = {
            "tensorboard": lambda: programs.tensorboard(self._workdir),
            "optuna": lambda: programs.optuna_board(self._storage, self._workdir),
        }
        app: Any = WSGIMiddleware(made[page](), workers=6)
        return app  # type: ignore[no-any-return]

    def _watch(self, write: Write) -> None:
        """Start dead pages again, each after a pause that doubles until it lives for a while."""
        while not self._over.wait(POLL_SECONDS):
            now = time.monotonic()
            for page, server in self._servers.items():
                if server.alive():
                    continue
                if page not in self._due:
                    lived = now - self._begun[page]
                    pause = FIRST_PAUSE if lived > SOUND_SECONDS else self._pauses.get(page, FIRST_PAUSE)
                    self._due[page], self._pauses[page] = now + pause, min(2 * pause, LONGEST_PAUSE)
                    self._say(f"{page} ended; starting it again in {pause:.0f} s")
                elif now >= self._due[page]:
                    del self._due[page]
                    server.end()  # what is left of it
                    with contextlib.suppress(OSError):  # no more processes or files: the next time, perhaps
                        self._start(page)
                        self._write(write)

    def _write(self, write: Write) -> None:
        children = [server.child for server in self._servers.values() if server.child is not None]
        pages, options = self._options.only, self._options
        write({page: self._address(page) for page in pages}, {p: options.bound(p) for p in pages}, children)

    def known(self) -> list[dict[str, Any]]:
        """Name and port of each page, and whether it answered lately; None before it was asked."""
        return [
            {"name": page, "port": self._options.port(page), "up": page == "home" or self._up.get(page)}
            for page in WHAT
            if page in self._options.only
        ]

    def entrances(self) -> dict[str, str]:
        """The part of each page's address behind the machine's name that opens it."""
        starts = {"mlflow": "#/experiments?workflowType=machine_learning"}
        return {
            page: f":{self._options.port(page)}{guard.entrance}{starts.get(page, '')}"
            for page, guard in self._guards.items()
        }

    def _look(self) -> None:
        """Ask the pages whether they answer, and say once when all do."""
        said = False
        while not self._over.wait(POLL_SECONDS if not said else 5.0):
            for page in self._options.only:
                self._up[page] = answers(self._options.bound(page))
            if not said and all(self._up.values()):
                said = True
                self._say("All pages answer. Ctrl-C, or run_study.py pages --stop, ends them.")


def answers(url: str) -> bool:
    """Whether a page answers at all: one that asks for a password does."""
    try:
        return httpx.get(url, timeout=3.0, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


def status(workdir: Path) -> list[dict[str, Any]]:
    """One record for each page that is served for this workdir; none where none is."""
    found = state.running(workdir)
    if found is None:
        return []
    return [
        {"page": page, "url": url, "up": answers(found.bound[page]), "pid": found.pid}
        for page, url in found.addresses.items()
    ]
