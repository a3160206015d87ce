"""What people think of what they heard."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
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
