"""What is written and run to install the service: planned first, then applied.

A plan is a list of steps. `--dry-run` shows the very list that would be applied.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgherald import process
from pgherald.errors import MissingTool, ServiceError
from pgherald.files import Files
from pgherald.process import Ended

#: Seconds a program may take; a start waits until the daemon is up, which takes a moment.
TIME_LIMIT: Final = 90.0

#: Seconds between two tries of a step that may have come too early.
_PAUSE: Final = 1.0

#: Variables the managers' programs need beside those every program needs.
_ALSO: Final = frozenset(
    {"TERM", "PAGER", "LESS", "XDG_RUNTIME_DIR", "XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS"}
)


class Programs:
    """Runs the programs of the service managers: systemctl, launchctl, schtasks and their like.

    Args:
        env: our environment; they are given only what they need of it.
        dry_run: runs nothing; every program answers that it found nothing.
    """

    def __init__(self, env: Mapping[str, str], *, dry_run: bool = False) -> None:
        self._env = process.environment(env, _ALSO)
        self._dry_run = dry_run

    def run(self, argv: Sequence[str]) -> Ended:
        """Run a program to its end. Its words come in English, so that they can be read.

        Raises:
            MissingTool: there is no such program.
            ServiceError: it does not end.
        """
        if self._dry_run:
            return Ended(1)
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
        """Run a program on the person's terminal; its exit code.

        Raises:
            MissingTool: there is no such program.
        """
        try:
            return subprocess.run(argv, env=self._env, check=False).returncode
        except OSError as exc:
            raise _missing(argv[0], exc) from None


def _missing(program: str, exc: OSError) -> MissingTool:
    return MissingTool(
        f"{program} cannot be run: {exc.strerror or exc}",
        "pgherald can be started by whatever starts programs on this machine: `pgherald run` "
        "stays in the foreground, SIGTERM ends it.",
    )


@dataclass(frozen=True, slots=True)
class Write:
    """Replace a file of ours, mode 0600; missing folders are made.

    Attributes:
        path: the file.
        text: its new content.
        encoding: in which it is written.
    """

    path: Path
    text: str
    encoding: str = "utf-8"


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete a file of ours."""

    path: Path


@dataclass(frozen=True, slots=True)
class Run:
    """Run a program.

    Attributes:
        argv: the program and its arguments.
        needed: whether a failure ends everything; else it says no more than that there was
            nothing to do.
        tries: how often it is tried, with a pause in between.
        advice: what the person can do when it has failed.
    """

    argv: tuple[str, ...]
    needed: bool = True
    tries: int = 1
    advice: str = ""


Step = Write | Remove | Run


def apply(
    steps: Sequence[Step],
    files: Files,
    programs: Programs,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Do it, one step after the other.

    Raises:
        FileTrouble: a file cannot be written.
        MissingTool: a program is not there.
        ServiceError: a program failed that had to work.
    """
    for step in steps:
        match step:
            case Write():
                files.make_folder(step.path.parent)
                files.write_private(step.path, step.text.encode(step.encoding))
            case Remove():
                files.remove_own(step.path)
                files.sweep(step.path)
            case Run():
                _run(step, programs, sleep)


def _run(step: Run, programs: Programs, sleep: Callable[[float], None]) -> None:
    ended = programs.run(step.argv)
    for _ in range(step.tries - 1):
        if ended.code:
            sleep(_PAUSE)
            ended = programs.run(step.argv)
    if ended.code and step.needed:
        said = (ended.err.strip() or ended.out.strip()).partition("\n")[0]
        raise ServiceError(
            f"{' '.join(step.argv[:3])} failed: {said or f'exit code {ended.code}'}", step.advice
        )


def lines(steps: Sequence[Step]) -> Iterator[str]:
    """The steps, for a person to read."""
    for step in steps:
        match step:
            case Write():
                yield f"write {step.path}"
                yield from (f"    {line}".rstrip() for line in step.text.splitlines())
            case Remove():
                yield f"delete {step.path}"
            case Run():
                words = (f'"{word}"' if " " in word else word for word in step.argv)
                yield f"run {' '.join(words)}"
