"""What the three service managers have in common.

Each is asked for steps (`pgherald.service.steps`) that install or remove the service, for a report
and for the command that shows its log. A file it is given carries a mark: one comment with a
checksum of all the other lines, so that a file somebody else wrote, or a person has edited since,
is never overwritten.
"""

from __future__ import annotations

import abc
import enum
import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pgherald.errors import ServiceError
from pgherald.service.steps import Programs, Step

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
