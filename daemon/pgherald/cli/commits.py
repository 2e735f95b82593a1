"""The commits that `history --commits` lists and `rollback` takes back.

What `pgherald history --commits --json` prints, the latest first; scripts may rely on it:

    [{
      "commit": 7,                      // for `pgherald rollback`
      "at": "2026-01-05T09:00:00.000+00:00",
      "note": "update shop/DATABASE (user, password)",
      "files": [{"label": "psql", "path": "/home/me/.pgpass"}]
    }]
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from pgherald.cli.output import emit_json, table
from pgherald.clock import SystemClock
from pgherald.config import Config
from pgherald.files import Files
from pgherald.sync.manifest import CommitRecord
from pgherald.sync.targets import journaled
from pgherald.sync.transaction import Transactions


def committer_of(config: Config) -> Transactions:
    """What knows the commits, and takes them back."""
    files, folder = Files(config.state_dir / "locks"), config.state_dir / "commits"
    return Transactions(files, folder, SystemClock(), journaled(config))


def number_of(record: CommitRecord) -> int:
    """The number by which a person calls a commit."""
    return int(record.id.rpartition("-")[2])


def show_commits(config: Config, limit: int, *, as_json: bool) -> None:
    """List the commits that can be taken back."""
    commits = committer_of(config).history()[:limit]
    if as_json:
        emit_json([_as_json(record) for record in commits])
    elif not commits:
        click.echo("Nothing has been written yet.")
    else:
        table(("COMMIT", "WHEN", "WHAT", "FILES"), _rows(commits))


def _rows(commits: Sequence[CommitRecord]) -> list[tuple[str, ...]]:
    return [
        (
            str(number_of(record)),
            record.at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
            record.note,
            ", ".join(file.label for _, file in record.clients),
        )
        for record in commits
    ]


def _as_json(record: CommitRecord) -> dict[str, object]:
    return {
        "commit": number_of(record),
        "at": record.at,
        "note": record.note,
        "files": [{"label": file.label, "path": str(file.path)} for _, file in record.clients],
    }
