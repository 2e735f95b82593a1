"""Runs the programs of the service managers: systemctl, launchctl, schtasks and their like."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from pgherald.errors import MissingTool, ServiceError

#: Seconds; a start waits until the daemon is up, which takes a moment.
TIME_LIMIT: Final = 90.0

#: What such a program needs of our environment. Tokens and everything else stay here.
NEEDED: Final = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TERM", "TMPDIR", "PAGER", "LESS"),
        *("XDG_RUNTIME_DIR", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS"),
        *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "TEMP", "TMP"),
        *("USERPROFILE", "USERNAME", "USERDOMAIN", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA"),
    }
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Attributes:
        code: its exit code.
        out: what it printed.
        err: what it said on stderr.
    """

    code: int
    out: str
    err: str


class Programs(Protocol):
    """Whatever runs programs."""

    def run(self, argv: Sequence[str]) -> Ended:
        """Run a program to its end and keep what it says.

        Raises:
            MissingTool: there is no such program.
            ServiceError: it does not end.
        """
        ...

    def show(self, argv: Sequence[str]) -> int:
        """Run a program on the person's terminal; its exit code.

        Raises:
            MissingTool: there is no such program.
        """
        ...


class RealPrograms:
    """Runs them on this machine.

    Args:
        env: our environment; they are given only what they need of it.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = {name: value for name, value in env.items() if name.upper() in NEEDED}

    def run(self, argv: Sequence[str]) -> Ended:
        """As in `Programs`. Their words come in English, so that they can be read."""
        try:
            done = subprocess.run(  # a list, so no shell looks at it
                argv,
                env={**self._env, "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIME_LIMIT,
                check=False,
            )
        except OSError as exc:
            raise _missing(argv[0], exc) from None
        except subprocess.TimeoutExpired:
            raise ServiceError(
                f"{argv[0]} did not end within {TIME_LIMIT:g} seconds",
                f"Run it by hand and see what it waits for: {' '.join(argv)}",
            ) from None
        return Ended(done.returncode, _text(done.stdout), _text(done.stderr))

    def show(self, argv: Sequence[str]) -> int:
        """As in `Programs`."""
        try:
            return subprocess.run(argv, env=self._env, check=False).returncode
        except OSError as exc:
            raise _missing(argv[0], exc) from None


class NoPrograms:
    """Runs nothing, for a dry run: whatever is asked answers that it found nothing."""

    def run(self, argv: Sequence[str]) -> Ended:  # the shape of `Programs`
        """As in `Programs`."""
        return Ended(1, "", "")

    def show(self, argv: Sequence[str]) -> int:
        """As in `Programs`."""
        return 1


def _text(output: bytes) -> str:
    """Windows' programs write in the console's own encoding; names and states are ASCII."""
    return output.decode("utf-8", "replace").replace("\r\n", "\n")


def _missing(program: str, exc: OSError) -> MissingTool:
    return MissingTool(
        f"{program} cannot be run: {exc.strerror or exc}",
        "pgherald can be started by whatever starts programs on this machine: `pgherald run` "
        "stays in the foreground, SIGTERM ends it.",
    )
