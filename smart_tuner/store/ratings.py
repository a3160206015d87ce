"""What people think of what they heard: one score a sample and rater, which may be changed."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Engine, func, select

from smart_tuner.store.tables import INSERTS, RATINGS


@dataclass(frozen=True)
class Rating:
    """One opinion. It never enters the objective."""

    study_uid: str
    trial: int
    step: int  # of the checkpoint that spoke
    sample: str
    text: str
    rater: str
    score: int
    blind: bool = False  # not knowing which trial it was


def rate(engine: Engine, rating: Rating) -> None:
    """Keep it, in place of what the same rater thought of the same sample before."""
    insert = INSERTS[engine.dialect.name](RATINGS).values(**asdict(rating))
    changed = {name: insert.excluded[name] for name in ("score", "blind")}
    keys = [RATINGS.c.sample, RATINGS.c.rater]
    with engine.begin() as connection:
        connection.execute(
            insert.on_conflict_do_update(index_elements=keys, set_=changed | {"at": func.now()})
        )


def ratings_of(engine: Engine, study_uid: str) -> list[dict[str, Any]]:
    """By trial: how many ratings of how many people, how many of them blind, and their mean."""
    score, rater = RATINGS.c.score, func.count(RATINGS.c.rater.distinct())
    blind = func.count().filter(RATINGS.c.blind)
    columns = (RATINGS.c.trial, func.count(), rater, blind, func.avg(score), func.min(score), func.max(score))
    query = select(*columns).where(RATINGS.c.study_uid == study_uid).group_by(RATINGS.c.trial)
    names = ("trial", "ratings", "raters", "blind", "mean", "lowest", "highest")
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(RATINGS.c.trial)).all()
    return [{**dict(zip(names, row, strict=True)), "mean": round(float(row[4]), 2)} for row in rows]


def rated_by(engine: Engine, rater: str, sample: str) -> int | None:
    """The score that a rater gave a sample."""
    query = select(RATINGS.c.score).where(RATINGS.c.rater == rater, RATINGS.c.sample == sample)
    with engine.connect() as connection:
        return connection.execute(query).scalar()
