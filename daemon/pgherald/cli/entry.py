"""The program's entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line, or the daemon where a service manager asks plainly for it; exit."""
    if (asked := plain_run(sys.argv[1:])) is not None:
        _be_the_daemon(*asked)
    from pgherald.cli.main import main as run  # the daemon does without click

    run()


def plain_run(argv: Sequence[str]) -> tuple[Path | None, Path | None] | None:
    """Whether a command line asks for the daemon in the words that service managers use.

    The daemon would keep click in memory for ever.

    Returns:
        The configuration file and the log, if they are named; None for another command line.
    """
    named: dict[str, Path] = {}
    rest = list(argv)
    for words, option in (([], "--config"), (["run"], "--log-file")):
        if rest[: len(words)] != words:
            return None
        del rest[: len(words)]
        if len(rest) > 1 and rest[0] == option and not rest[1].startswith("-"):
            named[option] = Path(rest[1])
            del rest[:2]
    return None if rest else (named.get("--config"), named.get("--log-file"))


def _be_the_daemon(config: Path | None, log_file: Path | None) -> NoReturn:
    try:
        from pgherald.cli.foreground import run  # only the daemon needs it

        run(config, log_file, os.environ)
    except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 – a person gets a sentence
        from pgherald.cli.output import said  # brings click, which may come now

        sys.exit(said(exc))
