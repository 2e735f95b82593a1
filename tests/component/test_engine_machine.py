"""The engine against anything that may happen, in any order: a hypothesis state machine.

Real files, a real journal, a real state file. Heroku shows logins, Postgres takes or refuses
them, the person edits around our part, a client's file breaks and is mended, pgherald is killed
at any change of the disk and started again, the configuration is reloaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgherald.model import Database, Login, NewsKind
from pgherald.sync.probe import Outcome
from support.disks import Died, MortalDisk
from support.household import Household, database, household, login

DATABASES = (database("shop"), database("blog"), database("stats"))
CLIENTS = (".pgpass", ".pg_service.conf", "servers.json")
MARKS = {".pgpass": "#", ".pg_service.conf": "#"}

#: A broken file, which is nobody's: it is never written.
BROKEN = {
    ".pgpass": b"a:b:c\0d\n",
    ".pg_service.conf": b"[x]\nhost=\0\n",
    "servers.json": b"{not JSON",
}


class AnyDay(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def begins(self) -> None:
        """A home with lines of the person's own, and pgherald running."""
        self.folder = Path(tempfile.mkdtemp(prefix="pgherald-test-"))
        self.loop = asyncio.new_event_loop()
        home = self.folder / "home"
        home.mkdir()
        self.own = {name: [f"# my line 0 of {name}"] for name in MARKS}
        for name, lines in self.own.items():
            (home / name).write_text("\n".join(lines) + "\n")
        self.shown: dict[Database, Login] = {}
        self.refused: set[str] = set()
        self.broken: dict[str, bytes] = {}
        self.edges: Counter[tuple[str, NewsKind]] = Counter()
        self.number = 0
        self.start()

    # --- pgherald ------------------------------------------------------------------------

    def start(self) -> None:
        """Start pgherald; what a killed one left half done is finished."""
        self.disk = MortalDisk()
        self.stack = contextlib.AsyncExitStack()
        self.house: Household = self.loop.run_until_complete(
            self.stack.enter_async_context(household(self.folder, disk=self.disk))
        )
        self.house.prober.outcomes = {user: [Outcome.REFUSED] for user in self.refused}

    def stop(self) -> None:
        """Stop it; what it told is kept."""
        self.count_edges()
        self.loop.run_until_complete(self.stack.aclose())

    def count_edges(self) -> None:
        """Troubles and recoveries of one subject take turns, restarts included."""
        for item in self.house.news:
            if item.kind in (NewsKind.TROUBLE, NewsKind.RECOVERED):
                self.edges[item.subject, item.kind] += 1
                told = self.edges[item.subject, NewsKind.TROUBLE]
                over = self.edges[item.subject, NewsKind.RECOVERED]
                assert told - over in (0, 1), f"{item.subject}: told {told} times, over {over}"
        self.house.news.clear()

    def sweep(self) -> None:
        """Heroku shows everything; all that follows has happened, up to giving up a login."""

        async def settle() -> None:
            await self.house.sees(*self.shown.items())
            await self.house.clock.run(self.house.reconciler.settled())

        self.loop.run_until_complete(settle())

    # --- what may happen -------------------------------------------------------------------

    @rule(which=st.sampled_from(DATABASES), taken=st.booleans())
    def rotates(self, which: Database, *, taken: bool) -> None:
        """Heroku shows a new login, which Postgres takes, or never does."""
        self.number += 1
        new = login(self.number)
        if not taken:
            self.refused.add(new.user)
            self.house.prober.outcomes[new.user] = [Outcome.REFUSED]
        self.shown[which] = new
        self.sweep()

    @rule()
    def nothing_new(self) -> None:
        """A sweep that shows what was shown before writes nothing new."""
        self.sweep()
        before = self.house.texts()
        self.sweep()
        assert self.house.texts() == before

    @rule(which=st.sampled_from(DATABASES))
    def goes_back(self, which: Database) -> None:
        """Postgres takes a login that it refused before."""
        if which in self.shown and self.shown[which].user in self.refused:
            self.refused.discard(self.shown[which].user)
            del self.house.prober.outcomes[self.shown[which].user]
            self.sweep()

    @rule(name=st.sampled_from(sorted(MARKS)))
    def edits(self, name: str) -> None:
        """The person adds a line at the end of a file."""
        if name in self.broken:
            return
        path = self.house.folder / name
        line = f"# my line {len(self.own[name])} of {name}"
        self.own[name].append(line)
        text = path.read_text() if path.exists() else ""
        path.write_text(text + line + "\n")
        self.loop.call_soon(self.house.reconciler.again)
        self.sweep()

    @rule(name=st.sampled_from(CLIENTS))
    def breaks(self, name: str) -> None:
        """A file becomes something that cannot be understood."""
        path = self.house.folder / name
        if name not in self.broken:
            self.broken[name] = path.read_bytes() if path.exists() else b""
            path.write_bytes(BROKEN[name])
            self.sweep()

    @rule(name=st.sampled_from(CLIENTS))
    def is_restored(self, name: str) -> None:
        """The person restores yesterday's file from a backup."""
        if name in self.broken:
            (self.house.folder / name).write_bytes(self.broken.pop(name))
            self.sweep()

    @rule()
    def reloads(self) -> None:
        """Pgherald ends and starts again, or takes over another configuration."""
        self.stop()
        self.start()
        self.sweep()

    @precondition(lambda self: not self.broken)
    @rule(which=st.sampled_from(DATABASES), at=st.integers(1, 60))
    def is_killed(self, which: Database, at: int) -> None:
        """Pgherald is killed at some change of the disk while it writes a rotation."""
        self.number += 1
        self.shown[which] = login(self.number)
        self.disk.left = at

        async def dies() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.3):
                    await self.house.sees(*self.shown.items())

        self.loop.run_until_complete(dies())
        self.count_edges()
        self.disk.left = 0  # whatever it still tries to tidy up, it is dead
        with contextlib.suppress(Died, Exception):
            self.loop.run_until_complete(self.stack.aclose())
        self.start()
        self.agree()
        self.sweep()

    # --- what always holds -----------------------------------------------------------------

    def agree(self) -> None:
        """All clients hold one and the same login of each database."""
        for which in self.shown:
            assert len(self.house.held(which)) <= 1, which.key

    @invariant()
    def proven_logins_are_everywhere(self) -> None:
        """Each whole client holds the login that Heroku shows, if Postgres takes it; else no such."""
        if not hasattr(self, "house"):
            return
        for client in self.house.clients:
            if client.path.name in self.broken:
                assert client.path.read_bytes() == BROKEN[client.path.name]
                continue
            held = client.editor.read(self.house.files.read(client.path).content)
            for which, shown in self.shown.items():
                mine = held.get(which.key)
                if shown.user not in self.refused:
                    assert mine is not None, f"{client.label} lacks {which.key}"
                    assert mine.user in (None, shown.user)
                    assert mine.password in (None, shown.password)
                elif mine is not None and mine.user is not None:
                    assert mine.user not in self.refused

    @invariant()
    def foreign_lines_stay(self) -> None:
        """Every line of the person's own is there, once, in its order."""
        if not hasattr(self, "house"):
            return
        for name, lines in self.own.items():
            path = self.house.folder / name
            if name not in self.broken:
                there = [line for line in path.read_text().splitlines() if "my line" in line]
                assert there == lines

    @invariant()
    def nothing_lies_about(self) -> None:
        """No temporary file is left, and each edge was told once at most."""
        if hasattr(self, "house"):
            assert [path.name for path in self.house.folder.glob(".*.tmp")] == []
            self.count_edges()

    def teardown(self) -> None:
        """End it."""
        if hasattr(self, "house"):
            self.stop()
            self.loop.close()
            shutil.rmtree(self.folder)


AnyDay.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestAnyDay = AnyDay.TestCase
