"""The exit codes: a contract with scripts."""

from __future__ import annotations

from typing import Final

#: Everything is as it should be.
EXIT_OK: Final = 0
#: Something could not be made current, or did not work; stderr names it.
EXIT_TROUBLE: Final = 1
#: The command line or the configuration is wrong.
EXIT_USAGE: Final = 2
#: Another pgherald is running with the same state folder.
EXIT_RUNNING: Final = 3
#: Stopped by Ctrl-C.
EXIT_INTERRUPTED: Final = 130
