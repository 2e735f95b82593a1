"""What becomes of each client when pgherald goes. Plans, and writes nothing.

pgherald's part goes out of every file. A file that pgherald itself had made is deleted,
unless something of the person's has come into it. With `restore`, a file becomes again what
it was before pgherald first wrote it, if what is not pgherald's is still the same: what the
person has added or changed since is never lost.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.clients.base import TextClient
from pgherald.clients.pgadmin import PgAdmin
from pgherald.clients.pgadmin_undo import without_ours
from pgherald.errors import ClientError
from pgherald.files import Files, Snapshot
from pgherald.files.pictures import difference
from pgherald.model import Database, DatabaseKey, Entry, Login
from pgherald.secret import Secret
from pgherald.sync.commit import Step
from pgherald.sync.originals import Original
from pgherald.sync.plan import Client, diff_lines
from pgherald.sync.servers import diff_rows

#: An entry that is put into a text and taken out again, to see what pgherald leaves behind.
_PASSING: Final = Entry(
    Database(DatabaseKey("pgherald", "passing", "GUEST"), "passing", "passing", "pgherald-passing"),
    Login("passing.invalid", 5432, "passing", "passing", Secret("passing")),
)


class Fate(enum.StrEnum):
    """What becomes of a file."""

    UNTOUCHED = "untouched"
    """Nothing of pgherald's is in it."""
    RESTORED = "restored"
    """It is again what it was before pgherald first wrote it."""
    DELETED = "deleted"
    """pgherald had made it, and there is nothing else in it."""
    CLEARED = "cleared"
    """pgherald's part goes out of it; the rest stays as it is."""
    EDITED = "edited"
    """The same, although it was to be restored: it has been edited since."""


@dataclass(frozen=True, slots=True)
class Undo:
    """What becomes of one client's file.

    Attributes:
        client: which client.
        snapshot: the file as it is; of rows, an image of those that change.
        new: what it is to hold; None to delete it.
        fate: the same in one word.
        original: what it was before pgherald; None where that is not known.
        warnings: sentences for the person. They hold no secret.
        outcomes: sentences on what becomes of each server or entry. They hold no secret.
        record: what has to be recorded with it.
    """

    client: Client
    snapshot: Snapshot
    new: bytes | None = field(repr=False)
    fate: Fate
    original: Original | None = None
    warnings: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    record: tuple[Step, ...] = ()

    @property
    def step(self) -> Step:
        """What the commit is to do."""
        medium = "file" if self.client.rows is None else "rows"
        private = self.client.editor.private
        return Step(self.client.label, self.snapshot, self.new, private, medium=medium)

    def diff(self) -> Iterator[str]:
        """Lines of a unified diff in which every secret is masked."""
        old = self.snapshot.content or b""
        if self.client.rows is None:
            return diff_lines(self.client.editor, old, self.new or b"")
        return diff_rows(old, self.new or b"{}")


@dataclass(frozen=True, slots=True)
class Undoing:
    """What becomes of all clients.

    Attributes:
        files: one for each that can be planned.
        failed: those that cannot, and why.
    """

    files: tuple[Undo, ...]
    failed: tuple[tuple[Client, ClientError], ...]

    @property
    def changed(self) -> list[Undo]:
        """Those that change."""
        return [undo for undo in self.files if undo.fate is not Fate.UNTOUCHED]

    @property
    def steps(self) -> list[Step]:
        """What the commit is to do."""
        return [step for undo in self.changed for step in (undo.step, *undo.record)]


def plan_undoing(
    files: Files, clients: Sequence[Client], originals: Mapping[Path, Original], *, restore: bool
) -> Undoing:
    """Work out what becomes of each client.

    Args:
        files: reads.
        clients: the clients.
        originals: what each file held before pgherald, by its target.
        restore: whether files become again what they were.
    """
    planned: list[Undo] = []
    failed: list[tuple[Client, ClientError]] = []
    for client in clients:
        try:
            snapshot = client.read(files)
            original = originals.get(snapshot.target)
            undo = _undo(client, snapshot, original, restore=restore)
        except ClientError as exc:
            failed.append((client, exc if exc.path else exc.at(client.path)))
        else:
            planned.append(undo)
    return Undoing(tuple(planned), tuple(failed))


def _undo(client: Client, snapshot: Snapshot, original: Original | None, *, restore: bool) -> Undo:
    if snapshot.content is None:
        return Undo(client, snapshot, None, Fate.UNTOUCHED, original)
    if client.rows is not None:
        return _undo_rows(client, snapshot, original, restore=restore)
    current, editor = snapshot.content, client.editor
    edit = editor.plan(current, [], remove=editor.read(current))
    bare = edit.new
    if original is not None and _is_unedited(editor, current, original.content):
        if original.content is None:
            return Undo(client, snapshot, None, Fate.DELETED, original)
        if restore:
            fate = Fate.UNTOUCHED if original.content == current else Fate.RESTORED
            return Undo(client, snapshot, original.content, fate, original)
    if bare == current:
        return Undo(client, snapshot, bare, Fate.UNTOUCHED, original)
    fate = Fate.EDITED if restore else Fate.CLEARED
    return Undo(client, snapshot, bare, fate, original, outcomes=edit.outcomes)


def _is_unedited(editor: TextClient, current: bytes, original: bytes | None) -> bool:
    """Whether what is not pgherald's is as it was before pgherald first wrote the file.

    Where an earlier pgherald had already written it, nobody knows what it was before that.
    """
    try:
        return not editor.read(original) and _others(editor, current) == _others(editor, original)
    except ClientError:
        return False


def _others(editor: TextClient, content: bytes | None) -> bytes:
    """What is not pgherald's in a text, in the form that it has once pgherald has been there."""
    full = editor.plan(content, [_PASSING]).new
    return editor.plan(full, [], remove=editor.read(full)).new


def _undo_rows(
    client: Client, snapshot: Snapshot, original: Original | None, *, restore: bool
) -> Undo:
    assert isinstance(client.editor, PgAdmin)  # what else has rows
    assert snapshot.content is not None  # there is a database
    edit = without_ours(
        client.editor, snapshot.content, None if original is None else original.content
    )
    before, after = difference(snapshot.content, edit.new)
    rows = dataclasses.replace(snapshot, content=before)
    if before == after:
        return Undo(client, rows, after, Fate.UNTOUCHED, original, (), edit.outcomes)
    assert client.rows is not None  # its caller asked
    record = tuple(client.rows.record(snapshot, edit.new))
    # What is the person's in pgAdmin is not touched, so nothing can have been edited there.
    fate = Fate.RESTORED if restore else Fate.CLEARED
    return Undo(client, rows, after, fate, original, (), edit.outcomes, record)
