"""A target that is one text file: pgpass, the service file, servers.json."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from pgherald.clients.base import Held, TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.errors import ClientError
from pgherald.files import Files, Snapshot
from pgherald.files.trusted import git_work_tree
from pgherald.model import Database, DatabaseKey, Entry, Login
from pgherald.secret import Secret
from pgherald.store import BackgroundStore
from pgherald.sync.journal import Step
from pgherald.sync.manifest import Medium
from pgherald.sync.targets.base import Fate, Target, Undo
from pgherald.sync.targets.originals import Original
from pgherald.sync.targets.ownership import Ownership

#: Who knows the format of a text file.
Editor = Pgpass | ServiceFile | ServersJson

#: Lines of unchanged text shown around a change.
_CONTEXT: Final = 1

#: An entry that is put into a text and taken out again, to see what pgherald leaves behind.
_PASSING: Final = Entry(
    Database(DatabaseKey("pgherald", "passing", "GUEST"), "passing", "passing", "pgherald-passing"),
    Login("passing.invalid", 5432, "passing", "passing", Secret("passing")),
)


@dataclass(frozen=True, slots=True)
class FileTarget(Target):
    """A text file, replaced whole.

    Attributes:
        ownership: keeps what pgherald wrote into it; None where nothing is written.
    """

    editor: Editor
    ownership: Ownership | None = None

    medium: ClassVar[Medium] = Medium.FILE

    @classmethod
    def of(cls, editor: Editor, path: Path, label: str, ownership: Ownership) -> FileTarget:
        """A target whose entries are known again when another program has dropped their marks."""
        editor = dataclasses.replace(editor, known=partial(ownership.written, path))
        return cls(editor, path, label, ownership)

    def place(self, held: Held) -> str:
        """Where it holds something: `[shop] in ~/.pg_service.conf`."""
        if self.editor.kind != "service_file" or held.service is None:
            return self.label
        return f"[{held.service}] in {_short(self.path)}"

    def read(self, files: Files, *, removing: bool = False) -> Snapshot:
        """The file as it is now; see `Target.read`."""
        return files.read(self.path)

    def cautions(self, files: Files, snapshot: Snapshot) -> tuple[ClientError, ...]:
        """That passwords come into a repository; see `Target.cautions`."""
        target = snapshot.target
        if not self.editor.private or (tree := git_work_tree(target)) is None:
            return ()
        command = f"git -C {shlex.quote(str(tree))} rm --cached {shlex.quote(str(target.relative_to(tree)))}"
        reason = (
            f"{_short(self.path)} is tracked by git in {_short(tree)}: commits hold its passwords"
        )
        return (ClientError(reason, f"Name it in .gitignore there, and run: {command}"),)

    def show(self, before: bytes | None, after: bytes | None) -> Iterator[str]:
        """Lines of a unified diff; see `Target.show`."""
        return diff_lines(self.editor, before or b"", after or b"")

    def databases(
        self, before: bytes | None, after: bytes | None
    ) -> Mapping[DatabaseKey, Held | None]:
        """Databases whose entry differs; see `Target.databases`."""
        old, new = self.editor.read(before), self.editor.read(after)
        return {key: new.get(key) for key in {*old, *new} if old.get(key) != new.get(key)}

    def restore(self, snapshot: Snapshot, original: Original | None, *, whole: bool) -> Undo:
        """Plan what becomes of the file; see `Target.restore`.

        One that pgherald itself had made is deleted, unless something of the person's has come
        into it. What the person has added or changed since is never lost.
        """
        current, editor = snapshot.content, self.editor
        if current is None:
            return Undo(self, snapshot, None, Fate.UNTOUCHED, original)
        edit = editor.plan(current, [], remove=editor.read(current))
        if original is not None and self._is_unedited(current, original.content):
            if original.content is None:
                return Undo(self, snapshot, None, Fate.DELETED, original)
            if whole:
                fate = Fate.UNTOUCHED if original.content == current else Fate.RESTORED
                return Undo(self, snapshot, original.content, fate, original)
        if edit.new == current:
            return Undo(self, snapshot, current, Fate.UNTOUCHED, original)
        fate = Fate.EDITED if whole else Fate.CLEARED
        return Undo(self, snapshot, edit.new, fate, original, edit.outcomes)

    def records(self, snapshot: Snapshot, new: bytes | None) -> list[Step]:
        """Nothing: what pgherald writes is recorded at once, and more than it wrote does no harm."""
        if self.ownership is not None and new:
            old = {} if new == snapshot.content else self.editor.read(snapshot.content)
            gone = old.keys() - self.editor.read(new).keys() if old else ()
            self.ownership.wrote(self.path, self.editor.prints(new), gone)
        return []

    def copy_record(self, snapshot: Snapshot, new: bytes, store: BackgroundStore) -> None:
        """The file itself has it as well, so there is no copy."""

    def _is_unedited(self, current: bytes, original: bytes | None) -> bool:
        """Whether what is not pgherald's is as it was before pgherald first wrote the file.

        Where an earlier pgherald had already written it, nobody knows what it was before that.
        """
        then = dataclasses.replace(self.editor, known=dict)  # nothing was written yet
        try:
            same = _others(self.editor, current) == _others(then, original)
            return same and not then.read(original)
        except ClientError:
            return False


def _short(path: Path) -> Path:
    """A path as a person writes it."""
    home = Path.home()
    return Path("~", path.relative_to(home)) if path.is_relative_to(home) else path


def _others(editor: TextClient, content: bytes | None) -> bytes:
    """What is not pgherald's in a text, in the form that it has once pgherald has been there."""
    full = editor.plan(content, [_PASSING]).new
    return editor.plan(full, [], remove=editor.read(full)).new


def diff_lines(editor: TextClient, old: bytes, new: bytes) -> Iterator[str]:
    """Lines of a unified diff in which every secret is masked.

    Lines are compared as they are and shown redacted, so a password that changes is seen
    to change.
    """
    import difflib  # the daemon shows no differences

    old_shown, new_shown = editor.redact(old), editor.redact(new)
    matcher = difflib.SequenceMatcher(None, _lines(old), _lines(new), autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        first, last = group[0], group[-1]
        yield f"@@ -{first[1] + 1},{last[2] - first[1]} +{first[3] + 1},{last[4] - first[3]} @@"
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                yield from (f" {line}" for line in old_shown[old_from:old_to])
                continue
            yield from (f"-{line}" for line in old_shown[old_from:old_to])
            yield from (f"+{line}" for line in new_shown[new_from:new_to])


def _lines(text: bytes) -> list[bytes]:
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines
