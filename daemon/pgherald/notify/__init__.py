"""Notifies people: on their desktop, in a chat, by their own programs.

Never silence: what nobody shows is in the log all the same, and `pgherald status` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgherald.notify.desktop import Backend, NoDesktop

if TYPE_CHECKING:
    from pgherald.notify.opening import Opener


def desktop_for(
    platform: str,
    *,
    environ: Mapping[str, str],
    opener: Opener | None = None,
    terminals: bool = False,
) -> Backend:
    """The back end of a platform, and what stands in for it where it shows nothing.

    Args:
        platform: `sys.platform`.
        environ: the process's environment: where the session bus is, where programs are.
        opener: does what a button promises, where the platform has buttons; None for none.
        terminals: whether the person's terminals stand in for it.
    """
    from pgherald.notify import programs  # a server's daemon shows nothing, and needs none of it

    others: list[Backend] = []
    if terminals and platform != "win32":
        others.append(programs.Terminals(environ=environ))
    if platform == "linux":
        from pgherald.notify.linux import LinuxDesktop  # only this platform has D-Bus

        others.insert(0, programs.NotifySend(environ=environ))
        return LinuxDesktop(environ=environ, opener=opener, others=others)
    if platform == "darwin":
        return programs.MacDesktop(environ=environ, others=others)
    if platform == "win32":
        return programs.WindowsDesktop(environ=environ)
    return NoDesktop(others=others)
