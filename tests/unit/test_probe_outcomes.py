"""How libpq's words become outcomes, and outcomes words for a person."""

from __future__ import annotations

import errno
import socket
from datetime import UTC, datetime

import pytest

from pgherald.model import Database, DatabaseKey, ProbePolicy
from pgherald.sync.outcomes import (
    Outcome,
    of_connecting,
    of_look_up,
    of_message,
    of_sqlstate,
)
from pgherald.sync.probe import Proof
from pgherald.sync.verification import Decision, decide

AT = datetime(2026, 1, 5, tzinfo=UTC)

#: As libpq 18 puts it in front of what an attempt came to.
ATTEMPT = 'connection to server at "192.0.2.7", port 5432 failed: '


def refusal(text: str, severity: str = "FATAL") -> bytes:
    return f"{ATTEMPT}{severity}:  {text}\n".encode()


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ('password authentication failed for user "u"', Outcome.REFUSED),
        ('role "u" does not exist', Outcome.NO_ROLE),
        ('role "u" is not permitted to log in', Outcome.NO_LOGIN),
        ("no such user: u", Outcome.NO_ROLE),
        ("connection requires a valid client certificate", Outcome.CERTIFICATE_WANTED),
        ('certificate authentication failed for user "u"', Outcome.CERTIFICATE_WANTED),
        ('permission denied for database "d"\nDETAIL:  …', Outcome.NOT_GRANTED),
        (
            'no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", SSL encryption',
            Outcome.NOT_LET_IN,
        ),
        (
            'no pg_hba.conf entry for host "192.0.2.1", user "u", database "d", no encryption',
            Outcome.TLS_REFUSED,
        ),
        ('database "d" does not exist', Outcome.DATABASE_MISSING),
        ("no such database: d", Outcome.DATABASE_MISSING),
        ("the database system is starting up", Outcome.STARTING_UP),
        ("terminating connection due to administrator command", Outcome.STARTING_UP),
        ('cannot connect to invalid database "d"\nHINT:  …', Outcome.DATABASE_MISSING),
        ("sorry, too many clients already", Outcome.TOO_MANY_CONNECTIONS),
        ('too many connections for role "u"', Outcome.TOO_MANY_CONNECTIONS),
        (
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            Outcome.TOO_MANY_CONNECTIONS,
        ),
        ("no more connections allowed (max_client_conn)", Outcome.TOO_MANY_CONNECTIONS),
        ('database "d" is not currently accepting connections', Outcome.STARTING_UP),
        ("something else entirely", Outcome.FAILED),
    ],
)
def test_what_the_server_says(text: str, outcome: Outcome) -> None:
    """Each refusal of Postgres and PgBouncer has its outcome."""
    assert of_message(refusal(text)).outcome is outcome


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("could not receive data from server: No route to host", Outcome.UNREACHABLE),
        ("server closed the connection unexpectedly\n\tThis probably", Outcome.UNREACHABLE),
        ("could not receive data from server: Connection reset by peer", Outcome.UNREACHABLE),
        ("server does not support SSL, but SSL was required", Outcome.TLS_REFUSED),
        ("SSL error: certificate verify failed", Outcome.TLS_REFUSED),
        ("SSL error: tlsv1 alert unknown ca", Outcome.CERTIFICATE_WANTED),
        ('private key file "/x" has group or world access; …', Outcome.CERTIFICATE_WANTED),
        ('server certificate for "a" does not match host name "b"', Outcome.TLS_REFUSED),
        ('root certificate file "/x" does not exist\nEither …', Outcome.TLS_REFUSED),
        ('could not read root certificate file "/x": no start line', Outcome.TLS_REFUSED),
        ("fe_sendauth: no password supplied", Outcome.REFUSED),
        ("received invalid response to SSL negotiation: H", Outcome.FAILED),
        ("expected authentication request from server, but received H", Outcome.FAILED),
        ("could not create socket: Too many open files", Outcome.FAILED),
    ],
)
def test_what_libpq_says(text: str, outcome: Outcome) -> None:
    """What libpq reports of the way there is told apart from what a server says."""
    assert of_message(f"{ATTEMPT}{text}\n".encode()).outcome is outcome
    assert of_message(f"{text}\n".encode()).outcome is outcome, "once the connection was up"


@pytest.mark.parametrize(
    "name",
    [
        'x" does not exist',
        "the database system is starting up",
        "sorry, too many clients already",
        "x\nconnection refused",
        'x", no encryption',
    ],
)
def test_a_name_is_not_a_message(name: str) -> None:
    """A role cannot be named so that its refusal reads like something else."""
    message = refusal(f'password authentication failed for user "{name}"')
    assert of_message(message).outcome is Outcome.REFUSED


def test_a_database_name_is_not_a_message() -> None:
    """A database cannot be named so that its absence reads like a refused login."""
    message = refusal('database "password authentication failed" does not exist')
    assert of_message(message).outcome is Outcome.DATABASE_MISSING


def test_only_what_begins_like_a_server_is_a_servers() -> None:
    """Words of libpq's own are read as such, though a server's form may stand in them."""
    said = b'connection to server at "h", port 5432 failed: SSL SYSCALL error\nFATAL:  of some kind'
    assert of_message(said).outcome is Outcome.UNREACHABLE


REFUSED = refusal('password authentication failed for user "u"')


def test_no_detail_quotes() -> None:
    """A detail is made of our own words, so nothing that a server sends can get into one."""
    secret = "CANARY-in-a-message"
    for text in (f"{secret}", f'role "{secret}" does not exist', f"sorry, too many {secret}"):
        assert "CANARY" not in of_message(refusal(text)).detail
        assert "CANARY" not in of_message(text.encode()).detail
    assert "CANARY" not in of_sqlstate("CANARY").detail


@pytest.mark.parametrize(
    ("sqlstate", "outcome"),
    [
        ("28P01", Outcome.REFUSED),
        ("28000", Outcome.NOT_LET_IN),
        ("3D000", Outcome.DATABASE_MISSING),
        ("57P03", Outcome.STARTING_UP),
        ("53300", Outcome.TOO_MANY_CONNECTIONS),
        ("", Outcome.FAILED),
    ],
)
def test_sqlstates(sqlstate: str, outcome: Outcome) -> None:
    """Where there is a SQLSTATE it decides, and an unknown one is named."""
    finding = of_sqlstate(sqlstate)
    assert finding.outcome is outcome
    assert sqlstate in finding.detail


#: A name that exists, and has no address; not every system tells that apart.
NODATA = getattr(socket, "EAI_NODATA", socket.EAI_NONAME)


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (socket.gaierror(socket.EAI_NONAME, "…"), Outcome.HOST_UNKNOWN),
        (socket.gaierror(NODATA, "…"), Outcome.HOST_UNKNOWN),
        (socket.gaierror(socket.EAI_AGAIN, "…"), Outcome.UNREACHABLE),
        (socket.gaierror(socket.EAI_FAIL, "…"), Outcome.UNREACHABLE),
        (OSError("no number"), Outcome.UNREACHABLE),
        (UnicodeError("label too long"), Outcome.HOST_UNKNOWN),
    ],
)
def test_look_ups(problem: OSError | UnicodeError, outcome: Outcome) -> None:
    """A name that does not exist is told apart from a name server that does not answer."""
    assert of_look_up(problem).outcome is outcome


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (ConnectionRefusedError(), Outcome.UNREACHABLE),
        (TimeoutError(), Outcome.NO_ANSWER),
        (ConnectionResetError(), Outcome.UNREACHABLE),
        (OSError(errno.EHOSTUNREACH, "…"), Outcome.UNREACHABLE),
        (OSError(errno.EAFNOSUPPORT, "…"), Outcome.UNREACHABLE),
        (PermissionError(errno.EPERM, "…"), Outcome.UNREACHABLE),
        (OSError(errno.EMFILE, "…"), Outcome.FAILED),
    ],
)
def test_connecting(problem: OSError, outcome: Outcome) -> None:
    """A network in the way is told apart from a machine that has nothing left to connect with."""
    assert of_connecting(problem).outcome is outcome


SHOP = Database(DatabaseKey("default", "shop", "DATABASE"), "Shop (production)", "Heroku", "shop")


def proof(outcome: Outcome, detail: str = "") -> Proof:
    return Proof(outcome, AT, 0.1, detail)


def test_what_is_worth_another_try() -> None:
    """What a server says of a login may pass within minutes; a server that is not as asked for stays."""
    assert proof(Outcome.REFUSED).transient
    assert proof(Outcome.REFUSED).answered
    assert not proof(Outcome.TLS_REFUSED).transient
    assert not proof(Outcome.TLS_REFUSED).answered


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.WORKS])
def test_words_for_a_person(outcome: Outcome) -> None:
    """Each error names the database, fits a headline, and says what happened before what to do."""
    error = proof(outcome, "the reason (12345)").error(SHOP)
    assert SHOP.name in error.title
    assert len(error.title) <= 60
    assert error.outcome == outcome
    if outcome is Outcome.STARTING_UP:
        assert error.advice == "", "there is nothing to do but wait"
    else:
        assert error.advice.startswith("The reason (12345). ")
        assert error.advice.endswith(".")
        assert proof(outcome).error(SHOP).advice[0] in "`ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        assert "{" not in error.advice


def test_rotating_is_advised_where_the_password_is_wrong_alone() -> None:
    """And then with the database's place at Heroku, and a word on what it does."""
    advised = {o: proof(o).error(SHOP).advice for o in Outcome}
    rotating = [outcome for outcome, advice in advised.items() if "rotate" in advice]
    assert rotating == [Outcome.REFUSED]
    said = advised[Outcome.REFUSED]
    assert "`heroku pg:credentials:rotate DATABASE --app shop`" in said
    assert "ends open connections" in said


@pytest.mark.parametrize(
    ("policy", "outcome", "first", "last"),
    [
        (ProbePolicy.REQUIRE, Outcome.WORKS, Decision.WRITE, Decision.WRITE),
        (ProbePolicy.REQUIRE, Outcome.REFUSED, Decision.RETRY, Decision.GIVE_UP),
        (ProbePolicy.REQUIRE, Outcome.TLS_REFUSED, Decision.GIVE_UP, Decision.GIVE_UP),
        (ProbePolicy.PREFER, Outcome.REFUSED, Decision.RETRY, Decision.WRITE),
        (ProbePolicy.PREFER, Outcome.UNREACHABLE, Decision.WRITE, Decision.WRITE),
        (ProbePolicy.PREFER, Outcome.TLS_REFUSED, Decision.WRITE, Decision.WRITE),
    ],
)
def test_one_probe_is_judged_by_the_policy(
    policy: ProbePolicy, outcome: Outcome, first: Decision, last: Decision
) -> None:
    """And by whether there will be another."""
    assert decide(policy, proof(outcome), last=False) is first
    assert decide(policy, proof(outcome), last=True) is last
