"""How the doctor runs its checks, and what each area finds without a household around it."""

from __future__ import annotations

import ast
import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pgherald.clients.service_file import ServiceFile
from pgherald.doctor import checks, clients, heroku
from pgherald.doctor.bundle import Redactor
from pgherald.doctor.checks import Check, Finding, Verdict, bad, examine, good
from pgherald.errors import LoginRequired, MissingTool, Unavailable
from pgherald.heroku import network
from pgherald.heroku.api import TokenInfo
from pgherald.heroku.host import HerokuHost
from pgherald.sync.plan import ClientPlan, Plan
from pgherald.sync.targets import FileTarget

FINE = good("fine")


async def fine() -> list[Finding]:
    return [FINE]


# --- running -------------------------------------------------------------------------------


async def test_one_that_hangs_or_stumbles_stops_no_other() -> None:
    """Whatever a check does, the others are looked at, and it is a finding itself."""
    never = threading.Event()

    async def hangs() -> list[Finding]:
        await asyncio.Event().wait()
        return []

    def hangs_hard() -> list[Finding]:
        never.wait(5)
        return []

    def stumbles() -> Iterator[Finding]:
        yield FINE
        raise ValueError("CANARY-secret")

    def fails() -> list[Finding]:
        raise LoginRequired("no token")

    examined = await examine(
        [
            Check("A", "hangs", hangs, 0.05),
            Check("A", "hangs hard", hangs_hard, 0.05),
            Check("A", "stumbles", stumbles),
            Check("A", "fails", fails),
            Check("A", "fine", fine),
        ]
    )
    never.set()
    found = [each.findings for each in examined]
    assert [f[0].verdict for f in found] == [*[Verdict.BAD] * 4, Verdict.GOOD]
    assert found[0][0].title == "A, hangs: no end after 0.05 seconds"
    assert found[1][0].title == "A, hangs hard: no end after 0.05 seconds"
    assert "could not be looked at (ValueError" in found[2][0].title
    assert found[3] == (bad("no token", LoginRequired.default_advice),)
    assert "CANARY" not in repr(found)


async def test_what_is_under_way_is_told() -> None:
    """Whoever shows progress hears what is still being looked at, until nothing is."""
    heard: list[list[str]] = []
    gate = asyncio.Event()

    async def slow() -> list[Finding]:
        await gate.wait()
        return []

    def looking(checks: tuple[Check, ...]) -> None:
        heard.append([check.name for check in checks])
        if len(checks) == 1:
            gate.set()

    await examine([Check("A", "slow", slow), Check("B", "fine", fine)], looking)  # type: ignore[arg-type]  # a tuple is a sequence
    assert heard == [["slow", "fine"], ["slow"], []]


# --- Heroku --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"HTTPS_PROXY": "http://proxy:3128"}, None),
        ({"HTTPS_PROXY": "http://u:CANARY@:3128"}, Unavailable),
        ({"ALL_PROXY": "ftp://proxy"}, Unavailable),
        ({"ALL_PROXY": "socks5://proxy:1080"}, MissingTool),
    ],
)
def test_proxies(
    env: dict[str, str], problem: type[Exception] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that cannot be used is named by its variable, never by its value."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    if problem is None:
        network.check_proxies(env)
        return
    with pytest.raises(problem) as raised:
        network.check_proxies(env)
    assert next(iter(env)) in str(raised.value)
    assert "CANARY" not in str(raised.value)


def test_certificates(tmp_path: Path) -> None:
    """A file or folder of certificates that is not there is named by its variable."""
    (tmp_path / "ca.pem").touch()
    network.check_certificates(
        {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "SSL_CERT_DIR": str(tmp_path)}
    )
    with pytest.raises(Unavailable, match="SSL_CERT_FILE names what is not there"):
        network.check_certificates({"SSL_CERT_FILE": str(tmp_path / "no.pem")})


def test_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is told with a command that shows it."""
    network.resolve_host(HerokuHost.from_env({"HEROKU_HOST": "http://127.0.0.1:5000"}))

    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    with pytest.raises(Unavailable, match="no network, or no DNS") as raised:
        network.resolve_host(HerokuHost.from_env({}))
    assert "nslookup api.heroku.com" in raised.value.advice


@pytest.mark.parametrize(
    ("platform", "command"), [("linux", "timedatectl"), ("darwin", "sntp"), ("win32", "w32tm")]
)
def test_the_clock(platform: str, command: str) -> None:
    """A clock that is more than a minute off is bad, with what sets it on each platform."""
    (finding,) = heroku.clock(_seen(ahead=timedelta(seconds=-90)), platform)
    assert finding.title == "The clock is 90 seconds behind"
    assert command in finding.advice
    assert list(heroku.clock(_seen(ahead=timedelta(seconds=5)), platform)) == [
        good("The clock is right")
    ]
    assert list(heroku.clock(_seen(), platform)) == []


def _seen(scopes: frozenset[str] | None = None, ahead: timedelta | None = None) -> TokenInfo:
    return TokenInfo(scopes, None, ahead, None)


# --- the documents -------------------------------------------------------------------------


def spoken() -> Iterator[tuple[str, str]]:
    """The longest fixed piece of each title that asks for something, and where it is said."""
    for module in sorted(Path(checks.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id not in ("bad", "note") or not node.args:
                continue
            pieces = [
                part.value
                for part in ast.walk(node.args[0])
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            if pieces:
                yield f"{module.name}:{node.lineno}", max(pieces, key=len).strip(" :(")


def test_every_finding_is_in_the_documents() -> None:
    """Whatever the doctor says is found again in the troubleshooting by the message seen."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    found = dict(spoken())
    assert len(found) > 30
    assert [f"{where} {piece}" for where, piece in found.items() if piece not in text] == []


# --- others --------------------------------------------------------------------------------


def test_a_login_that_a_client_cannot_hold() -> None:
    """A refusal names the client, the database and why."""
    from pgherald.daemon.look import Looked
    from pgherald.errors import Inexpressible
    from pgherald.model import DatabaseKey

    client = FileTarget(ServiceFile(), Path("/p"), "pgAdmin")
    key = DatabaseKey("default", "shop", "DATABASE")
    error = Inexpressible("holds a comma", "Enter it by hand.")
    plan = Plan((ClientPlan(client, refused=((key, error),)),))
    (finding,) = clients.current(plan, Looked([], {}))
    assert finding == bad(
        "pgAdmin cannot hold the login of shop/DATABASE: holds a comma", "Enter it by hand."
    )


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("shop: shop-2/DATABASE, SHOP", "app-1: app-2/DATABASE, app-1"),
        ("me at /home/me/work/acme.toml", "<person-1> at <path>"),
        ("write eve@example.com, or https://u:p@h/x", "write <address>, or <url>"),
        ("db.example.com and 10.0.0.7 and fe80::1:2", "<host> and <ip> and <ip>"),
        ("HRKU-0a1b is 01234567-89ab-cdef-0123-456789abcdef", "<token> is <id>"),
        (r"C:\Users\Eve\x.txt and /srv/acme/x", "<path> and <path>"),
        ("config.toml:3: state.db, pgherald.sync.plan", "config.toml:3: state.db, pgherald.sync.plan"),
        ("/etc/pgherald.toml:3: odd", "<configuration>:3: odd"),
        ("a1 in a12", "user-1 in a12"),
    ],
)  # fmt: skip
def test_what_is_redacted(text: str, redacted: str) -> None:
    """What is known gets a name of its own; what only looks telling goes all the same."""
    redactor = Redactor(
        [("app", "shop"), ("app", "shop-2"), ("user", "a1"), ("person", "me")],
        {"configuration": Path("/etc/pgherald.toml")},
        Path("/home/me"),
    )
    assert redactor.text(text) == redacted.replace("<person-1>", "person-1")
    assert redactor.value({"shop": [text, 1, None]}) == {
        "shop": [redacted.replace("<person-1>", "person-1"), 1, None]
    }
