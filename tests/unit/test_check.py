"""`check` and `plan`, from the command line to the clients' files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from pgherald.errors import FileTrouble
from pgherald.model import Entry
from pgherald.secret import Secret
from pgherald.simulator.faults import Fault
from pgherald.simulator.state import postgres_of
from pgherald.sync.apply import Applier
from pgherald.sync.plan import Plan
from pgherald.sync.probe import Outcome
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
    assert result.json == {
        "current": True,
        "databases": [
            {
                "key": "shop-production/DATABASE",
                "name": "Shop",
                "current": True,
                "standing": "written",
                "problem": None,
            }
        ],
        "clients": [
            {"label": "psql", "path": str(desk.folder / "pgpass"), "problem": None},
            {
                "label": "service file",
                "path": str(desk.folder / "pg_service.conf"),
                "problem": None,
            },
            {"label": "servers.json", "path": str(desk.folder / "servers.json"), "problem": None},
        ],
        "problems": [],
        "warnings": [],
    }
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


def test_a_stranger_is_not_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HEROKU_HOST at a stranger nothing is sent."""
    desk.configure(SHOP + CLIENTS)
    monkeypatch.setenv("HEROKU_HOST", "https://evil.example")
    for command in ("check", "plan"):
        result = desk.run(command)
        assert result.code == 1
        assert "Refused: HEROKU_HOST names https://evil.example" in result.err
    assert not desk.app.front.visits


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


@pytest.mark.parametrize(
    ("name", "text"), [("servers.json", "{ not json"), ("pgpass", "a:b:c:d:CANARY\0x\n")]
)
def test_a_client_that_cannot_be_read_is_named_once(desk: Desk, name: str, text: str) -> None:
    """A broken client is named with file and line, is left as it is, and hinders no other."""
    (desk.folder / name).write_text(text)
    desk.configure(SHOP + CLIENTS)
    result = desk.run("check")
    assert result.code == 1
    assert result.err.count(f"{desk.folder / name}:1: ") == 1
    assert "CANARY" not in result.out + result.err
    assert desk.read(name) == text
    assert desk.login().user in desk.read("pg_service.conf")
    clients = desk.run("status", "--json").json["clients"]
    assert [Path(client["path"]).name for client in clients if not client["ok"]] == [name]


def test_a_login_that_postgres_refuses_is_not_written(desk: Desk) -> None:
    """Exit code 1, the reason and what becomes of the old login; no client is touched."""
    desk.configure(SHOP + CLIENTS)
    desk.prober.outcome = Outcome.REFUSED
    result = desk.run("check")
    assert result.code == 1
    assert result.out == "Shop: left as it was: the login could not be proven\n"
    assert result.err.startswith("Postgres refuses the login of Shop\n  ")
    assert not (desk.folder / "pgpass").exists()


def test_a_file_changed_behind_the_back_is_named(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that is not current in the end always leaves a line on stderr."""
    desk.configure(SHOP + CLIENTS)
    desk.run("check")
    plans = 0
    real = Applier.plan

    async def meddled(applier: Applier, wanted: Sequence[Entry]) -> Plan:
        nonlocal plans
        plans += 1
        if plans > 1:  # the last one, for the report
            (desk.folder / "pgpass").write_text("")
        return await real(applier, wanted)

    monkeypatch.setattr(Applier, "plan", meddled)
    result = desk.run("check")
    assert result.code == 1
    assert "Shop is not up to date everywhere\n" in result.err


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


def test_a_commit_that_cannot_begin_is_named_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no undo can be written no client is touched, and one line says why."""

    def fails(*_: object, **__: object) -> None:
        raise FileTrouble("there is no space left", "Free some.", path=desk.folder / "state")

    monkeypatch.setattr("pgherald.sync.transaction.Transactions.commit", fails)
    desk.configure(SHOP + CLIENTS)
    result = desk.run("check")
    assert result.code == 1
    assert result.err == f"{desk.folder / 'state'}: there is no space left\n  Free some.\n"
    assert not (desk.folder / "pgpass").exists()
    assert desk.run("check", "--json").json["problems"][0]["subject"] == "commit"


# --- discovery -----------------------------------------------------------------------------


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


def test_plan_shows_loose_modes(desk: Desk) -> None:
    """A file with passwords that others may read is tightened, and the plan says so."""
    desk.configure(SHOP + CLIENTS)
    desk.run("check")
    (desk.folder / "pgpass").chmod(0o644)
    assert "make it readable by its owner alone (mode 0600)" in desk.run("plan").out
    assert desk.run("check").code == 0
    assert (desk.folder / "pgpass").stat().st_mode & 0o777 == 0o600


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


def test_a_login_that_a_format_cannot_hold(desk: Desk) -> None:
    """A client whose format has no way to hold a login is named, in plan and in check."""
    desk.configure(SHOP + CLIENTS)
    addon = desk.world.attachment(desk.world.app("shop-production"), "DATABASE").addon
    data = postgres_of(addon).data
    desk.world.data.credential(data, "default").active.password = Secret(
        "CANARY with a space at its end "
    )
    desk.world.publish(data, "default")
    desk.prober.outcome = Outcome.WORKS
    for command in ("plan", "check"):
        result = desk.run(command)
        assert result.code == 1
        assert "service file cannot hold the login" in result.err
        assert "CANARY" not in result.out + result.err
    assert desk.run("plan", "--json").json["refused"][0]["key"] == "shop-production/DATABASE"


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
