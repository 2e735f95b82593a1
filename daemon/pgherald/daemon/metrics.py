"""How everything stands, as a Prometheus text file.

Prometheus: "Text-based format"; node_exporter: "Textfile Collector", which reads files named
*.prom. The format is lines of text, so no library is needed to write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from pgherald import __version__
from pgherald.config import Config
from pgherald.daemon.status import Status
from pgherald.model import About, Subject

#: The first line: by it pgherald knows its own file again.
MARK: Final = "# Written by pgherald."

Sample = tuple[Mapping[str, str], float]


def text(config: Config, status: Status) -> str:
    """The whole file.

    Args:
        config: names the clients.
        status: how everything stands.
    """
    lines = [MARK]
    for name, kind, about, samples in _families(config, status):
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{_labels(labels)} {float(value)!r}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _families(config: Config, status: Status) -> Iterator[tuple[str, str, str, list[Sample]]]:
    """Each metric: its name, type, meaning and samples."""

    def gauge(name: str, about: str, samples: list[Sample]) -> tuple[str, str, str, list[Sample]]:
        return f"pgherald_{name}", "gauge", about, samples

    named = [({"database": str(each.key)}, each) for each in status.databases]
    moments: dict[str, list[tuple[dict[str, str], datetime | None]]] = {
        "looked": [(labels, each.looked_at) for labels, each in named],
        "current": [(labels, each.current_at) for labels, each in named],
        "proven": [(labels, each.proven_at) for labels, each in named],
        "last_rotation": [
            ({"database": str(key)}, record.rotation.seen_at)
            for key, record in sorted(status.latest.items())
        ],
    }
    yield gauge("build_info", "The version.", [({"version": __version__}, 1)])
    yield gauge("up", "Whether the daemon runs; what it said last.", [({}, status.running)])
    yield gauge("troubles", "How many things do not work.", [({}, len(status.alerts))])
    yield gauge(
        "trouble_since_timestamp_seconds",
        "Since when something does not work.",
        [
            ({"subject": each.subject, "kind": each.kind}, each.since.timestamp())
            for each in status.alerts
        ],
    )
    yield gauge(
        "database_current",
        "Whether every client was last seen to hold the database's login.",
        [(labels, status.is_current(each)) for labels, each in named],
    )
    yield gauge(
        "database_proven",
        "Whether a connection proved the login in the clients.",
        [(labels, each.proven) for labels, each in named],
    )
    meant = {
        "looked": "When Heroku last answered for the database.",
        "current": "When every client was last known to hold its login.",
        "proven": "When a connection last proved a login of it.",
        "last_rotation": "When the latest rotation was seen.",
    }
    for name, about in meant.items():
        yield gauge(f"database_{name}_timestamp_seconds", about, _samples(moments[name]))
    yield gauge(
        "client_ok",
        "Whether nothing is wrong with the client's file.",
        [
            (
                {"kind": client.kind, "path": str(client.path)},
                not status.in_trouble(Subject(About.CLIENT, client.path)),
            )
            for client in config.clients
        ],
    )
    costs = [({"account": each.account}, each) for each in status.requests]
    for name, about in (("last_hour", "Requests"), ("bytes_last_hour", "Bytes of answers")):
        samples: list[Sample] = [(labels, getattr(each, name)) for labels, each in costs]
        yield gauge(f"requests_{name}", f"{about} of Heroku's API in the last hour.", samples)
    # Numbers are never used twice, so the latest one counts them all, forgotten ones too.
    total = max((record.id for record in status.latest.values()), default=0)
    yield "pgherald_rotations_total", "counter", "Rotations seen.", [({}, total)]


def _samples(moments: list[tuple[dict[str, str], datetime | None]]) -> list[Sample]:
    """What never happened has no sample."""
    return [(labels, at.timestamp()) for labels, at in moments if at is not None]


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
