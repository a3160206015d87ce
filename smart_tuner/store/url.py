"""What a storage URL says: which database, by which driver, and where its password must not be shown."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# Half a minute of silence, then three questions: a dead server is noticed in about a minute.
LIVELINESS = {
    "connect_timeout": "10",
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
PSYCOPG = "postgresql+psycopg"  # version 3, the one driver of PostgreSQL here, whatever a URL names
DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": PSYCOPG,
    "postgres": PSYCOPG,
    "postgresql+psycopg": PSYCOPG,
    "postgresql+psycopg2": PSYCOPG,
}


@dataclass(frozen=True)
class Address:
    """A database, read from its URL by `parse`."""

    url: URL

    def __str__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @property
    def backend(self) -> str:
        return self.url.get_backend_name()

    @property
    def file(self) -> Path | None:
        """SQLite's file; None for PostgreSQL."""
        return Path(self.url.database or "") if self.backend == "sqlite" else None

    def within(self, schema: str) -> str:
        """The URL, with its password, of one schema. SQLite has none: the same for all.

        Two names in a search path would let Alembic find another program's table of versions. Optuna takes
        a URL for a template, so that no brace may be left in it.
        """
        url = self.url
        if self.backend == "postgresql":
            given = url.query.get("options", ())
            options = [given] if isinstance(given, str) else list(given)
            url = url.update_query_dict({name: v for name, v in LIVELINESS.items() if name not in url.query})
            url = url.update_query_dict({"options": " ".join([*options, f"-csearch_path={schema}"])})
        return url.render_as_string(hide_password=False).replace("{", "%7B").replace("}", "%7D")


def parse(text: str) -> Address:
    """Read a URL; in a password of PostgreSQL, only % before two hexadecimal digits need be escaped.

    Raises:
        ArgumentError: it is no URL, or of another kind of database.
    """
    scheme, separator, rest = text.partition("://")
    if scheme not in DRIVERS:
        raise ArgumentError(f"It begins with none of {', '.join(f'{known}://' for known in DRIVERS)}.")
    login, place = _split(rest) if DRIVERS[scheme] != "sqlite" else ("", rest)
    url = make_url(f"{DRIVERS[scheme]}{separator}{place}")
    if login:
        user, colon, password = login.partition(":")
        url = url.set(username=unquote(user), password=unquote(password) if colon else None)
    if isinstance(hidden := url.query.get("password"), str):
        url = url.difference_update_query(["password"]).set(password=hidden)
    if DRIVERS[scheme] == "sqlite" and url.database:
        url = url.set(database=os.path.expanduser(url.database))
    if DRIVERS[scheme] == "sqlite" and (url.database or ":memory:").startswith((":memory:", "file:")):
        raise ArgumentError("A database of SQLite must be a file, given by its path.")
    return Address(url)


def _split(rest: str) -> tuple[str, str]:
    """The login and what follows it: a password may hold any mark, but a query hardly an @."""
    before, question, query = rest.partition("?")
    if "@" not in before:
        before, question, query = rest, "", ""
    login, _, place = before.rpartition("@")
    return login, place + question + query
