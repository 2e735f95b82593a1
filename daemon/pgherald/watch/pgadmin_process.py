"""A running pgAdmin whose environment leads its servers astray.

pgAdmin connects through psycopg and libpq, which also look into the environment that pgAdmin
was started with. What stands there can beat what the service file or a passfile says, and
pgAdmin tells nobody. It can be seen on Linux alone, for processes of the same user, and not from
within the sandbox of the systemd unit (another user namespace): elsewhere nothing is found.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

_RESTART: Final = "Unset it where pgAdmin is started, then restart pgAdmin."

#: Variables that matter here, and nothing else is taken from another program's environment: which
#: kind of rows each concerns, what is wrong, and what the person can do.
_JUDGED: Final[Mapping[str, tuple[str, str, str]]] = {
    # psycopg makes an address of PGHOST, and libpq has an address win over any host.
    **{
        name: (
            "services",
            f"pgAdmin runs with {name}, and connects there whatever its servers say",
            _RESTART,
        )
        for name in ("PGHOST", "PGHOSTADDR")
    },
    "PGSERVICEFILE": (
        "services",
        "pgAdmin reads another service file than the one that is kept up to date",
        "It runs with PGSERVICEFILE: name that file in [clients.service_file], or unset it.",
    ),
    "PGPASSWORD": (
        "passfiles",
        "pgAdmin runs with PGPASSWORD, which beats every passfile",
        _RESTART,
    ),
    "SQLITE_PATH": (
        "",
        "pgAdmin keeps its servers in another database than the one that is kept up to date",
        "It runs with SQLITE_PATH: name that file in [clients.pgadmin], or unset it.",
    ),
}

#: Where Linux shows its processes.
PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Astray:
    """A variable that leads pgAdmin astray.

    Attributes:
        variable: its name; the value is not told, it may be a secret.
        title: what is wrong.
        advice: what the person can do.
    """

    variable: str
    title: str
    advice: str


def astray(
    service_files: Collection[Path],
    databases: Collection[Path],
    *,
    services: bool,
    passfiles: bool,
    proc: Path = PROC,
) -> list[Astray]:
    """What leads a running pgAdmin astray, each variable once.

    Args:
        service_files: the service files that are kept up to date.
        databases: the configuration databases that are.
        services: whether there are service rows.
        passfiles: whether there are host rows with a passfile.
        proc: where processes are shown.
    """
    found: dict[str, Astray] = {}
    for environment in filter(None, map(_environment, _pgadmins(proc))):
        for name in sorted(environment.keys() & _JUDGED.keys()):
            concerns, title, advice = _JUDGED[name]
            if name == "SQLITE_PATH":
                wrong = not _is_one_of(environment[name], databases)
            elif name == "PGSERVICEFILE":
                wrong = services and not _is_one_of(environment[name], service_files)
            else:
                wrong = services if concerns == "services" else passfiles
            if wrong:
                found.setdefault(name, Astray(name, title, advice))
    return list(found.values())


def runs(before: datetime, proc: Path = PROC) -> bool | None:
    """Whether a pgAdmin of ours runs that was started before a moment; None where unseen."""
    if not proc.is_dir():
        return None
    # The sandbox of the systemd unit shows no other program's environment, but whose it is.
    return any(
        (_is_ours(process) or _environment(process) is not None)
        and _started(process) <= before.timestamp()
        for process in _pgadmins(proc)
    )


def _started(process: Path) -> float:
    """When a process was started, in seconds since 1970; 0 where that cannot be read."""
    try:
        # proc_pid_stat(5): the second field, in parentheses, may hold anything.
        ticks = int((process / "stat").read_bytes().rpartition(b")")[2].split()[19])
        booted = (process.parent / "stat").read_bytes().partition(b"btime ")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return 0.0
    return int(booted) + ticks / os.sysconf("SC_CLK_TCK")


def _is_one_of(path: str, files: Collection[Path]) -> bool:
    return os.path.realpath(path) in {os.path.realpath(file) for file in files}


def _pgadmins(proc: Path) -> Iterator[Path]:
    """Where the running pgAdmins are shown."""
    try:
        numbers = [
            name for name in os.listdir(proc) if name.isdecimal()
        ]  # names alone, by the thousand
    except OSError:
        return
    for number in numbers:
        with contextlib.suppress(OSError):  # it has just ended
            if _is_pgadmin((proc / number / "cmdline").read_bytes()):
                yield proc / number


def _environment(process: Path) -> dict[str, str] | None:
    """What a process was started with; None where that is not shown, or it has just ended."""
    try:
        content = (process / "environ").read_bytes()
    except OSError:
        return None
    pairs = (item.partition(b"=") for item in content.split(b"\0"))
    found = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if value}
    return {name: found[name] for name in found.keys() & _JUDGED.keys()}


def _is_ours(process: Path) -> bool:
    try:
        return process.stat().st_uid == os.geteuid()
    except OSError:
        return False


def _is_pgadmin(command: bytes) -> bool:
    """Whether a command line is that of pgAdmin's server: desktop, wheel, or container."""
    words = command.split(b"\0")
    names = [word.rpartition(b"/")[2] for word in words[:6]]
    return b"pgAdmin4.py" in names or b"pgadmin4" in names[:2] or b"run_pgadmin:app" in words
