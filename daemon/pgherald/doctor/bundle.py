"""A redacted archive for a report of a bug, which does not show whose it is.

Of the clients' files only size and mode are in it, never their content. Redaction works twice
over: words that are known (apps, hosts, users, databases, the person's own names) each become a
word with a number, the same one everywhere, so that a report can still be followed; and whatever
looks like an address, a path or a token goes, known or not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import getpass
import importlib.metadata
import io
import json
import platform
import re
import socket
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pgherald
from pgherald.config import Config
from pgherald.config.paths import program_version
from pgherald.daemon.status import Status, as_json, status_of
from pgherald.daemon.wiring import files_of
from pgherald.doctor.checks import Examined, findings_json
from pgherald.doctor.clients import version
from pgherald.doctor.context import Context
from pgherald.doctor.machine import mode_of
from pgherald.errors import ClientError, MissingTool, ServiceError, StoreError
from pgherald.files.locks import daemon_runs
from pgherald.model import DatabaseKey
from pgherald.plain import fields
from pgherald.store import Record, Store
from pgherald.sync.targets import Target

#: Keys of the configuration whose texts come from a short list; others may be anything.
_SHOWN: Final = frozenset({"sslmode", "require_auth", "log_level", "kind"})

#: Rotations, and lines of the log.
_HISTORY: Final = 100
_LINES: Final = 200

#: What may make a difference.
_PACKAGES: Final = (
    *("apscheduler", "click", "filelock", "httpx", "jeepney", "platformdirs"),
    *("psycopg", "psycopg-binary", "rich", "watchdog", "keyring", "apprise"),
)

#: Names of variables that may make a difference; their values stay out.
_VARIABLES: Final = (
    *("HEROKU_HOST", "HEROKU_API_KEY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE"),
    *("SSL_CERT_DIR", "PGPASSWORD", "PGHOST", "PGHOSTADDR", "PGSERVICEFILE", "PGPASSFILE"),
    *("DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PGHERALD_CONFIG", "PGHERALD_STATE_DIR"),
)

#: Words of our own, and others that tell nothing.
_HARMLESS: Final = frozenset(
    {"*", "default", "heroku", "database", "auto", "postgres", "localhost", "pgherald"}
)

#: Shorter words are replaced only where they stand alone.
_SHORT: Final = 4

#: A dotted name with such an end, or such a beginning, is a file's or a module's.
_FILES: Final = (
    "toml", "db", "json", "conf", "py", "log", "service", "txt", "lock", "xml", "plist",
)  # fmt: skip
_MODULES: Final = ("pgherald.", "heroku.com", "api.heroku.com")

_PATTERNS: Final = (
    (re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+"), "<url>"),
    (re.compile(r"[^\s@'\"<(,;]+@[^\s@'\">),;]+"), "<address>"),
    (re.compile(r"HRKU-[\w-]+"), "<token>"),
    (re.compile(r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"), "<id>"),
    (re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"), "<ip>"),
    (re.compile(r"\[?(?:[0-9a-fA-F]{0,4}:){3,}[0-9a-fA-F]{0,4}\]?"), "<ip>"),
    (re.compile(r"(?<![\w/~<])~[/\\][^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<![\w/~<.])/[^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<!\w)[A-Za-z]:\\[^\s'\":,;)]+"), "<path>"),
    (re.compile(r"(?<![\w-])[A-Za-z0-9+_=-]{32,}(?![\w-])"), "<long word>"),
)
_DOTTED: Final = re.compile(r"(?<![\w.-])(?:[A-Za-z0-9_-]+\.)+[A-Za-z]{2,}(?![\w-])")

_INTRODUCTION: Final = """\
A report made by `pgherald doctor --bundle`.

Apps, hosts, users, databases, paths and everything else that tells whose it is were replaced:
app-1 is the same app everywhere. No client's file, password, token or configuration file is in
it. You can read all of it before you send it.
"""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the archive.

    Attributes:
        name: its name.
        what: what it holds, in words.
        content: its bytes, redacted.
    """

    name: str
    what: str
    content: bytes


def parts(context: Context, examined: Sequence[Examined]) -> list[Part]:
    """Everything that goes into the archive. Blocks; starts the service manager's program."""
    config = context.config
    status, history = _remembered(config)
    clients = context.clients()
    known = list(_known(context, clients))
    shown = [(state.key, state.label) for state in status.databases]
    for key, label in [*shown, *((record.rotation.key, record.label) for record in history)]:
        known += [*_key_words(key), ("database", label)]
    redactor = Redactor(known, _paths(config), context.outside.home)
    documents: list[tuple[str, str, Any]] = [
        ("about.json", "versions and platform", _about(context)),
        ("configuration.json", "the configuration, without names", _outline(config)),
        ("doctor.json", "what pgherald doctor found", findings_json(examined)),
        ("status.json", "what pgherald status says", as_json(config, status)),
        ("history.json", f"the last {_HISTORY} rotations", [_rotation(r) for r in history]),
        ("files.json", "sizes and modes of files, no content", _sizes(config, clients)),
    ]
    made = [Part("README.txt", "what this is", _INTRODUCTION.encode())]
    for name, what, value in documents:
        # Moments become text first: all that is text is looked at.
        plain = json.loads(json.dumps(value, default=str))
        text = json.dumps(redactor.value(plain), indent=2, ensure_ascii=False)
        made.append(Part(name, what, f"{text}\n".encode()))
    if log := _log(context):
        redacted = "\n".join(map(redactor.text, log))
        made.append(Part("log.txt", f"the last {_LINES} lines of the log", redacted.encode()))
    return made


def archive(made: Sequence[Part], at: datetime) -> bytes:
    """The archive: a tar file, gzipped. Nobody's name is in its headers."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for part in made:
            member = tarfile.TarInfo(f"pgherald-report/{part.name}")
            member.size, member.mode, member.mtime = len(part.content), 0o600, int(at.timestamp())
            tar.addfile(member, io.BytesIO(part.content))
    return out.getvalue()


def _remembered(config: Config) -> tuple[Status, list[Record]]:
    """Status and history; a state file that cannot be read is among the findings."""
    running, now = daemon_runs(config.state_dir), datetime.now(UTC)
    with contextlib.suppress(StoreError):
        if (store := Store.read_only(config.state_dir / "state.db")) is not None:
            with store:
                return status_of(config, store, now, running=running), store.history(_HISTORY)
    return Status([]), []


def _known(context: Context, clients: Sequence[Target]) -> Iterator[tuple[str, str]]:
    """Words that show whose it is; passwords have no way into any text."""
    config, files = context.config, files_of(context.config)
    yield from _texts(config)
    yield "machine", socket.gethostname()
    yield "machine", socket.gethostname().partition(".")[0]
    with contextlib.suppress(OSError, KeyError):  # an account without a name
        yield "person", getpass.getuser()
    yield "person", Path.home().name
    for client in clients:
        with contextlib.suppress(ClientError):
            for key, entry in client.editor.read(client.read(files).content).items():
                yield from _key_words(key)
                yield "account", key.account
                yield from fields(entry, "host", "user", "dbname", "service").items()


def _texts(value: Any, kind: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a configuration, with the name of its key."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _texts(getattr(value, field.name), field.name)
    elif isinstance(value, tuple):
        for each in value:
            yield from _texts(each, kind)
    elif isinstance(value, str) and not isinstance(value, enum.Enum) and kind not in _SHOWN:
        yield kind, value


def _key_words(key: DatabaseKey) -> Iterator[tuple[str, str]]:
    yield "app", key.app
    yield "attachment", key.attachment


def _paths(config: Config) -> dict[str, Path]:
    named = {"configuration": config.path, "state folder": config.state_dir}
    named |= {f"{c.kind} {number}": c.path for number, c in enumerate(config.clients, 1)}
    if config.metrics_file is not None:
        named["metrics"] = config.metrics_file
    return named


def _about(context: Context) -> dict[str, object]:
    there = {str(each.name).lower(): each.version for each in importlib.metadata.distributions()}
    program = program_version(context.outside.env, context.platform)
    return {
        "pgherald": pgherald.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "packages": {name: there.get(name) for name in _PACKAGES},
        "pgadmin": None if program is None else version(program),
        "service_manager": context.manager.name,
        "variables": [name for name in _VARIABLES if context.outside.env.get(name)],
    }


def _outline(value: Any, name: str = "") -> Any:
    """A configuration without its texts: of those only whether there is one, or how many."""
    if isinstance(value, enum.Enum | bool | int | float | None) or name in _SHOWN:
        return value
    if isinstance(value, DatabaseKey):
        return str(value)
    if dataclasses.is_dataclass(value):
        return {f.name: _outline(getattr(value, f.name), f.name) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [_outline(each) for each in value] if _holds_tables(value) else len(value)
    return bool(value)


def _holds_tables(values: tuple[object, ...]) -> bool:
    return any(map(dataclasses.is_dataclass, values))


def _rotation(record: Record) -> Mapping[str, object]:
    rotation = record.rotation
    told = fields(rotation, "changed", "seen_at", "proven_at", "written_at", "release")
    return {"key": str(rotation.key), **told, "clients": record.clients}


def _sizes(config: Config, clients: Sequence[Target]) -> list[dict[str, object]]:
    listed = [(client.editor.kind, client.path) for client in clients]
    listed.append(("state.db", config.state_dir / "state.db"))
    found: list[dict[str, object]] = []
    for kind, path in listed:
        there: dict[str, object] = {
            "kind": kind,
            "size": None,
            "mode": None,
            "link": path.is_symlink(),
        }
        with contextlib.suppress(OSError):
            there |= {"size": path.stat().st_size, "mode": f"{mode_of(path) or 0:04o}"}
        found.append(there)
    return found


def _log(context: Context) -> list[str]:
    """The last lines of the daemon's log, where the service manager keeps one."""
    try:
        ended = context.programs.run(context.manager.logs(_LINES, follow=False))
    except (MissingTool, ServiceError):
        return []
    return ended.out.splitlines() if ended.code == 0 else []


class Redactor:
    """Redacts texts, and whatever holds texts.

    Args:
        words: what is known, each with its kind, such as `("app", "shop-production")`.
        paths: files that are known, each with what to call it.
        home: the home folder.
    """

    def __init__(
        self, words: Iterable[tuple[str, str | None]], paths: Mapping[str, Path], home: Path
    ) -> None:
        self._names: dict[str, str] = {str(path): f"<{name}>" for name, path in paths.items()}
        self._names.setdefault(str(home), "~")
        counts: dict[str, int] = {}
        for kind, word in words:
            if not word or word.casefold() in _HARMLESS or word in self._names:
                continue
            counts[kind] = counts.get(kind, 0) + 1
            self._names[word] = f"{kind}-{counts[kind]}"
        self._folded = {word.casefold(): name for word, name in self._names.items()}
        # The longest first: an app's name may be the beginning of another's.
        ordered = sorted(self._names, key=len, reverse=True)
        parts = [_pattern(word) for word in ordered]
        self._words = re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def text(self, text: str) -> str:
        """The text without anything that tells."""
        if self._words is not None:
            text = self._words.sub(lambda found: self._folded[found[0].casefold()], text)
        for pattern, name in _PATTERNS:
            text = pattern.sub(name, text)
        return _DOTTED.sub(_unless_file, text)

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it redacted; its keys are ours, and stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value


def _pattern(word: str) -> str:
    quoted = re.escape(word)
    return quoted if len(word) >= _SHORT else rf"(?<!\w){quoted}(?!\w)"


def _unless_file(found: re.Match[str]) -> str:
    name = found[0]
    known = name.rpartition(".")[2] in _FILES or name.startswith(_MODULES)
    return name if known else "<host>"
