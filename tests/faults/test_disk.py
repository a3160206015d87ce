"""A disk that is full or read-only, and checkpoints that are not what was written."""

import contextlib
import json
import os
import shutil
import signal
import subprocess

import pytest
from faults.toys import wait_for

import run_study
from model import checkpoint


@contextlib.contextmanager
def mounted(folder, kilobytes):
    """A folder that is a small file system of its own."""
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=777", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can make a small file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(toy):
    """That of the study's folder."""
    with mounted(toy.workdir / "toy", 256) as folder:
        yield folder


@pytest.fixture
def small_databases_disk(tmp_path):
    with mounted(tmp_path / "database", 4096) as folder:
        yield folder


def fill(folder):
    """With a file, to the last byte."""
    with contextlib.suppress(OSError), (folder / "filler").open("ab", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    return folder / "filler"


def test_a_full_disk_ends_the_run_with_the_old_checkpoint_and_a_free_trial(toy, small_disk):
    begun = toy.begin(seconds=0.02)
    wait_for(lambda: len(toy.checkpoints(0)) > 1, alive=[begun])
    filler = fill(small_disk)
    wait_for(lambda: fill(small_disk) and begun.exitcode is not None)
    assert begun.exitcode == 6, toy.said
    assert "No space left" in toy.said
    assert "make room" in toy.said
    assert "Traceback" not in toy.said
    [folder] = {path.parent for path in toy.checkpoints(0)}
    assert checkpoint.newest(folder, pytest.fail) is not None
    assert list(toy.workdir.rglob("*.tmp")) == []
    assert toy.lease(0)["state"] == "released"
    filler.unlink()
    toy.finish()
    assert toy.lease(0)["deaths"] == 0
    assert toy.faults() == []


def test_a_full_disk_of_the_database_is_like_its_absence(small_databases_disk, begin_study):
    toy = begin_study(f"sqlite:///{small_databases_disk / 'study.db'}")
    begun = toy.begin(seconds=0.05, patience=1.0)
    wait_for(lambda: toy.steps(0) > 3, alive=[begun])
    filler = fill(small_databases_disk)
    assert toy.end(begun) == 4, toy.said
    assert "database or disk is full" in toy.said
    assert "resume the study" in toy.said
    assert [trial.state.name for trial in toy.study.get_trials()] == ["RUNNING"]  # nothing was half told
    filler.unlink()
    toy.finish()
    assert toy.faults() == []


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def of_newer_schema(path):
    manifest = json.loads((path.parent / checkpoint.MANIFEST).read_text())
    (path.parent / checkpoint.MANIFEST).write_text(json.dumps(manifest | {"schema": checkpoint.SCHEMA + 1}))


DAMAGES = {
    "flipped": flipped,
    "cut": cut,
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "without manifest": lambda path: (path.parent / checkpoint.MANIFEST).unlink(),
    "with an empty manifest": lambda path: (path.parent / checkpoint.MANIFEST).write_bytes(b""),
    "of a newer schema": of_newer_schema,
    "an empty folder": lambda path: (shutil.rmtree(path.parent), path.parent.mkdir()),
}


@pytest.fixture
def cut_off(begin_study):
    """A study whose worker was killed when it had two checkpoints."""
    toy = begin_study(trials=1)
    killed = toy.begin(seconds=0.02)
    wait_for(lambda: toy.steps(0) > 12, alive=[killed])
    os.kill(killed.pid, signal.SIGKILL)
    toy.end(killed)
    return toy


def went_back(toy):
    """What does not hold, but for the steps that the damage made to be trained again."""
    return [fault for fault in toy.faults() if "went back" not in fault]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(cut_off, damage):
    toy = cut_off
    older, newest = toy.checkpoints(0)[-2:]
    DAMAGES[damage](newest / "toy.json")
    toy.finish()
    assert "checkpoint damaged: ckpt-" in toy.said
    assert "using the one before" in toy.said
    starts = [line for line in (toy.workdir / "steps-0.log").read_text().splitlines() if " start " in line]
    assert starts[-1].endswith(f" start {int(older.name[-8:])}")
    assert went_back(toy) == []


def test_without_a_sound_checkpoint_the_trial_begins_anew_and_says_so(cut_off):
    toy = cut_off
    for path in toy.checkpoints(0):
        flipped(path / "toy.json")
    count = len(toy.checkpoints(0))
    toy.finish()
    assert toy.said.count("checkpoint damaged") == count
    assert "no checkpoint is sound" in toy.said
    starts = [line for line in (toy.workdir / "steps-0.log").read_text().splitlines() if " start " in line]
    assert starts[-1].endswith(" start 0")
    assert went_back(toy) == []


@pytest.mark.parametrize("workdir", ["/proc/none", "/dev/null/none"])
def test_a_folder_that_cannot_be_made_is_named(workdir, capsys):
    assert run_study.main(["--home", workdir, "start", "quickstart"]) == 6
    said = capsys.readouterr().err
    assert workdir in said
    assert len(said.strip().splitlines()) == 3


def test_a_home_that_is_read_only_is_named(tmp_path, capsys):
    workdir = tmp_path / "home"
    workdir.mkdir()
    if os.geteuid() == 0:
        mounting = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(workdir)]
        if subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
            pytest.skip("root writes everywhere, and can mount nothing here")
    else:
        workdir.chmod(0o555)
    try:
        assert run_study.main(["--home", str(workdir), "start", "quickstart"]) == 6
        assert str(workdir) in capsys.readouterr().err
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(workdir)], check=True)
