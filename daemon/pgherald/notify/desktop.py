"""The interface of every desktop back end: a notice goes in, a receipt comes out.

`show` never raises and never takes longer than its time limit, whatever the desktop
does. The receipt says whether the notice was really shown and, if not, why, in words
that fit into `pgherald status`.
"""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pgherald import process

#: Seconds that one notice may take. A person waits for no notification.
TIME_LIMIT: Final = 5.0


class Urgency(enum.StrEnum):
    """How much a notice may disturb (the levels of the desktop notifications standard)."""

    LOW = "low"
    NORMAL = "normal"
    CRITICAL = "critical"
    """Something is to be done. Desktops keep such a notice until it is dismissed."""


class Action(enum.StrEnum):
    """What a button on a notice does; the value is its name on the bus."""

    PGADMIN = "pgadmin"
    HISTORY = "history"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification, without any secret in it.

    Attributes:
        title: one line.
        body: plain text, lines separated by line feeds; may be empty.
        urgency: how much it may disturb.
        replaces: a stable key; a later notice with the same key takes the earlier one's
            place on the screen where the desktop can do that. None: always a new one.
        actions: buttons that would be of use, where the desktop has buttons.
        passing: of no interest once it is off the screen; another one takes its place soon.
    """

    title: str
    body: str = ""
    urgency: Urgency = Urgency.NORMAL
    replaces: str | None = None
    actions: tuple[Action, ...] = ()
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a notice.

    Attributes:
        shown: whether the desktop confirmed it, or another place had to do.
        backend: who was asked first: `dbus`, `osascript`, `powershell`, `none`.
        why: why that one did not show it, in plain words; empty when it did.
    """

    shown: bool
    backend: str
    why: str


class NotShown(Exception):
    """Raised inside a back end: the notice was not shown; `str()` says why."""


class Backend(abc.ABC):
    """A place where notices are shown, with the time limit, the clean text and the receipt.

    Args:
        limit: seconds that one notice may take; None where the back end has its own.
        others: places to try in turn where this one does not show a notice.

    Attributes:
        name: who is asked, for the receipt.
        in_place: whether a later notice can take an earlier one's place.
    """

    name: str
    in_place: bool = False

    def __init__(self, *, limit: float | None = TIME_LIMIT, others: Sequence[Backend] = ()) -> None:
        self._limit = limit
        self._others = others

    @property
    def silent(self) -> str:
        """Why a notice was not shown when the time was up."""
        return f"{self.name} does not answer"

    async def show(self, notice: Notice) -> Receipt:
        """Show one notice. Never raises; takes at most the time limits of all."""
        notice = clean(notice)
        shown = not (why := await self.attempt(notice))
        for other in self._others if why else ():
            if not await other.attempt(notice):
                shown, why = True, f"{why} ({other.name} did)"
                break
        return Receipt(shown, self.name, why)

    async def attempt(self, notice: Notice) -> str:
        """Try this place alone; why the notice could not be shown, empty where it was."""
        try:
            async with asyncio.timeout(self._limit):
                await self._send(notice)
        except NotShown as problem:
            return str(problem)
        except TimeoutError:
            return self.silent
        except Exception as problem:  # noqa: BLE001 – the desktop is no reason to fail
            # Only the type: the text of a stranger's exception may hold anything.
            return f"unexpected trouble ({type(problem).__name__})"
        return ""

    async def presence(self) -> str:
        """The name of whatever shows notices here, found out without showing one.

        Raises:
            NotShown: there is nobody; says why.
        """
        return self.name

    async def close(self) -> None:
        """Let go of what is open. Most back ends hold nothing."""
        return

    @abc.abstractmethod
    async def _send(self, notice: Notice) -> None:
        """Show it.

        Raises:
            NotShown: it was not shown; the text says why.
            TimeoutError: the desktop did not answer in time.
        """


class NoDesktop(Backend):
    """A platform without notifications, or one that pgherald does not know."""

    name = "none"

    async def presence(self) -> str:
        """As in `Backend`."""
        raise NotShown("this platform has no notifications that pgherald knows")

    async def _send(self, notice: Notice) -> None:
        await self.presence()


async def run(
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    stdin: str = "",
    time_limit: float | None = process.TIME_LIMIT,
) -> None:
    """Run a program that shows a notice or acts on it. See `pgherald.process.run`.

    Raises:
        NotShown: it is not there, or it failed; says which.
        TimeoutError: it did not end in time, and was killed.
    """
    try:
        ended = await process.run(argv, environ, stdin=stdin, time_limit=time_limit)
    except TimeoutError:
        raise
    except OSError as problem:
        raise NotShown(f"{argv[0]} cannot be run: {problem.strerror}") from None
    if ended.code:
        raise NotShown(f"{argv[0]} failed with exit code {ended.code}")


def clean(notice: Notice) -> Notice:
    """The same notice, safe for every desktop.

    D-Bus hangs up on a client that sends a NUL or text that is not UTF-8, and a label may
    come from a file name, which can hold both.
    """
    title = clean_text(notice.title).replace("\n", " ")
    return dataclasses.replace(notice, title=title, body=clean_text(notice.body))


def clean_text(text: str) -> str:
    """The same text without what cannot be shown."""
    text = text.encode("utf-8", "replace").decode()
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)
