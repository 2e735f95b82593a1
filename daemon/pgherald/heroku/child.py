"""Run a program that prints a token, and take its first line.

No shell, no input, no terminal to prompt on, a time limit; what still runs then is
killed with everything it started. What the program says on stderr is thrown away: it
may hold the very secret.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pgherald.secret import Secret

TIME_LIMIT: Final = 20.0
#: Longer than any token's line; what comes behind is thrown away.
_OUTPUT_LIMIT: Final = 64 * 1024
#: Time for the last output to come through after the end, when something still holds the pipe.
_LAST_WORDS: Final = 1.0
#: They would let a child speak to systemd in our name.
_OURS_ALONE: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: exit code; negative for a signal's number.
        line: the first line it printed, without white space around it; may be empty.
    """

    code: int
    line: Secret


class Run(Protocol):
    """Runs a program; tests hand in their own."""

    async def __call__(self, argv: Sequence[str], env: Mapping[str, str]) -> Ended:
        """Run `argv` with exactly that environment.

        Raises:
            OSError: it cannot be started.
            TimeoutError: it did not end in time, and was killed.
        """
        ...


async def run(
    argv: Sequence[str], env: Mapping[str, str], *, time_limit: float = TIME_LIMIT
) -> Ended:
    """Run a program to its end. See `Run`."""
    loop = asyncio.get_running_loop()
    transport, child = await loop.subprocess_exec(
        _Child,
        *argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in env.items() if name not in _OURS_ALONE},
        **_own_group(),
    )
    try:
        async with asyncio.timeout(time_limit):
            await child.exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await child.spoken.wait()
    finally:
        if not child.exited.is_set():
            _kill_group(transport.get_pid())
            await child.exited.wait()
        transport.close()
    code = transport.get_returncode()
    first = bytes(child.output).partition(b"\n")[0].decode("utf-8", "replace")
    return Ended(-1 if code is None else code, Secret(first.strip()))


class _Child(asyncio.SubprocessProtocol):
    """Collects what the child prints.

    Not asyncio's streams: before Python 3.12.5 their `wait` hangs for as long as a
    grandchild holds the pipe.
    """

    def __init__(self) -> None:
        self.output = bytearray()
        self.exited = asyncio.Event()
        self.spoken = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:  # asyncio's signature
        self.output += data[: _OUTPUT_LIMIT - len(self.output)]
        if b"\n" in data:
            self.spoken.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:  # asyncio's signature
        self.spoken.set()

    def process_exited(self) -> None:
        self.exited.set()


if sys.platform == "win32":  # pragma: no cover – runs on Windows only

    def _own_group() -> dict[str, Any]:
        return {"creationflags": subprocess.CREATE_NO_WINDOW}

    def _kill_group(pid: int) -> None:
        subprocess.run(  # a fixed command and a number
            ["taskkill", "/F", "/T", "/PID", str(pid)],  # noqa: S607 – where Windows is installed differs
            check=False,
            capture_output=True,
        )

else:

    def _own_group() -> dict[str, Any]:
        return {"start_new_session": True}

    def _kill_group(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
