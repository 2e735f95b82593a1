"""The part of the schema that says how the person, and other programs, are told."""

from __future__ import annotations

from dataclasses import dataclass

from pgherald.config import values
from pgherald.config.meta import key
from pgherald.config.settings import Level, QuietHours
from pgherald.secret import Secret


@dataclass(frozen=True, slots=True)
class NotificationsTable:
    """`[notifications]`."""

    desktop: bool = key(values.FLAG, "Show desktop notifications.", default=True)
    level: Level = key(
        values.LEVEL,
        'How much you are told. "all": rotations, databases kept for the first time, troubles and '
        'their end. "rotations": the same without first times. "trouble": troubles, their end, and '
        "rotations that leave something for you to do.",
        default=Level.ALL,
    )
    quiet: QuietHours | None = key(
        values.QUIET,
        "A part of each day, in local time, in which you are told nothing, troubles included. "
        "Afterwards one notice sums up what is still worth knowing. Hooks run all the same.",
        default=None,
        default_text="none",
        example="22:00-07:00",
    )
    terminals: bool = key(
        values.FLAG,
        "Where no desktop shows a notice: write it to the terminals on which you are logged in, "
        "as `write` does. `mesg n` keeps a terminal free of it. Linux, macOS.",
        default=True,
    )
    urls: tuple[Secret, ...] = key(
        values.URL,
        "Chat and mail too: addresses of Apprise (https://github.com/caronc/apprise), which "
        "come with pgherald's extra `chat`. They hold tokens: keep this file private.",
        default=(),
        example=["slack://TokenA/TokenB/TokenC/#databases"],
        many=True,
    )


@dataclass(frozen=True, slots=True)
class MetricsTable:
    """`[metrics]`."""

    textfile: str | None = key(
        values.METRICS_FILE,
        "A Prometheus text file for node_exporter's textfile collector to read, kept up to date by "
        "the daemon; its name ends in .prom. Everybody may read it. It holds names and times, "
        "and no secret.",
        default=None,
        default_text="none",
        example="/var/lib/node_exporter/pgherald.prom",
    )
