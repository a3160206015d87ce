"""The toy study, whose workers end with the test."""

import pytest
from faults.toys import ToyStudy


@pytest.fixture
def begin_study(tmp_path):
    """Makes the toy study in a database."""
    begun = []

    def begin(url=None, trials=2):
        begun.append(ToyStudy(url or f"sqlite:///{tmp_path / 'study.db'}", tmp_path, trials))
        return begun[-1]

    yield begin
    for study in begun:
        study.close()


@pytest.fixture
def toy(begin_study):
    """A toy study of two trials, on SQLite."""
    return begin_study()
