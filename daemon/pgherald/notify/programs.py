"""Where a program shows notices, or finds the place: osascript, PowerShell, notify-send, `who`."""

from __future__ import annotations

import abc
import base64
import hashlib
import os
import shutil
import stat
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from pgherald import process
from pgherald.notify.desktop import Backend, Notice, NotShown, Urgency, run

#: Where terminals are.
_DEVICES: Final = Path("/dev")

#: macOS: the texts come in as arguments, so nothing in them is ever taken for AppleScript.
APPLESCRIPT: Final = """\
on run argv
    display notification (item 2 of argv) with title (item 1 of argv)
end run
"""

#: A toast needs a registered application; PowerShell's own is on every Windows.
_APPLICATION: Final = (
    r"{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\WindowsPowerShell\v1.0\powershell.exe"
)

#: The notice comes in as base64, so nothing in it is ever taken for PowerShell.
_POWERSHELL: Final = """\
$ErrorActionPreference = 'Stop'
$null = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, \
ContentType = WindowsRuntime]
$null = [Windows.Data.Xml.Dom.XmlDocument, Windows.Data.Xml.Dom, ContentType = WindowsRuntime]
$xml = New-Object Windows.Data.Xml.Dom.XmlDocument
$xml.LoadXml([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('{toast}')))
$toast = New-Object Windows.UI.Notifications.ToastNotification $xml
$toast.Tag = '{tag}'
$toast.Group = 'pgherald'
[Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier(\
'{application}').Show($toast)
"""


class ProgramDesktop(Backend):
    """Runs a program for each notice.

    Args:
        environ: our environment, of which the program sees a part.
        more: as for every back end.
    """

    program: str

    def __init__(self, *, environ: Mapping[str, str], **more: Any) -> None:
        super().__init__(**more)
        self._environ = process.environment(environ, process.SESSION)

    async def presence(self) -> str:
        """As in `Backend`."""
        if shutil.which(self.name, path=self._environ.get("PATH")) is None:
            raise NotShown(f"{self.name} is not there")
        return self.name

    async def _send(self, notice: Notice) -> None:
        arguments, stdin = self._call(notice)
        await run([self.program, *arguments], self._environ, stdin=stdin)

    @abc.abstractmethod
    def _call(self, notice: Notice) -> tuple[list[str], str]:
        """The program's arguments, and its stdin."""


class MacDesktop(ProgramDesktop):
    """The Notification Center. It cannot replace an earlier notice, nor does it know urgency.

    `osascript` succeeds even when the person has turned its notifications off, so
    "shown" means "handed to the Notification Center".
    """

    name = program = "osascript"

    def _call(self, notice: Notice) -> tuple[list[str], str]:
        # "-": the script comes on stdin. What follows is text even if it begins with "-".
        return ["-", notice.title, notice.body], APPLESCRIPT


class NotifySend(ProgramDesktop):
    """libnotify's own program, which reaches a session bus in ways that we do not speak."""

    name = program = "notify-send"
    silent = "the notification server does not answer"

    def _call(self, notice: Notice) -> tuple[list[str], str]:
        if notice.passing:
            raise NotShown("it cannot be replaced later")
        options = ["--app-name=pgherald", f"--urgency={notice.urgency}"]
        return [*options, "--", notice.title, notice.body], ""


class WindowsDesktop(ProgramDesktop):
    """The action centre: a toast, shown by the PowerShell that Windows brings."""

    name = "powershell"
    program = "powershell.exe"
    in_place = True

    def _call(self, notice: Notice) -> tuple[list[str], str]:
        # -EncodedCommand is base64 of UTF-16, which no code page can garble.
        encoded = base64.b64encode(script_for(notice).encode("utf-16-le")).decode()
        return ["-NoProfile", "-NonInteractive", "-EncodedCommand", encoded], ""


def script_for(notice: Notice) -> str:
    """The PowerShell script that shows the notice."""
    # A toast with the same tag takes the earlier one's place; older Windows allow 16 characters.
    key = f"{notice.title}\n{notice.body}" if notice.replaces is None else notice.replaces
    return _POWERSHELL.format(
        toast=base64.b64encode(toast_for(notice).encode()).decode(),
        tag=hashlib.sha256(key.encode()).hexdigest()[:16],
        application=_APPLICATION,
    )


def toast_for(notice: Notice) -> str:
    """The notice in the toast's own XML."""
    stays = ' duration="long"' if notice.urgency is Urgency.CRITICAL else ""
    silent = '<audio silent="true"/>' if notice.urgency is Urgency.LOW else ""
    return (
        f'<toast{stays}><visual><binding template="ToastGeneric">'
        f"<text>{escape(notice.title, quote=False)}</text><text>{escape(notice.body, quote=False)}</text>"
        f"</binding></visual>{silent}</toast>"
    )


class Terminals(Backend):
    """The terminals on which this user is logged in, as `write` and `wall` find them.

    One is written to only if it is the user's own and lets others write (`mesg y`), and never
    waited for. A notice that is of little weight does not disturb anybody's work there.

    Args:
        environ: our environment; its PATH leads to `who`.
        more: as for every back end.
    """

    name = "terminals"
    silent = "`who` does not answer"

    def __init__(self, *, environ: Mapping[str, str], **more: Any) -> None:
        super().__init__(**more)
        self._environ = process.environment(environ)

    async def _send(self, notice: Notice) -> None:
        if notice.passing or notice.urgency is Urgency.LOW:
            raise NotShown("a terminal is not disturbed for it")
        text = "\n".join(["", f"pgherald: {notice.title}", *notice.body.splitlines(), ""])
        # A terminal in raw mode wants both.
        data = text.replace("\n", "\r\n").encode()
        if not sum([_write(terminal, data) for terminal in await self._ours()]):
            raise NotShown("no terminal to write to")

    async def _ours(self) -> list[Path]:
        """The terminals that `who` names, and that are ours."""
        try:
            asked = await process.run(["who"], self._environ | {"LC_ALL": "C"}, out=True)
        except OSError as exc:
            if isinstance(exc, TimeoutError):
                raise
            raise NotShown("`who` is not there to name the terminals") from None
        rows = [line.split() for line in asked.out.splitlines()]
        places = [_DEVICES / name for name in sorted({row[1] for row in rows if len(row) > 1})]
        return [place for place in places if ".." not in place.parts and _may_write(place)]


def _may_write(terminal: Path) -> bool:
    try:
        found = terminal.stat()
    except (OSError, ValueError):  # such as the display's own line, `:0`
        return False
    ours = found.st_uid == os.getuid()
    return ours and stat.S_ISCHR(found.st_mode) and bool(found.st_mode & stat.S_IWGRP)


def _write(terminal: Path, data: bytes) -> bool:
    """Whether it was written. One that was stopped with Ctrl-S is not waited for."""
    try:
        descriptor = os.open(terminal, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.write(descriptor, data) == len(data)
    except OSError:
        return False
    finally:
        os.close(descriptor)
