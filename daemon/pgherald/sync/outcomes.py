"""What comes of a probe, and how libpq's words are read. Pure.

Postgres sends a five-letter SQLSTATE with every refusal, but libpq keeps the one of a failed
connection to itself, and so psycopg has none to offer (psycopg issue 1188). What is left is
the message. Its server's part is in the server's language, which at Heroku is English; a
message in another one is `failed`, which is never wrong, only less helpful. libpq's own part
is English, since Python leaves LC_MESSAGES alone.

A message may repeat names that a stranger chose. So patterns are matched at its beginning
only, and nothing of it goes any further: each detail is written in this file.
"""

from __future__ import annotations

import enum
import errno
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pgherald.model import Database


class Outcome(enum.StrEnum):
    """What came of a probe."""

    WORKS = "works"
    """The login opened a connection."""
    REFUSED = "refused"
    """The server refused the password."""
    NO_ROLE = "no_role"
    """The server has no user of that name."""
    NO_LOGIN = "no_login"
    """The server's administrator does not let that user log in."""
    NOT_LET_IN = "not_let_in"
    """The server's rules leave out this user, this database or where we come from."""
    CERTIFICATE_WANTED = "certificate_wanted"
    """The server wants a client certificate as well."""
    CLIENT_HINDERED = "client_hindered"
    """The login works, but something on this machine keeps libpq from connecting with it."""
    NOT_GRANTED = "not_granted"
    """The user may not enter this database."""
    DATABASE_MISSING = "database_missing"
    """The server has no database of that name."""
    HOST_UNKNOWN = "host_unknown"
    """The host's name has no address."""
    UNREACHABLE = "unreachable"
    """Nobody answers at that address."""
    NO_ANSWER = "no_answer"
    """What is sent there is lost: no answer came in time."""
    STARTING_UP = "starting_up"
    """The server is there and not ready yet."""
    TOO_MANY_CONNECTIONS = "too_many_connections"
    """The server is full."""
    TLS_REFUSED = "tls_refused"
    """The connection cannot be encrypted as asked."""
    AUTH_NOT_ALLOWED = "auth_not_allowed"
    """The server asks for the password in a way that `require_auth` does not allow."""
    TOO_MUCH = "too_much"
    """The server sends more than a Postgres does, and was cut off."""
    FAILED = "failed"
    """Something else."""

    @property
    def answered(self) -> bool:
        """Whether it is the server's own verdict on the login."""
        return self not in _ON_THE_WAY

    @property
    def transient(self) -> bool:
        """Whether it may be another one within minutes."""
        return self not in _LASTING

    def words(self, database: Database) -> tuple[str, str]:
        """The title, and what the person can do about it; empty where that is to wait."""
        title, advice = _WORDS[self]
        place = f"{database.key.attachment} --app {database.key.app}"
        return title.format(database.name), advice.format(at=place, app=database.key.app)


#: What says nothing about the login.
_ON_THE_WAY: Final = frozenset(
    {
        *(Outcome.HOST_UNKNOWN, Outcome.UNREACHABLE, Outcome.NO_ANSWER, Outcome.TLS_REFUSED),
        *(Outcome.AUTH_NOT_ALLOWED, Outcome.TOO_MUCH, Outcome.CLIENT_HINDERED, Outcome.FAILED),
    }
)

#: What a server says after it has taken the password, if it asked for one.
AFTER_PASSWORD: Final = frozenset(
    {
        *(Outcome.NOT_GRANTED, Outcome.DATABASE_MISSING),
        *(Outcome.STARTING_UP, Outcome.TOO_MANY_CONNECTIONS),
    }
)

_LASTING: Final = frozenset(
    {
        *(Outcome.WORKS, Outcome.TLS_REFUSED, Outcome.AUTH_NOT_ALLOWED, Outcome.TOO_MUCH),
        *(Outcome.CERTIFICATE_WANTED, Outcome.CLIENT_HINDERED, Outcome.NO_ANSWER),
    }
)

_ROTATE: Final = (
    "The clients keep the old one. If this lasts: `heroku pg:credentials:rotate {at}` (--name for "
    "a credential that has one) makes another; that ends open connections and restarts the apps."
)
_CERTIFICATE: Final = (
    "Ask the database's owner for one: it belongs into ~/.postgresql/postgresql.crt, its key into "
    "~/.postgresql/postgresql.key with `chmod 600` (Windows: %APPDATA%\\postgresql)."
)
_TRUST: Final = (
    "In a Private Space your address has to be a trusted one: `heroku spaces:trusted-ips:add "
    "ADDRESS --space SPACE`. Elsewhere pg_hba.conf has to allow it."
)

#: The title, with `{}` for the database's name, and the advice, with `{at}` for how the Heroku
#: CLI is told which database, and `{app}` for its app.
_WORDS: Final = {
    Outcome.WORKS: ("The login of {} works", ""),
    Outcome.REFUSED: ("Postgres refuses the login of {}", _ROTATE),
    Outcome.NO_ROLE: (
        "Postgres does not know the user of {}",
        "Mend the default credential by `heroku pg:credentials:repair-default {at}`.",
    ),
    Outcome.NO_LOGIN: (
        "Postgres does not let the user of {} log in",
        "ALTER ROLE … LOGIN mends it; at Heroku `heroku pg:credentials:repair-default {at}`.",
    ),
    Outcome.NOT_LET_IN: ("The server of {} does not let you in", _TRUST),
    Outcome.CERTIFICATE_WANTED: ("The server of {} wants a client certificate", _CERTIFICATE),
    Outcome.NOT_GRANTED: (
        "The user of {} may not enter the database",
        "Its owner has to allow that: GRANT CONNECT ON DATABASE, in `heroku pg:psql {at}`.",
    ),
    Outcome.CLIENT_HINDERED: ("The clients here cannot connect to {}", "Take it away."),
    Outcome.DATABASE_MISSING: (
        "The server of {} has no such database",
        "Heroku may still be moving it. If this lasts, see `heroku pg:info {at}`.",
    ),
    Outcome.HOST_UNKNOWN: (
        "The host of {} is not known",
        "Check the network and its DNS; a new server's name may take a minute to spread.",
    ),
    Outcome.UNREACHABLE: (
        "The server of {} cannot be reached",
        'Check the network. If a firewall is in the way for good, set `probe = "prefer"`.',
    ),
    Outcome.NO_ANSWER: (
        "The server of {} does not answer from here",
        (
            "A Private or Shield database is reached through a tunnel, whose `host` and `port` "
            "can stand in its table of the configuration. Else a firewall is in the way."
        ),
    ),
    Outcome.STARTING_UP: ("The server of {} is starting up", ""),
    Outcome.TOO_MANY_CONNECTIONS: (
        "The server of {} has no connection left",
        "Close those that you do not need, in pgAdmin too; `heroku pg:killall {at}` ends all.",
    ),
    Outcome.TLS_REFUSED: (
        "{} cannot be reached by TLS as asked",
        "Check `sslmode`: Heroku needs `require`; `verify-…` needs ~/.postgresql/root.crt too.",
    ),
    Outcome.AUTH_NOT_ALLOWED: (
        "{} asks for the password in a way not allowed",
        "If you trust that server and the way to it, add the method to its `require_auth`.",
    ),
    Outcome.TOO_MUCH: (
        "The server of {} sends more than a Postgres",
        "Did somebody change the config var? `heroku releases --app {app}` lists the changes.",
    ),
    Outcome.FAILED: (
        "The login of {} could not be tested",
        "See what the server says: `heroku pg:psql {at}`.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """An outcome, more about it in our own words, and whether the server took the password."""

    outcome: Outcome
    detail: str = ""
    proven: bool = False


#: Postgres: appendix A, "PostgreSQL Error Codes".
_SQLSTATES: Final = {
    "28P01": Finding(Outcome.REFUSED, "the server refused the password or the user (28P01)"),
    "28000": Finding(Outcome.NOT_LET_IN, "the server refused the user (28000)"),
    "42501": Finding(Outcome.NOT_GRANTED, "the user may not enter this database (42501)"),
    "3D000": Finding(Outcome.DATABASE_MISSING, "the database does not exist (3D000)"),
    "55000": Finding(Outcome.STARTING_UP, "the database accepts no connection yet (55000)"),
    "57P03": Finding(Outcome.STARTING_UP, "the server accepts no connection yet (57P03)"),
    "57P01": Finding(Outcome.STARTING_UP, "the server is being shut down (57P01)"),
    "53300": Finding(Outcome.TOO_MANY_CONNECTIONS, "all connections are in use (53300)"),
}

_PLAIN: Final = Finding(Outcome.TLS_REFUSED, "the server demands TLS and was asked without")
_NO_ROLE: Final = Finding(Outcome.NO_ROLE, "there is no such user (28000)")
_NO_LOGIN: Final = Finding(Outcome.NO_LOGIN, "the user is not permitted to log in (28000)")
_NO_ENTRY: Final = Finding(Outcome.NOT_LET_IN, "no rule of pg_hba.conf fits (28000)")
_NO_CERTIFICATE: Final = Finding(
    Outcome.CERTIFICATE_WANTED, "without a valid one it accepts no password (28000)"
)

#: How a server's message begins, and the SQLSTATE that came with it. Postgres: auth.c,
#: miscinit.c, postinit.c, proc.c, backend_startup.c. PgBouncer: client.c.
_SERVER_SAYS: Final = (
    (r"(no pg_hba\.conf entry|pg_hba\.conf rejects) .*(no encryption|SSL off)\s*$", _PLAIN),
    (r"no pg_hba\.conf entry for |pg_hba\.conf rejects ", _NO_ENTRY),
    (r"connection requires a valid client certificate", _NO_CERTIFICATE),
    (r"certificate authentication failed for user ", _NO_CERTIFICATE),
    (r"(password|SASL) authentication failed", _SQLSTATES["28P01"]),
    (r"[\w-]+ authentication failed for user ", _SQLSTATES["28000"]),
    (r'role ".*" does not exist|no such user', _NO_ROLE),
    (r'role ".*" is not permitted to log in', _NO_LOGIN),
    (r"permission denied for database ", _SQLSTATES["42501"]),
    (r'database ".*" (does not exist|has disappeared )|no such database', _SQLSTATES["3D000"]),
    (r"cannot connect to invalid database ", _SQLSTATES["3D000"]),
    (r'database ".*" is not currently accepting connections', _SQLSTATES["55000"]),
    (r"the database system is |terminating connection due to admin", _SQLSTATES["57P03"]),
    (r"sorry, too many clients already", _SQLSTATES["53300"]),
    (r"remaining connection slots are reserved ", _SQLSTATES["53300"]),
    (r"too many connections for |no more connections allowed", _SQLSTATES["53300"]),
)

#: How libpq begins to say that a server asks for the password in another way than allowed.
_DEMANDS: Final = r'authentication method requirement ".*" failed: server requested '

#: A server that is silent, or whose packets are lost.
LATE: Final = Finding(Outcome.NO_ANSWER, "no answer in time")

#: Likewise, but one that began to answer: it can be reached from here.
SLOW: Final = Finding(Outcome.UNREACHABLE, "it began to answer, and did not end in time")

#: What answers, and is none.
NO_POSTGRES: Final = Finding(Outcome.FAILED, "what answers there is no Postgres")

_BROKEN_OFF: Final = (
    r".*(Connection reset|Broken pipe|closed the connection|has been closed unexpectedly"
    r"|SSL SYSCALL error|unexpected eof|connection abort|could not (receive|send) )"
)

#: How libpq's own messages begin: fe-connect.c, fe-secure.c, fe-secure-openssl.c, fe-auth.c.
#: It never speaks of the way to the server, since the relay makes that connection.
_LIBPQ_SAYS: Final = (
    (r"server does not support SSL", Finding(Outcome.TLS_REFUSED, "the server does not offer TLS")),
    (
        r"SSL error: certificate verify failed",
        Finding(Outcome.TLS_REFUSED, "the server's certificate is not one to trust"),
    ),
    (
        r"server certificate for |could not get server's host name from ",
        Finding(Outcome.TLS_REFUSED, "the server's certificate is for another host"),
    ),
    (
        r"root certificate file |could not (read|get .*locate) root certificate",
        Finding(Outcome.TLS_REFUSED, "there is no root certificate to verify the server with"),
    ),
    (
        (
            r"private key file |certificate present, but not private key file "
            r"|could not (load private key|read certificate|open certificate) file "
        ),
        Finding(Outcome.CERTIFICATE_WANTED, "libpq cannot use the client certificate or its key"),
    ),
    (
        r"weak sslmode ",
        Finding(
            Outcome.TLS_REFUSED,
            'sslrootcert=system needs sslmode = "verify-full" in the configuration',
        ),
    ),
    (
        r"SSL error: .* alert (unknown ca|.*certificate)",
        Finding(Outcome.CERTIFICATE_WANTED, "the server does not accept the client certificate"),
    ),
    (_BROKEN_OFF, Finding(Outcome.UNREACHABLE, "the connection broke off")),
    (r"SSL error: ", Finding(Outcome.TLS_REFUSED, "the TLS handshake failed")),
    (r"fe_sendauth: no password", Finding(Outcome.REFUSED, "the login has no password")),
    (
        _DEMANDS + "a cleartext password",
        Finding(
            Outcome.AUTH_NOT_ALLOWED, "the server wants the password itself, the method `password`"
        ),
    ),
    (
        _DEMANDS + "a hashed password",
        Finding(Outcome.AUTH_NOT_ALLOWED, "the server wants the password hashed, the method `md5`"),
    ),
    (
        _DEMANDS + "(SASL|SCRAM-SHA-256)",
        Finding(Outcome.AUTH_NOT_ALLOWED, "the server wants the method `scram-sha-256`"),
    ),
    (
        r"authentication method requirement ",
        Finding(Outcome.FAILED, "the server asked for no password"),
    ),
    (r"received invalid response to ", NO_POSTGRES),
    (r"expected authentication request ", NO_POSTGRES),
)

#: libpq tells of each attempt: `prefer` and `allow` make two, with TLS and without.
_ATTEMPT: Final = re.compile(
    r'(?:^|\n)connection to server at "[^"\n]*"(?: \([^)\n]*\))?, port \d+ failed: '
)

#: What a server says begins with its word for FATAL and, unlike libpq's own words, two spaces.
_SERVER: Final = re.compile(r"[^\s:]+:  (.*)", re.DOTALL)

_UNKNOWN: Final = Finding(Outcome.FAILED, "the reason is not one that pgherald knows")


def of_sqlstate(sqlstate: str) -> Finding:
    """What a server's error means.

    Args:
        sqlstate: five letters and digits.
    """
    if not re.fullmatch(r"[0-9A-Z]{5}", sqlstate):
        return _UNKNOWN
    unknown = Finding(Outcome.FAILED, f"the server reported SQLSTATE {sqlstate}")
    return _SQLSTATES.get(sqlstate, unknown)


def of_message(message: bytes) -> Finding:
    """What libpq's message about a failed connection means.

    Of several attempts the one counts in which TLS came about.
    """
    attempts = [part for part in _ATTEMPT.split(message.decode("utf-8", "replace")) if part.strip()]
    findings = [_of_attempt(attempt) for attempt in attempts] or [_UNKNOWN]
    return next((f for f in findings if f.outcome is not Outcome.TLS_REFUSED), findings[0])


def _of_attempt(text: str) -> Finding:
    if server := _SERVER.match(text):
        unknown = Finding(Outcome.FAILED, "the server refuses for another reason")
        return _first(_SERVER_SAYS, server[1], unknown, re.DOTALL)
    return _first(_LIBPQ_SAYS, text, _UNKNOWN)


def _first(
    known: Iterable[tuple[str, Finding]], said: str, unknown: Finding, flags: int = 0
) -> Finding:
    matches = (finding for pattern, finding in known if re.match(pattern, said, flags))
    return next(matches, unknown)


def of_connecting(problem: OSError) -> Finding:
    """What a failed attempt to connect to the server means, before anybody has said a word."""
    if isinstance(problem, ConnectionRefusedError):
        return Finding(Outcome.UNREACHABLE, "nothing listens there")
    if isinstance(problem, TimeoutError):
        return LATE
    if isinstance(problem, ConnectionError):
        return Finding(Outcome.UNREACHABLE, "the connection broke off")
    if problem.errno in _NOTHING_LEFT:
        return Finding(Outcome.FAILED, "this machine has no sockets left")
    # IPv6 on a machine without it, a firewall of its own, and Windows' many numbers.
    return Finding(Outcome.UNREACHABLE, "there is no way there")


def of_look_up(problem: OSError | UnicodeError) -> Finding:
    """What a failed look-up of the host's name means."""
    if isinstance(problem, UnicodeError) or problem.errno in _NO_SUCH_NAME:
        return Finding(Outcome.HOST_UNKNOWN, "its name has no address")
    return Finding(Outcome.UNREACHABLE, "no name server answers")


#: getaddrinfo(3). Not every system knows both.
_NO_SUCH_NAME: Final = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name)
)

_NOTHING_LEFT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
