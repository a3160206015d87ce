"""Alembic runs this for each command: on the connection that smart_tuner/store/schema.py gives it."""

from alembic import context

from smart_tuner.store.schema import VERSION_TABLE, is_ours
from smart_tuner.store.tables import TABLES

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TABLES,
    version_table=VERSION_TABLE,
    include_object=is_ours,
)
with context.begin_transaction():
    context.run_migrations()
