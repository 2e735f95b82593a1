"""The program's entry point."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from pgherald.cli import shortcut


def main() -> NoReturn:
    """Answer at once, or be the daemon, where that is plain; else run the command line; and exit."""
    argv = sys.argv[1:]
    if (asked := shortcut.daemon(argv)) is not None:
        _be_the_daemon(*asked)
    answer = shortcut.answer(argv, os.environ)
    if answer is None:
        from pgherald.cli.main import main as run  # noqa: PLC0415 – slow, and not always needed

        run()
    try:
        sys.stdout.write(answer)
        sys.stdout.flush()
    except BrokenPipeError:
        nobody_reads()
    sys.exit(0)


def _be_the_daemon(config: Path | None, log_file: Path | None) -> NoReturn:
    try:
        from pgherald.cli.foreground import run  # noqa: PLC0415 – only the daemon needs it

        run(config, log_file, os.environ)
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 – a person gets a sentence
        from pgherald.cli.main import ended  # noqa: PLC0415 – brings click, which may come now

        ended(exc)


def nobody_reads() -> None:
    """The reader (`| head`) has seen enough. Python would complain once more at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
