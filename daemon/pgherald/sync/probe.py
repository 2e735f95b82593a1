"""One real connection that proves a login.

Nothing but the login decides: see `pgherald.libpq`. The conversation is libpq's own, driven
from here, because psycopg's connection objects do not let go at once: cancelled during a
query they spend up to ten seconds telling the server so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from pgherald import libpq
from pgherald.aio import in_thread
from pgherald.clock import Clock
from pgherald.errors import ProbeFailed
from pgherald.model import REQUIRE_AUTH, Database, Login
from pgherald.sync.outcomes import (
    AFTER_PASSWORD,
    LATE,
    NO_POSTGRES,
    SLOW,
    Finding,
    Outcome,
    of_connecting,
    of_look_up,
    of_message,
    of_sqlstate,
)
from pgherald.sync.relay import LIMIT, Relay

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

__all__ = ["RETRY_PAUSES", "Outcome", "PostgresProber", "Prober", "Proof"]

log = logging.getLogger(__name__)

#: Seconds that one probe may take, look-up of the host and TLS included.
TIME_LIMIT: Final = 8.0

#: Probes at the same time.
CONCURRENCY: Final = 16

#: Pauses in seconds between the attempts to prove a new login: two minutes in all, since
#: Heroku may show a login a moment before Postgres accepts it.
RETRY_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)

#: The same in a `check`, for a login that the clients hold already.
CHECK_PAUSES: Final = RETRY_PAUSES[:3]

#: All that is asked. A pooler may accept a login by itself, and answer an empty query or a SHOW
#: as well; this takes it to the server. The answer is one row, and that is checked.
_QUESTION: Final = b"SELECT current_user, current_database()"

#: Seconds between two looks at a socket, where looking is all that can be done.
_POLL: Final = 0.02

_OLD_LIBPQ: Final = Finding(
    Outcome.FAILED, "this libpq gives its password to whoever asks; psycopg[binary] has a newer one"
)

_TOO_MUCH: Final = Finding(
    Outcome.TOO_MUCH, f"the server sent more than {LIMIT // 1024} KiB before the first answer"
)


#: A client's demand that cannot be met: the title, and what mends it.
_DEMAND: Final = (
    "{} cannot be verified as a client demands",
    "Name the authority's certificate in its `sslrootcert`, or set its `sslmode` to `require`.",
)


@dataclass(frozen=True, slots=True)
class Proof:
    """What one probe found.

    Attributes:
        outcome: the finding.
        at: when, UTC.
        seconds: how long it took.
        detail: more about it, in our own words: no host, no user, nothing the server said.
        demand: a client's own demand, in words, if that was tried: `[shop] demands sslmode=…`.
        proven: whether the server took the password, although the outcome is another trouble.
        advice: what mends it, where the outcome's own words do not say it.
    """

    outcome: Outcome
    at: datetime
    seconds: float
    detail: str = ""
    demand: str = ""
    proven: bool = False
    advice: str = ""

    @property
    def works(self) -> bool:
        """Whether it connected."""
        return self.outcome is Outcome.WORKS

    @property
    def proves(self) -> bool:
        """Whether the login is proven."""
        return self.works or self.proven

    @property
    def answered(self) -> bool:
        """Whether the server had the last word, and not something on the way to it."""
        return self.outcome.answered

    @property
    def transient(self) -> bool:
        """Whether it is worth trying again soon."""
        return self.outcome.transient

    def error(self, database: Database) -> ProbeFailed:
        """The finding as an error."""
        title, advice = self.outcome.words(database)
        advice = self.advice or advice
        said = f"{self.detail[:1].upper()}{self.detail[1:]}. " if self.detail and advice else ""
        if self.demand and self.outcome is Outcome.TLS_REFUSED:
            title, advice = _DEMAND
            title = title.format(database.name)
            said = f"{self.demand}, and {self.detail or 'that fails'}. "
        return ProbeFailed(title, said + advice, outcome=self.outcome)


class Prober(Protocol):
    """Whatever proves logins."""

    async def probe(
        self,
        login: Login,
        *,
        require_auth: str = REQUIRE_AUTH,
        options: Mapping[str, str] = {},
        name: str = "",
    ) -> Proof:
        """Try one login. Never raises but for cancellation.

        Args:
            login: whom to connect as, where to, and how strictly.
            require_auth: how the server may ask for the password, in libpq's words.
            options: further parameters, as libpq takes them.
            name: what the debug log calls the login; its host by default.
        """
        ...


class PostgresProber:
    """Proves logins by connecting to Postgres.

    Takes the few variables that libpq always obeys out of this process's environment.

    Args:
        clock: stamps and times the proofs.
        limit: seconds that one probe may take, once it is its turn.
        concurrency: probes at the same time; the others wait their turn.
    """

    def __init__(
        self, clock: Clock, limit: float = TIME_LIMIT, concurrency: int = CONCURRENCY
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._turn = asyncio.Semaphore(concurrency)
        libpq.ignore_environment()

    async def probe(
        self,
        login: Login,
        *,
        require_auth: str = REQUIRE_AUTH,
        options: Mapping[str, str] = {},
        name: str = "",
    ) -> Proof:
        """Try one login; see `Prober`. Cancelled, it returns at once.

        A look-up of the host's name that hangs may linger then, in a thread that nobody waits
        for; all else ends with the probe.
        """
        others = dict(options)
        address = others.pop("hostaddr", "")
        conninfo = partial(
            libpq.conninfo,
            login,
            timeout=self._limit,
            require_auth=require_auth,
            options=others,
        )
        # Nobody looks an address up, libpq neither.
        flags = socket.AI_NUMERICHOST if address else 0
        look_up = partial(
            socket.getaddrinfo,
            address or login.host,
            login.port,
            type=socket.SOCK_STREAM,
            flags=flags,
        )
        async with self._turn:
            began = self._clock.monotonic()
            finding = await _find(look_up, login.port, self._limit, conninfo)
            seconds = self._clock.monotonic() - began
            log.debug(
                "verified %s: %s in %d ms", name or login.host, finding.outcome, seconds * 1000
            )
            return Proof(
                finding.outcome,
                self._clock.now(),
                seconds,
                finding.detail,
                proven=finding.proven,
            )


async def _find(
    look_up: Callable[[], list[Any]], port: int, limit: float, conninfo: Callable[..., str]
) -> Finding:
    """Try address after address until a server answers, or for `limit` seconds.

    A dead one (IPv6 on a network without it) takes only its share of the time.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    try:
        async with asyncio.timeout_at(end):
            found = await in_thread(look_up)
    except (OSError, UnicodeError) as exc:
        return of_look_up(exc)
    # Each once, in the system's order.
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    finding = Finding(Outcome.HOST_UNKNOWN)
    for number, address in enumerate(addresses):
        share = (end - loop.time()) / (len(addresses) - number)
        relay = Relay(address, port)
        try:
            async with asyncio.timeout(share), relay:
                finding = await _through(relay, conninfo)
            finding = _TOO_MUCH if relay.exceeded else finding
        except TimeoutError:
            finding = SLOW if relay.answered else LATE
        except OSError as exc:
            finding = of_connecting(exc)
        if finding.outcome not in (Outcome.UNREACHABLE, Outcome.NO_ANSWER):
            break
    return finding


async def _through(relay: Relay, conninfo: Callable[..., str]) -> Finding:
    from psycopg import Error, pq  # 100 ms that most commands do not need

    if pq.version() < libpq.OLDEST:
        return _OLD_LIBPQ
    try:
        text = conninfo(address=relay.host, port=relay.port)
        connection = pq.PGconn.connect_start(text.encode())
    except (ValueError, Error) as exc:
        # What these say, and hold, may be the login itself.
        return Finding(Outcome.FAILED, f"{type(exc).__name__} before connecting")
    relay.accept(lambda: _local_port(connection))
    try:
        finding = await _converse(connection)
    except Error:
        # libpq reports so what is not an answer: the connection is gone.
        return of_message(connection.error_message)
    finally:
        took = connection.used_password
        connection.finish()
    return replace(finding, proven=took and finding.outcome in AFTER_PASSWORD)


def _local_port(connection: PGconn) -> int | None:
    """The port that libpq's connection comes from; None while it has none."""
    from psycopg import Error

    with contextlib.suppress(Error, OSError):
        own = socket.socket(fileno=connection.socket)
        try:
            port: int = own.getsockname()[1]
        finally:
            own.detach()  # it is libpq's to close
        return port
    return None


async def _converse(connection: PGconn) -> Finding:
    """Connect and ask. libpq: "Asynchronous Command Processing"."""
    from psycopg.pq import ConnStatus, DiagnosticField, ExecStatus, PollingStatus

    # What `connect_start` does first counts as "wants to write".
    state = PollingStatus.WRITING
    while connection.status != ConnStatus.BAD and state != PollingStatus.OK:
        await _ready(connection.socket, to_write=state == PollingStatus.WRITING)
        state = PollingStatus(connection.connect_poll())
    if connection.status == ConnStatus.BAD:
        return of_message(connection.error_message)
    connection.send_query(_QUESTION)
    while connection.is_busy():
        await _ready(connection.socket, to_write=False)
        connection.consume_input()
    result = connection.get_result()
    if result is None or result.status != ExecStatus.TUPLES_OK:
        sqlstate = result and result.error_field(DiagnosticField.SQLSTATE)
        return of_sqlstate(sqlstate.decode()) if sqlstate else of_message(connection.error_message)
    return Finding(Outcome.WORKS) if result.ntuples == 1 else NO_POSTGRES


async def _ready(fd: int, *, to_write: bool) -> None:
    """Wait until a socket can be read, or written."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    add, remove = (
        (loop.add_writer, loop.remove_writer) if to_write else (loop.add_reader, loop.remove_reader)
    )
    try:
        add(fd, ready.set)
    except NotImplementedError:
        # Windows: the loop that can run programs, for the token, cannot watch a bare socket. It
        # tells of a refused connection in the third set alone. A probe is short enough for that.
        read, write = ([], [fd]) if to_write else ([fd], [])
        while not any(select.select(read, write, [fd], 0)):
            await asyncio.sleep(_POLL)
        return
    try:
        await ready.wait()
    finally:
        remove(fd)
