"""Desktop notifications on Windows: a toast, shown by the PowerShell that Windows brings."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

from pgherald import process
from pgherald.clock import Clock
from pgherald.notify.desktop import TIME_LIMIT, Backend, Notice, Urgency
from pgherald.notify.outside import run

#: A toast needs a registered application; PowerShell's own is on every Windows.
APPLICATION: Final = r"{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\WindowsPowerShell\v1.0\powershell.exe"

#: The notice comes in as base64, so nothing in it is ever taken for PowerShell.
SCRIPT: Final = """\
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


class WindowsDesktop(Backend):
    """The action centre."""

    name = "powershell"
    in_place = True
    too_slow = "PowerShell does not answer"

    def __init__(
        self, clock: Clock, *, environ: Mapping[str, str], limit: float = TIME_LIMIT
    ) -> None:
        super().__init__(clock, limit=limit)
        self._environ = process.environment(environ)

    async def _send(self, notice: Notice) -> None:
        # -EncodedCommand is base64 of UTF-16, which no code page can garble.
        encoded = base64.b64encode(script_for(notice).encode("utf-16-le")).decode()
        argv = ["powershell.exe", "-NoProfile", "-NonInteractive", "-EncodedCommand", encoded]
        await run(argv, self._environ)


def script_for(notice: Notice) -> str:
    """The PowerShell script that shows the notice."""
    # A toast with the same tag takes the earlier one's place; older Windows allow 16 characters.
    key = f"{notice.title}\n{notice.body}" if notice.replaces is None else notice.replaces
    return SCRIPT.format(
        toast=base64.b64encode(toast_for(notice).encode()).decode(),
        tag=hashlib.sha256(key.encode()).hexdigest()[:16],
        application=APPLICATION,
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
