"""Ways in which a file goes wrong, and the state folder of somebody whom all of them befall."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pgherald.cli.main import Invocation
from pgherald.files import Disk, Files
from pgherald.model import Database, DatabaseKey, Rotation, Subject
from pgherald.store import Alert, Store
from support.commands import CLIENTS, SHOP, Desk, Result
from support.disks import in_child
from support.household import login
from support.pgadmin_database import Database as PgAdminDatabase

OWN_LINE = "localhost:5432:*:me:CANARY-my-own-password\n"
_OTHERS = '{"Servers": {"1": {"Name": "Mine", "Host": "h"}}, "x":   1}'
_DATABASES = SHOP + '[[databases]]\napp = "shop-staging"\n[[databases]]\napp = "blog"\n'
_PGADMIN = '[clients.pgadmin]\npath = "pgadmin4.db"\n'

#: Client files, by their names.
_FILES = ("pgpass", "pg_service.conf", "servers.json")

Deed = Callable[[Path, random.Random], None]

_EXCHANGE = Disk.exchange


def _flip(path: Path, dice: random.Random) -> None:
    """One to eight bits are wrong."""
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 1, 8)) if content else 0):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def _zero(size: int, path: Path, dice: random.Random) -> None:
    """One block of the disk is empty."""
    content = bytearray(path.read_bytes())
    start = dice.randrange(len(content) // size + 1) * size
    content[start : start + size] = bytes(len(content[start : start + size]))
    path.write_bytes(content)


def _truncate(path: Path, dice: random.Random) -> None:
    """Its end is missing."""
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content) + 1)])


def _garbage(path: Path, dice: random.Random) -> None:
    """Some of it is anything."""
    content = bytearray(path.read_bytes())
    start = dice.randrange(len(content) + 1)
    part = dice.randbytes(dice.randrange(1, 600))
    content[start : start + len(part)] = part
    path.write_bytes(content)


def _empty(path: Path, _: random.Random) -> None:
    """Nothing of it is left."""
    path.write_bytes(b"")


def _double(path: Path, _: random.Random) -> None:
    """It is there twice."""
    path.write_bytes(path.read_bytes() * 2)


def _swap(path: Path, dice: random.Random) -> None:
    """It holds what belongs into a neighbour."""
    others = [other for other in path.parent.iterdir() if other.is_file() and other != path]
    if others:
        other = dice.choice(sorted(others))
        mine, its = path.read_bytes(), other.read_bytes()
        path.write_bytes(its)
        other.write_bytes(mine)


def _gone(path: Path, _: random.Random) -> None:
    """It is not there."""
    path.unlink()


def _folder(path: Path, _: random.Random) -> None:
    """A folder lies in its place."""
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def _pipe(path: Path, _: random.Random) -> None:
    """A pipe lies in its place."""
    path.unlink()
    os.mkfifo(path)


DEEDS: tuple[Deed, ...] = (
    _flip, _flip, _flip, partial(_zero, 512), partial(_zero, 4096), _truncate, _garbage, _empty,
    _double, _swap, _gone, _folder, _pipe,
)  # fmt: skip


@dataclass
class Sufferer:
    """Somebody at a desk whose state folder can be put back as it was, and damaged.

    `wanted` is what the clients hold once pgherald has run on an undamaged copy of `pristine`, and
    `rotations` how many the history then has.
    """

    desk: Desk
    pristine: Path
    wanted: dict[str, object]
    rotations: int

    @classmethod
    def made(cls, folder: Path, patch: pytest.MonkeyPatch) -> Sufferer:
        """After some rotations, with a trouble, and killed in the middle of another rotation."""
        home = folder / "desk"
        home.mkdir(parents=True)
        desk = Desk.laid(home, patch)
        # Of Heroku's requests there is no end here: all damages are asked in one hour.
        desk.app.limits.pool = 1_000_000_000
        desk.configure(_DATABASES + CLIENTS + _PGADMIN)
        (home / "pgpass").write_text(OWN_LINE)
        (home / "servers.json").write_text(_OTHERS)
        PgAdminDatabase.made(home / "pgadmin4.db").by_hand(login())
        for app in ("shop-production", "shop-staging", "shop-production"):
            assert desk.run("check").code == 0
            desk.rotate(app)
        assert desk.run("check").code == 0
        with Store.open(home / "state" / "state.db", Files(home / "state" / "locks")) as store:
            about = (Subject.read("account:default"), "default", "Unavailable", "Heroku is down")
            store.put_alert(Alert(*about, "Wait.", datetime.now(UTC), told=True))
        desk.rotate("blog")
        with patch.context() as in_the_child:
            in_the_child.setattr(Disk, "exchange", _dies_at_the_service_file)
            assert in_child(lambda: desk.run("check")).killed
        pristine = folder / "pristine"
        shutil.copytree(home, pristine)
        self = cls(desk, pristine, {}, 0)
        assert desk.run("check").code == 0
        self.wanted, self.rotations = self.held(), len(self.history())
        assert self.rotations == 4
        return self

    def sits_down(self, patch: pytest.MonkeyPatch) -> None:
        """Work in the surroundings of another test."""
        desk = self.desk
        desk.patch = patch
        patch.setenv("HEROKU_HOST", "http://127.0.0.1:5000")
        patch.setenv("HEROKU_API_KEY", desk.world.tokens[0].value.reveal())
        # Whatever the machine has to do besides, a check waits for its records.
        patch.setattr("pgherald.sync.recorder._LATE_LIMIT", 60.0)
        # A power cut is nobody's subject here, and each wait for the disk takes its time.
        for name in ("fsync", "fsync_folder"):
            patch.setattr(Disk, name, lambda *_: None)
        patch.setattr(Invocation, "outside", lambda invocation: desk.outside(invocation.env))

    @property
    def state(self) -> Path:
        return self.desk.folder / "state"

    def restored(self) -> Path:
        """Put everything back as it was; the state folder."""
        shutil.rmtree(self.desk.folder)
        shutil.copytree(self.pristine, self.desk.folder)
        return self.state

    def open_journal(self) -> Path:
        """The journal of the rotation that was interrupted."""
        (folder,) = (self.state / "commits").glob("*.open")
        return folder

    def held(self) -> dict[str, object]:
        """All that the clients hold."""
        found: dict[str, object] = {name: (self.desk.folder / name).read_bytes() for name in _FILES}
        return found | {"pgadmin": PgAdminDatabase(self.desk.folder / "pgadmin4.db").servers()}

    def history(self) -> list[dict[str, Any]]:
        result = self.desk.run("history", "--json", "-n", "100")
        assert result.code == 0, result
        return list(result.json)

    def set_aside(self) -> list[str]:
        """What lies beside its successor now, by its path in the state folder."""
        found = [path.relative_to(self.state) for path in self.state.rglob("*.damaged*")]
        return sorted(str(p) for p in found if not any(".damaged" in part for part in p.parts[:-1]))

    def outlives(self, damage: str) -> Result:
        """Whatever was done, one run mends it and says so once, and the next one is quiet."""
        before = len(self.set_aside())
        first = self.desk.run("check")
        assert first.code == 0, (damage, first)
        assert self.held() == self.wanted, damage
        aside = self.set_aside()
        # SQLite's own files go with the one that they belong to.
        assert len([name for name in aside if not name.endswith("-journal")]) - before <= 1, (
            damage, aside,
        )  # fmt: skip
        said = first.out + first.err
        if "state.db.damaged" in aside:
            assert said.count("state file was damaged") == 1, (damage, first)
        history = self.history()
        assert len(history) <= self.rotations, (damage, history)
        assert all(each["proven_at"] for each in history), (damage, history)
        second = self.desk.run("check")
        assert second.code == 0, (damage, second)
        assert self.held() == self.wanted, damage
        assert self.set_aside() == aside, damage
        assert second.err == "", (damage, second)
        assert "damaged" not in second.out, (damage, second)
        again = self.history()
        assert len(again) == len(history), (damage, history, again, first)
        self.keeps(damage, len(history))
        assert list((self.state / "commits").glob("*.open")) == [], damage
        leftovers = [path for path in self.desk.folder.rglob("*.tmp") if "damaged" not in str(path)]
        assert leftovers == [], damage
        return first

    def keeps(self, damage: str, rotations: int) -> None:
        """The state file takes whatever there is to keep."""
        now = datetime.now(UTC)
        key = DatabaseKey("default", "blog", "DATABASE")
        with Store.open(self.state / "state.db", Files(self.state / "locks")) as store:
            assert store.afresh is None, damage
            assert all(each.current_at for each in store.databases()), damage
            store.looked([Database(key, "Blog", "Heroku", "blog")], now)
            (seen,) = (each.looked_at for each in store.databases() if each.key == key)
            assert seen is not None, damage
            assert now - seen < timedelta(seconds=1), damage
            store.record((), None, {}, [(Rotation(key, ("user",), now), "Blog")])
            assert len(store.history()) == rotations + 1, damage
            trouble = Alert(Subject.read("config"), "x", "x", "x", "x", now, told=False)
            store.put_alert(trouble)
            assert store.clear_alert(Subject.read("config")) is not None, damage
            store.note("x", "y")
            assert store.notes()["x"] == "y", damage


def _dies_at_the_service_file(disk: Disk, one: Path, other: Path) -> None:
    if other.name == "pg_service.conf":
        os.kill(os.getpid(), signal.SIGKILL)
    _EXCHANGE(disk, one, other)


def root_page(path: Path, name: str) -> int:
    """The number of the page at which a table or index begins, counted from 1."""
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
        ).fetchone()
    assert isinstance(found, int)
    return found


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Write into the middle of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
