"""Each database: does Heroku show its login, does it connect, does every client hold it?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence

from pgherald.aio import in_thread
from pgherald.config import Config
from pgherald.daemon.look import Looked, look
from pgherald.daemon.wiring import Outside
from pgherald.doctor.checks import Finding, bad, good, note, trouble
from pgherald.files import Files
from pgherald.model import Entry, ProbePolicy
from pgherald.sync.plan import Client, Plan, in_words, make_plan
from pgherald.sync.probe import PostgresProber, Prober
from pgherald.sync.verification import trials, verify

#: Seconds for all databases together; Heroku and Postgres have limits of their own for each.
TIME_LIMIT = 120.0


async def logins(
    config: Config, outside: Outside, files: Files, clients: Sequence[Client]
) -> list[Finding]:
    """Ask Heroku about every database, try every login, and compare every client."""
    looked = await look(config, outside, counts=False)
    prober = outside.prober or PostgresProber(outside.clock)
    plan = await in_thread(lambda: make_plan(files, clients, looked.entries))
    probed = await asyncio.gather(*(_connects(entry, plan, prober) for entry in looked.entries))
    return [*_failures(config, looked), *probed, *current(plan, looked)]


def _failures(config: Config, looked: Looked) -> Iterator[Finding]:
    names: Mapping[str, str] = {f"database:{d.key}": d.name for d in config.databases}
    for subject, error in looked.failures.items():
        name = names.get(subject, "")
        told = name in error.title or subject.partition(":")[2].partition("/")[0] in error.title
        yield trouble(error, "" if told else f"{name}: ")
    if not looked.entries and not looked.failures:
        yield note("Heroku shows no database that fits the [[discover]] rules")


async def _connects(entry: Entry, plan: Plan, prober: Prober) -> Finding:
    name = entry.database.name
    if entry.database.probe is ProbePolicy.OFF:
        return note(f"{name} is never tried", 'The configuration says so: probe = "off"')
    proof = await verify(prober, trials(entry, plan.holders.get(entry.key, ())))
    if proof.works:
        return good(f"{name}: Heroku shows its login, and it connects")
    error = proof.error(name)
    return bad(error.title, error.advice or "Wait a moment, and run pgherald doctor again.")


def current(plan: Plan, looked: Looked) -> Iterator[Finding]:
    """Whether every client holds what Heroku shows. Files that cannot be read are told elsewhere."""
    for file in plan.files:
        if file.edit.changes:
            what = ", ".join(in_words(change) for change in file.edit.changes)
            yield bad(f"{file.client.label} is behind: {what}", "Run: pgherald check")
        elif not file.absent and looked.entries:
            yield good(f"{file.client.label} holds what Heroku shows")
        for warning in file.edit.warnings:
            yield note(f"{file.client.label}: {warning}")
    for client, key, error in plan.refused:
        yield bad(f"{client.label} cannot hold the login of {key}: {error.reason}", error.advice)
