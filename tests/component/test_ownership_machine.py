"""Whose a server in pgAdmin is, against anything that may happen, in any order.

A hypothesis state machine on the real schema: the person makes, edits, copies and deletes
servers, and numbers come back; a daemon that has long been running sweeps; beside it servers are
checked, adopted, pruned, rolled back and uninstalled; Heroku rotates logins and renames the
database; pgherald is killed at any change of the disk; its state is lost, in part or whole.

What always holds: every server of the person's is there, with its own values; one that was
adopted has its own login again once pgherald has let go of it; and what pgherald surely made is
gone by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pgherald.config import Config, loads
from pgherald.daemon import uninstall
from pgherald.errors import PgheraldError
from pgherald.files import Files
from pgherald.model import Entry, Login, strictest
from pgherald.store import BackgroundStore
from pgherald.sync import targets
from pgherald.sync.alerts import Alerts
from pgherald.sync.apply import Applier
from pgherald.sync.plan import Plan
from pgherald.sync.recorder import Recorder
from pgherald.sync.targets import Wishes, clients_of
from pgherald.sync.tracked import VerifiedLogin
from pgherald.sync.transaction import Transactions
from support.disks import Died, MortalDisk, moments
from support.fake_clock import FakeClock
from support.household import database, login
from support.pgadmin_database import Database

#: Machines, each with its own seed, and how many examples each tries; with `--soak`, how many.
MACHINES: Final = 2
EXAMPLES: Final = 10
SOAKED: Final = 1_000

SHOP = database("shop")

CONFIG = """
state_dir = "state"
[[databases]]
app = "shop"
[clients.service_file]
path = "pg_service.conf"
[clients.pgadmin]
path = "pgadmin4.db"
"""

#: Columns that are never pgherald's affair.
THEIRS: Final = ("name", "servergroup_id", "bgcolor", "comment", "role", "tags", "user_id")

#: What an edit puts in.
EDITS: Final = (
    ("name", "Renamed"),
    ("bgcolor", "#00ff00"),
    ("comment", "my notes"),
    ("role", "reader"),
    ("servergroup_id", 1),
)


#: What a person makes: a server with a login, which can be adopted; one through a tunnel; one of
#: another database; one that names our section and leads elsewhere, or signs in by itself; one
#: that lives by our section.
KINDS: Final = ("host", "tunnel", "local", "elsewhere", "reader", "copy")

#: At which change of the disk the machine fails; mostly at none.
KILLED: Final = st.one_of(st.none(), st.none(), st.integers(1, 70))


class Clock(FakeClock):
    """A clock for somebody who never waits."""

    async def sleep(self, seconds: float) -> None:
        """Let others run, and that is all."""
        await asyncio.sleep(0)


class Disk(MortalDisk):
    """A mortal disk on which SQLite does not wait either."""

    def sqlite_open(self, path: Path, timeout: float) -> sqlite3.Connection:
        """Open it for speed."""
        connection = super().sqlite_open(path, timeout)
        connection.execute("PRAGMA synchronous = OFF")
        return connection


@dataclass
class Mine:
    """A server of the person's.

    Attributes:
        kind: one of `KINDS`.
        row: what it holds, had pgherald never been there; edits are in it.
        typed: a password was saved in it, so it holds that one or its own.
        lost: what it held before it was adopted is lost.
    """

    kind: str
    row: dict[str, Any]
    typed: bool = False
    lost: bool = False

    def edit(self, column: str, value: object) -> None:
        """The person puts something into it."""
        self.row = self.row | {column: value}


class Process:
    """One pgherald: what it read at its start it goes on with."""

    def __init__(self, world: World, stack: contextlib.ExitStack, wishes: Wishes) -> None:
        files = world.files
        self._clock = world.clock
        files.private_folder(world.state)
        self.committer = Transactions(files, world.state / "commits", world.clock)
        self.committer.recover()
        store = stack.enter_context(BackgroundStore.open(world.state / "state.db", files))
        store.submit(lambda file: file._db.execute("PRAGMA synchronous = OFF"))
        clients = clients_of(world.config, files, wishes)
        recorder = Recorder(
            clients=clients,
            committer=self.committer,
            store=store,
            clock=world.clock,
            tell=lambda _: None,
        )
        self.applier = Applier(
            clients=clients,
            files=files,
            committer=self.committer,
            recorder=recorder,
            store=store,
            clock=world.clock,
            alerts=Alerts(store, world.clock, lambda _: None),
        )

    async def sweep(self, shown: Login) -> None:
        """Heroku shows a login, and it is written where it has to be."""
        entry = Entry(SHOP, shown)
        plan = await self.applier.plan([entry])
        await self.applier.note_clients(plan)
        if not plan.idle:
            await self.applier.apply(
                [VerifiedLogin(entry, self._clock.now(), 7, self._clock.now())]
            )


class World:
    """One home, its state folder, and what is outside.

    Attributes:
        login: what Heroku shows.
        names: every name that the database ever had.
    """

    def __init__(self, template: Path) -> None:
        memory = Path("/dev/shm")  # noqa: S108 – Linux has no disk behind it, and is quicker by half
        place = memory if memory.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="pgherald-test-", dir=place))
        self.state = self.folder / "state"
        shutil.copy(template, self.folder / "pgadmin4.db")
        self.pgadmin = Database(self.folder / "pgadmin4.db")
        self.config: Config = loads(CONFIG, self.folder / "config.toml", {})
        self.clock = Clock()
        self.disk = Disk()
        self.files = Files(self.state / "locks", self.disk)
        self.login = login(1)
        self.names = [self.login.dbname]

    def restarted(self) -> None:
        """The machine works again."""
        self.disk.left = None
        self.files = Files(self.state / "locks", self.disk)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration database without servers."""
    return Database.made(tmp_path_factory.mktemp("pgadmin") / "pgadmin4.db").path


class Ownership(RuleBasedStateMachine):
    """See the module."""

    template: Path

    @initialize()
    def begins(self) -> None:
        """A pgAdmin that was started once, and a daemon."""
        self.loop = asyncio.new_event_loop()
        self.world = World(self.template)
        self.mine: dict[int, Mine] = {}
        #: Servers that pgherald made and the person changed, with the changes.
        self.edited: dict[int, dict[str, Any]] = {}
        #: Servers that pgherald made before all of its records were lost.
        self.unproven: set[int] = set()
        #: Numbers of adopted servers that were deleted.
        self.freed: set[int] = set()
        self.survived = True
        self.number = 1
        self.start()

    # --- processes ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the daemon."""
        self.stack = contextlib.ExitStack()
        self.daemon = Process(self.world, self.stack, Wishes())

    def stop(self) -> None:
        """Stop it."""
        self.stack.close()

    def dies(self, at: int | None, work: Callable[[], None]) -> bool:
        """Do something, unless the machine fails at that change of the disk; whether it did."""
        self.world.disk.left, self.survived = at, True
        try:
            work()
        except Died:
            self.survived = False
            self.world.disk.left = 0  # whatever it still tries to tidy up, it is dead
            with contextlib.suppress(Died, PgheraldError):
                self.stop()
            self.world.restarted()
            self.start()
            return False
        finally:
            self.world.disk.left = None
        return True

    def beside(self, wishes: Wishes) -> Iterator[Process]:
        """Another process, beside the daemon."""
        with contextlib.ExitStack() as stack:
            yield Process(self.world, stack, wishes)

    def sweep(self, process: Process) -> None:
        """One process sweeps."""
        self.loop.run_until_complete(process.sweep(self.world.login))

    # --- what pgherald does --------------------------------------------------------------------

    @rule(at=KILLED)
    def daemon_sweeps(self, at: int | None) -> None:
        """The daemon, which goes on with what it has in its memory."""
        self.dies(at, lambda: self.sweep(self.daemon))

    @rule(adopt=st.booleans(), recreate=st.booleans(), at=KILLED)
    def checks(self, *, adopt: bool, recreate: bool, at: int | None) -> None:
        """`pgherald check`, with and without its wishes, beside the daemon."""

        def check() -> None:
            for process in self.beside(Wishes(adopt, recreate)):
                self.sweep(process)

        self.dies(at, check)

    @rule(at=KILLED)
    def prunes(self, at: int | None) -> None:
        """`pgherald check --prune`, with the database taken out of the configuration."""

        def prune() -> None:
            for process in self.beside(Wishes()):
                self.loop.run_until_complete(process.applier.remove([SHOP.key]))

        if self.dies(at, prune):
            self.is_let_go()

    @rule(back=st.integers(0, 2), at=KILLED)
    def rolls_back(self, back: int, at: int | None) -> None:
        """`pgherald rollback` of one of the latest commits; the daemon has to be stopped for it."""
        self.stop()

        def roll_back() -> None:
            commits = self.daemon.committer.history()
            if back < len(commits):
                self.daemon.committer.rollback(commits[back].id)

        if self.dies(at, roll_back):
            self.start()

    @rule(restore=st.booleans(), at=KILLED)
    def is_uninstalled(self, *, restore: bool, at: int | None) -> None:
        """`pgherald uninstall`; then it is installed anew."""
        self.stop()

        def work() -> None:
            uninstall.uninstall(self.world.config, self.world.clock, restore=restore)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(uninstall, "files_of", lambda _: self.world.files)
            done = self.dies(at, work)
        if done:
            self.is_let_go()
            self.start()

    # --- what the person does ------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), mode=st.sampled_from([None, "prefer", "verify-full"]))
    def makes(self, kind: str, mode: str | None) -> None:
        """A server, in pgAdmin's dialog, by copying one, or by importing servers.json."""
        login, name = self.world.login, self.world.login.dbname
        row: dict[str, Any] = {
            "user_id": 1, "servergroup_id": 1, "name": kind, "maintenance_db": name, "db_res": name,
            "connection_params": json.dumps({"sslmode": mode} if mode else {"connect_timeout": 5}),
            "tags": "[]", "shared": 0,
        }  # fmt: skip
        host = {"host": login.host, "port": login.port, "username": login.user,
                "password": "CANARY-saved", "save_password": 1}  # fmt: skip
        if kind in ("host", "tunnel", "local"):
            row |= host
        else:
            row |= {"service": SHOP.service}
        if kind == "tunnel":
            row |= {"use_ssh_tunnel": 1, "tunnel_host": "bastion", "tunnel_port": "22"}
        elif kind == "local":
            row |= {"host": "localhost", "maintenance_db": "postgres", "db_res": None}
        elif kind == "elsewhere":
            row |= {"maintenance_db": "shop_dev", "db_res": "shop_dev"}
        elif kind == "reader":
            row |= {"username": "reader"}
        number = self.world.pgadmin.insert(row)
        found = self.rows()[number]
        self.edited.pop(number, None)
        self.unproven.discard(number)
        # A copy that has come to the number of an adopted server cannot be told from it.
        self.mine[number] = Mine(kind, found, lost=number in self.freed and kind == "copy")

    @precondition(lambda self: self.rows())
    @rule(pick=st.integers(0, 9), edit=st.sampled_from(EDITS))
    def edits(self, pick: int, edit: tuple[str, object]) -> None:
        """A server, whoever made it."""
        number, column, value = self.one(pick), *edit
        if self.rows()[number][column] == value:
            return
        self.world.pgadmin.ask(
            f"UPDATE server SET {column} = ? WHERE id = ?", value, number
        )  # the test's names
        if number in self.mine:
            self.mine[number].edit(column, value)
        else:
            self.edited.setdefault(number, {})[column] = value

    @precondition(lambda self: self.rows())
    @rule(pick=st.integers(0, 9))
    def saves_a_password(self, pick: int) -> None:
        """At pgAdmin's prompt, whoever made the server."""
        number = self.one(pick)
        self.world.pgadmin.ask(
            "UPDATE server SET password = 'CANARY-typed', save_password = 1 WHERE id = ?", number
        )
        if number in self.mine:
            self.mine[number].typed = True

    @precondition(lambda self: self.rows())
    @rule(pick=st.integers(0, 9), reset=st.booleans())
    def deletes(self, pick: int, *, reset: bool) -> None:
        """A server; a newer pgAdmin may give its number away again."""
        number = self.one(pick)
        mine = self.mine.pop(number, None)
        if mine is not None and self.is_adopted(mine, self.rows()[number]):
            self.freed.add(number)
        self.edited.pop(number, None)
        self.unproven.discard(number)
        self.world.pgadmin.ask("DELETE FROM server WHERE id = ?", number)
        if reset:
            self.world.pgadmin.ask(
                "UPDATE sqlite_sequence SET seq = (SELECT coalesce(max(id), 0) FROM server)"
                " WHERE name = 'server'"
            )

    # --- what happens --------------------------------------------------------------------------

    @rule(renamed=st.booleans())
    def rotates(self, *, renamed: bool) -> None:
        """Heroku shows a new login, perhaps with a new name of the database."""
        self.number += 1
        changes = {"dbname": f"d{self.number}"} if renamed else {"dbname": self.world.login.dbname}
        self.world.login = login(self.number, **changes)
        self.world.names.append(self.world.login.dbname)

    @rule()
    def state_file_is_lost(self) -> None:
        """The state file; what is recorded beside it is enough."""
        self.stop()
        (self.world.state / "state.db").unlink()
        self.start()

    @rule(name=st.sampled_from(["ownership", None]))
    def more_is_lost(self, name: str | None) -> None:
        """The records, whose copy may be old; or the whole state folder."""
        self.stop()
        shutil.rmtree(self.world.state / name if name else self.world.state, ignore_errors=True)
        rows = self.rows()
        self.unproven |= rows.keys() - self.mine.keys()
        for number, mine in self.mine.items():
            mine.lost |= self.is_adopted(mine, rows[number])
        self.start()

    # --- what always holds ---------------------------------------------------------------------

    def rows(self) -> dict[int, dict[str, Any]]:
        """All servers."""
        return self.world.pgadmin.servers()

    def one(self, pick: int) -> int:
        """One of them."""
        numbers = sorted(self.rows())
        return numbers[pick % len(numbers)]

    @invariant()
    def what_is_the_persons_is_there(self) -> None:
        """With all that pgherald never writes; and only an adopted one without its login."""
        if not hasattr(self, "world"):
            return
        rows = self.rows()
        for number, mine in self.mine.items():
            assert number in rows, f"{mine.row['name']} is gone"
            row = rows[number]
            assert {name: row[name] for name in THEIRS} == {name: mine.row[name] for name in THEIRS}
            if not self.is_adopted(mine, row):
                self.is_as_it_was(mine, row)
        for number, changes in self.edited.items():
            assert number in rows, "a server of ours is gone, with what the person put into it"
            assert {name: rows[number][name] for name in changes} == changes

    def is_let_go(self) -> None:
        """Pgherald has let go of all: what it surely made is gone, all else as it was."""
        rows = self.rows()
        for number, mine in self.mine.items():
            if not mine.lost:
                self.is_as_it_was(mine, rows[number])
        left = rows.keys() - self.mine.keys() - self.edited.keys() - self.unproven
        assert not left, f"{[rows[number]['name'] for number in left]} stayed"

    def is_adopted(self, mine: Mine, row: dict[str, Any]) -> bool:
        """Whether a server that had a login lives by our section."""
        return mine.kind == "host" and row["service"] == SHOP.service

    def is_as_it_was(self, mine: Mine, row: dict[str, Any]) -> None:
        """The server holds what the person has put into it, but for what it lives by."""
        if mine.lost:
            return
        was, now = dict(mine.row), dict(row)
        was["connection_params"], now["connection_params"] = (
            json.loads(each["connection_params"]) for each in (was, now)
        )
        if mine.typed:
            assert now.pop("password") in (was.pop("password"), "CANARY-typed", None)
            assert now.pop("save_password") in (was.pop("save_password"), 1, 0)
        if mine.kind == "copy":
            assert now.pop("maintenance_db") in self.world.names
            assert now.pop("db_res") in self.world.names
            del was["maintenance_db"], was["db_res"]
            mode = was["connection_params"].pop("sslmode", None)
            assert now["connection_params"].pop("sslmode", None) in (
                mode,
                strictest("require", mode),
            )
        assert now == was

    def teardown(self) -> None:
        """Let pgherald go in the end, and see what is left."""
        if not hasattr(self, "world"):
            return
        try:
            if self.daemon is not None:
                self.is_uninstalled(restore=False, at=None)
        finally:
            self.stop()
            self.loop.close()
            shutil.rmtree(self.world.folder)


@pytest.mark.parametrize("when", ["before it is staged", "before it is written"])
def test_an_adoption_between_plan_and_commit(
    template: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A commit that was planned before another process adopted a server is planned anew."""
    monkeypatch.setattr(targets, "program_version", lambda *_: None)
    state = type("Ownership", (Ownership,), {"template": template})()
    state.begins()
    before, adopted = state.world.login, list[dict[str, Any]]()
    apply, commit = Applier._commit, Transactions.commit

    def adopt() -> None:
        if not adopted:
            adopted.append({})
            for process in state.beside(Wishes(adopt=True)):
                asyncio.run(process.sweep(before))
            adopted.extend(row for row in state.rows().values() if row["name"] == "host")

    async def late_to_stage(self: Applier, plan: Plan, cleared: Sequence[VerifiedLogin]) -> None:
        await asyncio.to_thread(adopt)
        await apply(self, plan, cleared)

    def late_to_write(self: Transactions, *args: Any, **more: Any) -> object:
        adopt()
        return commit(self, *args, **more)

    try:
        state.daemon_sweeps(at=None)
        state.edits(0, ("bgcolor", "#00ff00"))  # or it would make room for the adopted one
        state.makes("host", None)
        state.rotates(renamed=True)
        if when == "before it is staged":
            monkeypatch.setattr(Applier, "_commit", late_to_stage)
        else:
            monkeypatch.setattr(Transactions, "commit", late_to_write)
        state.daemon_sweeps(at=None)
        assert adopted[1]["service"] == SHOP.service
        assert {row["maintenance_db"] for row in state.rows().values()} == {"d2"}
        state.what_is_the_persons_is_there()
    finally:
        state.teardown()


@pytest.mark.parametrize("doing", ["adopts", "prunes"])
def test_a_kill_at_each_change(template: Path, monkeypatch: pytest.MonkeyPatch, doing: str) -> None:
    """Rows and record agree after a kill at any change of the disk: nothing is lost or left."""
    monkeypatch.setattr(targets, "program_version", lambda *_: None)
    for at in moments(0, 5):
        state = type("Ownership", (Ownership,), {"template": template})()
        state.begins()
        try:
            state.checks(adopt=False, recreate=False, at=None)
            state.makes("host", None)
            state.makes("copy", "verify-full")
            if doing == "adopts":
                state.checks(adopt=True, recreate=False, at=at)
            else:
                state.checks(adopt=True, recreate=False, at=None)
                state.prunes(at=at)
            state.what_is_the_persons_is_there()
            survived = state.survived
        finally:
            state.teardown()
        if survived:
            break
    assert at > 30, "hardly anything was tried"


def test_a_number_that_was_taken_before_the_recovery(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed commit could not make any more is not recorded as made, but made anew."""
    monkeypatch.setattr(targets, "program_version", lambda *_: None)
    taken = 0
    for at in moments(0, 5):
        world, loop = World(template), asyncio.new_event_loop()
        try:
            with contextlib.ExitStack() as stack, contextlib.suppress(Died):
                process = Process(world, stack, Wishes())
                world.disk.left = at
                loop.run_until_complete(process.sweep(world.login))
            survived = world.disk.left is not None and world.disk.left > 0
            world.restarted()
            world.pgadmin.insert(
                {"user_id": 1, "servergroup_id": 1, "name": "Mine", "service": "shop",
                 "maintenance_db": world.login.dbname, "connection_params": "{}", "username": "me"}
            )  # fmt: skip
            taken += world.pgadmin.ask("SELECT name FROM server WHERE id = 1") == [("Mine",)]
            with contextlib.ExitStack() as stack:
                loop.run_until_complete(Process(world, stack, Wishes()).sweep(world.login))
            names = sorted(row["name"] for row in world.pgadmin.servers().values())
            assert names == ["Mine", "Shop"]
        finally:
            loop.close()
            shutil.rmtree(world.folder)
        if survived:
            break
    assert taken > 2, "hardly anything was tried"


@pytest.mark.timeout(1800)  # of a busy machine, and with `--soak` of any
@pytest.mark.parametrize("number", range(MACHINES))
def test_whose_a_server_is(
    template: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, number: int
) -> None:
    """See the module."""
    # Which pgAdmin is installed is nothing to these rows, and takes time to find out.
    monkeypatch.setattr(targets, "program_version", lambda *_: None)
    machine = seed(number)(type("Ownership", (Ownership,), {"template": template}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SOAKED if request.config.getoption("--soak") else EXAMPLES,
            stateful_step_count=12,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
