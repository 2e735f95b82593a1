"""Everything that can go wrong, as one tree.

    PgheraldError
     ├─ ConfigError             the configuration is wrong (exit code 2)
     ├─ HerokuError             Heroku did not give what was asked
     │   ├─ LoginRequired         no token, or Heroku refused it (401)
     │   ├─ OtherLogin            the token is somebody else's than before
     │   ├─ Forbidden             the token may not do this (403)
     │   │   ├─ TwoFactorRequired   a second factor is asked for
     │   │   └─ AccountSuspended    the account or app is suspended or in arrears
     │   ├─ NotVisible            gone, or never shown to this token (404)
     │   ├─ RateLimited           the account's requests are used up (429)
     │   ├─ Unavailable           Heroku or the way to it is down: 5xx, time-out, DNS, refused
     │   ├─ NotHeroku             the answer is not Heroku's (a captive portal, a proxy)
     │   └─ UnsafeHost            a token would go to a stranger; nothing was sent
     ├─ BadUrl                  a config var holds something that is no Postgres URL
     ├─ ProbeFailed             the login could not be proven
     │   └─ NotYetProven          so far; it is being tried again
     ├─ ClientError             a client's file
     │   ├─ Unparsable            it cannot be understood, so it is not touched
     │   ├─ Inexpressible         the file's format cannot hold this login
     │   ├─ ClientMissing         its program has never run here, or is gone
     │   ├─ ChangedMeanwhile      another program wrote it while we were thinking
     │   │   └─ BeingWritten        it is still at it
     │   └─ FileTrouble           it cannot be read or written: permissions, disk, kind
     ├─ RolledBack              an older login was put back, as the person asked
     ├─ StoreError              pgherald's own state cannot be read or written
     ├─ AlreadyRunning          another pgherald holds the lock
     ├─ ServiceError            the system's service manager did not do what was asked
     └─ MissingTool             a program or an optional package is needed and not there

Each has a `title`, which fits a notification's headline (60 characters or so), and
an `advice`: one sentence that tells the person what to do. Neither ever holds a secret.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

#: How a token is made that does what pgherald needs and no more.
MAKE_ONE: Final = "`heroku authorizations:create -s read-protected` makes one that may only read."


class PgheraldError(Exception):
    """The root. `str()` gives title and advice on two lines.

    Attributes:
        title: what happened, short enough for a notification's headline.
        advice: what the person can do about it; may be empty when nothing is to be done.
    """

    default_advice = ""

    def __init__(self, title: str, advice: str = "") -> None:
        self.title = title
        self.advice = advice or self.default_advice
        super().__init__(title)

    def __str__(self) -> str:
        return f"{self.title}\n{self.advice}" if self.advice else self.title

    @property
    def kind(self) -> str:
        """A stable word for the kind of trouble, used by the store and `--json`."""
        return type(self).__name__


class ConfigError(PgheraldError):
    """The configuration is wrong; lists every problem at once.

    Attributes:
        problems: one line each, `file:line: what is wrong`, in the file's order.
    """

    def __init__(self, title: str, problems: tuple[str, ...] = (), advice: str = "") -> None:
        self.problems = problems
        super().__init__(title, advice)

    def __str__(self) -> str:
        return "\n".join([self.title, *self.problems, *([self.advice] if self.advice else [])])


class HerokuError(PgheraldError):
    """Heroku did not give what was asked."""


class LoginRequired(HerokuError):
    """There is no token, or Heroku refused it. Polling stops until that changes."""

    default_advice = f"Run `heroku login`, or put another token there: {MAKE_ONE}"


class OtherLogin(HerokuError):
    """The token is somebody else's than before, and does not show what the former one did."""


class Forbidden(HerokuError):
    """The token is known, but may not do this (403)."""


class TwoFactorRequired(Forbidden):
    """Heroku asks for a second factor, which a daemon cannot give."""

    default_advice = f"Use a token that needs no second factor: {MAKE_ONE}"


class AccountSuspended(Forbidden):
    """The account or app is suspended, or bills are open (402, 403 suspended)."""

    default_advice = "dashboard.heroku.com says why, and what is to be paid."


class NotVisible(HerokuError):
    """Gone, or never shown to this token (404). Never a reason to delete anything."""


class RateLimited(HerokuError):
    """The account's requests are used up (429).

    Attributes:
        retry_at: when to ask again, UTC, if Heroku said so.
    """

    def __init__(self, title: str, advice: str = "", retry_at: datetime | None = None) -> None:
        self.retry_at = retry_at
        super().__init__(title, advice)


class Unavailable(HerokuError):
    """Heroku, or the way to it, is down. Nothing is to be done but wait."""


class NotHeroku(HerokuError):
    """Something answered in Heroku's place: a captive portal, a proxy, a broken gateway."""

    default_advice = "Open a browser: this network may want you to sign in first."


class UnsafeHost(HerokuError):
    """A token would have gone to a host that is not Heroku's. Nothing was sent."""


class BadUrl(PgheraldError):
    """A config var holds something that is not a Postgres URL."""


class ProbeFailed(PgheraldError):
    """The login could not be proven by a connection.

    Attributes:
        outcome: `pgherald.sync.probe.Outcome` value that tells why.
    """

    def __init__(self, title: str, advice: str = "", outcome: str = "") -> None:
        self.outcome = outcome
        super().__init__(title, advice)


class NotYetProven(ProbeFailed):
    """The login could not be proven so far; it is tried again before anyone is told."""


class ClientError(PgheraldError):
    """A client's file.

    Attributes:
        path: the file, when known; pure editors do not know it and leave it None.
        line: line in that file, counted from 1, when known.
        reason: what is wrong, without the file's name.
    """

    def __init__(
        self,
        reason: str,
        advice: str = "",
        *,
        path: Path | None = None,
        line: int | None = None,
    ) -> None:
        self.reason = reason
        self.path = path
        self.line = line
        super().__init__(self._place() + reason, advice)

    def _place(self) -> str:
        where = "" if self.path is None else str(self.path)
        if self.line is not None:
            where = f"{where}:{self.line}" if where else f"line {self.line}"
        return f"{where}: " if where else ""

    def at(self, path: Path) -> ClientError:
        """The same error, naming the file. Pure editors raise without it, callers add it."""
        return (
            self if self.path else type(self)(self.reason, self.advice, path=path, line=self.line)
        )


class Unparsable(ClientError):
    """The file cannot be understood. It is never written; it is named, with line and reason."""


class Inexpressible(ClientError):
    """The file's format has no way to hold this login (a line break in a password, say)."""


class ClientMissing(ClientError):
    """The client is not there: its program has never run here, or is gone."""


class ChangedMeanwhile(ClientError):
    """Another program wrote the file between our reading and our writing. Plan again."""


class BeingWritten(ChangedMeanwhile):
    """Another program has the file open to write it, or wrote it a moment ago."""

    def __init__(self, path: Path) -> None:
        advice = (
            f"Let that program finish, or close it: `lsof '{path}'` names it. "
            "The daemon then writes the file by itself; `check` has to be run again."
        )
        super().__init__("is being written by another program", advice, path=path)


class FileTrouble(ClientError):
    """The file cannot be read or written: permissions, a full disk, not a regular file."""


class RolledBack(PgheraldError):
    """An older login was put back into the clients, as the person asked."""

    default_advice = "To have the current one in them again: pgherald check"


class StoreError(PgheraldError):
    """pgherald's own state cannot be read or written."""


class AlreadyRunning(PgheraldError):
    """Another pgherald holds the lock."""


class ServiceError(PgheraldError):
    """The system's service manager did not do what was asked, or was not asked: see why."""


class MissingTool(PgheraldError):
    """A program or an optional package is needed and is not there; the advice says how to get it."""


def safe_text(exc: BaseException) -> str:
    """What went wrong, and where, without anything that could be a secret.

    A message or traceback of somebody else's exception may hold a URL or a password;
    the type and the place in the code do not.
    """
    if isinstance(exc, PgheraldError):
        return exc.title
    where = exc.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None:
        return type(exc).__name__
    return f"{type(exc).__name__} in {where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
