"""Ratings in the database, on both backends."""

from contextlib import closing
from dataclasses import replace

import pytest

from smart_tuner.store.ratings import Rating, rate, rated_by, ratings_of
from smart_tuner.store.storage import open_storage

HEARD = Rating("u" * 32, 3, 400, "a" * 64, "Съешь ещё", "me", 4)


@pytest.fixture
def engine(empty_url):
    with closing(open_storage(empty_url)) as storage:
        yield storage.ours


def test_a_score_is_kept_and_the_same_persons_next_one_replaces_it(engine):
    rate(engine, HEARD)
    rate(engine, replace(HEARD, score=2, blind=True))
    rate(engine, replace(HEARD, rater="you", score=5))
    rate(engine, replace(HEARD, trial=7, sample="b" * 64, score=1))
    rate(engine, replace(HEARD, study_uid="v" * 32, sample="c" * 64))
    assert rated_by(engine, "me", "a" * 64) == 2
    assert rated_by(engine, "nobody", "a" * 64) is None
    assert ratings_of(engine, "u" * 32) == [
        {"trial": 3, "ratings": 2, "raters": 2, "blind": 1, "mean": 3.5, "lowest": 2, "highest": 5},
        {"trial": 7, "ratings": 1, "raters": 1, "blind": 0, "mean": 1.0, "lowest": 1, "highest": 1},
    ]
