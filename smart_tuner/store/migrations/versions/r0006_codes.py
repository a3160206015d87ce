"""What rules saw and did is kept as codes, with values in the columns evidence and action_values."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.alter_column("st_repair", "rung", new_column_name="remedy")
    op.add_column("st_repair", sa.Column("action_values", sa.JSON))
