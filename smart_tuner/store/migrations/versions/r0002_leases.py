"""Who runs which trial, which checkpoints were written, and what is to be sent."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
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
