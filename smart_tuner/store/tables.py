"""Our tables, beside Optuna's: what they hold and whose word counts.

A trial is named by its study's uid and its number: Optuna's ids change when a study is renamed. Instants
of leases are seconds since 1970 by the database's clock, the only one that all workers share.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    literal_column,
)
from sqlalchemy.dialects import postgresql, sqlite

NOW = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "extract(epoch from clock_timestamp())::float8",
}
INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}  # that know conflicts
TABLES = MetaData()
REPAIRS = Table(
    "st_repair",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("study_uid", String(32), nullable=False),
    Column("trial", Integer, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("policy", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("step", Integer, nullable=False),
    Column("rule", String(64), nullable=False),
    Column("level", Integer, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evidence", JSON, nullable=False),
    Column("suppressed", JSON, nullable=False),
    Column("action", Text, nullable=False),
    Column("action_values", JSON),
    Column("changes", JSON, nullable=False),
    Column("ramp", Integer, nullable=False),
    Column("back_to", Integer),
    Column("fresh", String(64)),
    Column("clips", JSON, nullable=False),
    Column("remedy", Integer),
    Column("verify_at", Integer),
    Column("verdict", String(16)),
    Column("before", JSON, nullable=False),
    Column("after", JSON, nullable=False),
    Column("parent", Integer),
    UniqueConstraint("study_uid", "trial", "seq"),
)
LEASES = Table(  # who runs which trial; one row a started trial
    "st_lease",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("study_uid", String(32), nullable=False),
    Column("number", Integer),  # none: its trial is being asked for
    Column("state", String(16), nullable=False),  # asking, held, released, paused, decided, done
    Column("attempt_uid", String(32), nullable=False),
    Column("attempt_no", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),  # attempts that ended without a word
    Column("owner", JSON, nullable=False),  # the process of the attempt
    Column("beat", Integer, nullable=False),  # counts renewals
    Column("expires_at", Float, nullable=False),
    Column("outcome", JSON),  # what Optuna is to be told: state, value, reason
    Column("steps", Integer),  # trained by all attempts, those included that a later one trained again
    Column("seconds", Float),  # that these took
    UniqueConstraint("study_uid", "number"),
    Index("st_lease_by_state", "study_uid", "state"),
)
CHECKPOINTS = Table(  # what was written where, oldest first
    "st_checkpoint",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("study_uid", String(32), nullable=False),
    Column("trial", Integer, nullable=False),
    Column("attempt_uid", String(32), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("step", Integer, nullable=False),
    Column("place", Text, nullable=False),  # a folder below the study's, or an id in the artifact store
    Column("sha256", String(64), nullable=False),  # of its manifest
    Index("st_checkpoint_by_trial", "study_uid", "trial"),
)
OUTBOX = Table(  # what is to leave the machine, in the order it happened
    "st_outbox",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("study_uid", String(32), nullable=False),
    Column("trial", Integer),
    Column("channel", String(16), nullable=False),  # mlflow, telegram
    Column("key", String(200), nullable=False),  # the same event is kept once
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("payload", JSON, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", Float, nullable=False),  # not before
    Column("state", String(16), nullable=False),  # waiting, held, sent, dropped
    Column("error", Text),
    UniqueConstraint("study_uid", "channel", "key"),
    Index("st_outbox_by_state", "channel", "state", "id"),
)
RATINGS = Table(  # what people think of what they heard; one row a sample and rater
    "st_rating",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("study_uid", String(32), nullable=False),
    Column("trial", Integer, nullable=False),
    Column("step", Integer, nullable=False),  # of the checkpoint that spoke
    Column("sample", String(64), nullable=False),  # SHA-256: of the checkpoint and the text, or of the sound
    Column("text", Text, nullable=False),
    Column("rater", String(32), nullable=False),
    Column("score", Integer, nullable=False),  # 1 to 5
    Column("blind", Boolean, nullable=False),  # not knowing which trial it was
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    UniqueConstraint("sample", "rater"),
    Index("st_rating_by_trial", "study_uid", "trial"),
)

CHATS = (
    Table(  # what is to be known of a chat from one message to the next; smart_tuner/notify/telegram/state.py
        "st_chat",
        TABLES,
        Column("name", String(200), primary_key=True),
        Column("value", JSON, nullable=False),
        Column("at", Float, nullable=False),  # when it was noted
    )
)


def instant(engine: Engine) -> ColumnElement[float]:
    """The present instant by the database's clock, in seconds since 1970."""
    return literal_column(NOW[engine.dialect.name])
