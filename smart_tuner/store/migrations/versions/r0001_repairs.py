"""The repairs of trials."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
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
