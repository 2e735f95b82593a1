"""How everything stands, as a Prometheus text file.

Prometheus: "Text-based format"; node_exporter: "Textfile Collector", which reads files named
*.prom. The format is lines of text, so no library is needed to write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Final

from pgherald import __version__
from pgherald.config import Config
from pgherald.daemon.status import Status
from pgherald.model import About, Subject

#: The first line: by it pgherald knows its own file again.
MARK: Final = "# Written by pgherald."

#: Labels and a figure; what never happened has none.
Sample = tuple[Mapping[str, str], float | None]

#: What the moments of a database mean.
_MOMENTS: Final = {
    "looked_at": "When Heroku last answered for the database.",
    "current_at": "When every client was last known to hold its login.",
    "proven_at": "When a connection last proved a login of it.",
}


def text(config: Config, status: Status) -> str:
    """The whole file.

    Args:
        config: names the clients.
        status: how everything stands.
    """
    lines = [MARK]
    for name, about, samples in _families(config, status):
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP pgherald_{name} {about}", f"# TYPE pgherald_{name} {kind}"]
        for labels, value in samples:
            if value is not None:
                lines.append(f"pgherald_{name}{_labels(labels)} {float(value)!r}")
    return "\n".join(lines) + "\n"


def _families(config: Config, status: Status) -> Iterator[tuple[str, str, Iterable[Sample]]]:
    """Each metric: its name, meaning and samples."""
    databases = [({"database": str(each.key)}, each) for each in status.databases]
    latest = [({"database": str(k)}, each.rotation) for k, each in sorted(status.latest.items())]
    costs = [({"account": each.account}, each) for each in status.requests]
    clients = [({"kind": each.kind, "path": str(each.path)}, each) for each in config.clients]
    alerts = [({"subject": each.subject, "kind": each.kind}, each) for each in status.alerts]
    yield "build_info", "The version.", [({"version": __version__}, 1)]
    yield "up", "Whether the daemon runs; what it said last.", [({}, status.running)]
    yield "troubles", "How many things do not work.", [({}, len(alerts))]
    yield (
        "trouble_since_timestamp_seconds",
        "Since when something does not work.",
        [(labels, each.since.timestamp()) for labels, each in alerts],
    )
    yield (
        "database_current",
        "Whether every client was last seen to hold the database's login.",
        [(labels, status.is_current(each)) for labels, each in databases],
    )
    yield (
        "database_proven",
        "Whether a connection proved the login in the clients.",
        [(labels, each.proven) for labels, each in databases],
    )
    for name, about in _MOMENTS.items():
        samples: list[Sample] = [
            (labels, _seconds(getattr(each, name))) for labels, each in databases
        ]
        yield f"database_{name.removesuffix('_at')}_timestamp_seconds", about, samples
    yield (
        "database_last_rotation_timestamp_seconds",
        "When the latest rotation was seen.",
        [(labels, _seconds(each.seen_at)) for labels, each in latest],
    )
    yield (
        "client_ok",
        "Whether nothing is wrong with the client's file.",
        [(labels, not status.in_trouble(Subject(About.CLIENT, c.path))) for labels, c in clients],
    )
    for name, about in (("last_hour", "Requests"), ("bytes_last_hour", "Bytes of answers")):
        samples = [(labels, getattr(each, name)) for labels, each in costs]
        yield f"requests_{name}", f"{about} of Heroku's API in the last hour.", samples
    # Numbers are never used twice, so the latest one counts them all, forgotten ones too.
    total = max((record.id for record in status.latest.values()), default=0)
    yield "rotations_total", "Rotations seen.", [({}, total)]


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
