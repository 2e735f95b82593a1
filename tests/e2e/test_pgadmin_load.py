"""Hundreds of commits by pgherald into the database of a pgAdmin that is busy with it."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pgherald.clients.service_file import ServiceFile
from pgherald.model import Entry, Login, NewsKind
from pgherald.secret import Secret
from pgherald.sync.targets import FileTarget
from support.household import database, household
from support.pgadmin_database import Database
from support.pgadmin_http import Session
from support.pgadmin_load import busy
from support.pgadmin_run import ADA, Mode, running
from support.pgadmin_setup import Unavailable, install

#: Rotations in which the row has to be written each time.
COMMITS = 300

SHOP = database()
LOGIN = Login("db.example.com", 5432, "d0", "u", Secret("CANARY-password"))


def entry(number: int) -> Entry:
    return Entry(SHOP, dataclasses.replace(LOGIN, dbname=f"d{number}"))


@pytest.mark.pgadmin
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
async def test_nobody_is_in_the_others_way(tmp_path: Path, mode: Mode) -> None:
    """Of 300 commits beside two people who save all the time each arrives; no error anywhere."""
    try:
        standing = running(install(), tmp_path, mode)
        pgadmin = await asyncio.to_thread(standing.__enter__)
    except Unavailable as exc:
        pytest.skip(str(exc))
    try:
        user = ADA if mode is Mode.SERVER else None
        client = Database(pgadmin.database).client(tmp_path / "house" / "state", user=user)
        clients = [FileTarget(ServiceFile(), tmp_path / "services", "service file"), client]
        (tmp_path / "house").mkdir()
        async with (
            household(tmp_path / "house", clients=clients) as house,
            Session.of(pgadmin, ADA) as one,
            Session.of(pgadmin, ADA) as two,
            busy(one, two) as load,
        ):
            for number in range(COMMITS):
                await house.sees((SHOP, entry(number).login))
                (row,) = pgadmin.pgadmin.servers().values()
                assert (row["maintenance_db"], row["db_res"]) == (f"d{number}", f"d{number}")
            assert NewsKind.TROUBLE not in house.kinds()
            assert house.kinds().count(NewsKind.ROTATED) == COMMITS - 1
        assert load.writes > COMMITS / 10, "pgAdmin was hardly busy"
        with closing(sqlite3.connect(pgadmin.database)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert "database is locked" not in pgadmin.log
    finally:
        await asyncio.to_thread(standing.__exit__, None, None, None)
