"""What runs outside the loop, each with a time limit: child processes, blocking libraries."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

from pgherald.notify.desktop import NotShown

T = TypeVar("T")

#: What a notifier needs of our environment. Tokens and everything else stay here.
NEEDED: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP"),
        *("USERPROFILE", "USERNAME", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PROGRAMFILES"),
    }
)

#: What a program needs of it to reach the person's screen.
SESSION: Final = frozenset(
    {
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"),
        *("XDG_RUNTIME_DIR", "XDG_SESSION_TYPE", "XDG_CURRENT_DESKTOP", "DESKTOP_SESSION"),
        *("XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "XDG_DATA_HOME", "XDG_DATA_DIRS"),
    }
)

#: What another pgherald needs of it to read the same configuration and state.
OURS: Final = frozenset({"PGHERALD_STATE_DIR", "XDG_STATE_HOME", "HEROKU_HOST"})


def environment(
    ours: Mapping[str, str], also: Collection[str] = frozenset(), **given: str
) -> dict[str, str]:
    """The part of our environment that a child process is given.

    Args:
        ours: our environment.
        also: names of variables that it is given beside `NEEDED`.
        given: variables of its own.
    """
    kept = {name: value for name, value in ours.items() if name.upper() in {*NEEDED, *also}}
    return kept | given


async def run(argv: Sequence[str], *, stdin: str, environ: Mapping[str, str]) -> None:
    """Run a program to its end. Cancelling (a time limit, say) kills it and all its children.

    A thread waits for it, not the loop: asyncio can start programs only on some of the
    loops that exist on Windows.

    Args:
        argv: the program and its arguments. Holds no secret: every user can see it.
        stdin: what it reads, UTF-8.
        environ: what `environment` has made of ours.

    Raises:
        NotShown: it is not there, or it failed; says which.
    """
    try:
        process = subprocess.Popen(  # noqa: ASYNC220 – starting takes no time; a list, so no shell looks at the texts
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as problem:
        raise NotShown(f"{argv[0]} cannot be run: {problem.strerror}") from None
    try:
        await in_thread(lambda: process.communicate(stdin.encode()))
    except asyncio.CancelledError:
        kill(process)
        raise
    if process.returncode:
        raise NotShown(f"{argv[0]} failed with exit code {process.returncode}")


def kill(process: subprocess.Popen[Any]) -> None:
    """End a process and, where there are such things, its whole group."""
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


async def in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread that nobody waits for at exit.

    `asyncio.to_thread` would: a library that hangs would then keep the daemon from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, problem: Exception | None) -> None:
        if done.cancelled():
            return
        if problem is not None:
            done.set_exception(problem)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only if T has it

    def body() -> None:
        result, problem = None, None
        try:
            result = work()
        except Exception as exc:  # noqa: BLE001 – handed to whoever awaits
            problem = exc
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, problem)

    threading.Thread(target=body, name="pgherald-notify", daemon=True).start()
    return await done
