"""What the clients' files hold, read without pgherald."""

from __future__ import annotations

import configparser
import json
from pathlib import Path

from pgherald.model import Login


def behind(home: Path, login: Login, service: str) -> list[str]:
    """The files below a home that do not hold a login; one that is missing or broken holds none."""
    found = []
    for name, holds in (
        (".pg_service.conf", _service_file), (".pgpass", _pgpass), ("servers.json", _servers_json),
    ):  # fmt: skip
        file = home / name
        try:  # a pipe would have its reader wait
            text = file.read_text("utf-8-sig", "surrogateescape") if file.is_file() else ""
            current = holds(text, login, service)
        except (OSError, ValueError, LookupError, TypeError, configparser.Error):
            current = False
        if not current:
            found.append(name)
    return found


def _service_file(text: str, login: Login, service: str) -> bool:
    services = configparser.RawConfigParser(delimiters="=", strict=False)
    services.read_string(text)
    wanted = {name: str(getattr(login, name)) for name in ("host", "port", "dbname", "user")}
    wanted["password"] = login.password.reveal()
    return services.has_section(service) and dict(services[service]).items() >= wanted.items()


def _pgpass(text: str, login: Login, _service: str) -> bool:
    wanted = [login.host, str(login.port), login.user, login.password.reveal()]
    rows = [line.split(":") for line in text.splitlines()]
    return wanted in [row[:2] + row[3:] for row in rows if row[2:3] in (["*"], [login.dbname])]


def _servers_json(text: str, login: Login, service: str) -> bool:
    """It names the service, which is where the login is, and the database."""
    servers = json.loads(text)["Servers"].values()
    return (service, login.dbname) in [(s.get("Service"), s["MaintenanceDB"]) for s in servers]
