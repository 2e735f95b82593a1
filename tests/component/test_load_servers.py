"""What the real pgAdmin makes of our servers.json: `setup.py load-servers` and its database."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pgherald.clients.servers_json import ServersJson
from pgherald.model import Database, DatabaseKey, Entry, Login
from pgherald.secret import Secret
from support.household import database, household, login
from support.pgadmin_database import Database as Config
from support.pgadmin_setup import PgAdmin, Unavailable, install

SERVICE = ServersJson()
HOST = ServersJson("host", "/.pgpass")

#: A locale without any letter outside ASCII: pgAdmin opens the file in the machine's encoding.
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

#: Names that a careless writer or reader would damage.
NAMES = (
    "Shop (production)",
    'Quo"te \\ back/slash',
    "Ünï ☃ 🐘 \u2028",
    "%HOSTNAME% {x} ${y} '; --",
    " spaces\tand\nlines ",
    "\\u0041 \\n",
)

#: Columns of pgAdmin's table that a wrong import would fill.
EMPTY = ("host", "port", "username", "service", "password", "role", "passexec_cmd", "comment")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> PgAdmin:
    """One pgAdmin for all tests here, since making its database takes seconds."""
    try:
        program = install()
    except Unavailable as exc:
        pytest.skip(str(exc))
    return PgAdmin.fresh(program, tmp_path_factory.mktemp("home"))


@pytest.fixture
def pgadmin(used: PgAdmin) -> PgAdmin:
    """A pgAdmin without servers."""
    used.forget()
    return used


def entry(name: str, number: int = 1, group: str = "Heroku") -> Entry:
    """A database of that name; its other settings follow from the number."""
    key = DatabaseKey("default", f"app-{number}", "DATABASE")
    login = Login(
        host=f"ec2-{number}.compute.example",
        port=5432 + number,
        dbname=f'd{number} "é" %s',
        user=f"u{number}'",
        password=Secret(f"CANARY-pw-{number}"),
    )
    return Entry(Database(key, name, group, service=f"service {number} ü"), login)


ENTRIES = [entry(name, number, f"Group {number % 2} é") for number, name in enumerate(NAMES)]


def rotated(old: Entry) -> Entry:
    """The same database after everything about its login has changed."""
    login = Login("new.example", 6543, "new", "new", Secret("CANARY-new"), "verify-full")
    return dataclasses.replace(old, login=login)


def row(client: ServersJson, wanted: Entry) -> dict[str, Any]:
    """The columns that pgAdmin should have stored for an entry."""
    database, login = wanted.database, wanted.login
    columns: dict[str, Any] = dict.fromkeys(EMPTY) | {
        "name": database.name,
        "group": database.group,
        "maintenance_db": login.dbname,
        "db_res": login.dbname,
        "db_res_type": "databases",
        "connection_params": {"sslmode": login.sslmode, "connect_timeout": 10},
    }
    if client.rows == "service":
        return columns | {"service": database.service}
    columns["connection_params"]["passfile"] = client.passfile
    return columns | {"host": login.host, "port": login.port, "username": login.user}


def stored(pgadmin: PgAdmin, like: dict[str, Any]) -> dict[str, Any]:
    """The row of that name, as far as it can be compared."""
    found = pgadmin.servers()[like["name"]]
    assert not found["save_password"]
    return {column: found[column] for column in like}


def write(folder: Path, content: bytes, name: str = "servers.json") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("client", [SERVICE, HOST], ids=["service rows", "host rows"])
def test_a_new_file_means_what_was_meant(
    pgadmin: PgAdmin, tmp_path: Path, client: ServersJson
) -> None:
    """Every setting arrives in pgAdmin's table as it was meant, in any locale; no password does."""
    file = write(tmp_path, client.plan(None, ENTRIES).new)
    assert pgadmin.load(file, **ASCII)[1] == len(ENTRIES)
    assert len(pgadmin.servers()) == len(ENTRIES)
    assert b"CANARY" not in pgadmin.database.read_bytes()
    for each in ENTRIES:
        wanted = row(client, each)
        assert stored(pgadmin, wanted) == wanted


def test_foreign_servers_arrive_as_before(pgadmin: PgAdmin, tmp_path: Path) -> None:
    """Ours come in beside the person's own servers, which mean what they meant without ours."""
    theirs = (
        b'{"Servers": {"7": {"Name": "Theirs", "Group": "Mine", "Host": "h", "Port": 1,\r\n'
        b'  "Username": "u", "MaintenanceDB": "m", "SSLMode": "prefer", "Comment": "caf\\u00e9"}}}'
    )
    pgadmin.load(write(tmp_path, theirs))
    alone = pgadmin.servers()["Theirs"]
    pgadmin.forget()
    file = write(tmp_path, SERVICE.plan(theirs, [entry("Ours")]).new)
    assert pgadmin.load(file)[1] == 2
    assert pgadmin.servers()["Theirs"] | {"id": 0} == alone | {"id": 0}
    assert stored(pgadmin, row(SERVICE, entry("Ours"))) == row(SERVICE, entry("Ours"))


def test_edits_of_what_pgadmin_dumped(pgadmin: PgAdmin, tmp_path: Path) -> None:
    """A file that pgAdmin wrote is edited in pgAdmin's own style, and comes back whole."""
    theirs = (
        b'{"Servers": {"1": {"Name": "T", "Group": "G", "Service": "s", "MaintenanceDB": "m"}}}'
    )
    pgadmin.load(write(tmp_path, theirs))
    dumped = tmp_path / "dumped.json"
    pgadmin.dump(dumped)
    before = pgadmin.servers()["T"]
    pgadmin.forget()

    new = HOST.plan(dumped.read_bytes(), [entry("Ours")]).new
    assert new.decode() == json.dumps(json.loads(new), indent=4)
    pgadmin.load(write(tmp_path, new))
    assert pgadmin.servers()["T"] | {"id": 0} == before | {"id": 0}
    assert stored(pgadmin, row(HOST, entry("Ours"))) == row(HOST, entry("Ours"))


@pytest.mark.parametrize("then", [HOST, SERVICE], ids=lambda c: c.rows)
def test_a_rotation_means_what_was_meant(
    pgadmin: PgAdmin, tmp_path: Path, then: ServersJson
) -> None:
    """A file edited after a rotation imports as the new login, with nothing left of the old."""
    old = HOST.plan(None, ENTRIES).new
    new = then.plan(old, [rotated(each) for each in ENTRIES]).new
    pgadmin.load(write(tmp_path, new))
    for each in ENTRIES:
        wanted = row(then, rotated(each))
        assert stored(pgadmin, wanted) == wanted


@pytest.mark.parametrize("first", ["the import", "pgherald"])
async def test_one_server_in_whatever_order_a_container_starts(
    pgadmin: PgAdmin, tmp_path: Path, first: str
) -> None:
    """Of ours and its twin from the import only that one stays, and it is kept current."""
    wanted, old = database(), login()
    file = write(tmp_path, SERVICE.plan(None, [Entry(wanted, old)]).new)
    client = Config(pgadmin.database).client(tmp_path / "state")
    if first == "the import":
        pgadmin.load(file)
    async with household(tmp_path, clients=[client]) as house:
        await house.sees((wanted, old))
        if first == "pgherald":
            pgadmin.load(file)
        await house.sees((wanted, login(2, dbname="d2")))
        rows = Config(pgadmin.database).servers()
        assert len(rows) == 1
        assert {row["maintenance_db"] for row in rows.values()} == {"d2"}
        assert {row["db_res"] for row in rows.values()} == {"d2"}
        await house.applier.remove([wanted.key])
    assert len(Config(pgadmin.database).servers()) == 1
