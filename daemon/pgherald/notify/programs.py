"""Desktops that a program shows notices on: osascript, PowerShell, notify-send."""

from __future__ import annotations

import abc
import base64
import hashlib
import shutil
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

from pgherald import process
from pgherald.clock import Clock
from pgherald.notify.desktop import TIME_LIMIT, Backend, Notice, NotShown, Urgency, run

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
        clock: stamps the receipts.
        environ: our environment, of which the program sees a part.
        limit: seconds that one notice may take.
    """

    program: str

    def __init__(
        self, clock: Clock, *, environ: Mapping[str, str], limit: float = TIME_LIMIT
    ) -> None:
        super().__init__(clock, limit=limit)
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
        f"<text>{escape(notice.title)}</text><text>{escape(notice.body)}</text>"
        f"</binding></visual>{silent}</toast>"
    )
