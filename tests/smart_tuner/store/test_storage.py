import ctypes
import pickle
import shutil
from contextlib import closing, contextmanager
from dataclasses import replace

import httpx
import optuna
import pytest
from forked import CONTEXT
from optuna.testing.pytest_storages import StorageTestCase
from ports import free_ports
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

import run_study
from dashboards.pages import home as home_page
from dashboards.server import InThread, bound
from smart_tuner.repair.rule import Entry
from smart_tuner.store import schema
from smart_tuner.store.records import TrialRepairs, repairs_of
from smart_tuner.store.storage import StoreError, open_storage
from smart_tuner.store.tables import LEASES
from studies.file.spec import load
from studies.run.study import load_study, open_study

QUEUED = 40
CAP_DAC_OVERRIDE = 1  # by which root writes where nobody may


class TestOptunasOwnContract(StorageTestCase):
    @pytest.fixture
    def storage(self, tmp_path, tables_file):
        shutil.copyfile(tables_file, tmp_path / "study.db")
        return open_storage(f"sqlite:///{tmp_path / 'study.db'}")


def take_all(url, taken):
    study = optuna.load_study(study_name="queue", storage=open_storage(url))
    while True:
        trial = study.ask()
        if "fixed_params" not in study.trials[trial.number].system_attrs:  # the queue is empty
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return
        taken.put(trial.suggest_int("number", 0, QUEUED))
        study.tell(trial, 0.0)


def test_no_queued_trial_is_run_twice(empty_url):
    storage = open_storage(empty_url)
    study = optuna.create_study(study_name="queue", storage=storage)
    for number in range(QUEUED):
        study.enqueue_trial({"number": number})
    taken = CONTEXT.Queue()
    workers = [CONTEXT.Process(target=take_all, args=(empty_url, taken)) for _ in range(3)]
    for worker in workers:
        worker.start()
    numbers = sorted(taken.get(timeout=120) for _ in range(QUEUED))
    for worker in workers:
        worker.join(timeout=60)
        assert worker.exitcode == 0
    assert numbers == list(range(QUEUED))
    storage.close()


def open_at_once(url, together):
    together.wait()
    storage = open_storage(url)
    with storage.ours.connect() as connection:
        assert schema.stamped(connection) == schema.revisions()[-1]
    optuna.create_study(storage=storage)


def test_four_first_starts_at_once_all_succeed(empty_url):
    together = CONTEXT.Barrier(4)
    starts = [CONTEXT.Process(target=open_at_once, args=(empty_url, together)) for _ in range(4)]
    for start in starts:
        start.start()
    for start in starts:
        start.join(timeout=240)
    assert [start.exitcode for start in starts] == [0] * 4
    storage = open_storage(empty_url)
    assert len(optuna.get_all_study_names(storage)) == 4
    storage.close()


def test_who_mostly_reads_makes_no_writer_wait(empty_url):
    with closing(open_storage(empty_url)) as pages, closing(open_storage(empty_url)) as worker:
        pages.mostly_read()
        with pages.ours.connect() as looking:
            looking.execute(select(LEASES)).all()
            study = worker.create_new_study([optuna.study.StudyDirection.MINIMIZE], "one")
        pages.set_study_user_attr(study, "by", "a page")
        assert worker.get_study_user_attrs(study) == {"by": "a page"}


def test_a_copied_storage_still_serialises(tmp_path):
    copy = pickle.loads(pickle.dumps(open_storage(f"sqlite:///{tmp_path / 'study.db'}")))
    with copy.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


@contextmanager
def ending(server):
    yield server
    server.end()


@pytest.fixture
def only_reading(tmp_path):
    """Takes the right to write in a folder; root loses what would let it write all the same."""
    libc, head = ctypes.CDLL(None, use_errno=True), (ctypes.c_uint32 * 2)(0x20080522, 0)
    kept = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable of two halves
    assert libc.capget(head, kept) == 0
    less = (ctypes.c_uint32 * 6)(kept[0] & ~(1 << CAP_DAC_OVERRIDE), *kept[1:])

    def take(folder):
        for path in [folder, *folder.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222)
        assert libc.capset(head, less) == 0

    yield take
    assert libc.capset(head, kept) == 0
    for path in [tmp_path, *tmp_path.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.parametrize("open_elsewhere", [False, True])
def test_who_may_only_read_sees_what_there_is_and_is_told_where_writing_is_needed(
    tmp_path, only_reading, capsys, open_elsewhere
):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with closing(open_storage(url)) as owner:
        attributes = open_study(load("quickstart"), owner).user_attrs
        if not open_elsewhere:
            owner.close()
        only_reading(tmp_path)
        before = sorted(path.name for path in tmp_path.iterdir())
        called = ["--home", str(tmp_path), "--storage", url]
        for call in (["list"], *([word, "quickstart"] for word in ("status", "trials", "fixes", "report"))):
            assert run_study.main([*called, *call]) == 0, call
            assert "quickstart" in capsys.readouterr().out or call[0] in ("trials", "fixes")
        assert run_study.main([*called, "storage", "info"]) == 0
        assert run_study.main([*called, "best", "quickstart"]) == 2
        capsys.readouterr()
        for word in ("pause", "resume", "worker"):
            assert run_study.main([*called, word, "quickstart"]) == 6
            assert "This user may only read it" in capsys.readouterr().err
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        with closing(open_storage(url, looking=True)) as looking:
            assert load_study("quickstart", looking).user_attrs == attributes
            [port] = free_ports(1)
            with (
                ending(InThread(home_page.app(looking, url, tmp_path), bound("127.0.0.1", port))),
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as page,
            ):
                assert page.get("/api/home").json()["studies"][0]["name"] == "quickstart"
                refused = page.post("/api/rate", json={"sample": "0" * 64, "score": 3})
                assert (refused.status_code, refused.json()) == (403, {"error": "read_only"})
            with pytest.raises(OperationalError), looking.ours.begin() as connection:
                connection.execute(LEASES.delete())


@pytest.mark.parametrize(
    "url", ["nonsense", "sqlite:////proc/none/study.db", "strange://host/db", "postgresql://127.0.0.1:1/db"]
)
def test_what_cannot_be_opened_is_said_in_three_lines(url):
    with pytest.raises(StoreError) as error:
        open_storage(url)
    assert len(str(error.value).splitlines()) >= 3


def test_no_password_is_shown():
    with pytest.raises(StoreError) as error:
        open_storage("sqlite://user:secret{}word@/proc/none/study.db")
    assert "secret" not in str(error.value)


@pytest.fixture
def storage(empty_url):
    storage = open_storage(empty_url)
    yield storage
    storage.close()


SEEN = Entry(
    "repair",
    100,
    "poor_alignment",
    5,
    8,
    "diagonal score 0.05 is below 0.3",
    {"diagonal_score": 0.05, "norm": float("nan")},
    action="guide the attention",
    changes={"guided_attention_weight": (0.0, 1.0)},
    clips=("a",),
    suppressed=("gate_never",),
    verify_at=200,
)


def test_repairs_are_numbered_in_their_trial_and_come_back_as_they_were(storage):
    one, other = (TrialRepairs(storage, "study", trial, "policy") for trial in (0, 1))
    kept = [one.add(SEEN), one.add(replace(SEEN, step=150)), other.add(SEEN)]
    assert [entry.seq for entry in kept] == [1, 2, 1]
    [first, second] = one.all()
    assert first == replace(SEEN, seq=1, evidence={"diagonal_score": 0.05, "norm": "nan"})
    assert second.step == 150
    assert [trial for trial, _ in repairs_of(storage.ours, "study", None)] == [0, 0, 1]
    assert list(repairs_of(storage.ours, "another", None)) == []


def test_what_a_resume_trains_anew_is_voided_and_never_deleted(storage):
    ledger = TrialRepairs(storage, "study", 0, "policy")
    for step in (100, 200, 300):
        ledger.add(replace(SEEN, step=step))
    kept = ledger.all()[:1]
    ledger.take(kept, 150)
    assert [entry.step for entry in ledger.all()] == [100]
    ledger.take(kept, 150)  # nothing is left to void
    rows = list(repairs_of(storage.ours, "study", 0))
    assert [entry.kind for _, entry in rows] == ["repair"] * 3 + ["void"]
    assert ledger.add(SEEN).seq == 5


def test_a_database_from_before_there_were_repairs_gets_the_table(tmp_path):
    url = f"sqlite:///{tmp_path / 'old.db'}"
    optuna.create_study(storage=url, study_name="old")
    storage = open_storage(url)
    assert list(repairs_of(storage.ours, "old", None)) == []
    assert optuna.get_all_study_names(storage) == ["old"]
    storage.close()
