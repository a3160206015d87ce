from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from smart_tuner.store.url import parse

odd = st.text(st.sampled_from("ab{}%@:/?#&=+ '\"\\é") | st.characters(exclude_categories=["Cs"]), min_size=1)


@given(user=odd, password=odd)
def test_any_escaped_password_arrives_at_the_driver_and_is_not_shown(user, password):
    escaped = URL.create("postgresql", user, password, "host", 5432, "db").render_as_string(False)
    address = parse(escaped)
    for_optuna = address.within("optuna")
    assert "{" not in for_optuna and "}" not in for_optuna  # Optuna takes a URL for a template
    url = make_url(for_optuna)
    _, given = url.get_dialect()().create_connect_args(url)
    assert (given["user"], given["password"], given["host"], given["dbname"]) == (
        user,
        password,
        "host",
        "db",
    )
    assert str(address).split("@")[-2].endswith(":***")


@given(password=st.text(st.sampled_from("ab{}@:/ =#+é"), min_size=1))
def test_only_a_percent_sign_need_be_escaped(password):
    address = parse(f"postgresql://user:{password}@host/db?sslmode=disable")
    assert address.url.password == password
    assert (address.url.host, address.url.database, address.url.query["sslmode"]) == ("host", "db", "disable")


def test_what_a_url_asks_for_is_kept_and_exactly_one_schema_is_looked_in():
    url = make_url(parse("postgresql://h/db?connect_timeout=3&options=-cwork_mem%3D8MB").within("optuna"))
    assert url.drivername == "postgresql+psycopg"
    assert url.query["connect_timeout"] == "3"
    assert url.query["options"] == "-cwork_mem=8MB -csearch_path=optuna"
    assert url.query["keepalives"] == "1"


def test_a_password_in_the_query_is_not_shown_either():
    address = parse("postgresql:///db?user=me&password=secret&host=h")
    assert "secret" not in str(address)
    assert address.url.password == "secret"


def test_a_file_may_have_braces_in_its_name():
    address = parse("sqlite:///runs/{a}@b.db")
    assert address.file == Path("runs/{a}@b.db")
    assert make_url(address.within("any").format()).database == "runs/{a}@b.db"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_every_way_to_write_postgresql_is_taken_and_served_by_one_driver(scheme):
    address = parse(f"{scheme}://user:p@ss@host/db")
    assert (str(address), address.backend) == ("postgresql+psycopg://user:***@host/db", "postgresql")
    assert address.url.password == "p@ss"


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://host/db", "postgresql+asyncpg://host/db", "sqlite://", "sqlite:///:memory:"]
)
def test_other_databases_are_refused(url):
    with pytest.raises(ArgumentError):
        parse(url)
