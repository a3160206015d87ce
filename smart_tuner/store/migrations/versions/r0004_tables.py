"""Our tables as version 0.1 had them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = None


def upgrade() -> None:
    _repairs()
    _leases()
    _checkpoints()
    _outbox()
    _ratings()
    _chats()


def _repairs() -> None:
    op.create_table(
        "st_repair",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_uid", sa.String(32), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("rule", sa.String(64), nullable=False),
        sa.Column("level", sa.Integer, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evidence", sa.JSON, nullable=False),
        sa.Column("suppressed", sa.JSON, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("changes", sa.JSON, nullable=False),
        sa.Column("ramp", sa.Integer, nullable=False),
        sa.Column("back_to", sa.Integer),
        sa.Column("fresh", sa.String(64)),
        sa.Column("clips", sa.JSON, nullable=False),
        sa.Column("rung", sa.Integer),
        sa.Column("verify_at", sa.Integer),
        sa.Column("verdict", sa.String(16)),
        sa.Column("before", sa.JSON, nullable=False),
        sa.Column("after", sa.JSON, nullable=False),
        sa.Column("parent", sa.Integer),
        sa.UniqueConstraint("study_uid", "trial", "seq"),
    )


def _leases() -> None:
    op.create_table(
        "st_lease",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_uid", sa.String(32), nullable=False),
        sa.Column("number", sa.Integer),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt_uid", sa.String(32), nullable=False),
        sa.Column("attempt_no", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("owner", sa.JSON, nullable=False),
        sa.Column("beat", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
        sa.Column("outcome", sa.JSON),
        sa.UniqueConstraint("study_uid", "number"),
    )
    op.create_index("st_lease_by_state", "st_lease", ["study_uid", "state"])


def _checkpoints() -> None:
    op.create_table(
        "st_checkpoint",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_uid", sa.String(32), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("attempt_uid", sa.String(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    )
    op.create_index("st_checkpoint_by_trial", "st_checkpoint", ["study_uid", "trial"])


def _outbox() -> None:
    op.create_table(
        "st_outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_uid", sa.String(32), nullable=False),
        sa.Column("trial", sa.Integer),
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Float, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.UniqueConstraint("study_uid", "channel", "key"),
    )
    op.create_index("st_outbox_by_state", "st_outbox", ["channel", "state", "id"])


def _ratings() -> None:
    op.create_table(
        "st_rating",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study_uid", sa.String(32), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("sample", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("rater", sa.String(32), nullable=False),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("blind", sa.Boolean, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.UniqueConstraint("sample", "rater"),
    )
    op.create_index("st_rating_by_trial", "st_rating", ["study_uid", "trial"])


def _chats() -> None:
    op.create_table(
        "st_chat",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
    )
