"""`pgherald rollback`, and what `status` says until the clients are current again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pgherald.errors import FileTrouble
from pgherald.sync.transaction import Transactions
from support.commands import CLIENTS, SHOP, Desk
from support.pgadmin_database import Database

BLOG = '[[databases]]\napp = "shop-staging"\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two databases, both known and current, one of which was rotated once."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + BLOG + CLIENTS)
    assert desk.run("check").code == 0
    desk.rotate()
    assert desk.run("check").code == 0
    return desk


def texts(desk: Desk) -> list[bytes]:
    return [
        (desk.folder / name).read_bytes() for name in ("pgpass", "pg_service.conf", "servers.json")
    ]


def test_an_old_login_is_the_first_thing_that_status_says(desk: Desk) -> None:
    """The database that was rolled back, no other, until a check finds it current again."""
    assert desk.run("status").code == 0
    done = desk.run("rollback")
    assert (done.code, done.err) == (0, "")
    assert "given back: psql" in done.out
    status = desk.run("status")
    assert status.code == 1
    assert status.err.startswith("Shop: The login from before ")
    assert "pgherald check" in status.err
    shown = desk.run("status", "--json").json
    ((trouble,), databases) = shown["troubles"], shown["databases"]
    assert (trouble["subject"], trouble["kind"]) == (
        "database:shop-production/DATABASE",
        "RolledBack",
    )
    assert [each["current"] for each in databases] == [False, True]
    assert [each["clients"]["psql"] for each in databases] == ["old", "current"]
    assert desk.run("check").code == 0
    assert desk.run("status").code == 0
    assert "CANARY" not in done.out + status.out + status.err


@pytest.mark.parametrize("killed", [False, True])
def test_what_ends_a_rollback_on_its_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, killed: bool
) -> None:
    """After a kill `status` knows of it, whatever was written; after a failure there is nothing."""

    def commit(*_: object, **__: object) -> None:
        if killed:  # what a kill leaves is in the file by then
            shutil.copy(desk.folder / "state" / "state.db", desk.folder / "kept")
        raise FileTrouble("may not be written", path=desk.folder / "pgpass")

    with monkeypatch.context() as patch:
        patch.setattr(Transactions, "commit", commit)
        assert desk.run("rollback").code == 1
    if killed:
        shutil.copy(desk.folder / "kept", desk.folder / "state" / "state.db")
    kinds = [each["kind"] for each in desk.run("status", "--json").json["troubles"]]
    assert kinds == (["RolledBack"] if killed else [])
    assert desk.run("check").code == 0
    assert desk.run("status").code == 0


def test_one_file_that_was_edited_keeps_all_as_they_are(desk: Desk) -> None:
    """It is named; nothing is restored, and there is nothing for status to say."""
    path = desk.folder / "pg_service.conf"
    path.write_text(path.read_text() + "# mine\n")
    before = texts(desk)
    for options in ((), ("--dry-run",)):
        done = desk.run("rollback", *options)
        assert done.code == 1
        assert f"{path} was changed since" in done.err
        shown = desk.run("rollback", "--json", *options).json
        assert shown["restored"] == []
        assert [file["label"] for file in shown["left"]] == ["service file"]
    assert texts(desk) == before
    assert desk.run("status").code == 0


def test_a_dry_run_shows_what_would_be_given_back(desk: Desk) -> None:
    """Each file with its differences, secrets masked; nothing is written anywhere."""
    before, commits = texts(desk), desk.run("history", "--commits", "--json").json
    shown = desk.run("rollback", "--dry-run")
    assert (shown.code, shown.err) == (0, "")
    assert "would be given back: psql" in shown.out
    assert "+db.example.com" in shown.out or ":••••••" in shown.out
    assert "CANARY" not in shown.out
    listed = desk.run("rollback", "--dry-run", "--json").json
    assert listed["dry_run"] is True
    assert [file["label"] for file in listed["restored"]] == ["psql", "service file"]
    assert texts(desk) == before
    assert desk.run("history", "--commits", "--json").json == commits
    assert desk.run("status").code == 0
    assert desk.run("rollback", "9", "--dry-run").code == 1


def test_a_rollback_is_taken_back_in_turn(desk: Desk) -> None:
    """The newer login is back then; a check finds it current, and status is content."""
    newer = texts(desk)
    assert desk.run("rollback").code == 0
    assert texts(desk) != newer
    assert desk.run("rollback").code == 0
    assert texts(desk) == newer
    assert desk.run("status").code == 0
    assert desk.run("check").code == 0
    assert desk.run("status").code == 0


def test_what_was_rolled_back_in_two_steps_is_taken_back_in_two(desk: Desk) -> None:
    """As long as one client holds an older login `status` says so, whichever rollback is newest."""
    (desk.folder / "pgpass").unlink()
    assert desk.run("check").code == 0  # puts pgpass there again, alone
    assert desk.run("rollback", "3").code == 0
    assert desk.run("rollback", "4").code == 0
    assert desk.run("status").code == 0
    assert desk.run("rollback", "5").code == 0
    assert desk.run("rollback", "2").code == 1  # pgpass has changed since
    assert desk.run("status").code == 1


def test_other_programs_hear_of_a_rollback(desk: Desk) -> None:
    """status.json and metrics say what `status` says, though no daemon runs that keeps them."""
    metrics = '[metrics]\ntextfile = "pgherald.prom"\n'
    desk.configure(SHOP + BLOG + CLIENTS + metrics)

    def shown() -> tuple[bool, bool]:
        status = json.loads(desk.read("state/status.json"))
        return status["ok"], "pgherald_troubles 0.0\n" in desk.read("pgherald.prom")

    assert desk.run("check").code == 0
    assert shown() == (True, True)
    assert desk.run("rollback").code == 0
    assert shown() == (False, False)
    assert desk.run("check").code == 0
    assert shown() == (True, True)


def test_a_server_that_leaves_pgadmin_is_behind(desk: Desk) -> None:
    """A rollback that concerned rows of pgAdmin alone is the first thing in `status`, too."""
    Database.made(desk.folder / "pgadmin4.db")
    desk.configure(SHOP + BLOG + CLIENTS + '[clients.pgadmin]\npath = "pgadmin4.db"\n')
    assert desk.run("check").code == 0
    assert desk.run("rollback").code == 0
    status = desk.run("status", "--json")
    assert status.code == 1
    assert [each["kind"] for each in status.json["troubles"]] == ["RolledBack"] * 2
    assert [each["clients"]["pgAdmin"] for each in status.json["databases"]] == ["old", "old"]
    assert desk.run("check", "--recreate").code == 0
    assert desk.run("status").code == 0
