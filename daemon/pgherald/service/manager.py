"""What the three service managers have in common.

Each is asked for steps that install or remove the service, for a report and for the command that
shows its log. `--dry-run` shows the very list of steps that would be applied. A file it is given carries a mark: one comment with a
checksum of all the other lines, so that a file somebody else wrote, or a person has edited since,
is never overwritten.
"""

from __future__ import annotations

import abc
import asyncio
import enum
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
            env = {**self._env, "LC_ALL": "C"}
            return asyncio.run(process.run(argv, env, out=True, err=True, time_limit=TIME_LIMIT))
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


# --- the managers -------------------------------------------------------------------------------

MARK: Final = "Written by pgherald service install, checksum"

_MARKED: Final = re.compile(rf"^.*{MARK} ([0-9a-f]{{16}}).*\n", re.MULTILINE)

SEE_LOG: Final = "`pgherald service logs` shows why. `pgherald service uninstall` takes it back."

#: Variables that a shell often has and a service has not, and that pgherald goes by. No token
#: is among them: a token in a service's environment can be read by whatever it starts.
CARRIED: Final = (
    *("PATH", "HEROKU_HOST", "PGHERALD_STATE_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"),
    *("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)


class Standing(enum.StrEnum):
    """Whose the service's file is."""

    MISSING = "missing"
    """There is none."""
    OURS = "ours"
    """As it was written."""
    EDITED = "edited"
    """Written by us, and changed since."""
    FOREIGN = "foreign"
    """Somebody else's."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What the service shall run.

    Attributes:
        program: pgherald, as the start of a command line; see `program_of`.
        config: the configuration, absolute, where it is not the default one.
        environment: variables to set.
        writable: folders outside the home folder that must stay writable.
        token: a file with the Heroku token that the manager shall hand over; systemd only.
        linger: whether it shall run while nobody is logged in; systemd only.
    """

    program: tuple[str, ...]
    config: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    writable: tuple[Path, ...] = ()
    token: Path | None = None
    linger: bool = False

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the program."""
        return (*(() if self.config is None else ("--config", str(self.config))), "run")


@dataclass(frozen=True, slots=True)
class Report:
    """The state of the service.

    Attributes:
        standing: whose the file is that describes it.
        enabled: whether it starts by itself; None when that cannot be told.
        state: the manager's own words for its state; empty when it says nothing.
        lingering: whether it runs while nobody is logged in; None where there is no such thing.
    """

    standing: Standing
    enabled: bool | None
    state: str
    lingering: bool | None = None


class Manager(abc.ABC):
    """A service manager.

    Attributes:
        name: what it is called.
        file: the file that describes our service to it.
    """

    name: str
    file: Path

    def answers(self, programs: Programs) -> bool:
        """Whether there is such a manager at all."""
        return True

    def standing(self, programs: Programs) -> Standing:
        """Whose the service is that it has under our name."""
        try:
            return standing(self.file.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return Standing.MISSING

    @abc.abstractmethod
    def install(self, setup: Setup) -> list[Step]:
        """The steps that make it run the service, now and from each login on. Pure."""

    @abc.abstractmethod
    def uninstall(self) -> list[Step]:
        """The steps that take the service away again. The log stays. Pure."""

    @abc.abstractmethod
    def report(self, programs: Programs) -> Report:
        """Ask it for the state of the service."""

    @abc.abstractmethod
    def logs(self, number: int, *, follow: bool) -> list[str]:
        """The command that shows the last lines of the log."""


def marked(text: str, *, line: int = 0, begin: str = "# ", end: str = "") -> str:
    """The text with a mark.

    Args:
        text: ends with a line break.
        line: where the mark goes, counted from 0; XML wants its declaration first.
        begin: begins a comment.
        end: ends it.
    """
    # Not `splitlines`, for which a form feed ends a line.
    lines = text.split("\n")
    lines.insert(min(line, len(lines) - 1), f"{begin}{MARK} {_checksum(text)}{end}")
    return "\n".join(lines)


def standing(text: str) -> Standing:
    """Whose the file with this text is."""
    found = _MARKED.search(text)
    if found is None:
        return Standing.FOREIGN
    rest = text[: found.start()] + text[found.end() :]
    return Standing.OURS if _checksum(rest) == found[1] else Standing.EDITED


def _checksum(text: str) -> str:
    """Finds what a person changed; it is no protection against anybody."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def refuse_foreign(manager: Manager, standing: Standing) -> None:
    """Refuse to touch what pgherald did not write.

    Raises:
        ServiceError: it is somebody else's, or a person has changed it.
    """
    if standing is Standing.FOREIGN:
        raise ServiceError(
            f"{manager.file} was not written by pgherald",
            "Move it away if it is not needed, and run this again.",
        )
    if standing is Standing.EDITED:
        raise ServiceError(
            f"{manager.file} has been changed since pgherald wrote it",
            "Keep your changes elsewhere (for systemd: `systemctl --user edit pgherald`), "
            "delete the file, and run this again.",
        )


def carried(env: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The variables to hand on to the service, and those that are not since they hold a secret."""
    found = {name: env[name] for name in CARRIED if env.get(name)}
    # http://user:password@proxy
    secret = [name for name, value in found.items() if "proxy" in name.lower() and "@" in value]
    return {name: value for name, value in found.items() if name not in secret}, secret


def program_of(argv0: str, executable: str = sys.executable) -> tuple[str, ...]:
    """How to start the pgherald that runs at this moment.

    Args:
        argv0: how it was called. Links stay as they are: pipx and uv lead them to the new
            version after an upgrade.
        executable: the Python that runs it.
    """
    called = Path(argv0)
    if called.stem == "pgherald" and called.is_file() and os.access(called, os.X_OK):
        return (str(called.absolute()),)
    return (executable, "-m", "pgherald")


def outside_home(paths: Sequence[Path], home: Path) -> tuple[Path, ...]:
    """The folders of these files that do not lie in the home folder, each once."""
    folders = {Path(os.path.realpath(path)).parent for path in paths}
    inside = Path(os.path.realpath(home))
    return tuple(sorted(f for f in folders if f != inside and inside not in f.parents))
