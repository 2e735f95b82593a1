"""Sources of a token that only read: an environment variable, a file, netrc."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pgherald.config.load import refuse
from pgherald.errors import LoginRequired
from pgherald.heroku.netrc import netrc_password
from pgherald.secret import Secret

#: What may stand in an Authorization header: visible ASCII, no white space.
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_FILE_LIMIT: Final = 1024 * 1024


def checked(token: Secret, source: str) -> Secret:
    """The token, if it can be one.

    Raises:
        LoginRequired: it cannot.
    """
    if not token:
        raise LoginRequired(f"{source} holds no token", put("there"))
    if not _TOKEN.fullmatch(token.reveal()):
        raise LoginRequired(
            f"What {source} holds is not a token", "A token is one word, such as HRKU-01ab…"
        )
    return token


def put(where: str) -> str:
    """The advice to put a token somewhere."""
    return f"Put a token into {where}: `heroku authorizations:create -s read-protected`."


class _Reading:
    """A source that reads at every `get` and has nothing to forget."""

    cheap = True
    watch_paths: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def forget(self) -> None:
        """Nothing is remembered."""


class Variable(_Reading):
    """An environment variable."""

    def __init__(self, env: Mapping[str, str], variable: str) -> None:
        self._env = env
        self.name = variable

    async def get(self) -> Secret:
        """The variable's value."""
        value = self._env.get(self.name, "").strip()
        if not value:
            raise LoginRequired(f"{self.name} is not set", put(f"the variable {self.name}"))
        return checked(Secret(value), self.name)


class TextFile(_Reading):
    """A file that holds a token somewhere in its text."""

    def __init__(self, path: Path, *, private: bool = True) -> None:
        self.path = path
        self.name = str(path)
        self.watch_paths = (path,)
        self._private = private

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]  # computed here, constant elsewhere
        """Whether others can read the file."""
        try:
            mode = self.path.stat().st_mode
        except OSError:
            return ()
        if os.name != "posix" or not self._private or not mode & 0o077:
            return ()
        return (f"Others can read the token in {self.path}. Run: chmod 600 {self.path}",)

    async def get(self) -> Secret:
        """The token in the file as it is now.

        Raises:
            ConfigError: somebody else may put theirs in its place, and lead the clients to a
                database of theirs.
        """
        if self._private:
            refuse([("the token's file", self.path.absolute())])
        return checked(self._pick(_read(self.path)), self.name)

    def _pick(self, text: str) -> Secret:
        return Secret(text.partition("\n")[0].strip())


class Netrc(TextFile):
    """The login that `heroku login` leaves in netrc."""

    def __init__(self, home: Path, machine: str) -> None:
        super().__init__(home / ("_netrc" if sys.platform == "win32" else ".netrc"))
        self._machine = machine

    def _pick(self, text: str) -> Secret:
        password = netrc_password(text, self._machine)
        if password is None:
            raise LoginRequired(f"{self.path} has no entry for {self._machine}")
        return password


def _read(path: Path) -> str:
    """A small regular file's text.

    Raises:
        LoginRequired: it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            why = "It is not a regular file."  # opening a pipe would wait for ever
        else:
            with path.open("rb") as file:
                return file.read(_FILE_LIMIT).decode("utf-8-sig", "replace")
    except FileNotFoundError:
        raise LoginRequired(f"There is no {path}", put("that file")) from None
    except OSError as exc:
        why = f"{exc.strerror}."
    raise LoginRequired(f"{path} cannot be read", f"{why} {put('that file')}")
