"""How much a trial was trained, whether it was ever measured or not; NULL for what ended before."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("st_lease", sa.Column("steps", sa.Integer))
    op.add_column("st_lease", sa.Column("seconds", sa.Float))
