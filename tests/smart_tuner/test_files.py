"""Locks, logs and states are never opened through what somebody else put there."""

import os
import sys
from pathlib import Path

import pytest

from dashboards import state
from dashboards.server import InChild
from smart_tuner import files
from smart_tuner.notify import sender
from smart_tuner.store.storage import StoreError, open_storage
from studies.run import pool


def with_storage(workdir):
    open_storage(f"sqlite:///{workdir}/study.db").close()


def with_publisher(workdir):
    with sender.alone(workdir):
        pass


def with_log(workdir):
    with pool.beside([sys.executable, "-c", "print('said')"], 5, workdir / "track.log"):
        pass


def with_pages(workdir):
    with state.alone(workdir) as write:
        write({}, {}, [])


def with_child(workdir):
    InChild([sys.executable, "-c", "print('said')"], {}, workdir / "pages-mlflow.log").end()


OPENERS = {
    "study.db.lock": with_storage,
    "track.lock": with_publisher,
    "track.log": with_log,
    "pages.lock": with_pages,
    "pages.json": with_pages,
    "pages-mlflow.log": with_child,
}


@pytest.mark.parametrize("name", [name for name in OPENERS if name != "pages.json"])
def test_what_a_link_leads_to_is_neither_emptied_nor_written_to(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / name).symlink_to(victim)
    with pytest.raises((PermissionError, StoreError), match="It is a link"):
        OPENERS[name](tmp_path / "home")
    assert victim.read_text() == "mine"
    (tmp_path / "home" / name).unlink()
    (tmp_path / "home" / name).symlink_to(tmp_path / "new")
    with pytest.raises((PermissionError, StoreError), match="It is a link"):
        OPENERS[name](tmp_path / "home")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", OPENERS)
def test_what_is_made_is_for_its_owner_alone(tmp_path, name):
    seen = set()
    if name == "pages.json":
        with state.alone(tmp_path) as write:
            write({}, {}, [])
            seen.add((tmp_path / name).stat().st_mode & 0o777)
    else:
        OPENERS[name](tmp_path)
        seen.add((tmp_path / name).stat().st_mode & 0o777)
    assert seen == {0o600}


def test_a_state_is_neither_read_nor_written_through_a_link(tmp_path):
    (tmp_path / "theirs").write_text("{}")
    (tmp_path / "pages.json").symlink_to(tmp_path / "theirs")
    with pytest.raises(state.PagesError, match="It is a link"):
        state.running(tmp_path)
    assert (tmp_path / "theirs").read_text() == "{}"


def test_a_pipe_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for opening in (files.lock, files.log):
        with pytest.raises(PermissionError, match="no plain file"):
            opening(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_file_is_refused_unless_the_folder_is_his_too(tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir()
    planted = folder / "track.log"
    planted.write_text("theirs")
    os.chown(planted, 65534, 65534)
    with pytest.raises(PermissionError, match="another user's"):
        files.log(planted)
    os.chown(folder, 65534, 65534)
    os.close(files.log(planted))
    assert planted.read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_who_may_write_in_a_folder_by_its_group_shares_its_locks(tmp_path):
    tmp_path.chmod(0o2770)
    before = os.umask(0o002)
    try:
        os.close(files.lock(tmp_path / "ours"))
    finally:
        os.umask(before)
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o660
    (tmp_path / "theirs").touch()
    os.chown(tmp_path / "theirs", 65534, -1)
    os.close(files.lock(tmp_path / "theirs"))
    tmp_path.chmod(0o1777)  # as /tmp: anybody may put a file there
    with pytest.raises(PermissionError, match="another user's"):
        files.lock(tmp_path / "theirs")


def test_a_log_keeps_what_is_in_it(tmp_path: Path):
    for text in (b"one", b"two"):
        with os.fdopen(files.log(tmp_path / "log"), "ab") as file:
            file.write(text)
    assert (tmp_path / "log").read_bytes() == b"onetwo"
