"""Here databases begin without tables: how those are made is tested here."""

import pytest


@pytest.fixture
def new_files_have_tables():
    """Not here."""


@pytest.fixture
def postgres_url(postgres):
    """The URL of a database without tables."""
    name = postgres.fresh()
    yield postgres.url(name)
    postgres.drop(name)
