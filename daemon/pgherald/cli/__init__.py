"""The command line: one module per command, each import light.

`main` is the program's entry point. It turns every expected error into a title and an
advice on stderr, never a traceback, and into one of the documented exit codes.
"""

from pgherald.cli.main import main

__all__ = ["main"]
