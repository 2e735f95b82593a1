"""What needs no command line: `status` and `password`, answered at once, and the daemon.

Where the daemon, or the last `check`, left a status.json that is known to be true still, it holds
all that these two need: how everything stands, and where the clients' files are. Nothing else
differs: what is printed is what the whole program would print. Whatever is not plain – an odd
command line, a changed configuration, a trouble, a password that is not there – is left to it.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from pgherald.cli import standing
from pgherald.cli.columns import NARROW, Column, can_show, painted, plain
from pgherald.clients import lines, lookup
from pgherald.quick import memo, shape, whereabouts
from pgherald.quick.held import daemon_runs
from pgherald.secret import Secret

#: The options of `password`.
_OPTIONS: Final = ("service", "host", "port", "user", "dbname")

#: With one of these a terminal is asked to be treated in another way. rich.console has them.
_TERMINAL: Final = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS")

_PORTS: Final = range(1, 65536)

#: Bytes. A client's file is far smaller; anything else the whole program looks into.
_MOST: Final = 10_000_000


def answer(argv: Sequence[str], env: Mapping[str, str]) -> str | None:
    """What a command line prints when all is well; None when the whole program has to say it.

    Args:
        argv: the command line, without the program's name.
        env: the environment's variables.
    """
    try:
        if list(argv[:1]) == ["status"]:
            told = _status(argv[1:], env)
        elif list(argv[:1]) == ["password"]:
            told = _password(argv[1:], env)
        else:
            return None
    except Exception:  # noqa: BLE001 – whatever is odd, the whole program finds the words for it
        return None
    return told if told is not None and can_show(told) else None


def daemon(argv: Sequence[str]) -> tuple[Path | None, Path | None] | None:
    """Whether a command line asks plainly for the daemon, as a service manager does.

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


def _status(argv: Sequence[str], env: Mapping[str, str]) -> str | None:
    as_json = list(argv) == ["--json"]
    if argv and not as_json:
        return None
    found, folder = _left(env)
    origin = found.pop(memo.MADE_FROM)
    shown = cast("shape.Shown", found)
    same = memo.same_state(origin, folder)
    if not same or shown["troubles"] or daemon_runs(folder) != shown["running"]:
        return None
    if as_json:
        return shape.text_of(shown)
    told: list[str] = []
    drawn = _painted(env) if sys.stdout.isatty() else plain
    standing.write(
        shown, datetime.now(UTC), told.append, lambda columns: told.extend(drawn(columns))
    )
    return "\n".join((*told, ""))


def _painted(env: Mapping[str, str]) -> Callable[[Sequence[Column]], list[str]]:
    """Draws a table on this terminal.

    Raises:
        ValueError: it is not an ordinary one; the table's drawer also, where it takes more.
    """
    width = os.get_terminal_size(sys.stdout.fileno()).columns
    if os.name != "posix" or width < NARROW or env.get("TERM", "dumb") in ("dumb", "unknown"):
        raise ValueError("not an ordinary terminal")
    if any(name in env for name in _TERMINAL):
        raise ValueError("a terminal with wishes")

    def drawn(columns: Sequence[Column]) -> list[str]:
        found = painted(columns, width)
        if found is None:
            raise ValueError("takes more than that")
        return found

    return drawn


def _password(argv: Sequence[str], env: Mapping[str, str]) -> str | None:
    asked = _asked(argv)
    by_service = list(asked) == ["service"]
    if not by_service and not ("service" not in asked and asked.keys() >= {"host", "user"}):
        return None
    found, _ = _left(env)
    kind = "service_file" if by_service else "pgpass"
    for client in found["clients"]:
        if client["kind"] != kind:
            continue
        text = _content(client["path"])
        secret = _of_service(text, asked["service"]) if by_service else _of_login(text, asked)
        if secret is not None:
            return f"{secret.reveal()}\n"
    return None


def _of_service(text: bytes, service: str) -> Secret | None:
    value = (lookup.section(text, service) or {})["password"]
    return Secret(lines.decode(value))


def _of_login(text: bytes, asked: Mapping[str, str]) -> Secret | None:
    port = asked.get("port", "5432")
    if not port.isdecimal() or not port.isascii() or int(port) not in _PORTS:
        return None
    user = lookup.unquoted(asked["user"])
    return lookup.password(text, asked["host"], int(port), asked.get("dbname", "*"), user)


def _asked(argv: Sequence[str]) -> dict[str, str]:
    """The options, each in one of its two plain forms and given once.

    Raises:
        ValueError: it is not so plain.
        IndexError: likewise.
    """
    asked: dict[str, str] = {}
    rest = list(argv)
    while rest:
        option, equals, value = rest.pop(0).partition("=")
        name = option.removeprefix("--")
        if name == option or name not in _OPTIONS or name in asked:
            raise ValueError(option)
        asked[name] = value if equals else rest.pop(0)
        if not equals and asked[name].startswith("-"):
            raise ValueError(option)
    return asked


def _left(env: Mapping[str, str]) -> tuple[dict[str, Any], Path]:
    """A status.json that was made from today's configuration, and the state folder.

    Raises:
        OSError: something is not there.
        KeyError: the file has not what it should have.
        ValueError: likewise; or it is not to be relied on.
    """
    file = whereabouts.locate(None, env)
    raw = file.read_bytes()
    named = None
    if b"state_dir" in raw:
        import tomllib  # noqa: PLC0415 – not needed for most configurations

        named = tomllib.loads(raw.decode("utf-8-sig")).get("state_dir")
    folder = whereabouts.state_dir(named, file, env)
    found = shape.read(_content(folder / shape.STATUS_FILE, ours=True).decode())
    if not memo.still(found[memo.MADE_FROM], file, raw, env):
        raise ValueError("not made from this configuration")
    return found, folder


def _content(path: str | Path, *, ours: bool = False) -> bytes:
    """A file's bytes.

    Args:
        path: the file.
        ours: whether it has to be a file that only we can have written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no plain file, or not as it has to be.
    """
    # Opening a pipe waits for somebody to write; and a link to a device may be to act on it.
    about = Path(path).stat()
    if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST:
        raise ValueError("not a plain file")
    with Path(path).open("rb") as file:
        about = os.fstat(file.fileno())
        if ours and os.name == "posix" and (about.st_uid != os.geteuid() or about.st_mode & 0o022):
            raise ValueError("others may have written it")
        return file.read()
