"""How a login has to be proven: as strictly as the strictest client will connect with it.

A client may demand more than the configuration: a person has set a stricter sslmode in its
section or server, or named a root certificate there. That stays, so what is written there has to
be proven in that very way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pgherald.clients.base import Held
from pgherald.model import SSLMODES, Entry, Login, strictest
from pgherald.sync.probe import Prober, Proof

__all__ = ["Trial", "prove", "trials"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One connection that a login has to make. Compared without `client`.

    Attributes:
        login: the login, with the sslmode to connect with.
        require_auth: how the server may ask for the password.
        sslrootcert: the client's own root certificate; None for libpq's usual file.
        client: the client that demands more than the configuration, as a person calls it; empty
            when none does.
    """

    login: Login
    require_auth: str
    sslrootcert: str | None = None
    client: str = field(default="", compare=False)

    @property
    def demand(self) -> str:
        """The demand in words; empty when no client has one of its own."""
        if not self.client:
            return ""
        root = "" if self.sslrootcert is None else f" and sslrootcert={self.sslrootcert}"
        return f"{self.client} demands sslmode={self.login.sslmode}{root}"

    def covers(self, other: Trial) -> bool:
        """Whether the other would succeed wherever this one does."""
        if other.sslrootcert is None and other.login.sslmode in ("allow", "prefer", "require"):
            # It checks nothing. Without TLS is another matter: a server may refuse that.
            return self.login.sslmode not in ("disable", "allow", "prefer")
        weaker = SSLMODES.index(other.login.sslmode) < SSLMODES.index(self.login.sslmode)
        return weaker and self.sslrootcert == other.sslrootcert and other.login.sslmode != "disable"


def trials(entry: Entry, clients: Iterable[tuple[str, Held]]) -> tuple[Trial, ...]:
    """The connections that prove a login for all clients, the strictest first; mostly one.

    Args:
        entry: the database and its login.
        clients: what the clients hold of it now, with what a person calls each.
    """
    ours = Trial(entry.login, entry.database.require_auth)
    theirs: list[Trial] = []
    for client, held in clients:
        if held.demands is None:
            continue  # a format that knows no sslmode
        mode = strictest(entry.login.sslmode, held.demands)
        login = dataclasses.replace(entry.login, sslmode=mode)
        theirs.append(Trial(login, ours.require_auth, held.sslrootcert, client))
    # Where each client names its own root certificate, none needs the usual one.
    needs_ours = not theirs or any(trial.sslrootcert is None for trial in theirs)
    # Of equal ones the first counts.
    found = list(dict.fromkeys([*([ours] if needs_ours else []), *theirs]))
    found.sort(key=lambda t: (-SSLMODES.index(t.login.sslmode), t.sslrootcert is None))
    needed: list[Trial] = []
    for trial in found:
        if not any(other.covers(trial) for other in needed):
            needed.append(trial)
    return tuple(needed)


async def prove(prober: Prober, needed: Sequence[Trial]) -> Proof:
    """Try a login in every way that is needed, until one fails.

    Returns:
        The proof of the first way that fails, or else of the last one.
    """
    for trial in needed[:-1]:
        proof = await _try(prober, trial)
        if not proof.works:
            return proof
    return await _try(prober, needed[-1])


async def _try(prober: Prober, trial: Trial) -> Proof:
    proof = await prober.probe(
        trial.login, require_auth=trial.require_auth, sslrootcert=trial.sslrootcert
    )
    return dataclasses.replace(proof, demand=trial.demand)
