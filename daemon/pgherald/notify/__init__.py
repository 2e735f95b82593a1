"""Tells people: on their desktop, in a chat, by their own programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pgherald.clock import Clock
from pgherald.notify.desktop import Backend, NoDesktop

if TYPE_CHECKING:
    from pgherald.notify.opening import Opener


def desktop_for(
    platform: str, *, environ: Mapping[str, str], clock: Clock, opener: Opener | None = None
) -> Backend:
    """The back end of a platform.

    Args:
        platform: `sys.platform`.
        environ: the process's environment: where the session bus is, where programs are.
        clock: stamps the receipts.
        opener: does what a button promises, where the platform has buttons; None for none.
    """
    if platform == "linux":
        from pgherald.notify.linux import LinuxDesktop  # only this platform needs it

        return LinuxDesktop(clock, environ=environ, opener=opener)
    if platform not in ("darwin", "win32"):
        return NoDesktop(clock)
    from pgherald.notify.programs import MacDesktop, WindowsDesktop

    program = MacDesktop if platform == "darwin" else WindowsDesktop
    return program(clock, environ=environ)
