"""Runs child programs: the only way to start one and wait for its end.

No shell and no terminal to prompt on; a time limit, at which the program is killed with everything
it started; a limit on the output that is kept. A program sees only the environment it is handed;
`environment` picks from ours, so that tokens stay here.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

#: Seconds a program may take unless the caller says otherwise.
TIME_LIMIT: Final = 20.0

#: Bytes kept of each output; the rest is thrown away.
OUTPUT_LIMIT: Final = 1024 * 1024

#: Seconds for the last output after the end, when something still holds the pipe.
_LAST_OUTPUT: Final = 1.0

#: Variables every program needs, for whatever it does.
NEEDED: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP"),
        *("USERPROFILE", "USERNAME", "USERDOMAIN", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA"),
        "PROGRAMFILES",
    }
)

#: Variables that lead to the person's screen.
SESSION: Final = frozenset(
    {
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"),
        *("XDG_RUNTIME_DIR", "XDG_SESSION_TYPE", "XDG_CURRENT_DESKTOP", "DESKTOP_SESSION"),
        *("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS"),
    }
)

#: Variables with which another pgherald reads the same configuration and state.
OURS: Final = frozenset({"PGHERALD_STATE_DIR", "XDG_STATE_HOME", "HEROKU_HOST"})

#: Variables that would let a child speak to systemd in our name.
_SYSTEMD: Final = frozenset({"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"})


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: exit code; negative for a signal's number.
        out: stdout, if it was asked for. May hold a secret, so it is never shown.
        err: stderr, likewise.
    """

    code: int
    out: str = field(default="", repr=False)
    err: str = field(default="", repr=False)


class Run(Protocol):
    """`run`, or what a test puts in its place."""

    async def __call__(
        self, argv: Sequence[str], env: Mapping[str, str], *, out: bool = False
    ) -> Ended:
        """See `run`."""
        ...


def environment(
    ours: Mapping[str, str], also: Collection[str] = frozenset(), **given: str
) -> dict[str, str]:
    """The part of our environment that a program is given.

    Args:
        ours: our environment.
        also: names of variables it is given beside `NEEDED`.
        given: variables of its own.
    """
    kept = {name: value for name, value in ours.items() if name.upper() in {*NEEDED, *also}}
    return kept | given


async def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: str | None = None,
    out: bool = False,
    err: bool = False,
    time_limit: float | None = TIME_LIMIT,
) -> Ended:
    """Run a program to its end. Cancelling kills it, too.

    Args:
        argv: the program and its arguments. Holds no secret: every user can see it.
        env: exactly the environment it gets, without systemd's own variables.
        stdin: text it can read; None for nothing.
        out: whether to keep stdout.
        err: whether to keep stderr.
        time_limit: seconds it may take.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end in time, and was killed.
    """
    transport, child = await asyncio.get_running_loop().subprocess_exec(
        _Child,
        *argv,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE if out else subprocess.DEVNULL,
        stderr=subprocess.PIPE if err else subprocess.DEVNULL,
        env={name: value for name, value in env.items() if name not in _SYSTEMD},
        **_own_group(),
    )
    feed: Any = transport.get_pipe_transport(0)  # typeshed: without the methods for writing
    try:
        if stdin is not None:
            feed.write(stdin.encode())
            feed.write_eof()
        async with asyncio.timeout(time_limit):
            await child.exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_OUTPUT):
                for number in [1] * out + [2] * err:
                    await child.closed[number].wait()
    finally:
        if not child.exited.is_set():
            _kill_group(transport.get_pid())
            await child.exited.wait()
        if feed is not None and feed.get_write_buffer_size():
            feed.abort()  # `close` would wait for whoever holds the other end and does not read
        transport.close()
    code = transport.get_returncode()
    return Ended(-1 if code is None else code, child.text(1), child.text(2))


class _Child(asyncio.SubprocessProtocol):
    """Collects output.

    Not asyncio's streams: before Python 3.12.5 their `wait` hangs for as long as a
    grandchild holds the pipe.
    """

    def __init__(self) -> None:
        self.exited = asyncio.Event()
        self._output = {1: bytearray(), 2: bytearray()}
        self.closed = [asyncio.Event() for _ in range(3)]

    def text(self, number: int) -> str:
        """The output so far, with line feeds only."""
        return self._output[number].decode("utf-8", "replace").replace("\r\n", "\n")

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # asyncio's signature
        output = self._output[fd]
        output += data[: OUTPUT_LIMIT - len(output)]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # asyncio's signature
        self.closed[fd].set()

    def process_exited(self) -> None:
        self.exited.set()


if sys.platform == "win32":  # pragma: no cover – runs on Windows only

    def _own_group() -> dict[str, Any]:
        return {"creationflags": subprocess.CREATE_NO_WINDOW}

    def _kill_group(pid: int) -> None:
        taskkill = str(Path(os.environ["SYSTEMROOT"], "System32", "taskkill.exe"))
        subprocess.run([taskkill, "/F", "/T", "/PID", str(pid)], check=False, capture_output=True)

else:

    def _own_group() -> dict[str, Any]:
        return {"start_new_session": True}

    def _kill_group(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
