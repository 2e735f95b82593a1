"""The program's entry point."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from pgherald.cli import shortcut


def main() -> NoReturn:
    """Answer at once where that can be done; else run the whole command line; and exit."""
    answer = shortcut.answer(sys.argv[1:], os.environ)
    if answer is None:
        from pgherald.cli.main import main as run  # noqa: PLC0415 – slow, and not always needed

        run()
    try:
        sys.stdout.write(answer)
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()
    sys.exit(0)


def nobody_reads() -> None:
    """The reader (`| head`) has seen enough. Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
