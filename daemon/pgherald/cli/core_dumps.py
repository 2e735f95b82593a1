"""No picture of this process's memory: it holds logins and the token."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

#: prctl(2): `PR_SET_DUMPABLE`.
_SET_DUMPABLE: Final = 4


def forbid() -> None:
    """Let no crash of this process write its memory anywhere, where the platform can.

    - The size limit of a core file becomes 0 (setrlimit(2); Linux, macOS). Programs that are
      started from here inherit that: the Heroku CLI holds the token too.
    - On Linux the process is marked as not dumpable (prctl(2)), because a system that hands
      cores to a program (`/proc/sys/kernel/core_pattern` with a `|`) does not ask for the limit
      (core(5)). It also keeps other processes of the same user from reading this one's memory
      with a debugger; root may.
    - Windows makes no core files.
    """
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes  # only here

            ctypes.CDLL(None).prctl(_SET_DUMPABLE, 0, 0, 0, 0)
