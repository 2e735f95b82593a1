"""How a login is verified: as strictly as the strictest client will connect with it.

A client may demand more than the configuration: a person has set a stricter sslmode in its
section or server, or named a root certificate there. That stays, so the login has to connect in
that very way before it is written there.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import logging
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from pgherald import libpq
from pgherald.clients.base import Held
from pgherald.clock import Clock
from pgherald.errors import PgheraldError, safe_text
from pgherald.libpq import Extra
from pgherald.model import SSLMODES, DatabaseKey, Entry, Login, ProbePolicy, strictest
from pgherald.sync.probe import Outcome, Prober, Proof

log = logging.getLogger(__name__)

#: A login is called current if it has connected within this time.
MAX_AGE: Final = timedelta(days=1)

#: What no certificate, variable or line of the clients brings about, but for an address.
_NOT_OURS: Final = frozenset({Outcome.HOST_UNKNOWN, Outcome.NO_ANSWER, Outcome.STARTING_UP})

#: The part of that time over which the connections of many logins are spread.
_SPREAD: Final = 0.25


@dataclass(frozen=True, slots=True)
class Trial:
    """One connection that a login has to make. Compared without `demand`.

    Attributes:
        login: the login, with the sslmode to connect with.
        require_auth: how the server may ask for the password.
        sslrootcert: the root certificate that is named; None for libpq's usual file.
        extras: what else the person has said in the client. The login is not to blame for it.
        demand: what a client demands beyond the configuration, in words; empty when none does.
    """

    login: Login
    require_auth: str
    sslrootcert: str | None = None
    extras: tuple[Extra, ...] = ()
    demand: str = field(default="", compare=False)

    def covers(self, other: Trial) -> bool:
        """Whether the other would succeed wherever this one does."""
        ours, theirs = (SSLMODES.index(each.login.sslmode) for each in (self, other))
        same = self.sslrootcert == other.sslrootcert and set(other.extras) <= set(self.extras)
        # Without TLS is another matter: a server may refuse that.
        return same and 0 < theirs <= ours


@dataclass(frozen=True, slots=True)
class Verification:
    """In which ways a login was tried last, when, UTC, and whether it connected.

    One that did not is here only where the person's policy does without, or where the server took
    the password and the trouble is another.
    """

    trials: tuple[Trial, ...]
    at: datetime
    works: bool
    trouble: PgheraldError | None = None


def is_stale(login: Login, at: datetime | None, now: datetime, max_age: timedelta) -> bool:
    """Whether a login has to connect again to be called current.

    Different logins become stale at different times, so that not all connect at once.

    Args:
        login: which one; all databases that share it become stale together.
        at: when it connected last, UTC; None for never.
        now: UTC.
        max_age: how long that counts.
    """
    name = f"{login.user}@{login.host}:{login.port}/{login.dbname}"
    early = zlib.crc32(name.encode()) / 2**32 * _SPREAD
    # A clock that was set back must not keep a login fresh for the time it was set back.
    return at is None or abs(now - at) > max_age * (1 - early)


class Decision(enum.Enum):
    """What follows from one attempt to verify a login."""

    WRITE = enum.auto()
    RETRY = enum.auto()
    GIVE_UP = enum.auto()


def decide(policy: ProbePolicy, proof: Proof, *, last: bool, held: bool = False) -> Decision:
    """Decide by the person's policy.

    A login that connects, or whose password the server took, is written. Under `prefer` so is one
    that nobody could try (a firewall, a sleeping network); one that the server itself refused is
    retried first.

    Args:
        policy: the person's.
        proof: the result of the attempt.
        last: whether no further attempt is planned.
        held: whether the clients hold it already; then a refusal is worth a word in any case.
    """
    if proof.proves:
        return Decision.WRITE
    refused, retries = held and proof.answered, proof.answered and proof.transient
    if policy is ProbePolicy.PREFER and not refused and (last or not retries):
        return Decision.WRITE
    return Decision.GIVE_UP if last or not proof.transient else Decision.RETRY


def trials(entry: Entry, clients: Iterable[tuple[str, Held]]) -> tuple[Trial, ...]:
    """The connections that prove a login for all clients, the strictest first; mostly one.

    Args:
        entry: the database and its login.
        clients: what the clients hold of it now, with what a person calls each.
    """
    database, clients = entry.database, list(clients)
    # A service row names no host, and libpq reads in the section what the row does not say.
    sections: dict[str | None, Held] = {h.service: h for _, h in clients if h.service and h.host}
    ours = Trial(entry.login, database.require_auth, database.sslrootcert)
    found: list[Trial] = []
    for client, held in clients:
        if held.demands is None:
            continue  # a format that knows no sslmode
        section = sections.get(held.service, held)
        written = database.sslrootcert or section.sslrootcert
        root = held.sslrootcert or written if held.host is None else written or held.sslrootcert
        mode = strictest(entry.login.sslmode, held.demands)
        login = dataclasses.replace(entry.login, sslmode=mode)
        extras = tuple(_line(name, value, section) for name, value in section.options)
        demand = f"{client} demands sslmode={mode}{f' and sslrootcert={root}' if root else ''}"
        trial = Trial(login, database.require_auth, root, extras, demand)
        found.append(ours if trial == ours else trial)
    found = found or [ours]
    found.sort(key=lambda t: (-SSLMODES.index(t.login.sslmode), t.sslrootcert is None))
    needed: list[Trial] = []
    for trial in found:
        if not any(other.covers(trial) for other in needed):
            needed.append(trial)
    return tuple(needed)


def _line(name: str, value: str, section: Held) -> Extra:
    return Extra(
        f"your line `{name}=` in [{section.service}]",
        ((name, value),),
        f"Take the line `{name}=` out of the section [{section.service}] of the service file.",
    )


class Verifier:
    """Connects with logins; databases that share a login share its connection.

    Args:
        prober: makes the connections.
        clock: tells the time.
    """

    def __init__(self, prober: Prober, clock: Clock) -> None:
        self._prober = prober
        self._clock = clock
        self._attempts: dict[tuple[Trial, ...], asyncio.Task[Proof]] = {}

    async def attempt(
        self,
        key: DatabaseKey,
        needed: tuple[Trial, ...],
        tasks: asyncio.TaskGroup,
    ) -> Proof:
        """Connect once in each way that is needed, or wait for whoever does so already.

        Args:
            key: the database that asks, for the log.
            needed: the ways.
            tasks: the group of which connecting is a task.
        """
        attempt = self._attempts.get(needed)
        if attempt is None:
            attempt = self._attempts[needed] = tasks.create_task(self._attempt(key, needed))
            attempt.add_done_callback(lambda _: self._attempts.pop(needed))
        # A database that loses interest does not end it for the others.
        return await asyncio.shield(attempt)

    async def _attempt(self, key: DatabaseKey, needed: Sequence[Trial]) -> Proof:
        try:
            return await verify(self._prober, needed, str(key))
        except Exception as exc:  # noqa: BLE001 – a prober's mistake must not end in silence
            log.error("%s: the probe itself failed: %s", key, safe_text(exc))
            return Proof(Outcome.FAILED, self._clock.now(), 0.0, type(exc).__name__)


async def verify(
    prober: Prober, needed: Sequence[Trial], name: str, around: Sequence[Extra] | None = None
) -> Proof:
    """Connect with a login in every way that is needed, until one fails.

    Args:
        prober: makes the connections.
        needed: the ways.
        name: the database, for the log.
        around: what the clients take from this machine; its certificates by default.

    Returns:
        The proof of the first way that fails, or else of one that meets another trouble, or else
        of the last one.
    """
    around = list(libpq.files()) if around is None else around
    proofs: list[Proof] = []
    for trial in needed:
        proofs.append(await _try(prober, trial, name, around))
        if not proofs[-1].proves:
            return proofs[-1]
    return next((proof for proof in proofs if not proof.works), proofs[-1])


async def _try(prober: Prober, trial: Trial, name: str, around: Sequence[Extra]) -> Proof:
    """Connect as the client does; if that fails, find out whether it is the login's fault."""
    # What the client says counts, and not what libpq would find otherwise.
    said = {keyword for extra in trial.extras for keyword, _ in extra.options}
    extras = [*(e for e in around if e.options[0][0] not in said), *trial.extras]

    async def probe(chosen: Iterable[Extra]) -> Proof:
        options = dict(option for extra in chosen for option in extra.options)
        options |= {"sslrootcert": trial.sslrootcert} if trial.sslrootcert else {}
        return dataclasses.replace(
            await prober.probe(
                trial.login, require_auth=trial.require_auth, options=options, name=name
            ),
            demand=trial.demand,
        )

    proof = await probe(extras)
    elsewhere = any(keyword == "hostaddr" for extra in extras for keyword, _ in extra.options)
    if proof.proves or not extras or (proof.outcome in _NOT_OURS and not elsewhere):
        return proof
    plain = await probe([])
    shown = [extra.source for extra in extras if "sslcert" in dict(extra.options)]
    if plain.outcome is Outcome.CERTIFICATE_WANTED and shown:
        if proof.outcome is Outcome.REFUSED:
            detail = f"{proof.detail}, or {shown[-1]} is another user's"
            return dataclasses.replace(proof, detail=detail)
        detail = f"{shown[-1]} does not do: {proof.detail}"
        return dataclasses.replace(proof, outcome=Outcome.CERTIFICATE_WANTED, detail=detail)
    if not plain.proves:
        return plain
    guilty = extras
    if len(extras) > 1:
        guilty = [extra for extra in extras if not (await probe([extra])).proves] or extras
    reason = "" if proof.outcome is Outcome.FAILED else f" ({proof.detail})"
    return dataclasses.replace(
        plain,
        outcome=Outcome.CLIENT_HINDERED,
        proven=True,
        detail=f"{' and '.join(e.source for e in guilty)} keeps libpq from connecting{reason}",
        advice=" ".join(extra.remedy for extra in guilty),
    )
