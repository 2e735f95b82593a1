"""A program in a real pseudo-terminal of a given size.

with Terminal(["pgherald", "status"], env=env, columns=40) as terminal:
    terminal.end()
assert "Shop" in terminal.shown
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

#: Seconds that anything may take before a test gives up on it.
LIMIT = 100.0

#: Lines of a terminal.
LINES = 24

#: What moves the cursor, sets colours or asks the terminal something (ECMA-48).
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>])")


class _Screen(pyte.HistoryScreen):
    """What a person sees, with what has scrolled away above it."""

    def __init__(self, terminal: Terminal, columns: int) -> None:
        super().__init__(columns, LINES, history=1000)
        self._terminal = terminal

    def write_process_input(self, data: str) -> None:
        """Answer a program that asks where the cursor is."""
        self._terminal.press(data)


def _control() -> None:
    """In the child: make the terminal its own, so that Ctrl-C reaches it as a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A child on the far side of a pseudo-terminal; ended with the block, by its process id."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        columns: int = 80,
        cwd: Path | None = None,
    ) -> None:
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
        self._screen = _Screen(self, columns)
        self._stream = pyte.ByteStream(self._screen)
        inherited = {k: v for k, v in env.items() if k not in ("COLUMNS", "LINES")}
        self.child = subprocess.Popen(
            argv,
            env=inherited,
            cwd=cwd,
            stdin=far,
            stdout=far,
            stderr=far,
            start_new_session=True,
            preexec_fn=_control,  # noqa: PLW1509 – one system call that takes no lock
        )
        os.close(far)
        self._bytes = b""

    @property
    def raw(self) -> str:
        """Everything that came, escape sequences included, with plain line ends."""
        return self._bytes.decode(errors="replace").replace("\r\n", "\n")

    @property
    def shown(self) -> str:
        """The same without escape sequences."""
        return ESCAPES.sub("", self.raw)

    @property
    def screen(self) -> str:
        """What is left to be read when all that was drawn over is gone, and above it."""
        rows = (*self._screen.history.top, *(self._screen.buffer[n] for n in range(LINES)))
        texts = ["".join(row[n].data for n in range(self._screen.columns)) for row in rows]
        return "\n".join(text.rstrip() for text in texts).rstrip("\n") + "\n"

    def resize(self, columns: int) -> None:
        self._screen.resize(LINES, columns)
        fcntl.ioctl(self._near, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._near, keys.encode())

    def until(self, text: str) -> None:
        """Read on until this is shown."""
        limit = time.monotonic() + LIMIT
        while text not in self.shown and text not in self.screen:
            assert self._read(limit), f"{text!r} was not shown, but: {self.shown!r}"

    def end(self) -> int:
        """Read on until the program has ended; its exit code."""
        limit = time.monotonic() + LIMIT
        while self._read(limit):
            pass
        return self.child.wait(LIMIT)

    def _read(self, limit: float) -> bool:
        """Whether something more has come."""
        ready, _, _ = select.select([self._near], [], [], max(limit - time.monotonic(), 0))
        assert ready, f"nothing more came after {self.shown!r}"
        try:
            more = os.read(self._near, 65536)
        except OSError:  # Linux: nobody has the far end any more
            return False
        self._bytes += more
        self._stream.feed(more)
        return bool(more)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self.child.poll() is None:
                self.child.kill()
        self.child.wait()
        os.close(self._near)
