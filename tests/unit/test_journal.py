"""The journal of a commit by itself: its names, its manifest, what it refuses, what it keeps."""

from __future__ import annotations

import errno
import json
import logging
import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import FileTrouble
from pgherald.files import Files, Snapshot, digest
from pgherald.sync.journal import Damaged, Journal, Journals, Step
from pgherald.sync.manifest import Medium, read
from pgherald.sync.targets.originals import holding_first

AT = datetime(2026, 11, 24, 3, 59, 15, tzinfo=timezone(timedelta(hours=1)))
ID = "20261124T025915Z-0001"


@pytest.fixture
def journals(tmp_path: Path) -> Journals:
    return Journals(Files(tmp_path / "locks"), tmp_path / "commits")


def step(
    target: Path = Path("/real"),
    before: bytes | None = b"old",
    expand: bytes | None = b"both",
    *,
    private: bool = True,
    medium: Medium = Medium.FILE,
) -> Step:
    snapshot = Snapshot(Path("/link"), target, before)
    return Step("psql", snapshot, b"new", private, expand=expand, medium=medium)


def begin(journals: Journals, *steps: Step, note: str = "test", at: datetime = AT) -> Journal:
    return journals.begin(at, note, steps or [step()], proven=True)


def names(journals: Journals) -> list[str]:
    return sorted(path.name for path in journals.folder.iterdir())


def test_a_commits_name_is_its_state(journals: Journals) -> None:
    """Begun it is open, then done or gone; the moment is UTC's, and the number counts."""
    first = begin(journals)
    assert (first.record.id, names(journals)) == (ID, [f"{ID}.open"])
    first.finish()
    assert names(journals) == [ID]
    second = begin(journals)
    assert second.record.id == "20261124T025915Z-0002"
    second.withdraw()
    assert names(journals) == [ID]
    first.finish()
    assert names(journals) == [ID]


def test_the_number_goes_on_whatever_lies_there(journals: Journals) -> None:
    """The highest that any name has, in whatever state; names that are not ours do not count."""
    journals.folder.mkdir(0o700)
    ours = ("20200101T000000Z-0041.damaged", "20210101T000000Z-0007")
    for name in (*ours, "x", "-0099", "a-b", "a-b-99", "5000"):
        (journals.folder / name).mkdir()
    assert begin(journals).record.id.endswith("-0042")


def test_the_manifest_is_a_format(journals: Journals) -> None:
    """Later versions have to read it: each name in it is stable, and it holds no content."""
    begin(journals)
    folder = journals.folder / f"{ID}.open"
    assert json.loads((folder / "manifest.json").read_text()) == {
        "format": 3,
        "at": AT.isoformat(),
        "note": "test",
        "proven": True,
        "files": [
            {
                "label": "psql", "path": "/link", "target": "/real", "private": True,
                "before": digest(b"old"), "expand": digest(b"both"), "after": digest(b"new"),
                "medium": "file",
            }
        ],
        "logins": [],
        "seal": "4f5e432f202f0699a7a31ad0ad59926d60044bfe6ba74f1aeca4e2bf79f265c8",
    }  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == [
        "0.after", "0.before", "0.expand", "manifest.json",
    ]  # fmt: skip
    for path in (journals.folder, folder, *folder.iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    assert (folder / "manifest.json").read_bytes().startswith(b'{\n "format"')


def test_a_journal_of_an_older_version_is_read(journals: Journals) -> None:
    """The first format knew files only."""
    begin(journals).finish()
    manifest = journals.folder / ID / "manifest.json"
    told = json.loads(manifest.read_text())
    told["format"] = 1
    del told["files"][0]["medium"], told["logins"], told["seal"]
    manifest.write_text(json.dumps(told))
    (done,) = journals.done()
    assert done.record.files[0].medium == "file"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ({"format": 4}, "was written by another pgherald"),
        ({"files": None}, "has a manifest that cannot be understood"),
        ({"at": "soon"}, "has a manifest that cannot be understood"),
        ({"note": ...}, "has a manifest that cannot be understood"),
        (b"{", "has a manifest that cannot be understood"),
        (b"\xff", "has a manifest that cannot be understood"),
        (None, "is missing"),
    ],
)
def test_a_damaged_manifest(
    journals: Journals, caplog: pytest.LogCaptureFixture, damage: Any, reason: str
) -> None:
    """It is set aside under another name, said why, and hinders no other commit."""
    caplog.set_level(logging.ERROR)
    for done in (True, False):
        bad, good = begin(journals), begin(journals)
        folder = journals.folder / f"{bad.record.id}.open"
        told = json.loads((folder / "manifest.json").read_text())
        if isinstance(damage, dict):
            told |= damage
            content = json.dumps(
                {name: what for name, what in told.items() if what is not ...}
            ).encode()
        else:
            content = damage or b""
        (folder / "manifest.json").write_bytes(content)
        if damage is None:
            (folder / "manifest.json").unlink()
        if done:
            bad.finish()
            good.finish()
        found = journals.done() if done else list(journals.opened())
        assert [journal.record.id for journal in found] == [good.record.id]
        assert f"{bad.record.id}.damaged" in names(journals)
        where = journals.folder / bad.record.id if done else folder
        kept = f"this damaged journal of a commit is kept as {journals.folder / bad.record.id}"
        if damage is None:
            where /= "manifest.json"
        assert caplog.messages == [f"{where}: {reason}; {kept}.damaged"]
        caplog.clear()


def test_an_image_that_is_not_what_was_written(journals: Journals) -> None:
    """It is refused by its name, and an open commit with it is not gone on with."""
    begun = begin(journals)
    image = journals.folder / f"{ID}.open" / "0.after"
    image.write_bytes(b"other")
    with pytest.raises(Damaged) as caught:
        begun.image(0, "after")
    assert (caught.value.reason, caught.value.path) == ("is not what was written", image)
    assert begun.image(0, "before") == b"old"
    image.unlink()
    with pytest.raises(Damaged) as caught:
        begun.check()
    assert (caught.value.reason, caught.value.path) == ("is missing", image)
    image.mkdir()
    with pytest.raises(Damaged, match="is not what was written"):
        begun.check()
    image.rmdir()
    assert list(journals.opened()) == []
    assert names(journals) == [f"{ID}.damaged"]


def test_a_folder_that_others_may_write_holds_no_journal(journals: Journals) -> None:
    """Somebody could put in their place what a recovery would write into the clients."""
    journals.folder.mkdir()
    journals.folder.chmod(0o777)
    with pytest.raises(FileTrouble, match="may be written by other users"):
        begin(journals)
    assert names(journals) == []


def test_what_is_kept(journals: Journals) -> None:
    """The first commit of each file and its last five; of a done one, what a rollback needs."""
    for _ in range(9):
        begin(journals).finish()
    begin(journals, step(Path("/other"))).finish()
    begin(journals)
    (journals.folder / "20200101T000000Z-0000.draft").mkdir()
    for number in range(7):
        (journals.folder / f"20200101T000000Z-000{number}.damaged").mkdir()
    journals.tidy(holding_first)
    numbers = [1, 5, 6, 7, 8, 9, 10]
    assert [name for name in names(journals) if "." not in name] == [
        f"20261124T025915Z-{number:04}" for number in numbers
    ]
    assert [name for name in names(journals) if "." in name] == [
        *(f"20200101T000000Z-000{number}.damaged" for number in range(2, 7)),
        "20261124T025915Z-0011.open",
    ]
    assert sorted(path.name for path in (journals.folder / ID).iterdir()) == [
        "0.before",
        "manifest.json",
    ]
    assert len(list((journals.folder / "20261124T025915Z-0011.open").iterdir())) == 4


def test_no_letter_of_a_manifest_is_damaged_unseen(journals: Journals) -> None:
    """A manifest with one wrong bit is refused, or says exactly what was written."""
    begun = begin(journals)
    manifest = journals.folder / f"{ID}.open" / "manifest.json"
    content = manifest.read_bytes()
    refused = 0
    for place in range(len(content)):
        wrong = bytearray(content)
        wrong[place] ^= 1 << place % 8
        try:
            assert read(bytes(wrong), ID) == begun.record, place
        except ValueError:
            refused += 1
    assert refused > len(content) / 2


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2026-01-01T00:00:00"),
        ("note", 1),
        ("proven", "yes"),
        ("files", [[]]),
        ("files", [{"label": "psql"}]),
        ("logins", [{"key": 1}]),
        ("path", "pgpass"),
        ("path", "/a\0b"),
        ("target", None),
        ("private", 1),
        ("before", 7),
        ("after", "short"),
        ("medium", "tape"),
    ],
)
def test_a_manifest_without_a_seal_is_read_with_care(
    journals: Journals, field: str, value: object
) -> None:
    """One of pgherald 0.1 is believed only where each field is of its kind."""
    begin(journals)
    manifest = journals.folder / f"{ID}.open" / "manifest.json"
    fields = json.loads(manifest.read_text())
    del fields["seal"]
    (fields["files"][0] if field in fields["files"][0] else fields)[field] = value
    manifest.write_text(json.dumps(fields))
    assert list(journals.opened()) == []
    assert names(journals) == [f"{ID}.damaged"]


def test_what_is_no_client_is_not_gone_on_with(journals: Journals, tmp_path: Path) -> None:
    """A journal of a file, or of another kind of file, that the configuration does not name."""
    for known, found in (
        ({(Path("/link"), Medium.FILE)}, 1),
        ({(Path("/link"), Medium.ROWS)}, 0),
        ({(Path("/other"), Medium.FILE)}, 0),
        (None, 1),
    ):
        begun = begin(journals)
        there = Journals(Files(tmp_path / "locks"), journals.folder, known)
        assert len(list(there.opened())) == found
        if found:
            begun.withdraw()


def test_a_done_journal_that_cannot_be_read_now_hides_no_other(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A passing fault of the disk sets nothing aside."""
    first, second = begin(journals), begin(journals)
    first.finish()
    second.finish()
    read = Path.read_bytes

    def faulty(path: Path) -> bytes:
        if path.parent.name == first.record.id:
            raise OSError(errno.EIO, "the test's")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", faulty)
        assert [journal.record.id for journal in journals.done()] == [second.record.id]
    assert len(journals.done()) == 2
