"""Runs the programs of the service managers: systemctl, launchctl, schtasks and their like."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from pgherald import process
from pgherald.errors import MissingTool, ServiceError
from pgherald.process import Ended

#: Seconds; a start waits until the daemon is up, which takes a moment.
TIME_LIMIT: Final = 90.0

#: Variables such a program needs beside those every program needs.
_ALSO: Final = frozenset(
    {"TERM", "PAGER", "LESS", "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS"}
)


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
        self._env = process.environment(env, _ALSO)

    def run(self, argv: Sequence[str]) -> Ended:
        """As in `Programs`. Their words come in English, so that they can be read."""
        try:
            return process.run_sync(argv, {**self._env, "LC_ALL": "C"}, time_limit=TIME_LIMIT)
        except TimeoutError:
            raise ServiceError(
                f"{argv[0]} did not end within {TIME_LIMIT:g} seconds",
                f"Run it by hand and see what it waits for: {' '.join(argv)}",
            ) from None
        except OSError as exc:
            raise _missing(argv[0], exc) from None

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
        return Ended(1)

    def show(self, argv: Sequence[str]) -> int:
        """As in `Programs`."""
        return 1


def _missing(program: str, exc: OSError) -> MissingTool:
    return MissingTool(
        f"{program} cannot be run: {exc.strerror or exc}",
        "pgherald can be started by whatever starts programs on this machine: `pgherald run` "
        "stays in the foreground, SIGTERM ends it.",
    )
