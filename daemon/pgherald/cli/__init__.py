"""The command line: one module for each command, each import light.

`entry.main` is the program's entry point. It starts the daemon, or runs `main.main`. A command
returns whether all is well, or nothing where that goes without saying; what it raises becomes a
title and an advice on stderr, never a traceback. Both end as one of these exit codes, which are a
contract with scripts.
"""

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
