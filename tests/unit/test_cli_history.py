"""`pgherald history`: the rotations that were seen, as a list, as JSON and on a line of time."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.model import DatabaseKey
from support.commands import Result
from support.stored import KEY, StoredDesk

BLOG = DatabaseKey("default", "blog", "DATABASE")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredDesk:
    return StoredDesk(tmp_path, monkeypatch)


def test_no_rotation_is_no_trouble(desk: StoredDesk) -> None:
    """Without a state file there is no history, and the exit code is 0."""
    assert desk.run("history") == Result(0, "No rotation has been seen yet.\n", "")
    assert desk.run("history", "--json") == Result(0, "[]\n", "")


def test_a_rotation_is_one_line(desk: StoredDesk) -> None:
    """It says when, which, by which release, what changed, where it went; piped, nothing else."""
    desk.rotated()
    result = desk.run("history")
    assert result.code == 0
    heading, row = result.out.splitlines()
    assert heading.split() == ["WHEN", "DATABASE", "CHANGED", "PROVEN", "WRITTEN", "TO"]
    assert row.endswith("  Shop (v42)  user, password  yes     psql, service file")


def test_the_json_has_the_documented_shape(desk: StoredDesk) -> None:
    """The latest comes first, and -n limits their number."""
    desk.rotated(days=2)
    desk.rotated(days=1)
    (later, earlier) = desk.run("history", "--json").json
    assert later["id"] > earlier["id"]
    at = (desk.now - timedelta(days=1)).isoformat(timespec="milliseconds")
    assert later == {
        "id": later["id"],
        "key": "shop-production/DATABASE",
        "name": "Shop",
        "changed": ["user", "password"],
        "release": 42,
        "seen_at": at,
        "proven_at": at,
        "written_at": at,
        "clients": ["psql", "service file"],
    }
    assert len(desk.run("history", "--json", "-n", "1").json) == 1


@pytest.mark.parametrize("text", ["shop-production/DATABASE", "shop-production", "Shop"])
def test_one_database_by_key_app_or_name(desk: StoredDesk, text: str) -> None:
    """One database's history, also when it is kept no more."""
    desk.rotated()
    desk.rotated(BLOG, "Blog")
    (record,) = desk.run("history", text, "--json").json
    assert record["key"] == "shop-production/DATABASE"


def test_a_name_that_may_mean_several_is_refused(desk: StoredDesk) -> None:
    """An app with several databases is not guessed at: exit code 1, and all of them are named."""
    desk.rotated()
    desk.rotated(dataclasses.replace(KEY, attachment="READER"), "Reader")
    result = desk.run("history", "shop-production")
    assert (result.code, result.out) == (1, "")
    assert "shop-production/DATABASE, shop-production/READER" in result.err


@pytest.mark.parametrize("stored", [False, True])
def test_an_unknown_database_is_refused(desk: StoredDesk, stored: bool) -> None:
    """A database nobody knows is exit code 1, with a suggestion where one is near."""
    if stored:
        desk.rotated()
    result = desk.run("history", "shop-productoin")
    assert (result.code, result.out) == (1, "")
    assert "has not looked at any database 'shop-productoin'" in result.err
    assert ('did you mean "shop-production"?' in result.err) is stored


# --- the line of time -----------------------------------------------------------------------
