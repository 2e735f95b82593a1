"""Discovery takes no service name that is the person's own: a stranger may choose an app's name."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pgherald.clients import service_file
from pgherald.errors import FileTrouble
from pgherald.files import Disk, Files
from pgherald.model import DatabaseKey
from pgherald.sync import names
from pgherald.sync.names import Names
from support.commands import CLIENTS, Desk
from support.household import database
from support.pgadmin_database import Database

OWN = "# mine\n[shop-staging]\nhost=localhost\nuser=me\npassword=CANARY-my-own\n"

DISCOVER = '[[discover]]\ninclude = ["*"]\n'

LEFT_OUT = "shop-staging/DATABASE is left out: the service 'shop-staging' is your own, in "


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A person who keeps whatever an account shows."""
    desk = Desk.laid(tmp_path, monkeypatch)
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path / "etc"))
    desk.configure(DISCOVER + CLIENTS)
    return desk


def host_of(desk: Desk, service: str = "shop-staging") -> str:
    """Where libpq is led by a service."""
    found = service_file.held((desk.folder / "pg_service.conf").read_bytes(), service)
    assert found is not None
    assert found.host is not None
    return found.host


def test_a_section_of_the_persons_is_not_taken(desk: Desk) -> None:
    """The stranger's database is in no client, every command says why, and the others are kept."""
    own = desk.folder / "pg_service.conf"
    own.write_text(OWN)
    for command in (("plan",), ("check",), ("doctor",)):
        result = desk.run(*command)
        assert result.code == 1
        assert f"{LEFT_OUT}{own}" in result.err
    assert host_of(desk) == "localhost"
    assert own.read_text().endswith(OWN)
    for name in ("pgpass", "servers.json"):
        assert "shop-staging" not in desk.read(name)
        assert "shop-production" in desk.read(name)
    status = desk.run("status")
    assert (status.code, LEFT_OUT in status.out + status.err) == (1, True)


def test_the_advice_keeps_it_under_another_name(desk: Desk) -> None:
    """What is named in the configuration is written, and the trouble is over."""
    (desk.folder / "pg_service.conf").write_text(OWN)
    result = desk.run("check")
    assert 'app = "shop-staging", attachment = "DATABASE"' in result.err
    named = '[[databases]]\napp = "shop-staging"\nattachment = "DATABASE"\nservice = "theirs"\n'
    desk.configure(named + DISCOVER + CLIENTS)
    result = desk.run("check")
    assert result.code == 0, result.err
    assert (host_of(desk), host_of(desk, "theirs") == "localhost") == ("localhost", False)
    assert desk.run("status").code == 0


def test_what_is_ours_stays_ours(desk: Desk) -> None:
    """A section that the person adds later moves ours to another name, with or without the state."""
    assert desk.run("check").code == 0
    own = desk.folder / "pg_service.conf"
    own.write_text(own.read_text() + OWN)
    desk.rotate("shop-staging")
    for _ in range(2):
        result = desk.run("check")
        assert result.code == 0
        assert "shop-staging/DATABASE is [shop-staging-heroku]" in result.out + result.err
        assert host_of(desk, "shop-staging-heroku") == desk.login("shop-staging").host
        assert host_of(desk) == "localhost"
        for file in (desk.folder / "state").glob("state.db*"):
            file.unlink()


def test_a_service_of_the_whole_machine(desk: Desk) -> None:
    """Ours would stand before it, since libpq reads the person's file first."""
    (desk.folder / "etc").mkdir()
    (desk.folder / "etc" / "pg_service.conf").write_text(OWN)
    assert LEFT_OUT in desk.run("check").err
    assert "shop-staging" not in desk.read("pg_service.conf")


def test_a_server_in_pgadmin_that_names_it(desk: Desk) -> None:
    """The person's own server would be led to the stranger's database."""
    pgadmin = Database.made(desk.folder / "pgadmin4.db")
    pgadmin.ask(
        "INSERT INTO server (user_id, servergroup_id, name, service, maintenance_db)"
        " VALUES (1, 1, 'Mine', 'shop-staging', 'mine')"
    )
    desk.configure(f'{DISCOVER}{CLIENTS}[clients.pgadmin]\npath = "{pgadmin.path}"\n')
    for _ in range(2):
        result = desk.run("check")
        assert f"{LEFT_OUT}{pgadmin.path}" in result.err
    assert "shop-staging" not in desk.read("pg_service.conf")
    names = {row["name"]: row["service"] for row in pgadmin.servers().values()}
    assert names.pop("Mine") == "shop-staging"
    assert "shop-staging" not in names.values()
    pgadmin.ask("DELETE FROM server WHERE name = 'Mine'")
    assert desk.run("check").code == 0
    (desk.folder / "pg_service.conf").unlink()  # that the row is ours is remembered
    assert desk.run("check").code == 0
    assert host_of(desk) == desk.login("shop-staging").host


def test_what_is_gone_from_heroku_goes_from_status_too(desk: Desk) -> None:
    """As advised, --prune ends that a database is gone, also where its entries went by hand."""
    for by_hand in (False, True):
        assert desk.run("check").code == 0
        app = desk.world.app("blog" if by_hand else "shop-staging")
        for attachment in [each for each in desk.world.attachments if each.app is app]:
            desk.world.attachments.remove(attachment)
        desk.world.apps.remove(app)
        desk.run("check")
        status = desk.run("status")
        assert (status.code, f"{app.name} " in status.err) == (1, True)
        if by_hand:
            for name in ("pgpass", "pg_service.conf", "servers.json"):
                (desk.folder / name).unlink()
        assert desk.run("check", "--prune").code == 0
        status = desk.run("status")
        assert (status.code, status.err) == (0, "")
        assert f"{app.name}/" not in status.out


def test_the_section_of_another_database_is_not_taken(desk: Desk) -> None:
    """Not even while that one is not known, since its account does not answer; pruning frees it."""
    named = '[[databases]]\napp = "shop-production"\nservice = "shop-staging"\n'
    desk.configure(named + CLIENTS)
    assert desk.run("check").code == 0
    desk.configure('[[discover]]\ninclude = ["shop-staging"]\n' + CLIENTS)
    result = desk.run("check")
    assert "shop-staging' is that of shop-production/DATABASE" in result.err
    assert "pgherald check --prune" in result.err
    assert host_of(desk) == desk.login().host
    assert desk.login().user in desk.read("pg_service.conf")
    desk.run("check", "--prune")
    assert desk.run("check").code == 0
    assert desk.login("shop-staging").user in desk.read("pg_service.conf")


def test_an_account_with_another_name_keeps_its_sections(desk: Desk) -> None:
    """Names of apps are Heroku's, so it is the same database by another key."""
    desk.configure(DISCOVER + CLIENTS)
    assert desk.run("check").code == 0
    account = '[[accounts]]\nname = "work"\ntoken = "env:HEROKU_API_KEY"\n'
    desk.configure(f'{account}{DISCOVER}account = "work"\n{CLIENTS}')
    result = desk.run("check")
    assert (result.code, result.err) == (0, "")
    assert "work:shop-staging/DATABASE" in desk.read("pg_service.conf")


def test_a_service_file_that_cannot_be_understood(desk: Desk) -> None:
    """What was written before goes on in the other clients; nothing new is named meanwhile."""
    desk.configure('[[discover]]\ninclude = ["shop-production"]\n' + CLIENTS)
    assert desk.run("check").code == 0
    file = desk.folder / "pg_service.conf"
    damaged = file.read_text().replace("# <<<", "# \0")
    file.write_text(damaged)
    desk.configure(DISCOVER + CLIENTS)
    desk.rotate()
    result = desk.run("check")
    assert "NUL" in result.err
    assert desk.login().user in desk.read("pgpass")
    assert "shop-staging" not in desk.read("pgpass")
    assert file.read_text() == damaged


def test_names_are_compared_as_libpq_does() -> None:
    """Letter by letter: a name in capitals is another one."""
    known = Names({"Shop": Path("/f")}, {DatabaseKey("default", "blog", "DATABASE"): {"blog"}})
    assert known.refusal(database("shop")) is None
    assert known.refusal(database("blog")) is None
    assert Names({"shop": Path("/f")}).refusal(database("shop")) is not None


async def test_a_file_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nobody knows which names there are, nothing new is found, and no sweep waits for it."""
    monkeypatch.setattr(names, "_LIMIT", 0.01)
    hangs = threading.Event()

    class Hanging(Disk):
        def realpath(self, path: Path) -> Path:
            hangs.wait(60)
            return super().realpath(path)

    try:
        with pytest.raises(FileTrouble, match="does not answer"):
            await names.learn(Files(tmp_path / "locks", Hanging()), [], {})
    finally:
        hangs.set()
