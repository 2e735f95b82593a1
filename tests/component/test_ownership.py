"""Whose a server in pgAdmin is: nothing that a person made is taken, emptied or weakened.

The command line as a person uses it, beside a daemon that has run for a while; a configuration
database with the real one's tables.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from pgherald.config import load
from pgherald.daemon.wiring import Machinery, machinery, state_of
from pgherald.files import Files
from pgherald.model import strictest
from pgherald.store import Store
from pgherald.sync.alerts import Alerts
from pgherald.sync.outcomes import Outcome
from pgherald.sync.targets import Ownership
from support.commands import SHOP, Desk
from support.pgadmin_database import Database

CLIENTS = (
    '[clients.service_file]\npath = "pg_service.conf"\n[clients.pgadmin]\npath = "pgadmin4.db"\n'
)
SERVICE = "shop-production"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """One database, kept in a service file and in a pgAdmin."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + CLIENTS)
    Database.made(tmp_path / "pgadmin4.db")
    return desk


def pgadmin(desk: Desk) -> Database:
    return Database(desk.folder / "pgadmin4.db")


def by_hand(desk: Desk, **columns: Any) -> int:
    """A server that the person makes in pgAdmin's dialog; its number."""
    login = desk.login()
    row: dict[str, Any] = {
        "user_id": 1,
        "servergroup_id": 1,
        "name": "By hand",
        "host": login.host,
        "port": login.port,
        "maintenance_db": login.dbname,
        "username": login.user,
        "password": "CANARY-encrypted",
        "save_password": 1,
        "connection_params": '{"sslmode": "prefer", "connect_timeout": 10}',
        "tags": "[]",
        "shared": 0,
    } | columns
    return pgadmin(desk).insert(row)


def own_service(desk: Desk, **columns: Any) -> int:
    """A server that names our section, and nothing else of a login."""
    login = {"host": None, "port": None, "username": None, "password": None, "save_password": 0}
    return by_hand(desk, **({"service": SERVICE} | login | columns))


def row(desk: Desk, number: int) -> dict[str, Any]:
    return pgadmin(desk).servers()[number]


def ours(desk: Desk) -> list[dict[str, Any]]:
    """Servers that have the name that the configuration gives."""
    return [row for row in pgadmin(desk).servers().values() if row["name"] == "Shop"]


class Daemon:
    """A long-lived pgherald: one machinery, which sweeps when it is asked to."""

    def __init__(self, desk: Desk) -> None:
        self._loop = asyncio.new_event_loop()
        self._life = self._live(desk)
        self._machine: Machinery = self._loop.run_until_complete(self._life.__aenter__())

    @asynccontextmanager
    async def _live(self, desk: Desk) -> AsyncIterator[Machinery]:
        config = load(desk.file, os.environ)
        outside = desk.outside(os.environ)
        with state_of(config, outside.clock) as state:
            alerts = Alerts(state.store, outside.clock, lambda _: None)
            async with machinery(
                config, state, outside, alerts=alerts, tell=lambda _: None
            ) as machine:
                work = asyncio.create_task(machine.reconciler.run())
                try:
                    yield machine
                finally:
                    work.cancel()
                    await asyncio.gather(work, return_exceptions=True)

    def sweeps(self) -> None:
        """It polls Heroku, and everything that follows has happened."""

        async def sweep() -> None:
            self._machine.poller.sweep()
            await self._machine.poller.finished()
            await self._machine.reconciler.settled()

        self._loop.run_until_complete(sweep())

    def stop(self) -> None:
        """It ends."""
        if self._loop.is_closed():
            return
        self._loop.run_until_complete(self._life.__aexit__(None, None, None))
        self._loop.close()


@pytest.fixture
def daemon(desk: Desk) -> Iterator[Daemon]:
    """A daemon that was started before anything else happened, and goes on running."""
    running = Daemon(desk)
    yield running
    running.stop()


# --- what was made by hand, whoever runs beside it ---------------------------------------------

LEAVING = [["uninstall", "--yes"], ["uninstall", "--yes", "--restore"], ["check", "--prune"]]


def leave(desk: Desk, command: list[str]) -> str:
    """Give pgAdmin up by one of these commands; what it said."""
    if command[0] == "check":
        desk.configure('[[databases]]\napp = "shop-staging"\n' + CLIENTS)
    result = desk.run(*command)
    assert result.code == 0, result.err
    return result.out + result.err


@pytest.mark.parametrize("command", LEAVING, ids=" ".join)
def test_an_adoption_beside_a_running_daemon(
    desk: Desk, daemon: Daemon, command: list[str]
) -> None:
    """The daemon does not take for its own what another process adopted: it is given back."""
    daemon.sweeps()
    number = by_hand(desk)
    before = row(desk, number)
    daemon.sweeps()
    assert desk.run("check", "--adopt").code == 0
    assert row(desk, number)["service"] == SERVICE
    daemon.sweeps()
    desk.rotate()
    daemon.sweeps()
    daemon.stop()
    said = leave(desk, command)
    assert row(desk, number) == before
    assert 'Server "By hand" has its own host, user and saved password of ' in said
    assert "Heroku may have changed them since" in said


@pytest.mark.parametrize(
    ("command", "lost"),
    [
        (LEAVING[0], ["state.db"]), (LEAVING[1], ["ownership"]), (LEAVING[2], ["ownership"]),
        (LEAVING[0], ["state.db", "ownership", "commits"]),
    ],
)  # fmt: skip
def test_what_was_adopted_is_never_deleted(desk: Desk, command: list[str], lost: list[str]) -> None:
    """Whatever of the state was lost; and where its login is lost too, nobody says it is back."""
    number = by_hand(desk)
    before = row(desk, number)
    assert desk.run("check", "--adopt").code == 0
    state = desk.folder / "state"
    for name in lost:
        Files(desk.folder / "locks").remove_own_tree(state / name, within=state)
    assert desk.run("check").code == 0
    said = leave(desk, command)
    if "commits" in lost:
        assert row(desk, number)["name"] == "By hand"
        assert "By hand" in said
        assert "again" not in said
    else:
        assert row(desk, number) == before


@pytest.mark.parametrize("command", LEAVING, ids=" ".join)
def test_a_server_of_ones_own_with_our_service(desk: Desk, command: list[str]) -> None:
    """A server that leads elsewhere by the service of that name is the person's, and is named."""
    number = own_service(
        desk, name="LOCAL shop (safe to break)", maintenance_db="shop_dev", db_res="shop_dev",
        bgcolor="#00ff00", comment="my notes",
    )  # fmt: skip
    before = row(desk, number)
    planned = desk.run("plan")
    assert 'Server "LOCAL shop (safe to break)" names the service' in planned.out
    for adopt in ([], ["--adopt"]):
        assert desk.run("check", *adopt).code == 0
        assert row(desk, number) == before
        for told in (desk.run("status"), desk.run("doctor")):
            assert 'Server "LOCAL shop (safe to break)" names the service' in told.out
    assert len(ours(desk)) == 1
    said = leave(desk, command)
    assert row(desk, number) == before
    # By the person's own section of that name it has its login again.
    assert "names the service 'shop-production', which pgherald no longer keeps" in said
    assert 'Server "LOCAL shop (safe to break)" stays without its login' not in said
    assert ours(desk) == []


# --- rows that live by our section -------------------------------------------------------------


@pytest.mark.parametrize("command", LEAVING, ids=" ".join)
def test_a_copied_server_is_followed(desk: Desk, daemon: Daemon, command: list[str]) -> None:
    """A copy of our server, or one that was imported again, follows the database's name."""
    daemon.sweeps()
    (made,) = ours(desk)
    assert made["kerberos_conn"] == 0  # pgAdmin takes the table's default, "false", for on
    copy = own_service(desk, name="Copy of Shop", db_res=made["db_res"], bgcolor="#00f")
    imported = own_service(
        desk, name="Shop", servergroup_id=made["servergroup_id"], db_res=made["db_res"],
        save_password=None, tags="null", tunnel_port="22", kerberos_conn=1, connection_params='{"sslmode": "require"}',
    )  # fmt: skip
    unrestricted = own_service(desk, name="All databases")
    daemon.sweeps()
    name = desk.rename()
    assert name != made["maintenance_db"]
    daemon.sweeps()
    servers = pgadmin(desk).servers()
    assert {each["maintenance_db"] for each in servers.values()} == {name}
    assert [servers[n]["db_res"] for n in (copy, imported, unrestricted)] == [name, name, None]
    assert (servers[copy]["name"], servers[copy]["bgcolor"]) == ("Copy of Shop", "#00f")
    assert desk.run("plan").out.startswith("Nothing to do")
    daemon.stop()
    said = leave(desk, command)
    left = {n: each for n, each in pgadmin(desk).servers().items() if each["service"] == SERVICE}
    assert sorted(left) == [copy, imported, unrestricted]
    assert 'Server "Shop" is deleted: pgherald made it.' in said
    for what in ("Copy of Shop", "Shop", "All databases"):
        assert (
            f'Server "{what}" stays without its login, since nothing shows that pgherald made it'
            in said
        )


def test_load_servers_at_the_first_start(desk: Desk, daemon: Daemon) -> None:
    """Compose: where the import of our servers.json comes after us, one of the two twins goes: ours."""
    daemon.sweeps()
    (made,) = ours(desk)
    imported = own_service(
        desk, name="Shop", servergroup_id=made["servergroup_id"], db_res=made["db_res"],
        save_password=None, tags="null", tunnel_port="22", use_ssh_tunnel=None,
        connection_params=made["connection_params"],
    )  # fmt: skip
    daemon.sweeps()
    assert [each["id"] for each in ours(desk)] == [imported]
    name = desk.rename()
    daemon.sweeps()
    assert [each["maintenance_db"] for each in ours(desk)] == [name]
    assert desk.run("plan").out.startswith("Nothing to do")


@pytest.mark.parametrize("taken", [True, False])
def test_a_copy_follows_a_section_that_moves(desk: Desk, *, taken: bool) -> None:
    """The person takes its name for a section of theirs, or gives it another in the configuration."""
    assert desk.run("check").code == 0
    copy = own_service(desk, name="Copy")
    local = own_service(desk, name="LOCAL", maintenance_db="mine")
    if taken:
        with (desk.folder / "pg_service.conf").open("a") as file:
            file.write(f"[{SERVICE}]\nhost=localhost\ndbname=mine\n")
    else:
        desk.configure(f'{SHOP}service = "{SERVICE}-heroku"\n{CLIENTS}')
    assert desk.run("check").code == 0
    services = [row(desk, number)["service"] for number in (copy, local)]
    assert services == [f"{SERVICE}-heroku", SERVICE]


@pytest.mark.parametrize(
    ("columns", "after"),
    [
        ({"maintenance_db": "postgres", "db_res": "{}"}, {"maintenance_db": "postgres", "db_res": "{}"}),
        ({"maintenance_db": "", "db_res": "{}"}, {"maintenance_db": "{}", "db_res": "{}"}),
        ({"db_res": "{}, postgres"}, {"maintenance_db": "{}", "db_res": "{},postgres"}),
        ({"port": 5432, "username": "user"}, {"maintenance_db": "{}", "port": None, "username": None}),
    ],
    ids=str,
)  # fmt: skip
def test_every_row_that_lives_by_our_section_follows(
    desk: Desk, columns: dict[str, Any], after: dict[str, Any]
) -> None:
    """Whatever else it connects to or is restricted to, and though it repeats a part of the login."""
    login = desk.login()
    columns = {
        name: {"username": login.user, "port": login.port}.get(name)
        or str(value).format(login.dbname)
        for name, value in columns.items()
    }
    number = own_service(desk, **columns)
    assert desk.run("check").code == 0
    name = desk.rename()
    assert desk.run("check").code == 0
    found = row(desk, number)
    assert {each: found[each] for each in after} == {
        each: value and value.format(name) for each, value in after.items()
    }
    assert desk.run("plan").out.startswith("Nothing to do")


def test_an_import_that_came_first_is_enough(desk: Desk) -> None:
    """A server that lives by our section already is kept current, and no second one is made."""
    number = own_service(desk, name="Imported", tags="null")
    assert desk.run("check").code == 0
    assert list(pgadmin(desk).servers()) == [number]


@pytest.mark.parametrize(
    "columns",
    [
        {"username": "reader"},
        {"port": 6543},
        {"connection_params": '{"hostaddr": "127.0.0.1"}'},
        {"host": "localhost"},
        {"use_ssh_tunnel": 1, "tunnel_host": "bastion"},
        {"user_id": 2},
    ],
    ids=str,
)
def test_what_has_a_login_of_its_own_is_left_alone(desk: Desk, columns: dict[str, Any]) -> None:
    """A server that names our section and signs in, or leads, by itself is the person's alone."""
    number = own_service(desk, **columns)
    before = row(desk, number)
    assert desk.run("check").code == 0
    desk.rename()
    assert desk.run("check").code == 0
    assert row(desk, number) == before


# --- what cannot be adopted without loss -------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"use_ssh_tunnel": 1, "tunnel_host": "b", "tunnel_port": "22"}, "SSH tunnel"),
        ({"kerberos_conn": "true"}, "Kerberos"),
        ({"passexec_cmd": "pass shop"}, "command"),
        ({"shared": 1}, "shared"),
        ({"cloud_status": -1}, "deploying"),
        *(
            ({"connection_params": json.dumps({name: value})}, said)
            for name, value, said in [
                ("gssencmode", "require", "Kerberos"),
                ("hostaddr", "10.0.0.1", "parameter hostaddr"),
                ("password", "CANARY", "parameter password"),
                ("service", "other", "parameter service"),
                ("scram_client_key", "CANARY", "parameter scram_client_key"),
            ]
        ),
    ],
    ids=str,
)
def test_what_cannot_be_adopted_is_named(desk: Desk, columns: dict[str, Any], reason: str) -> None:
    """With the reason; it is not offered, and stays as it is whatever is asked for."""
    number = by_hand(desk, **columns)
    before = row(desk, number)
    planned = desk.run("plan").out
    assert 'Server "By hand", made by hand, leads to' in planned
    assert reason in planned
    assert "--adopt" not in planned
    assert "CANARY" not in planned
    assert desk.run("check", "--adopt").code == 0
    assert row(desk, number) == before


@pytest.mark.parametrize(
    "parameters",
    [
        {"application_name": "x", "options": "-c x=1", "keepalives": 1, "client_encoding": "UTF8"},
        {"sslcert": "a", "sslkey": "b", "sslcrl": "c", "sslsni": 1, "sslnegotiation": "direct"},
        {"require_auth": "scram-sha-256", "channel_binding": "require", "gssencmode": "disable"},
        {"target_session_attrs": "read-write", "load_balance_hosts": "disable"},
        {"user": None, "host": ""},
    ],
    ids=str,
)
def test_what_works_with_a_service_is_kept(desk: Desk, parameters: dict[str, Any]) -> None:
    """Parameters that need no host of the row's own come along into the adopted server."""
    number = by_hand(desk, connection_params=json.dumps(parameters))
    assert desk.run("check", "--adopt").code == 0
    adopted = row(desk, number)
    assert adopted["service"] == SERVICE
    there = json.loads(adopted["connection_params"])
    assert there == there | {name: value for name, value in parameters.items() if value}


@pytest.mark.parametrize("rows", ["service", "host"])
def test_a_passfile_of_the_persons_comes_back(desk: Desk, rows: str) -> None:
    """An adopted server does without it, or has pgherald's; once it is let go it has its own again."""
    user = pgadmin(desk).ask("SELECT email FROM user")[0][0]
    desk.configure(SHOP + CLIENTS + f'user = "{user}"\nrows = "{rows}"\n')
    number = by_hand(desk, connection_params='{"sslmode": "require", "passfile": "/mine"}')
    before = row(desk, number)
    assert desk.run("check", "--adopt").code == 0
    adopted = row(desk, number)
    assert adopted["service"] == (SERVICE if rows == "service" else None)
    parameters = json.loads(adopted["connection_params"])
    assert parameters.get("passfile") == (None if rows == "service" else "/.pgpass")
    assert desk.run("uninstall", "--yes").code == 0
    assert row(desk, number) == before


def test_a_tunnel_that_is_switched_on_later(desk: Desk) -> None:
    """A server of ours that was given a tunnel, host and port is not emptied again; it is said."""
    assert desk.run("check").code == 0
    (made,) = ours(desk)
    login = desk.login()
    pgadmin(desk).ask(
        "UPDATE server SET use_ssh_tunnel = 1, tunnel_host = 'bastion', host = ?, port = ?",
        login.host, login.port,
    )  # fmt: skip
    before = row(desk, made["id"])
    for _ in range(2):
        result = desk.run("check")
        assert result.code == 0
        assert 'Server "Shop" names the service' in result.out + result.err
        assert "goes through an SSH tunnel: it is left as it is" in result.out + result.err
        desk.rename()
    assert pgadmin(desk).servers() == {made["id"]: before}
    leave(desk, LEAVING[0])
    assert pgadmin(desk).servers() == {made["id"]: before}


# --- never weaker ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("made", "require", "verify-full"), ("made", "verify-ca", "disable"),
        ("adopted", "require", "verify-ca"), ("adopted", "verify-full", "nonsense"),
        ("followed", "verify-full", "prefer"), ("followed", "require", None),
    ],
)  # fmt: skip
def test_a_stricter_mode_stays(desk: Desk, kind: str, ours: str, theirs: str | None) -> None:
    """Of the person's mode and ours the stricter one holds, in every kind of server."""
    desk.configure(SHOP + f'sslmode = "{ours}"\n' + CLIENTS)
    parameters = {"sslmode": theirs} if theirs is not None else {}
    number = 1
    if kind == "adopted":
        by_hand(desk, connection_params=json.dumps(parameters))
    elif kind == "followed":
        own_service(desk, connection_params=json.dumps(parameters))
    assert desk.run("check", "--adopt").code == 0
    if kind == "made":
        pgadmin(desk).ask(
            "UPDATE server SET connection_params = ?",
            json.dumps(parameters | {"connect_timeout": 10}),
        )
        assert desk.run("check").code == 0
    held = json.loads(row(desk, number)["connection_params"])["sslmode"]
    assert held == strictest(ours, theirs)


@pytest.mark.parametrize(
    "parameters",
    [
        {"sslmode": "verify-full", "sslrootcert": "system"},
        {"sslrootcert": "system"},
        {"sslmode": "verify-full", "sslrootcert": "/mine/root.crt"},
    ],
    ids=str,
)
def test_certificates_are_checked_as_before(desk: Desk, parameters: dict[str, str]) -> None:
    """An adopted server that checked its server's certificate goes on checking it."""
    number = by_hand(desk, connection_params=json.dumps(parameters))
    before = row(desk, number)
    assert desk.run("check", "--adopt").code == 0
    adopted = json.loads(row(desk, number)["connection_params"])
    assert adopted == adopted | parameters | {"sslmode": "verify-full"}
    leave(desk, LEAVING[0])
    assert row(desk, number) == before


# --- rollback ----------------------------------------------------------------------------------


@pytest.mark.parametrize("edited", [0, 1])
def test_the_strictest_of_several_servers_counts(desk: Desk, edited: int) -> None:
    """Of several servers of one database each may be made stricter, and that is verified at once."""
    numbers = [by_hand(desk, name=name) for name in ("One", "Two")]
    assert desk.run("check", "--adopt").code == 0
    strict = json.dumps({"sslmode": "verify-full", "connect_timeout": 10})
    pgadmin(desk).ask(
        "UPDATE server SET connection_params = ? WHERE id = ?", strict, numbers[edited]
    )
    assert desk.run("check").code == 0
    desk.prober.outcome = Outcome.TLS_REFUSED
    result = desk.run("check")
    assert result.code == 1
    assert "pgAdmin demands sslmode=verify-full" in result.err
    assert row(desk, numbers[edited])["connection_params"] == strict


def test_the_other_kind_of_rows_takes_over(desk: Desk) -> None:
    """Servers that are as pgherald left them are kept where the configuration wants the other kind."""
    user = pgadmin(desk).ask("SELECT email FROM user")[0][0]
    kinds = [f'user = "{user}"\nrows = "{kind}"\n' for kind in ("service", "host", "service")]
    for kind in kinds:
        desk.configure(SHOP + CLIENTS + kind)
        assert desk.run("check").code == 0
        desk.rename()
        assert desk.run("check").code == 0
        ((number, server),) = pgadmin(desk).servers().items()
        assert server["maintenance_db"] == desk.login().dbname
        assert server["service"] == (SERVICE if "service" in kind else None)
        assert server["username"] == (None if "service" in kind else desk.login().user)
        assert number == 1
    result = desk.run("uninstall", "--yes")
    assert pgadmin(desk).servers() == {}
    assert "Done: 3 clients changed" in result.out
    assert "CANARY" not in "".join(
        path.read_text() for path in desk.folder.glob("storage/**/*") if path.is_file()
    )


@pytest.mark.parametrize("column", ["bgcolor", "tags"])
def test_a_rollback_leaves_a_server_that_was_edited(desk: Desk, column: str) -> None:
    """A server into which the person has put something is left alone and named."""
    assert desk.run("check").code == 0
    pgadmin(desk).ask(f"UPDATE server SET {column} = 'mine'")  # the test's names
    result = desk.run("rollback")
    assert result.code == 1
    assert "pgadmin4.db was changed since" in result.err
    assert ours(desk)[0][column] == "mine"


def test_a_rollback_of_an_adoption(desk: Desk) -> None:
    """The server is the person's again, whatever is done after it."""
    assert desk.run("check").code == 0
    number = by_hand(desk)
    before = row(desk, number)
    assert desk.run("check", "--adopt").code == 0
    assert desk.run("rollback").code == 0
    assert row(desk, number) == before
    assert desk.run("check").code == 0
    assert row(desk, number) == before
    leave(desk, LEAVING[0])
    assert pgadmin(desk).servers() == {number: before}


# --- records that cannot be read ---------------------------------------------------------------


def _as_file(folder: Path) -> None:
    folder.write_text("somebody's")


def _as_loop(folder: Path) -> None:
    folder.mkdir()
    target = Database(folder.parents[1] / "pgadmin4.db").path
    name = Ownership(Files(folder), folder).path(target.resolve()).name
    (folder / name).symlink_to(name)


@pytest.mark.parametrize("deed", [_as_file, _as_loop])
def test_what_lies_where_records_belong_is_set_aside(
    desk: Desk, deed: Callable[[Path], None]
) -> None:
    """A file in the place of the folder, or a link to itself in that of a record, costs nothing."""
    assert desk.run("check").code == 0
    folder = desk.folder / "state" / "ownership"
    Files(desk.folder / "locks").remove_own_tree(folder, within=folder.parent)
    deed(folder)
    assert desk.run("check").code == 0
    assert [*folder.glob("*.json")]
    leave(desk, LEAVING[0])
    assert ours(desk) == []


def test_a_copy_that_is_held_is_no_lost_copy(desk: Desk) -> None:
    """While somebody holds the state file, nobody's server is taken for anybody's."""
    assert desk.run("check").code == 0
    state = desk.folder / "state"
    Files(desk.folder / "locks").remove_own_tree(state / "ownership", within=state)
    desk.rotate()
    with closing(sqlite3.connect(state / "state.db", isolation_level=None)) as somebody:
        somebody.execute("BEGIN EXCLUSIVE")
        held = desk.run("check")
    assert "its record is lost" in held.err
    assert held.code == 1
    assert desk.run("check").code == 0
    leave(desk, LEAVING[0])
    assert ours(desk) == []


# --- a state of pgherald 0.1 -------------------------------------------------------------------


def older(desk: Desk) -> None:
    """Let the state be as pgherald 0.1 leaves it: by number and service, and in state.db alone."""
    state = desk.folder / "state"
    files = Files(desk.folder / "locks")
    with Store.open(state / "state.db", files) as store:
        (path,), (text,) = zip(*store.known_rows().items(), strict=True)
        known = json.loads(text)
        for key, rows in known["rows"].items():
            known["rows"][key] = [
                {name: each[name] for name in ("id", "mark", "made", "name", "group")}
                for each in rows
            ]
        store.keep_rows(path, json.dumps({name: known[name] for name in ("database", "rows")}))
    files.remove_own_tree(state / "ownership", within=state)


@pytest.mark.parametrize("first", [["check"], []])
def test_a_server_that_0_1_made_is_known(desk: Desk, first: list[str]) -> None:
    """One that is exactly as pgherald makes it goes with it; one that was changed stays."""
    for bgcolor, left in ((None, 0), ("#00f", 1)):
        assert desk.run("check", "--recreate").code == 0
        older(desk)
        pgadmin(desk).ask("UPDATE server SET bgcolor = ?", bgcolor)
        for command in first:
            assert desk.run(command).code == 0
        leave(desk, LEAVING[0])
        assert len(pgadmin(desk).servers()) == left


def test_a_server_that_0_1_took_for_its_own(desk: Desk) -> None:
    """What a daemon of 0.1 recorded as made, and a person had made, is given back."""
    number = by_hand(desk)
    before = row(desk, number)
    assert desk.run("check", "--adopt").code == 0
    older(desk)
    with Store.open(desk.folder / "state" / "state.db", Files(desk.folder / "locks")) as store:
        ((path, text),) = store.known_rows().items()
        store.keep_rows(path, text.replace('"made": false', '"made": true'))
    assert desk.run("check").code == 0
    leave(desk, LEAVING[0])
    assert row(desk, number) == before
