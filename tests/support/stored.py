"""A configuration with a state file, as a daemon leaves them, for commands that only read.

desk = StoredDesk(tmp_path, monkeypatch)
desk.healthy()
assert desk.run("status").code == 0
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgherald.errors import PgheraldError
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry, Rotation, Subject
from pgherald.store import Alert, Store
from support.commands import CLIENTS, SHOP, Result, run
from support.household import database, login

KEY = DatabaseKey("default", "shop-production", "DATABASE")
PRODUCTION = dataclasses.replace(database("shop-production"), name="Shop")


class StoredDesk:
    """A person at a command line, whose daemon has been at work; `now` is when the test began."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.configure(SHOP + CLIENTS)
        self.files = Files(folder / "state" / "locks")

    def configure(self, text: str) -> None:
        (self.folder / "config.toml").write_text(f'state_dir = "state"\n{text}')

    def store(self) -> Store:
        """The state, to be written."""
        self.files.private_folder(self.folder / "state")
        return Store.open(self.folder / "state" / "state.db", self.files)

    def healthy(self, *, proven: bool = True, before: timedelta = timedelta(minutes=5)) -> None:
        """All was well so long ago."""
        at = self.now - before
        with self.store() as store:
            store.looked([PRODUCTION], at)
            store.record([Entry(PRODUCTION, login())], at, {KEY: at} if proven else {})

    def rotated(self, key: DatabaseKey = KEY, label: str = "Shop", days: int = 1) -> None:
        """A rotation so many days ago."""
        at = self.now - timedelta(days=days)
        rotation = Rotation(key, ("user", "password"), at, at, at, 42)
        with self.store() as store:
            store.record((), None, {}, [(rotation, label)], ("psql", "service file"))

    def trouble(
        self, subject: str, label: str, error: PgheraldError, since: datetime | None = None
    ) -> None:
        """Something has not worked since then."""
        at = since or self.now
        trouble = Alert(
            Subject.read(subject), label, error.kind, error.title, error.advice, at, told=True
        )
        with self.store() as store:
            store.put_alert(trouble)

    def run(self, *args: str) -> Result:
        return run("--config", str(self.folder / "config.toml"), *args, patch=self.patch)
