"""Heroku and the logins it shows: the way there, the token, the clock, each database."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from pgherald import libpq
from pgherald.aio import in_thread
from pgherald.config import Config
from pgherald.config.schema import Account
from pgherald.daemon.look import Looked, look
from pgherald.daemon.wiring import Outside
from pgherald.doctor.checks import Finding, bad, good, note, trouble
from pgherald.doctor.clients import current
from pgherald.errors import MAKE_ONE, PgheraldError
from pgherald.files import Files
from pgherald.heroku import network
from pgherald.heroku.api import ENOUGH, HerokuApi, TokenInfo
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import token_source
from pgherald.heroku.watched import ends_soon
from pgherald.libpq import Extra
from pgherald.model import About, Entry, ProbePolicy, Subject
from pgherald.sync.plan import Plan, make_plan
from pgherald.sync.probe import PostgresProber, Prober
from pgherald.sync.targets import Target
from pgherald.sync.verification import trials, verify

#: A clock that is further off misleads: about what was when, and about certificates.
_CLOCK: Final = timedelta(minutes=1)

#: Fewer requests left in this hour are too few for somebody.
_FEW: Final = 200

_SET_CLOCK: Final = {
    "darwin": "Run: sudo sntp -sS time.apple.com",
    "win32": "Run as administrator: w32tm /resync",
}


def route(outside: Outside) -> Iterator[Finding]:
    """Which Heroku is asked, through which proxy, with which certificates."""
    host = HerokuHost.from_env(outside.env)
    if not host.is_default:
        yield note(
            f"Not Heroku itself is asked, but {host.url} (HEROKU_HOST)",
            "If that is not meant: unset HEROKU_HOST",
        )
    if host.is_loopback:
        return
    network.check_proxies(outside.env)
    network.check_certificates(outside.env)
    proxies = network.proxies(outside.env)
    if proxies:
        yield note(
            f"Heroku is asked through the proxy in {' and '.join(proxies)}",
            "A service does not see your shell's variables: `pgherald service install` hands "
            "them on.",
        )
    else:
        yield good("No proxy in the environment")
        network.resolve_host(host)
        yield good(f"{host.name} has an address")


async def token(account: Account, outside: Outside, platform: str) -> list[Finding]:
    """Whether Heroku answers, and what the token may do, and for how long."""
    prefix = Subject(About.ACCOUNT, account.name).prefix()
    host = HerokuHost.from_env(outside.env)
    source = token_source(account.token, host, outside.env, outside.home)
    api = HerokuApi(host, source, clock=outside.clock, transport=outside.transport)
    try:
        found = await api.token_info()
    except PgheraldError as exc:
        return [trouble(exc, prefix)]
    finally:
        await api.aclose()
    findings = [
        good(f"Heroku answers, and knows the token from {source.name}"),
        *(bad(warning, "Run: chmod 600 on that file") for warning in source.warnings),
        *scope(found),
        *expiry(found, outside.clock.now(), source.advice),
        *clock(found, platform),
        *requests(found),
    ]
    return [dataclasses.replace(each, title=prefix + each.title) for each in findings]


def scope(found: TokenInfo) -> Iterator[Finding]:
    """Whether the token may read config vars, and whether it may do more than it needs."""
    if found.scopes is None:
        return
    if not found.scopes & ENOUGH:
        shown = ", ".join(sorted(found.scopes)) or "none"
        yield bad(
            f"The Heroku token may not read config vars (scope: {shown})",
            f"Use another: {MAKE_ONE}",
        )
    elif found.scopes & {"global", "write-protected"}:
        yield note(
            "The token may do more than pgherald needs, which only reads",
            "One that may only read: heroku authorizations:create -s read-protected",
        )
    else:
        yield good("The token may read, and no more")


def expiry(found: TokenInfo, now: datetime, advice: str) -> Iterator[Finding]:
    """Whether the token ends soon."""
    at = found.expires_at
    if at is not None:
        shown = f"The Heroku token ends on {at.astimezone():%Y-%m-%d %H:%M}"
        yield bad(shown, advice) if ends_soon(at, now) else good(shown)


def clock(found: TokenInfo, platform: str) -> Iterator[Finding]:
    """Whether our clock is right, by Heroku's."""
    if found.ahead is None:
        return
    if abs(found.ahead) <= _CLOCK:
        yield good("The clock is right")
        return
    seconds = int(abs(found.ahead).total_seconds())
    yield bad(
        f"The clock is {seconds} seconds {'ahead' if found.ahead > timedelta() else 'behind'}",
        _SET_CLOCK.get(platform, "Run: sudo timedatectl set-ntp true"),
    )


def requests(found: TokenInfo) -> Iterator[Finding]:
    """Whether other programs leave the account requests."""
    if found.remaining is not None and found.remaining < _FEW:
        yield bad(
            f"Heroku takes only {found.remaining} more requests in this hour",
            "Other programs use the same account; a longer poll_interval leaves them more.",
        )


async def logins(
    config: Config, outside: Outside, files: Files, clients: Sequence[Target]
) -> list[Finding]:
    """Ask Heroku about every database, try every login, and compare every client."""
    around = [*libpq.files(outside.env), *libpq.variables(outside.env)]
    looked = await look(config, outside, counts=False)
    prober = outside.prober or PostgresProber(outside.clock)
    plan = await in_thread(lambda: make_plan(files, clients, looked.entries))
    connecting = (_connects(entry, plan, prober, around) for entry in looked.entries)
    probed = await asyncio.gather(*connecting)
    return [*_failures(config, looked), *probed, *current(plan, looked)]


def _failures(config: Config, looked: Looked) -> Iterator[Finding]:
    names = {Subject(About.DATABASE, d.key): d.name for d in config.databases}
    for subject, error in looked.failures.items():
        yield trouble(error, subject.prefix(names.get(subject, ""), error.kind))
    if not looked.entries and not looked.failures:
        yield note("Heroku shows no database that fits the [[discover]] rules")


async def _connects(
    entry: Entry, plan: Plan, prober: Prober, around: Sequence[Extra] = ()
) -> Finding:
    name = entry.database.name
    if entry.database.probe is ProbePolicy.OFF:
        return note(f"{name} is never tried", 'The configuration says so: probe = "off"')
    needed = trials(entry, plan.holders.get(entry.key, ()))
    proof = await verify(prober, needed, str(entry.key), around)
    if proof.works:
        return good(f"{name}: Heroku shows its login, and it connects")
    error = proof.error(entry.database)
    return bad(error.title, error.advice or "Wait a moment, and run pgherald doctor again.")
