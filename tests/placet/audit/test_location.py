"""Where a record is: never with a password in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from placet.audit.location import DatabaseUrl, is_here, parse_location
from placet.audit.stores.postgres.connection import conninfo_of
from placet.errors import InputError


def test_a_path_starts_from_the_folder_of_who_names_it(tmp_path: Path) -> None:
    assert parse_location("record.db") == Path("record.db")
    assert parse_location("record.db", folder=tmp_path) == tmp_path / "record.db"
    assert parse_location("/record.db", folder=tmp_path) == Path("/record.db")
    assert not is_here(tmp_path / "record.db")


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://gate@db.example.org/placet",
        "postgres://gate@db.example.org:5433/placet?sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql://one.example.org:5432,two.example.org:5433/placet?target_session_attrs=read-write",
        "postgresql:///placet?host=/run/postgresql",
        "postgresql://",
    ],
)
def test_an_address_without_a_secret_is_taken_as_it_is(text: str, tmp_path: Path) -> None:
    found = parse_location(text, folder=tmp_path)
    assert isinstance(found, DatabaseUrl)
    assert str(found) == text
    assert is_here(found)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://gate:hunter2@db.example.org/placet",
        "postgresql://db.example.org/placet?password=hunter2",
        "postgresql://db.example.org/placet?p%61ssword=hunter2",
        "postgresql://db.example.org/placet?sslmode=require&sslpassword=hunter2",
        "postgresql://db.example.org/placet?oauth_client_secret=hunter2",
        "postgresql://db.example.org/placet?scram_client_key=hunter2",
        "postgresql://db.example.org/placet?options=-csynchronous_commit%3Doff",
        "postgresql://db.example.org/placet?hunter2",
        "postgresql://gate:hunter2?host=x@db.example.org/placet",
        "postgresql://[hunter2/placet",
    ],
)
def test_an_address_with_a_secret_or_a_setting_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_location(text)
    assert "hunter2" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"


@given(
    st.lists(st.sampled_from(["?", "&", "=", "@", "/", ":", "%", "70", "password", "host", "user", "a"])).map("".join)
)
def test_no_text_does_more_than_be_refused(rest: str) -> None:
    try:
        found = parse_location(f"postgresql://{rest}")
    except InputError:
        return
    assert isinstance(found, DatabaseUrl)
    assert "password" not in conninfo_to_dict(found)


@pytest.mark.parametrize(
    ("url", "environment", "demanded"),
    [
        ("postgresql://gate@db.example.org/placet", {}, True),
        ("postgresql:///placet", {"PGHOST": "db.example.org"}, True),
        ("postgresql://127.0.0.1,db.example.org/placet", {}, True),
        ("postgresql://gate@db.example.org/placet?sslmode=require", {}, False),
        ("postgresql://gate@db.example.org/placet", {"PGSSLMODE": "require"}, False),
        ("postgresql://gate@localhost/placet", {}, False),
        ("postgresql:///placet?host=/run/postgresql", {}, False),
        ("postgresql:///placet", {}, False),
    ],
)
def test_another_machine_shows_who_it_is_where_nobody_says_otherwise(
    url: str, environment: dict[str, str], *, demanded: bool
) -> None:
    found = conninfo_of(DatabaseUrl(url), environment.get)
    assert ("sslmode=verify-full" in found) == demanded
    assert demanded or found == url
