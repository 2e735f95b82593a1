"""What would have to be written, compared without writing."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from pgherald.clients.base import Action, Change
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry
from pgherald.secret import Secret
from pgherald.sync.plan import Plan, in_words, make_plan
from pgherald.sync.targets import FileTarget
from support.household import database, login

SHOP, BLOG, NEW = database("shop"), database("blog"), database("new")


class Desk:
    """Three clients in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = Files(folder / "locks")
        self.clients = (
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


def test_planning_writes_nothing(desk: Desk) -> None:
    """A plan is made by reading alone."""
    desk.plan(Entry(SHOP, login()))
    assert [path for path in desk.folder.iterdir() if path.is_file()] == []


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


def test_what_is_new_or_goes_is_not_in_between(desk: Desk) -> None:
    """One that no client holds yet hides no other that has two logins; one that goes is gone."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1)), Entry(BLOG, login(3))))
    plan = desk.plan(Entry(NEW, login(4)), Entry(SHOP, login(2)), remove=[BLOG.key])
    way = plan.files[0].expand
    assert way is not None
    users = [line.split(b":")[3] for line in way.splitlines() if b"CANARY" in line]
    assert sorted(users) == [b"u1", b"u2", b"u4"]


def test_what_leads_to_any_port_is_kept_readable_at_its_own(desk: Desk) -> None:
    """Somebody may have widened our line; the login that goes is that of the old port."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    path = desk.folder / "pgpass"
    path.write_bytes(path.read_bytes().replace(b":5432:", b":*:"))
    way = desk.plan(Entry(SHOP, login(2))).files[0].expand
    assert way is not None
    assert b"db.example.com:5432:*:u1:CANARY-1-password" in way


def test_what_says_most_of_a_login_is_what_is_held(desk: Desk) -> None:
    """A server in pgAdmin names a service only; a file names host and user, whichever comes first."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    for order in (desk.clients, desk.clients[::-1]):
        held = make_plan(desk.files, order, [Entry(SHOP, login(1))]).held[SHOP.key]
        assert (held.host, held.user) == ("db.example.com", "u1")


def test_a_new_password_alone_needs_no_step_between(desk: Desk) -> None:
    """Where host, port and user stay, no line could hold both passwords."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    other = login(1, password=Secret("CANARY-other"))
    assert [file.expand for file in desk.plan(Entry(SHOP, other)).files] == [None, None, None]


def test_a_broken_client_hinders_no_other(desk: Desk) -> None:
    """A file that cannot be understood is named, with its path, and the others are planned."""
    (desk.folder / "servers.json").write_text("{ not json")
    plan = desk.plan(Entry(SHOP, login()))
    ((client, error),) = plan.failed
    assert client.label == "servers.json"
    assert error.path == desk.folder / "servers.json"
    assert len(plan.files) == 2


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


def test_a_password_is_seen_to_change_and_is_not_seen(desk: Desk) -> None:
    """A diff compares the real lines and shows them redacted."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    plan = desk.plan(Entry(SHOP, login(1, password=Secret("CANARY-other"))))
    lines = list(plan.files[0].diff())
    assert "-db.example.com:5432:*:u1:••••••" in lines
    assert "+db.example.com:5432:*:u1:••••••" in lines
    assert not any("CANARY" in line for line in lines)


def test_changes_in_words() -> None:
    """A change names its database, and its fields where an entry was there before."""
    assert in_words(Change(SHOP.key, Action.ADD, ("user",))) == "add shop/DATABASE"
    update = Change(SHOP.key, Action.UPDATE, ("user", "password"))
    assert in_words(update) == "update shop/DATABASE (user, password)"


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


def test_a_line_for_any_user_is_no_login_to_keep(desk: Desk) -> None:
    """Our line that somebody widened is replaced, and nothing of it is kept readable."""
    desk.carry_out(desk.plan(Entry(SHOP, login(1))))
    path = desk.folder / "pgpass"
    right = path.read_bytes()
    for old, new in ((b":u1:", b":*:"), (b"db.example.com:", b"*:")):
        path.write_bytes(right.replace(old, new))
        pgpass, *_ = desk.plan(Entry(SHOP, login(1))).files
        assert (pgpass.expand, pgpass.edit.new) == (None, right)


def test_a_target_that_is_not_there_and_need_not_be_is_absent(desk: Desk) -> None:
    """One in which something is wanted, or was, is not."""
    assert all(file.absent and file.idle for file in desk.plan().files)
    plan = desk.plan(Entry(SHOP, login()))
    assert not any(file.absent or file.idle for file in plan.files)
    desk.carry_out(plan)
    gone = desk.plan(remove=[SHOP.key])
    assert not any(file.absent for file in gone.files)
