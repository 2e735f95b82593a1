"""`pgherald uninstall`: with real files, a real SQLite and a simulated Heroku."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from pgherald.cli.refresh import ask
from pgherald.files import Files
from support.commands import CLIENTS, SHOP, Desk
from support.pgadmin_database import Database
from support.stand_ins import StandIns

OWN_LINE = "localhost:5432:*:me:CANARY-my-own-password\n"
OTHERS = '{"Servers": {"1": {"Name": "Mine", "Host": "h"}}, "x":   1}'
PGADMIN = '[clients.pgadmin]\npath = "pgadmin4.db"\n'
TWO = SHOP + '[[databases]]\napp = "shop-staging"\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two databases, every client; pgpass and servers.json had something in them before."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(TWO + CLIENTS + PGADMIN)
    (tmp_path / "pgpass").write_text(OWN_LINE)
    (tmp_path / "servers.json").write_text(OTHERS)
    Database.made(tmp_path / "pgadmin4.db")
    return desk


def contents(desk: Desk) -> dict[str, bytes]:
    """The clients' files, pgAdmin's aside."""
    names = ("pgpass", "pg_service.conf", "servers.json")
    return {
        name: (desk.folder / name).read_bytes() for name in names if (desk.folder / name).exists()
    }


def same_json(one: str | bytes, other: str | bytes) -> bool:
    """Whether two texts hold the same values in the same order."""
    return json.dumps(json.loads(one)) == json.dumps(json.loads(other))


def pgadmin(desk: Desk) -> Database:
    return Database(desk.folder / "pgadmin4.db")


def by_hand(desk: Desk) -> None:
    """A server that the person made in pgAdmin, its password saved."""
    login = desk.login()
    pgadmin(desk).ask(
        "INSERT INTO server (user_id, servergroup_id, name, host, port, maintenance_db, username,"
        " password, save_password, connection_params) VALUES (1, 1, 'By hand', ?, ?, ?, ?,"
        " 'CANARY-encrypted', 1, '{\"sslmode\":  \"prefer\"}')",
        login.host, login.port, login.dbname, login.user,
    )  # fmt: skip


def used(desk: Desk, rotations: int = 6) -> None:
    """It has been at work for a while, and the daemon was asked to refresh once."""
    assert desk.run("check").code == 0
    ask(desk.folder / "state", Files(desk.folder / "state" / "locks"), 0)
    for _ in range(rotations):
        desk.rotate()
        assert desk.run("check").code == 0


@pytest.mark.parametrize("restore", [True, False])
def test_everything_is_as_it_was(desk: Desk, *, restore: bool) -> None:
    """After any number of rotations each file is byte for byte what it was, or is gone again.

    Without --restore nobody brings back how servers.json was spaced: it has the same values.
    """
    before, servers = contents(desk), pgadmin(desk).servers()
    groups = pgadmin(desk).ask("SELECT * FROM servergroup")
    used(desk)
    assert contents(desk) != before
    assert len(pgadmin(desk).servers()) == 2
    result = desk.run("uninstall", "--yes", *(["--restore"] if restore else []))
    assert (result.code, result.err) == (0, "")
    after = contents(desk)
    if not restore:
        assert same_json(after.pop("servers.json"), before.pop("servers.json"))
    assert after == before
    assert pgadmin(desk).servers() == servers
    assert pgadmin(desk).ask("SELECT * FROM servergroup") == groups
    assert not (desk.folder / "state").exists()
    assert str(desk.file) in result.out
    assert desk.file.exists()
    assert "CANARY" not in result.out


@pytest.mark.parametrize("restore", [["--restore"], []])
def test_an_adopted_server_gets_its_login_back(desk: Desk, restore: list[str]) -> None:
    """A server made by hand is again what it was, its password included, and it is said."""
    by_hand(desk)
    before = pgadmin(desk).servers()
    assert desk.run("check", "--adopt").code == 0
    used(desk, 2)
    result = desk.run("uninstall", "--yes", *restore)
    assert result.code == 0
    assert 'Server "By hand" has its own host, user and saved password of ' in result.out
    assert "is deleted: pgherald made it." in result.out
    assert pgadmin(desk).servers() == before


def test_what_was_added_since_is_never_lost(desk: Desk) -> None:
    """A file that the person edited only loses pgherald's part, and that is said."""
    used(desk, 1)
    for name in ("pgpass", "pg_service.conf"):
        with (desk.folder / name).open("a") as file:
            file.write("# mine, added since\n")
    used(desk, 1)
    result = desk.run("uninstall", "--restore", "--yes")
    assert result.code == 0
    assert result.out.count("it was edited since") == 2
    assert desk.read("pgpass") == OWN_LINE + "# mine, added since\n"
    assert desk.read("pg_service.conf") == "# mine, added since\n"
    assert desk.read("servers.json") == OTHERS


def test_a_dry_run_shows_it_and_does_nothing(desk: Desk) -> None:
    """What would be done is shown as a diff without any secret; not one byte changes."""
    used(desk, 1)
    before, servers = contents(desk), pgadmin(desk).servers()
    result = desk.run("uninstall", "--restore", "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert "becomes again what it was before pgherald first wrote it" in result.out
    assert "is deleted: pgherald made it" in result.out
    assert "••••••" in result.out
    assert "CANARY" not in result.out
    assert (contents(desk), pgadmin(desk).servers()) == (before, servers)
    assert (desk.folder / "state" / "state.db").exists()


def test_nobody_is_there_to_be_asked(desk: Desk) -> None:
    """Without a terminal nothing is done unless `--yes` says so."""
    used(desk, 0)
    before = contents(desk)
    desk.patch.setattr("sys.stdin", io.StringIO())
    result = desk.run("uninstall")
    assert result.code == 2
    assert "--yes" in result.err
    assert contents(desk) == before


def test_a_client_that_cannot_be_understood_stops_all(desk: Desk) -> None:
    """Either all of it is undone or nothing: one file that cannot be read is named."""
    used(desk, 0)
    (desk.folder / "servers.json").write_text("{")
    before, servers = contents(desk), pgadmin(desk).servers()
    result = desk.run("uninstall", "--yes")
    assert result.code == 1
    assert "servers.json:1" in result.err
    assert "Nothing was changed." in result.err
    assert (contents(desk), pgadmin(desk).servers()) == (before, servers)


def test_the_daemon_has_to_be_stopped_first(desk: Desk) -> None:
    """While the daemon runs nothing is undone, since it would write everything again."""
    used(desk, 0)
    before = contents(desk)
    files = Files(desk.folder / "state" / "locks")
    with files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        result = desk.run("uninstall", "--yes")
    assert (result.code, result.out) == (3, "")
    assert "The daemon is running" in result.err
    assert contents(desk) == before


def test_the_service_goes_first(desk: Desk, home: Path) -> None:
    """The service is stopped before anything is undone, or it would write it all again."""
    stand_ins = StandIns(desk.folder / "bin")
    stand_ins.put("systemctl", {})
    desk.patch.setenv("PATH", f"{stand_ins.folder}:{os.environ['PATH']}")
    desk.patch.setattr("sys.platform", "linux")
    before = contents(desk)
    used(desk, 0)
    assert desk.run("service", "install").code == 0
    unit = home / ".config" / "systemd" / "user" / "pgherald.service"
    done = len(stand_ins.calls)
    shown = desk.run("uninstall", "--dry-run")
    assert "run systemctl --user disable --now pgherald.service" in shown.out
    assert stand_ins.calls[done:] == []
    assert unit.exists()
    assert desk.run("uninstall", "--restore", "--yes").code == 0
    assert stand_ins.calls[done:][0][1:] == ["--user", "disable", "--now", "pgherald.service"]
    assert not unit.exists()
    assert contents(desk) == before


def test_metrics_go_too(desk: Desk) -> None:
    """The file that the daemon wrote for Prometheus is deleted: nobody would bring it up to date."""
    desk.configure(TWO + CLIENTS + '[metrics]\ntextfile = "pgherald.prom"\n')
    (desk.folder / "pgherald.prom").write_text("pgherald_up 1\n")
    result = desk.run("uninstall", "--yes")
    assert (result.code, result.err) == (0, "")
    assert not (desk.folder / "pgherald.prom").exists()
