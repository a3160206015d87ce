"""Checkpoints in an artifact store, from which a worker goes on with a trial that another machine began."""

import os
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from sqlalchemy import Engine

from model import checkpoint
from model.checkpoint import DamagedCheckpoint
from model.extras import installing
from smart_tuner.notify.outbox import concealed
from smart_tuner.notify.telegram.format import line
from smart_tuner.store.outage import UNREACHABLE, DatabaseGone, Fenced
from smart_tuner.store.records import (
    Stored,
    forget_stored,
    newest_checkpoint,
    note_stored,
    stored_checkpoints,
)


class ArtifactsError(RuntimeError):
    """The address of the artifact store is wrong; the message says what, why and what to do."""


class ArtifactsLost(RuntimeError):
    """The artifact store cannot be reached, and a trial cannot go on without it."""


@dataclass(frozen=True)
class Artifacts:
    """An artifact store.

    Args:
        prefix: before every id.
        failures: what it raises when it cannot be reached or refuses.
    """

    store: FileSystemArtifactStore | Boto3ArtifactStore
    prefix: str
    failures: tuple[type[Exception], ...]

    @classmethod
    def at(cls, url: str) -> "Artifacts":
        """Raises ArtifactsError."""
        parts = urlsplit(url)
        if parts.scheme == "s3" and parts.netloc:
            return _s3(parts.netloc, parts.path.strip("/"))
        if parts.scheme == "file" and (folder := _folder(parts.netloc + parts.path)).is_absolute():
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ArtifactsError(
                    f"Cannot keep artifacts in {folder}.\n{error}\nGive another folder with --artifacts."
                ) from error
            return cls(FileSystemArtifactStore(folder), "", (OSError,))
        raise ArtifactsError(
            f'Cannot understand the artifact store "{url}".\n'
            "It is neither s3:// with a bucket nor file:/// with an absolute path.\n"
            "Give one like s3://bucket/prefix or file:///shared/artifacts."
        )

    @contextmanager
    def reached(self, to_do: str) -> Iterator[None]:
        """Raises ArtifactsLost, with what was to be done, where the store fails meanwhile."""
        try:
            yield
        except self.failures as error:
            raise ArtifactsLost(
                f"Cannot {to_do}.\n{_told(error)}\n"
                "Nothing is lost; resume the study when the store can be reached."
            ) from error

    def send(self, path: Path, name: str) -> bool:
        """Keep a checkpoint under `name`; not when it is removed meanwhile, as newer ones are written."""
        with tempfile.TemporaryFile() as packed:
            try:
                _pack(checkpoint.files(path), packed)
            except (FileNotFoundError, DamagedCheckpoint):
                return False
            self.store.write(self.prefix + name, cast(BinaryIO, packed))
            return True

    def keep(self, name: str, files: Iterable[Path]) -> None:
        """Put files into the store, as one thing under `name`."""
        with tempfile.TemporaryFile() as packed:
            _pack(files, packed)
            self.store.write(self.prefix + name, cast(BinaryIO, packed))

    def unpack(self, name: str, folder: Path, called: str) -> None:
        """Put the files that are kept under `name` into a folder.

        Args:
            called: how a person knows them.

        Raises:
            DamagedCheckpoint: it is no whole archive, or there is none.
        """
        try:
            with (
                self.store.open_reader(self.prefix + name) as reader,
                tarfile.open(fileobj=reader, mode="r|") as tar,
            ):
                tar.extractall(folder, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise DamagedCheckpoint(f"{called} is no whole archive") from error
        except ArtifactNotFound as error:
            raise DamagedCheckpoint(f"{called} is not in the store any more") from error

    def fetch(self, stored: Stored, folder: Path) -> None:
        """Put a stored checkpoint in its place in `folder`.

        Raises:
            DamagedCheckpoint: it is not the one that was stored, or is there no more.
        """
        path = checkpoint.at(folder, stored.step)
        temporary = folder / f"{path.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            self.unpack(stored.name, temporary, path.name)
            checkpoint.verify(temporary)
            if checkpoint.digest(temporary) != stored.sha256:
                raise DamagedCheckpoint(f"{path.name} has another manifest than was stored (sha256)")
            shutil.rmtree(path, ignore_errors=True)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _pack(files: Iterable[Path], into: IO[bytes]) -> None:
    """A tar archive of them, to be read from its beginning."""
    with tarfile.open(fileobj=into, mode="w") as tar:
        for file in files:
            tar.add(file, file.name)
    into.seek(0)


def _told(error: Exception) -> str:
    """The error on one line, without logins: an endpoint's address may hold a password."""
    return line(concealed(str(error)))


def failed(error: Exception) -> str:
    """What a person is told of a store that cannot be reached or refuses."""
    return f"the store failed ({_told(error)})"


def _folder(place: str) -> Path:
    """The folder of what follows file:// (or file:), in which ~ is the user's home."""
    named = unquote(place)
    return Path(os.path.expanduser(named.removeprefix("/") if named.startswith("/~") else named))


def _s3(bucket: str, prefix: str) -> Artifacts:
    try:
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
    except ImportError as error:
        raise ArtifactsError(
            "Cannot use an artifact store at s3://.\nThe package boto3 is not installed.\n"
            f"Install it: {installing('s3')}"
        ) from error
    patience = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "max_attempts": 3})
    try:
        client: Any = boto3.client("s3", config=patience)
    except (BotoCoreError, ValueError) as error:
        raise ArtifactsError(
            f"Cannot use the artifact store s3://{bucket}.\n{error}\n"
            "Set AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and credentials as for the aws command."
        ) from error
    store = Boto3ArtifactStore(bucket, client, avoid_buf_copy=True)
    failures = Boto3Error, BotoCoreError, ClientError, OSError, ArtifactNotFound
    # What is no S3 may answer with no XML, or send boto3 from region to region without an end.
    return Artifacts(store, prefix and f"{prefix}/", (*failures, ResponseParserError, RecursionError))


@dataclass(frozen=True)
class TrialArtifacts:
    """The checkpoints of one trial: those of a folder, those in the store, and what the database says."""

    artifacts: Artifacts
    engine: Engine
    study_uid: str
    trial: int
    folder: Path
    warn: Callable[[str], None]

    def bring_here(self) -> None:
        """Have what the trial needs to go on, unless the folder has a sound checkpoint as new. The newest
        comes last: where it is, all are.

        Raises:
            ArtifactsLost: the store cannot be reached; going on without it would lose what was trained.
        """
        known = newest_checkpoint(self.engine, self.study_uid, self.trial)
        here = checkpoint.newest(self.folder, lambda _: None)
        if known is None or (here is not None and checkpoint.step_of(here) >= known[0]):
            return
        for stored in self._stored():
            try:
                self._fetch(stored)
            except DamagedCheckpoint as damage:
                self.warn(f"trial {self.trial}: stored checkpoint damaged: {damage}; going on without it")

    def bring(self, step: int) -> None:
        """Have the checkpoint of `step` in the folder, if it is stored.

        Raises:
            DamagedCheckpoint, ArtifactsLost: see there.
        """
        for stored in self._stored():
            if stored.step == step:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._fetch(stored)

    def send_all(self, attempt_uid: str) -> bool:
        """Store what is in the folder and not yet stored, the newest last; then remove from the store what
        is in the folder no more. Whether everything was still there when its turn came.

        Raises:
            Fenced: another attempt has the trial.
        """
        key, here = (self.study_uid, self.trial, attempt_uid), self._here()
        known = {(row.step, row.sha256) for row in self._stored()}
        for (step, sha256), path in here.items():
            name = f"{self.study_uid}-{self.trial}-{attempt_uid}-{step:08d}.tar"
            if (step, sha256) not in known:
                if not self.artifacts.send(path, name):
                    return False
                note_stored(self.engine, *key, Stored(step, name, sha256))
        for row in self._stored():
            if here and (row.step, row.sha256) not in here:
                with suppress(ArtifactNotFound):
                    self.artifacts.store.remove(self.artifacts.prefix + row.name)
                forget_stored(self.engine, *key, row.name)
        return True

    def _here(self) -> dict[tuple[int, str], Path]:
        found = {}
        for path in checkpoint.all_in(self.folder):
            with suppress(FileNotFoundError):  # removed a moment ago
                found[checkpoint.step_of(path), checkpoint.digest(path)] = path
        return found

    def _stored(self) -> list[Stored]:
        return stored_checkpoints(self.engine, self.study_uid, self.trial)

    def _fetch(self, stored: Stored) -> None:
        path = checkpoint.at(self.folder, stored.step)
        with suppress(DamagedCheckpoint):
            checkpoint.verify(path)
            return
        with self.artifacts.reached(f"fetch the checkpoints of trial {self.trial} from the artifact store"):
            self.artifacts.fetch(stored, self.folder)


class Sending:
    """Stores a trial's checkpoints from a thread of its own, so that training waits for no network.

    What could not be stored is reported once, and tried again with the next checkpoint.
    """

    def __init__(self, of: TrialArtifacts, attempt_uid: str) -> None:
        self._of, self._attempt_uid = of, attempt_uid
        self._failing = self._fenced = False
        self._wanted, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="artifacts", daemon=True)

    @contextmanager
    def running(self) -> Iterator[Callable[[], None]]:
        """Gives what is to be called after each checkpoint; at the end the last one is waited for."""
        self._thread.start()
        try:
            yield self._wanted.set
        finally:
            self._over.set()
            self._wanted.set()
            self._thread.join()

    def _run(self) -> None:
        last = False
        while not last and not self._fenced:
            self._wanted.wait()
            self._wanted.clear()
            last = self._over.is_set()
            self._send()

    def _send(self) -> None:
        of = self._of
        failures: tuple[type[Exception], ...] = (*UNREACHABLE, *of.artifacts.failures)
        try:
            whole = of.send_all(self._attempt_uid)
        except (Fenced, DatabaseGone):  # which the training hears, too
            self._fenced = True
        except failures as error:
            if not self._failing:
                self._failing = True
                of.warn(f"trial {of.trial}: checkpoints are only here, {failed(error)}; going on")
        else:
            if not whole:
                self._wanted.set()
                return
            if self._failing:
                of.warn(f"trial {of.trial}: its checkpoints are stored again")
            self._failing = False


@contextmanager
def sending(of: TrialArtifacts | None, attempt_uid: str) -> Iterator[Callable[[], None]]:
    """As `Sending.running`; without a store, what it gives does nothing."""
    if of is None:
        yield lambda: None
    else:
        with Sending(of, attempt_uid).running() as wake:
            yield wake
