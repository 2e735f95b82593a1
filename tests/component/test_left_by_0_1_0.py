"""A home that pgherald 0.1.0 left, killed in the middle of a rotation's second commit.

The archive was made by 0.1.0 itself: one check, a daemon that followed a rotation, and another
daemon that was killed (kill -9) between pgpass and the service file. Only the folder's name in it
was replaced.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from support.commands import Desk
from support.program import OWN_LINE

ARCHIVE = Path(__file__).parents[1] / "left-by-0.1.0.tar.gz"

#: Users: of the first rotation, and of the one that was interrupted.
FIRST, SECOND = "uamlyww027hx01", "uv28mz08x9cung"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    home = tmp_path / "me"
    with tarfile.open(ARCHIVE) as tar:
        tar.extractall(home, filter="data")
    for file in home.rglob("*.json"):
        file.write_text(file.read_text().replace("/home/me", str(home)))
    desk = Desk.laid(home, monkeypatch)
    for name, place in {
        "HOME": "", "PGHERALD_STATE_DIR": "state",
        "PGPASSFILE": ".pgpass", "PGSERVICEFILE": ".pg_service.conf",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, str(home / place))
    return desk


def users(desk: Desk) -> list[str]:
    """Who stands in pgpass and in the service file."""
    mine = desk.read(".pgpass").removesuffix(OWN_LINE)
    assert mine != desk.read(".pgpass"), "the person's own line is there"
    rows = [line.split(":")[3] for line in mine.splitlines() if not line.startswith("#")]
    service = [x for x in desk.read(".pg_service.conf").splitlines() if x.startswith("user=")]
    return [*rows, *(line.removeprefix("user=") for line in service)]


def test_what_it_knew_is_shown(desk: Desk) -> None:
    """Status and history, for people and for programs, read what 0.1.0 recorded."""
    assert users(desk) == [SECOND, FIRST, FIRST]
    status = desk.run("status", "--json")
    (shown,) = status.json["databases"]
    assert (shown["key"], shown["proven"]) == ("shop-production/DATABASE", True)
    assert shown["last_rotation_at"] == "2026-11-30T23:53:07.531+00:00"
    assert "shop-production/DATABASE" in desk.run("status").out
    (record,) = desk.run("history", "--json").json
    assert (record["changed"], record["release"]) == (["user", "password"], 10)
    assert "Shop (v10)" in desk.run("history").out


def test_the_interrupted_commit_is_finished(desk: Desk) -> None:
    """A check settles its open journal, keeps its history, and goes on with what Heroku shows."""
    (desk.folder / "token").write_text(desk.world.tokens[0].value.reveal())
    result = desk.run("check")
    assert result.code == 0, result
    assert users(desk) == [desk.login().user] * 2
    assert list((desk.folder / "state" / "commits").glob("*.open")) == []
    assert list(desk.folder.glob("*.tmp")) == []
    rotated, recorded = desk.run("history", "--json").json
    assert {"user", "password"} < set(rotated["changed"])
    assert recorded["release"] == 10
    assert desk.run("plan").code == 0


def test_its_commits_are_taken_back(desk: Desk) -> None:
    """A rollback finishes the interrupted commit, which is the latest, and takes that one back."""
    assert [each["commit"] for each in desk.run("history", "--commits", "--json").json] == [2, 1]
    result = desk.run("rollback", "--json")
    assert (result.code, result.err, result.json["commit"]) == (0, "", 3)
    assert users(desk) == [FIRST] * 2
    result = desk.run("rollback", "2")
    assert (result.code, result.err) == (0, "")
    assert SECOND not in users(desk)
    assert FIRST not in users(desk)


def test_uninstall_gives_back_what_was_there_before_it(desk: Desk) -> None:
    """Every file is as before 0.1.0's first commit, and the state is gone."""
    result = desk.run("uninstall", "--restore", "--yes")
    assert result.code == 0, result
    assert desk.read(".pgpass") == OWN_LINE
    assert not (desk.folder / ".pg_service.conf").exists()
    (server,) = json.loads(desk.read("servers.json"))["Servers"].values()
    assert server["Name"] == "Mine"
    assert not (desk.folder / "state").exists()
