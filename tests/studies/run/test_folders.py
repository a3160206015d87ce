"""The folders of trials: each attempt's own, without what a killed one had half written."""

import pytest

from model import checkpoint
from studies.run.folders import attempt_folder, clear_unfinished

OURS = ("ckpt-00000021.tmp", "progress.tmp", "sample.tmp.wav")
THEIRS = ("ckpt-best.tmp", "ckpt-21.tmp.tar", "notes.tmp", "sample.wav", "ckpt-00000018")


@pytest.fixture
def folder(tmp_path):
    """A trial's, with what a killed attempt and its user have put there."""
    folder = tmp_path / "trial-0003"
    folder.mkdir()
    for name in (*OURS[1:], *THEIRS[1:4]):
        (folder / name).write_text("content")
    for name in (OURS[0], THEIRS[0], THEIRS[4]):
        (folder / name).mkdir()
        (folder / name / "network.bin").write_bytes(b"0")
    return folder


def test_the_next_attempt_finds_nothing_half_written_and_all_that_is_its_users(tmp_path, folder):
    taken = attempt_folder(tmp_path, 3, 2, pytest.fail)
    assert not folder.exists()
    assert sorted(path.name for path in taken.iterdir()) == sorted(THEIRS)


def test_what_a_trial_that_ended_has_half_written_is_removed(folder):
    clear_unfinished(folder)
    clear_unfinished(folder.with_name("trial-0004"))  # which is on another machine
    assert sorted(path.name for path in folder.iterdir()) == sorted(THEIRS)


def test_only_what_write_makes_counts_as_unfinished(tmp_path):
    seen = []
    checkpoint.write(tmp_path, 21, lambda part: seen.append(part.name))
    assert seen == [OURS[0]]
