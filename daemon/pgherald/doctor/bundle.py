"""A redacted archive for a report of a bug: what is in it, and nothing of whose it is.

Of the clients' files only size and mode are in it, never their content.
"""

from __future__ import annotations

import contextlib
import getpass
import importlib.metadata
import io
import json
import platform
import socket
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pgherald
from pgherald.config import Config
from pgherald.config.places import program_version
from pgherald.daemon.status import Status, as_json, status_of
from pgherald.doctor.checks import Examined, findings_json
from pgherald.doctor.files import mode_of
from pgherald.doctor.patient import Patient
from pgherald.doctor.pgadmin import version
from pgherald.doctor.redact import Redactor
from pgherald.errors import ClientError, MissingTool, ServiceError, StoreError
from pgherald.files import Files
from pgherald.files.locks import daemon_runs
from pgherald.store import Record, Store
from pgherald.sync.plan import Client

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


def parts(patient: Patient, examined: Sequence[Examined]) -> list[Part]:
    """Everything that goes into the archive. Blocks; starts the service manager's program."""
    config = patient.config
    status, history = _remembered(config)
    clients = patient.clients()
    files = Files(config.state_dir / "locks")
    known = [*_configured(config), *_machine(), *_held(files, clients)]
    for state in status.databases:
        known += [("app", state.key.app), ("database", state.label)]
        known += [("attachment", state.key.attachment)]
    known += [("database", record.label) for record in history]
    known += [("app", record.rotation.key.app) for record in history]
    redactor = Redactor(known, _paths(config), patient.outside.home)
    running = daemon_runs(config.state_dir)
    documents: list[tuple[str, str, Any]] = [
        ("about.json", "versions and platform", _about(patient)),
        ("configuration.json", "the configuration, without names", _configuration(config)),
        ("doctor.json", "what pgherald doctor found", findings_json(examined)),
        ("status.json", "what pgherald status says", as_json(config, status, running=running)),
        ("history.json", f"the last {_HISTORY} rotations", [_rotation(r) for r in history]),
        ("files.json", "sizes and modes of files, no content", _sizes(config, clients)),
    ]
    made = [Part("README.txt", "what this is", _INTRODUCTION.encode())]
    for name, what, value in documents:
        # Moments become text first: all that is text is looked at.
        plain = json.loads(json.dumps(value, default=str))
        text = json.dumps(redactor.value(plain), indent=2, ensure_ascii=False)
        made.append(Part(name, what, f"{text}\n".encode()))
    if log := _log(patient):
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
    try:
        store = Store.read_only(config.state_dir / "state.db")
        if store is not None:
            with store:
                return status_of(config, store), store.history(_HISTORY)
    except StoreError:
        pass
    return status_of(config, None), []


def _configured(config: Config) -> Iterator[tuple[str, str]]:
    for database in config.databases:
        yield "app", database.key.app
        yield "attachment", database.key.attachment
        yield "database", database.name
        yield "group", database.group
        yield "service", database.service
    for account in config.accounts:
        yield "account", account.name
        yield "source", account.token.argument
    for rule in config.discover:
        yield from (("pattern", text) for text in (*rule.include, *rule.exclude))
        yield from (("attachment", text) for text in rule.attachments)
        yield "team", rule.team or ""
        yield "group", rule.group
    for client in config.clients:
        yield "user", client.user or ""
        yield "passfile", client.passfile or ""
        yield "label", client.label


def _machine() -> Iterator[tuple[str, str]]:
    yield "machine", socket.gethostname()
    yield "machine", socket.gethostname().partition(".")[0]
    with contextlib.suppress(OSError, KeyError):  # an account without a name
        yield "person", getpass.getuser()
    yield "person", Path.home().name


def _held(files: Files, clients: Sequence[Client]) -> Iterator[tuple[str, str]]:
    """What the clients hold; passwords have no way into any text."""
    for client in clients:
        try:
            held = client.editor.read(client.read(files).content)
        except ClientError:
            continue
        for key, entry in held.items():
            yield "app", key.app
            yield "account", key.account
            yield "attachment", key.attachment
            yield "host", entry.host or ""
            yield "user", entry.user or ""
            yield "dbname", entry.dbname or ""
            yield "service", entry.service or ""


def _paths(config: Config) -> dict[str, Path]:
    named = {"configuration": config.path, "state folder": config.state_dir}
    named |= {f"{c.kind} {number}": c.path for number, c in enumerate(config.clients, 1)}
    if config.metrics_file is not None:
        named["metrics"] = config.metrics_file
    return named


def _about(patient: Patient) -> dict[str, object]:
    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            packages[name] = None
    program = program_version(patient.outside.env, patient.platform)
    return {
        "pgherald": pgherald.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "packages": packages,
        "pgadmin": None if program is None else version(program),
        "service_manager": patient.manager.name,
        "variables": [name for name in _VARIABLES if patient.outside.env.get(name)],
    }


def _configuration(config: Config) -> dict[str, object]:
    """The configuration, field by field: what is not named here stays out."""
    return {
        "poll_interval": config.poll_interval,
        "log_level": config.log_level,
        "accounts": [{"name": a.name, "token": str(a.token.kind)} for a in config.accounts],
        "databases": [
            {
                "key": str(database.key),
                "service": database.service,
                "probe": database.probe,
                "sslmode": database.sslmode,
                "require_auth": database.require_auth,
            }
            for database in config.databases
        ],
        "discover": [
            {
                "include": len(rule.include),
                "exclude": len(rule.exclude),
                "team": rule.team is not None,
                "attachments": len(rule.attachments),
                "probe": rule.probe,
                "sslmode": rule.sslmode,
                "require_auth": rule.require_auth,
            }
            for rule in config.discover
        ],
        "clients": [
            {
                "kind": client.kind,
                "rows": client.rows,
                "user": client.user is not None,
                "passfile": client.passfile is not None,
            }
            for client in config.clients
        ],
        "notifications": {
            "desktop": config.notifications.desktop,
            "urls": len(config.notifications.urls),
        },
        "metrics": config.metrics_file is not None,
    }


def _rotation(record: Record) -> Mapping[str, object]:
    rotation = record.rotation
    return {
        "key": str(rotation.key),
        "changed": rotation.changed,
        "seen_at": rotation.seen_at,
        "proven_at": rotation.proven_at,
        "written_at": rotation.written_at,
        "release": rotation.release,
        "clients": record.clients,
    }


def _sizes(config: Config, clients: Sequence[Client]) -> list[dict[str, object]]:
    listed = [(client.editor.kind, client.path) for client in clients]
    listed.append(("state.db", config.state_dir / "state.db"))
    found: list[dict[str, object]] = []
    for kind, path in listed:
        try:
            size: int | None = path.stat().st_size
        except OSError:
            size = None
        mode = mode_of(path)
        shown = None if mode is None else f"{mode:04o}"
        found.append({"kind": kind, "size": size, "mode": shown, "link": path.is_symlink()})
    return found


def _log(patient: Patient) -> list[str]:
    """The last lines of the daemon's log, where the service manager keeps one."""
    try:
        ended = patient.programs.run(patient.manager.logs(_LINES, follow=False))
    except (MissingTool, ServiceError):
        return []
    return ended.out.splitlines() if ended.code == 0 else []
