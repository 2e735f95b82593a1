"""`check` and `plan`, from the command line to the clients' files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgherald.simulator.faults import Fault
from pgherald.sync.reconciler import Reconciler
from support.commands import CLIENTS, MARK, SHOP, Desk

BLOG = '[[databases]]\napp = "blog"\nname = "Blog"\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk.laid(tmp_path, monkeypatch)


def stamps(desk: Desk) -> dict[str, tuple[int, int]]:
    """What shows that a file was written: its inode and the time of its last change."""
    files = [path for path in desk.folder.iterdir() if path.is_file()]
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


# --- check ---------------------------------------------------------------------------------


def test_check_brings_every_client_up_to_date(desk: Desk) -> None:
    """A new database, and a rotation, get into every client; what is right is not written again."""
    desk.configure(SHOP + CLIENTS)
    result = desk.run("check")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "pgherald now keeps Shop: psql, service file and servers.json are up to date.\n"
    )
    login = desk.login()
    assert login.password.reveal() in desk.read("pgpass")
    assert login.user in desk.read("pg_service.conf")
    assert "shop-production" in desk.read("servers.json")
    before = stamps(desk)
    result = desk.run("check")
    assert (result.code, result.out, result.err) == (0, "Shop: current\n", "")
    assert stamps(desk) == before
    desk.rotate()
    result = desk.run("check")
    assert result.code == 0
    assert result.out.startswith("Heroku rotated Shop: ")
    assert desk.login().password.reveal() in desk.read("pgpass")
    (record,) = desk.run("history", "--json").json
    assert record["changed"] == ["user", "password"]


def test_check_as_json(desk: Desk) -> None:
    """The JSON has the documented shape, and no secret."""
    desk.configure(SHOP + CLIENTS)
    result = desk.run("check", "--json")
    clients = {"psql": "pgpass", "service file": "pg_service.conf", "servers.json": "servers.json"}
    assert result.json == {
        "current": True,
        "databases": [{
            "key": "shop-production/DATABASE", "name": "Shop",
            "current": True, "standing": "written", "problem": None,
        }],
        "clients": [
            {"label": label, "path": str(desk.folder / name), "problem": None}
            for label, name in clients.items()
        ],
        "problems": [],
        "warnings": [],
    }  # fmt: skip
    assert MARK not in result.out


@pytest.mark.parametrize(
    ("fault", "title", "advice"),
    [
        ("401", "Heroku does not accept the token", "heroku login"),
        ("503", "Heroku has a problem of its own (503)", ""),
    ],
)
def test_check_names_what_heroku_refuses(desk: Desk, fault: str, title: str, advice: str) -> None:
    """When Heroku does not show a login, exit code 1 and one line of stderr say why."""
    desk.configure(SHOP + CLIENTS)
    desk.app.faults.add(Fault(fault))
    result = desk.run("check")
    assert result.code == 1
    assert result.out == "Shop: not shown by Heroku\n"
    assert result.err.count(title) == 1
    assert advice in result.err
    assert "Traceback" not in result.err
    assert not (desk.folder / "pgpass").exists()
    shape = desk.run("check", "--json").json
    assert not shape["current"]
    assert shape["problems"][0]["subject"] == "account:default"
    assert set(shape["problems"][0]) == {"subject", "kind", "title", "advice"}
    assert shape["databases"][0]["standing"] is None


def test_one_app_in_trouble_is_named_though_others_work(desk: Desk) -> None:
    """An error that may be the account's is a database's own once another app was answered."""
    desk.configure(BLOG + SHOP + CLIENTS)
    desk.app.faults.add(Fault("503", "GET /apps/blog/*"))
    desk.app.faults.add(Fault("slow", "GET /apps/shop-production/config-vars", seconds=0.02))
    result = desk.run("check", "--json")
    assert result.code == 1
    assert result.json["problems"] == []
    blog, shop = sorted(result.json["databases"], key=lambda item: str(item["key"]))
    assert shop["current"]
    assert blog["problem"]["title"] == "Heroku has a problem of its own (503)"
    assert "Blog: Heroku has a problem of its own (503)" in result.err


def test_a_database_that_heroku_never_showed_is_held_by_no_client(desk: Desk) -> None:
    """Beside one that is written, it has its name in `status`, and no client is called current."""
    desk.configure(BLOG + SHOP + CLIENTS)
    desk.app.faults.add(Fault("404", "GET /apps/blog/*"))
    for _ in range(2):
        assert desk.run("check").code == 1
        blog, shop = desk.run("status", "--json").json["databases"]
        assert (blog["name"], set(blog["clients"].values())) == ("Blog", {"new"})
        assert (shop["name"], set(shop["clients"].values())) == ("Shop", {"current"})


def test_a_rule_that_finds_nothing_says_so(desk: Desk) -> None:
    """No database at all is said, not passed over in silence; --prune takes nothing out then."""
    desk.configure(SHOP + CLIENTS)
    assert desk.run("check").code == 0
    before = desk.read("pgpass")
    desk.configure('[[discover]]\ninclude = ["*"]\n' + CLIENTS)
    desk.app.faults.add(Fault("503"))
    assert desk.run("check", "--prune").code == 1
    assert desk.read("pgpass") == before
    desk.app.faults.clear()
    desk.configure('[[discover]]\ninclude = ["nothing-*"]\n' + CLIENTS)
    for command in ("check", "plan"):
        assert (
            "Heroku shows no database that fits the [[discover]] rules.\n" in desk.run(command).out
        )


def test_several_accounts_are_told_apart(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each account is asked with its own token, and its troubles carry its name."""
    monkeypatch.setenv("GOOD", os.environ["HEROKU_API_KEY"])
    monkeypatch.setenv("BAD", "HRKU-00000000-0000-0000-0000-000000000000")
    desk.configure(
        '[[accounts]]\nname = "work"\ntoken = "env:GOOD"\n'
        '[[accounts]]\nname = "home"\ntoken = "env:BAD"\n'
        '[[databases]]\napp = "shop-production"\naccount = "work"\n'
        '[[databases]]\napp = "blog"\naccount = "home"\n' + CLIENTS
    )
    result = desk.run("check")
    assert result.code == 1
    assert "Heroku account home: Heroku does not accept the token" in result.err
    assert "account work" not in result.err
    assert "shop-production" in desk.read("pg_service.conf")
    status = desk.run("status")
    assert status.code == 1
    assert status.err.startswith("Heroku account home: Heroku does not accept the token (began ")


def test_an_engine_that_dies_ends_the_check(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of the program's own ends a check instead of letting it wait for ever."""

    async def dies(_self: Reconciler) -> None:
        raise RuntimeError("CANARY-secret")

    monkeypatch.setattr(Reconciler, "run", dies)
    desk.configure(SHOP + CLIENTS)
    result = desk.run("check")
    assert result.code == 1
    assert "mistake of its own: RuntimeError" in result.err
    assert "CANARY" not in result.err


# --- plan ----------------------------------------------------------------------------------


def test_plan_writes_nothing_and_masks_secrets(desk: Desk) -> None:
    """A plan shows what check would write, without a secret, and leaves no trace."""
    desk.configure(SHOP + CLIENTS)
    before = sorted(path.name for path in desk.folder.iterdir())
    result = desk.run("plan")
    assert (result.code, result.err) == (0, "")
    assert "add shop-production/DATABASE" in result.out
    assert "+password=••••••" in result.out
    assert MARK not in result.out
    assert sorted(path.name for path in desk.folder.iterdir()) == before
    desk.run("check")
    assert desk.run("plan").out == (
        "Nothing to do. The one database is current in every client that can be read.\n"
    )
    assert desk.run("plan", "--json").json["idle"]


def test_a_plan_that_is_hindered(desk: Desk) -> None:
    """What hinders a plan is named on stderr and in the JSON, with exit code 1."""
    (desk.folder / "servers.json").write_text("{ not json")
    desk.configure(SHOP + BLOG + CLIENTS)
    desk.app.faults.add(Fault("404", "GET /apps/blog/*"))
    result = desk.run("plan")
    assert result.code == 1
    assert "servers.json" in result.err
    assert "blog: not on Heroku, or not visible" in result.err
    shape = desk.run("plan", "--json").json
    assert shape["failed"][0]["problem"]["kind"] == "Unparsable"
    assert [problem["subject"] for problem in shape["problems"]] == ["database:blog/DATABASE"]
    assert set(shape) == {"idle", "databases", "files", "failed", "refused", "problems"}


# --- what is no longer configured ----------------------------------------------------------


def test_what_is_no_longer_configured_is_forgotten(desk: Desk) -> None:
    """Troubles and state of what the configuration has let go do not haunt status."""
    (desk.folder / "servers.json").write_text("{ not json")
    desk.configure(SHOP + BLOG + CLIENTS)
    desk.app.faults.add(Fault("404", "GET /apps/blog/*"))
    assert desk.run("check").code == 1
    assert len(desk.run("status", "--json").json["troubles"]) == 2
    desk.configure(SHOP + '[clients.pgpass]\npath = "pgpass"\n')
    assert desk.run("check").code == 0
    shape = desk.run("status", "--json").json
    assert shape["troubles"] == []
    assert [database["key"] for database in shape["databases"]] == ["shop-production/DATABASE"]


def test_old_damage_is_forgotten(desk: Desk) -> None:
    """That a state file was damaged is noted once, and shown until the old one is deleted."""
    desk.configure(SHOP + CLIENTS)
    state = desk.folder / "state"
    state.mkdir(mode=0o700)
    (state / "state.db").write_bytes(b"no database at all " * 100)
    checked = desk.run("check")
    assert checked.code == 0
    assert "Note: pgherald's state file was damaged" in checked.out
    for _ in range(2):
        status = desk.run("status")
        assert status.code == 1
        assert "state file was damaged" in status.err
        again = desk.run("check")
        assert (again.code, "damaged" in again.out + again.err) == (0, False)
    (state / "state.db.damaged").unlink()
    assert desk.run("check").code == 0
    assert desk.run("status").code == 0


def test_prune_takes_out_what_is_no_longer_configured(desk: Desk) -> None:
    """A database that was taken out of the configuration leaves the clients when asked, not before."""
    desk.configure(SHOP + BLOG + CLIENTS)
    assert desk.run("check").code == 0
    desk.configure(SHOP + CLIENTS)
    told = desk.run("check")
    assert told.code == 0
    assert "blog/DATABASE is no longer in the configuration" in told.out
    files = [desk.folder / name for name in ("pgpass", "pg_service.conf", "servers.json")]
    assert all(b"blog/DATABASE" in file.read_bytes() for file in files)
    pruned = desk.run("check", "--prune")
    assert pruned.code == 0
    assert "blog/DATABASE: removed from every client" in pruned.err
    assert not any(b"blog/DATABASE" in file.read_bytes() for file in files)
    assert all(b"shop-production/DATABASE" in file.read_bytes() for file in files)
