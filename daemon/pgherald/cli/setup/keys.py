"""Reads single keys from a terminal.

Raw termios, or click on Windows: the picker needs a dozen keys, for which prompt_toolkit would
bring 400 kB of code and a tenth of a second. Ctrl-C stays what it is everywhere.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import sys
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import click

#: Seconds after which an escape character was the key of that name: over ssh the rest of a
#: sequence may come in a packet of its own.
_PATIENCE: Final = 0.1

#: What terminals send (xterm's control sequences; the Windows console's key codes).
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "\x1b[A": "up", "\x1bOA": "up", "\xe0H": "up", "\x00H": "up",
        "\x1b[B": "down", "\x1bOB": "down", "\xe0P": "down", "\x00P": "down",
        "\x1b[5~": "pageup", "\xe0I": "pageup", "\x1b[6~": "pagedown", "\xe0Q": "pagedown",
        "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\xe0G": "home",
        "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "\xe0O": "end",
        "\r": "enter", "\n": "enter", " ": "space", "\x01": "all",
        "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape", "\x04": "stop",
        # What Emacs's hands know.
        "\x10": "up", "\x0e": "down",
    }
)  # fmt: skip

_KNOWN: Final = frozenset(NAMES.values())

_KEY: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|[\x00\xe0].|.", re.DOTALL)
_UNFINISHED: Final = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)?")


def named(text: str) -> list[str]:
    """The keys that a text from the terminal stands for; unknown sequences drop out."""
    keys = (NAMES.get(key, key) for key in _KEY.findall(text))
    return [key for key in keys if key in _KNOWN or (len(key) == 1 and key.isprintable())]


@contextlib.contextmanager
def keyboard() -> Iterator[Iterator[str]]:
    """The keys as they are pressed; the terminal is as before at the end of the block.

    Keys that were pressed before count too. At the end of the input, or by Ctrl-D, the key
    `stop` comes.
    """
    if sys.platform == "win32":  # pragma: no cover – runs on Windows only
        yield _windows()
        return
    import termios  # noqa: PLC0415 – not on Windows
    import tty  # noqa: PLC0415

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal, termios.TCSADRAIN)
        yield _posix(terminal)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _windows() -> Iterator[str]:  # pragma: no cover – as above
    while True:
        yield from named(click.getchar())


def _posix(terminal: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        raw = os.read(terminal, 1024)
        text = decoder.decode(raw)
        while _is_unfinished(text) and select.select([terminal], [], [], _PATIENCE)[0]:
            text += decoder.decode(os.read(terminal, 1024))
        yield from named(text)
        if not raw:
            yield "stop"


def _is_unfinished(text: str) -> bool:
    """Whether it ends within a sequence, so that more may come."""
    begin = text.rfind("\x1b")
    return begin >= 0 and _UNFINISHED.fullmatch(text, begin) is not None
