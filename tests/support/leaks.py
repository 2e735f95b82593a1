"""Looks for secrets where none may be.

Every password, token and config var of a test holds `MARK`. So a leak is found by looking
for that, also in the disguises that a program may put it in without meaning to.

    assert leaks_in(daemon.log) == []
    assert leaks_in_folder(house.state, but=is_undo) == []
    assert open_to_others(house.state) == []
    async with watching(daemon.pid) as seen: ...      # argv and environ of it and its children
    assert leaks_in(*seen.texts) == []
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: What every password, token and config var of a test holds.
MARK: Final = "CANARY"

#: Seconds between two looks at the processes.
INTERVAL = 0.01


def disguises(mark: bytes) -> dict[str, bytes]:
    """How a text may look after it was encoded, by the encoding's name."""
    found = {
        "as it is": mark,
        "in hex": mark.hex().encode(),
        "in UTF-16": mark.decode().encode("utf-16-le"),
        "reversed": mark[::-1],
        "percent-encoded": b"".join(b"%%%02X" % byte for byte in mark),
    }
    for shift in range(3):
        # What stays the same whatever stands before and behind it.
        encoded = base64.b64encode(b"x" * shift + mark)
        found[f"in base64, at {shift}"] = encoded[(shift * 8 + 5) // 6 : len(mark) * 8 // 6]
    return found


FORMS = disguises(MARK.encode())


def leaks_in(*texts: str | bytes) -> list[str]:
    """Each secret in the texts: how it was disguised, and what stands around it."""
    return [leak for text in texts for leak in _leaks(text)]


def _leaks(text: str | bytes) -> Iterator[str]:
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    for how, form in FORMS.items():
        if (at := raw.find(form)) >= 0:
            yield f"{how}: {raw[max(0, at - 60) : at + 60]!r}"


def leaks_in_folder(folder: Path, *, but: Callable[[Path], bool] = lambda _: False) -> list[str]:
    """Each secret in the names and contents of a folder's files, its own name left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found += [f"name {name}: {leak}" for leak in leaks_in(name)]
        if path.is_file() and not but(path):
            found += [f"{name}: {leak}" for leak in leaks_in(path.read_bytes())]
    return found


def open_to_others(folder: Path) -> list[str]:
    """What in a folder, itself included, is anything but a 0700 folder or a 0600 file."""
    found = []
    for path in (folder, *sorted(folder.rglob("*"))):
        mode = path.lstat().st_mode
        right = 0o700 if stat.S_ISDIR(mode) else 0o600
        if stat.S_IMODE(mode) != right or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            found.append(f"{path.relative_to(folder)}: {stat.filemode(mode)}")
    return found


@dataclass
class Seen:
    """The command lines and environments of a process and whatever it started."""

    by_command: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def texts(self) -> list[bytes]:
        return [*self.by_command, *self.by_command.values()]

    def look(self, pid: int) -> None:
        """Add what there is now."""
        for member in _family(pid):
            with contextlib.suppress(OSError):  # it has just ended
                folder = Path("/proc", str(member))
                command = (folder / "cmdline").read_bytes()
                self.by_command.setdefault(command, b"")
                # Root's alone for a process that forbids core dumps.
                self.by_command[command] = (folder / "environ").read_bytes()


@contextlib.asynccontextmanager
async def watching(pid: int) -> AsyncIterator[Seen]:
    """Look at a process and its children again and again, until the block ends."""
    seen = Seen()

    async def look() -> None:
        while True:
            seen.look(pid)
            await asyncio.sleep(INTERVAL)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _family(pid: int) -> Iterator[int]:
    """A process, its children, theirs, and so on (proc(5))."""
    yield pid
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _family(int(child))
