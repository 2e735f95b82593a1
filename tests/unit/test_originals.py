"""What each file held at first: put together from the journals of many commits."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pgherald.files import Files, Snapshot
from pgherald.sync.journal import Journal, Journals, Step
from pgherald.sync.manifest import Medium
from pgherald.sync.targets.originals import Original, holding_first, originals
from support.fake_clock import START

A, B, DB = Path("/a"), Path("/b"), Path("/pgadmin4.db")


class Past:
    """Commits, one after the other."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "commits"
        self.journals = Journals(Files(root / "locks"), self.folder)
        self.made: list[Journal] = []

    def commit(self, *files: tuple[Path, bytes | None, Medium]) -> Journal:
        """A commit of files, each with what it held before."""
        steps = [
            Step(target.name, Snapshot(target.with_suffix(".link"), target, before), b"new",
                 private=True, medium=medium)
            for target, before, medium in files
        ]  # fmt: skip
        at = START + timedelta(days=len(self.made))
        journal = self.journals.begin(at, "x", steps, proven=True)
        journal.finish()
        self.made.append(journal)
        return journal

    def originals(self) -> dict[Path, Original]:
        return originals(self.journals.done()[::-1])

    def first(self) -> list[int]:
        """Numbers of the commits that are needed."""
        needed = holding_first(self.journals.done()[::-1])
        return [number for number, journal in enumerate(self.made) if journal.record.id in needed]


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path)


def image(*, there: bool = True, **rows: Any) -> bytes:
    """An image of servers: number and columns."""
    parts = {name[1:]: {"there": there, "columns": columns} for name, columns in rows.items()}
    return json.dumps({"server": parts}).encode()


def day(number: int) -> str:
    """When the commit with that number was, as an image has it."""
    return (START + timedelta(days=number)).isoformat()


def test_the_first_commit_of_a_file_tells(past: Past) -> None:
    """What it held then, when that was, and what the person called it."""
    past.commit((A, b"first", Medium.FILE))
    past.commit((A, b"second", Medium.FILE), (B, None, Medium.FILE))
    found = past.originals()
    assert found == {
        A: Original("a", Path("/a.link"), START, Medium.FILE, b"first"),
        B: Original("b", Path("/b.link"), START + timedelta(days=1), Medium.FILE, None),
    }
    assert past.first() == [0, 1]
    assert "first" not in repr(found)


def test_rows_are_put_together_cell_by_cell(past: Past) -> None:
    """Of each cell the first image of it counts, and the first moment of all."""
    past.commit((DB, image(r1={"host": "h1", "port": 1}), Medium.ROWS))
    past.commit((DB, image(r1={"port": 2, "name": "n2"}, r2={"host": "x"}), Medium.ROWS))
    past.commit((DB, image(r1={"port": 3}), Medium.ROWS))
    past.commit((DB, image(there=False, r2={"host": None}, r3={"host": None}), Medium.ROWS))
    (found,) = past.originals().values()
    assert (found.medium, found.at) == (Medium.ROWS, START)
    assert json.loads(found.content or b"") == {
        "server": {
            "1": {
                "there": True,
                "columns": {"host": "h1", "port": 1, "name": "n2"},
                "at": day(0),
            },
            "2": {"there": True, "columns": {"host": "x"}, "at": day(1)},
            "3": {"there": False, "columns": {"host": None}, "at": day(3)},
        }
    }
    assert past.first() == [0, 1, 3]


def test_a_number_that_comes_back_is_another_row(past: Past) -> None:
    """A row whose id is in the image begins anew, and each of these commits is needed for good."""
    past.commit((DB, image(r1={"id": 1, "host": "h1", "port": 1}), Medium.ROWS))
    past.commit((DB, image(r1={"port": 2}), Medium.ROWS))
    past.commit((DB, image(r1={"id": 1, "host": "h2", "port": 3}), Medium.ROWS))
    past.commit((DB, image(r1={"port": 4, "name": "n"}), Medium.ROWS))
    (found,) = past.originals().values()
    assert json.loads(found.content or b"")["server"]["1"] == {
        "there": True,
        "columns": {"id": 1, "host": "h2", "port": 3, "name": "n"},
        "at": day(2),
    }
    assert past.first() == [0, 2, 3]
