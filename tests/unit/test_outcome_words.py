"""What a person reads of a probe, whole: titles, advice and details, and what follows from it."""

from __future__ import annotations

import errno
from datetime import UTC, datetime

import pytest

from pgherald.model import ProbePolicy
from pgherald.sync.outcomes import Outcome, of_connecting, of_look_up, of_message, of_sqlstate
from pgherald.sync.probe import Proof
from pgherald.sync.verification import Decision, decide

AT = datetime(2026, 1, 5, tzinfo=UTC)
ATTEMPT = 'connection to server at "192.0.2.7", port 5432 failed: '

WORDS = {
    Outcome.WORKS: ("The login of {} works", ""),
    Outcome.REFUSED: (
        "Postgres refuses the login of {}",
        "The clients keep the old one. If this lasts, make another: `heroku pg:credentials:rotate`.",
    ),
    Outcome.DATABASE_MISSING: (
        "The server of {} has no such database",
        "Heroku may still be moving it. If this lasts, look at `heroku pg:info`.",
    ),
    Outcome.HOST_UNKNOWN: (
        "The host of {} is not known",
        "Check the network and its DNS; a new server's name may take a minute to spread.",
    ),
    Outcome.UNREACHABLE: (
        "The server of {} cannot be reached",
        'Check the network. If a firewall is in the way for good, set `probe = "prefer"`.',
    ),
    Outcome.STARTING_UP: ("The server of {} is starting up", ""),
    Outcome.TOO_MANY_CONNECTIONS: (
        "The server of {} has no connection left",
        "Close some connections: `heroku pg:ps` lists them, `heroku pg:killall` ends them.",
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
        "It is hardly your database. Did somebody change the config var? Run `heroku releases`.",
    ),
    Outcome.FAILED: (
        "The login of {} could not be tested",
        "Connect with psql to see what the server says.",
    ),
}


def test_the_words_of_each_outcome() -> None:
    """Each has its title and, where there is something to do, its advice."""
    assert {outcome: outcome.words for outcome in Outcome} == WORDS


def test_the_names_of_outcomes_are_stable() -> None:
    """The store and `--json` hold them."""
    assert [str(outcome) for outcome in Outcome] == [
        "works", "refused", "database_missing", "host_unknown", "unreachable", "starting_up",
        "too_many_connections", "tls_refused", "auth_not_allowed", "too_much", "failed",
    ]  # fmt: skip


REFUSED = "the server refused the password or the user (28P01)"
USER = "the server refused the user (28000)"
STARTING = "the server accepts no connection yet (57P03)"
MISSING = "the database does not exist (3D000)"
FULL = "all connections are in use (53300)"
PLAIN = "the server demands TLS and was asked without"


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ('password authentication failed for user "u"', REFUSED),
        ("SASL authentication failed", REFUSED),
        ('GSSAPI authentication failed for user "u"', USER),
        ('role "u" does not exist', USER),
        ('role "u" is not permitted to log in', USER),
        ("no such user: u", USER),
        ('permission denied for database "d"', "the user may not enter this database (42501)"),
        ('no pg_hba.conf entry for host "h", SSL on', USER),
        ("pg_hba.conf rejects connection for host", USER),
        ('no pg_hba.conf entry for host "h", no encryption\n', PLAIN),
        ('pg_hba.conf rejects connection for host "h", SSL off', PLAIN),
        ('database "d" does not exist', MISSING),
        ("no such database: d", MISSING),
        ("the database system is starting up", STARTING),
        ("sorry, too many clients already", FULL),
        ("remaining connection slots are reserved for you", FULL),
        ("too many connections for role", FULL),
        ("no more connections allowed", FULL),
        ("odd", "the server refuses for another reason"),
    ],
)
def test_what_a_server_says_in_detail(said: str, detail: str) -> None:
    """The detail is one of ours, and quotes nothing."""
    assert of_message(f"{ATTEMPT}FATAL:  {said}".encode()).detail == detail


@pytest.mark.parametrize(
    ("said", "detail"),
    [
        ("server does not support SSL", "the server does not offer TLS"),
        (
            "SSL error: certificate verify failed",
            "the server's certificate is not one to trust",
        ),
        ("server certificate for x", "the server's certificate is for another host"),
        (
            "could not get server's host name from server certificate",
            "the server's certificate is for another host",
        ),
        (
            "root certificate file x",
            "there is no root certificate to verify the server with",
        ),
        (
            "could not get home directory to locate root certificate file",
            "there is no root certificate to verify the server with",
        ),
        (
            "could not read root certificate file",
            "there is no root certificate to verify the server with",
        ),
        ("x: Connection reset by peer", "the connection broke off"),
        ("x: Broken pipe", "the connection broke off"),
        ("Software caused connection abort", "the connection broke off"),
        ("could not send x", "the connection broke off"),
        ("SSL error: x", "the TLS handshake failed"),
        ("fe_sendauth: no password supplied", "the login has no password"),
        (
            'authentication method requirement "md5" failed: server requested a cleartext password',
            "the server wants the password itself, the method `password`",
        ),
        (
            'authentication method requirement "x" failed: server requested a hashed password',
            "the server wants the password hashed, the method `md5`",
        ),
        (
            'authentication method requirement "md5" failed: server requested SASL authentication',
            "the server wants the method `scram-sha-256`",
        ),
        (
            'authentication method requirement "md5" failed: server requested SSPI authentication',
            "the server asked for no password",
        ),
        ("authentication method requirement x", "the server asked for no password"),
        ("received invalid response to x", "what answers there is no Postgres"),
        ("expected authentication request x", "what answers there is no Postgres"),
        ("odd", "the reason is not one that pgherald knows"),
        ("", "the reason is not one that pgherald knows"),
    ],
)
def test_what_libpq_says_in_detail(said: str, detail: str) -> None:
    """Likewise of the way there."""
    assert of_message(f"{ATTEMPT}{said}".encode()).detail == detail


def test_the_attempt_with_tls_counts() -> None:
    """Of several attempts the first that is not about TLS; else the first."""
    tls, plain = "SSL error: x", "x: Broken pipe"
    for one, two, outcome, detail in (
        (tls, plain, Outcome.UNREACHABLE, "the connection broke off"),
        (plain, tls, Outcome.UNREACHABLE, "the connection broke off"),
        ("server does not support SSL", tls, Outcome.TLS_REFUSED, "the server does not offer TLS"),
    ):
        found = of_message(f"{ATTEMPT}{one}\n{ATTEMPT}{two}\n".encode())
        assert (found.outcome, found.detail) == (outcome, detail)
    # An address as libpq puts it, and one that is not at a line's beginning.
    named = 'connection to server at "h" (192.0.2.1), port 5432 failed: x: Broken pipe'
    assert of_message(named.encode()).detail == "the connection broke off"
    assert of_message(b"\xff").detail == "the reason is not one that pgherald knows"


@pytest.mark.parametrize(
    ("sqlstate", "outcome", "detail"),
    [
        ("28P01", Outcome.REFUSED, REFUSED), ("28000", Outcome.REFUSED, USER),
        ("42501", Outcome.REFUSED, "the user may not enter this database (42501)"),
        ("3D000", Outcome.DATABASE_MISSING, MISSING), ("57P03", Outcome.STARTING_UP, STARTING),
        ("53300", Outcome.TOO_MANY_CONNECTIONS, FULL),
        ("XX000", Outcome.FAILED, "the server reported SQLSTATE XX000"),
        ("xx000", Outcome.FAILED, "the reason is not one that pgherald knows"),
        ("28P010", Outcome.FAILED, "the reason is not one that pgherald knows"),
    ],
)  # fmt: skip
def test_what_a_sqlstate_says(sqlstate: str, outcome: Outcome, detail: str) -> None:
    """One that is none is not repeated: a stranger may have chosen it."""
    found = of_sqlstate(sqlstate)
    assert (found.outcome, found.detail) == (outcome, detail)


def test_what_a_look_up_says() -> None:
    """A name without an address, or nobody to ask."""
    assert of_look_up(UnicodeError()).detail == "its name has no address"
    assert of_look_up(OSError(11, "x")).detail == "no name server answers"


@pytest.mark.parametrize(
    ("problem", "detail"),
    [
        (ConnectionRefusedError(), "nothing listens there"),
        (TimeoutError(), "no answer in time"),
        (ConnectionResetError(), "the connection broke off"),
        (OSError(errno.ENETUNREACH, "x"), "there is no way there"),
        (OSError(errno.EMFILE, "x"), "this machine has no sockets left"),
    ],
)
def test_what_connecting_says(problem: OSError, detail: str) -> None:
    """Likewise, of what the system reports before anybody has said a word."""
    assert of_connecting(problem).detail == detail


def test_a_finding_as_an_error() -> None:
    """The detail begins its sentence with a capital, where there is anything to do about it."""
    error = Proof(Outcome.UNREACHABLE, AT, 1.0, "nothing listens there").error("Shop")
    assert (error.title, error.outcome) == ("The server of Shop cannot be reached", "unreachable")
    assert error.advice == (
        "Nothing listens there. Check the network. If a firewall is in the way for good, set "
        '`probe = "prefer"`.'
    )
    assert Proof(Outcome.UNREACHABLE, AT, 1.0).error("x").advice == WORDS[Outcome.UNREACHABLE][1]
    assert Proof(Outcome.STARTING_UP, AT, 1.0, STARTING).error("x").advice == ""


# --- what follows --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "outcome", "first", "last"),
    [
        (ProbePolicy.REQUIRE, Outcome.WORKS, Decision.WRITE, Decision.WRITE),
        (ProbePolicy.REQUIRE, Outcome.REFUSED, Decision.RETRY, Decision.GIVE_UP),
        (ProbePolicy.REQUIRE, Outcome.UNREACHABLE, Decision.RETRY, Decision.GIVE_UP),
        (ProbePolicy.REQUIRE, Outcome.TLS_REFUSED, Decision.GIVE_UP, Decision.GIVE_UP),
        (ProbePolicy.PREFER, Outcome.WORKS, Decision.WRITE, Decision.WRITE),
        (ProbePolicy.PREFER, Outcome.REFUSED, Decision.RETRY, Decision.WRITE),
        (ProbePolicy.PREFER, Outcome.UNREACHABLE, Decision.WRITE, Decision.WRITE),
        (ProbePolicy.PREFER, Outcome.TLS_REFUSED, Decision.WRITE, Decision.WRITE),
    ],
)
def test_what_one_probe_means(
    policy: ProbePolicy, outcome: Outcome, first: Decision, last: Decision
) -> None:
    """By the person's policy, and by whether there will be another."""
    proof = Proof(outcome, AT, 1.0)
    assert decide(policy, proof, last=False) is first
    assert decide(policy, proof, last=True) is last
