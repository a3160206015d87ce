"""A trial's folder is known by its exact name, whatever else lies beside it."""

import pytest

from smart_tuner.store.attempts import newest_attempt

NOT_OURS = [
    "trial-0001 (copy)",
    "trial-0001-attempt-9 (copy)",
    "trial-0001-attempt-",
    "trial-0001-attempt-x",
    "trial-0001-attempt-03",
    "trial-00010-attempt-4",
    "trial-00010",
    "trial-0001.zip",
    "old-trial-0001-attempt-5",
]


@pytest.mark.parametrize("ours", [["trial-0001"], ["trial-0001-attempt-2", "trial-0001-attempt-10"]])
def test_the_newest_attempts_folder_is_found_among_copies_and_archives(tmp_path, ours):
    for name in [*NOT_OURS, *ours]:
        (tmp_path / name).mkdir()
    (tmp_path / "trial-0001-attempt-11").write_text("a file")
    assert newest_attempt(tmp_path / "trial-0001") == tmp_path / ours[-1]


def test_without_any_it_is_that_of_the_first_attempt(tmp_path):
    assert newest_attempt(tmp_path / "none" / "trial-0001") == tmp_path / "none" / "trial-0001"
