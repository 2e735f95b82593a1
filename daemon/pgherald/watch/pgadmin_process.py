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
from pathlib import Path
from typing import Final

#: Variables that matter here; nothing else is taken from another program's environment.
_NAMES: Final = frozenset({"PGHOST", "PGHOSTADDR", "PGSERVICEFILE", "PGPASSWORD"})

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
    service_files: Collection[Path], *, services: bool, passfiles: bool, proc: Path = PROC
) -> list[Astray]:
    """What leads a running pgAdmin astray, each variable once.

    Args:
        service_files: the service files that are kept up to date.
        services: whether there are service rows.
        passfiles: whether there are host rows with a passfile.
        proc: where processes are shown.
    """
    found: dict[str, Astray] = {}
    for environment in _environments(proc):
        for each in _judged(environment, service_files, services=services, passfiles=passfiles):
            found.setdefault(each.variable, each)
    return list(found.values())


def runs(proc: Path = PROC) -> bool | None:
    """Whether a pgAdmin of ours runs; None where that cannot be seen."""
    if not proc.is_dir():
        return None
    # The sandbox of the systemd unit shows no other program's environment, but whose it is.
    return any(
        _is_ours(process) or _environment(process) is not None for process in _pgadmins(proc)
    )


def _judged(
    environment: Mapping[str, str],
    service_files: Collection[Path],
    *,
    services: bool,
    passfiles: bool,
) -> Iterator[Astray]:
    restart = "Unset it where pgAdmin is started, then restart pgAdmin."
    for name in ("PGHOST", "PGHOSTADDR"):
        # psycopg makes an address of PGHOST, and libpq has an address win over any host.
        if services and environment.get(name):
            yield Astray(
                name,
                f"pgAdmin runs with {name}, and connects there whatever its servers say",
                restart,
            )
    named = environment.get("PGSERVICEFILE")
    if services and named and not _is_one_of(Path(named), service_files):
        yield Astray(
            "PGSERVICEFILE",
            "pgAdmin reads another service file than the one that is kept up to date",
            "It runs with PGSERVICEFILE: name that file in [clients.service_file], or unset it.",
        )
    if passfiles and environment.get("PGPASSWORD"):
        yield Astray(
            "PGPASSWORD",
            "pgAdmin runs with PGPASSWORD, which beats every passfile",
            restart,
        )


def _is_one_of(path: Path, files: Collection[Path]) -> bool:
    return os.path.realpath(path) in {os.path.realpath(file) for file in files}


def _environments(proc: Path) -> Iterator[dict[str, str]]:
    """What every running pgAdmin was started with, as far as it matters here and can be seen."""
    for process in _pgadmins(proc):
        environment = _environment(process)
        if environment is not None:
            yield environment


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
    return {
        name.decode(): os.fsdecode(value)
        for name, _, value in pairs
        if name.isascii() and name.decode() in _NAMES
    }


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
