"""What would have to be written, compared without writing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry
from pgherald.secret import Secret
from pgherald.sync.plan import Plan, make_plan
from pgherald.sync.targets import FileTarget
from support.household import database, login

SHOP, BLOG, NEW = database("shop"), database("blog"), database("new")


class Desk:
    """Three clients in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files(folder / "locks")
        self.clients: tuple[FileTarget, ...] = (
            FileTarget(Pgpass(), folder / "pgpass", "psql"),
            FileTarget(ServiceFile(), folder / "services", "service file"),
            FileTarget(ServersJson(), folder / "servers.json", "servers.json"),
        )

    def plan(self, *entries: Entry, remove: Collection[DatabaseKey] = ()) -> Plan:
        return make_plan(self.files, self.clients, entries, remove=remove)

    def carry_out(self, plan: Plan) -> None:
        for file in plan.files:
            file.client.path.write_bytes(file.edit.new)
            file.client.path.chmod(0o600)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_carried_out_plan_leaves_nothing_to_do(desk: Desk) -> None:
    """Planning again after the writing finds nothing."""
    entries = Entry(SHOP, login(1)), Entry(BLOG, login(2))
    plan = desk.plan(*entries)
    assert plan.keys == {SHOP.key, BLOG.key}
    assert not plan.idle
    desk.carry_out(plan)
    again = desk.plan(*entries)
    assert again.idle
    assert again.keys == frozenset()


@pytest.mark.parametrize("unknown", ["cannot be read", "is left out"])
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (b"[shop]\nhost=mine\n", "shop-heroku"),
        (b"[shop]\nhost=mine\n[shop-heroku]\nhost=mine\n", "shop-heroku-2"),
    ],
)
def test_a_name_is_kept_while_nobody_knows_the_sections(
    desk: Desk, unknown: str, theirs: bytes, ours: str
) -> None:
    """A server that names our section is not led to the person's while the service file is away."""
    services = desk.clients[1].path
    services.write_bytes(theirs)
    plan = desk.plan(Entry(SHOP, login()))
    assert plan.services == {SHOP.key: ours}
    desk.carry_out(plan)
    if unknown == "is left out":
        desk.clients = (desk.clients[0], desk.clients[2])
    else:
        services.write_bytes(b"\0")
    plan = desk.plan(Entry(SHOP, login()))
    assert [file.edit.changes for file in plan.files] == [(), ()]


def test_others_see_both_logins_on_the_way(desk: Desk) -> None:
    """When user or host change, a step between keeps the old login readable beside the new."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    pgpass, services, _ = desk.plan(Entry(SHOP, login(2))).files
    assert pgpass.expand is not None
    assert b"CANARY-1-password" in pgpass.expand
    assert b"CANARY-2-password" in pgpass.expand
    assert b"CANARY-1-password" not in pgpass.edit.new
    assert services.expand is None
    assert "CANARY" not in repr(pgpass)


def test_a_new_password_alone_needs_no_step_between(desk: Desk) -> None:
    """Where host, port and user stay, no line could hold both passwords."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    other = login(1, password=Secret("CANARY-other"))
    assert [file.expand for file in desk.plan(Entry(SHOP, other)).files] == [None, None, None]


def test_a_login_without_a_form_hinders_no_other(desk: Desk) -> None:
    """A login that a format cannot hold is named for that client; all else is planned."""
    bad = login(1, password=Secret("CANARY at its end "))
    plan = desk.plan(Entry(SHOP, bad), Entry(BLOG, login(2)))
    assert [(client.label, key) for client, key, _ in plan.refused] == [("service file", SHOP.key)]
    _, services, _ = plan.files
    assert services.keys == {BLOG.key}


def test_a_loose_mode_is_something_to_do(desk: Desk) -> None:
    """A file with passwords that others may read is not idle, though its text is right."""
    entry = Entry(SHOP, login())
    desk.carry_out(desk.plan(entry))
    (desk.folder / "pgpass").chmod(0o640)
    (desk.folder / "servers.json").chmod(0o644)
    plan = desk.plan(entry)
    assert [file.loose for file in plan.files] == [True, False, False]
    assert not plan.idle
    assert plan.keys == frozenset()


@pytest.mark.parametrize(
    ("changes", "both"),
    [({"host": "new"}, True), ({"port": 6543}, True), ({"dbname": "d9"}, False)],
)
def test_when_both_logins_are_readable_on_the_way(
    desk: Desk, changes: dict[str, object], *, both: bool
) -> None:
    """Where host, port or user change, and nowhere else."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    pgpass, *_ = desk.plan(Entry(SHOP, login(1, **changes))).files
    assert (pgpass.expand is not None) is both
