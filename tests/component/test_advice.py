"""Advice mends: each refusal is provoked for real, its advice carried out, and it is gone."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import pytest

from pgherald.cli.main import COMMANDS, group
from pgherald.clock import SystemClock
from pgherald.config import TokenKind, TokenSpec
from pgherald.errors import Forbidden, LoginRequired
from pgherald.heroku.api import HerokuApi
from pgherald.heroku.host import HerokuHost
from pgherald.heroku.tokens import token_source
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator.faults import Fault
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import seed_world
from pgherald.simulator.server import Simulator
from pgherald.sync.outcomes import Outcome
from pgherald.sync.probe import PostgresProber, Proof
from support.cluster import new_login
from support.fake_clock import FakeClock
from support.heroku_cli import HerokuCli
from support.household import database
from support.simulator import FakeDoor, FakePostgres, dice

REPOSITORY = Path(__file__).parents[2]
SHOP = database()

# --- what Postgres says ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Postgres of its own, whose rules a test may change."""
    with Cluster.start(tmp_path_factory.mktemp("strict")) as running:
        yield running


@pytest.fixture
async def login(strict: Cluster) -> Login:
    return await new_login(strict)


async def probe(login: Login) -> Proof:
    return await PostgresProber(SystemClock()).probe(login)


async def rules(cluster: Cluster, first: str) -> None:
    """Put a rule in front of the others in pg_hba.conf; without one there are only these."""
    file = cluster.ca_file.parent / "pg_hba.conf"
    others = [line for line in file.read_text().splitlines() if not line.endswith("# a test's")]
    file.write_text("\n".join([*([f"{first} # a test's"] if first else []), *others, ""]))
    await cluster.execute("SELECT pg_reload_conf()")


Step = Callable[[Cluster, Login], Awaitable[object]]


def sql(text: str) -> Step:
    return lambda cluster, login: cluster.execute(text.format(u=login.user, d=login.dbname))


def rule(text: str) -> Step:
    return lambda cluster, login: rules(cluster, text.format(u=login.user, d=login.dbname))


@dataclass(frozen=True)
class Refusal:
    """How it comes about, what the advice names, and that step."""

    outcome: Outcome
    advice: str
    provoke: Step
    mend: Step


REFUSALS = [
    Refusal(
        Outcome.REFUSED,
        "heroku pg:credentials:rotate DATABASE --app shop",
        lambda cluster, login: cluster.set_password(login.user, Secret("CANARY-another")),
        lambda cluster, login: cluster.set_password(login.user, login.password),
    ),
    Refusal(
        Outcome.NO_LOGIN,
        "ALTER ROLE … LOGIN",
        sql('ALTER ROLE "{u}" NOLOGIN'),
        sql('ALTER ROLE "{u}" LOGIN'),
    ),
    Refusal(
        Outcome.NOT_GRANTED,
        "GRANT CONNECT ON DATABASE",
        sql('REVOKE CONNECT ON DATABASE "{d}" FROM PUBLIC, "{u}"'),
        sql('GRANT CONNECT ON DATABASE "{d}" TO "{u}"'),
    ),
    Refusal(
        Outcome.TOO_MANY_CONNECTIONS,
        "Close those that you do not need",
        sql('ALTER ROLE "{u}" CONNECTION LIMIT 0'),
        sql('ALTER ROLE "{u}" CONNECTION LIMIT -1'),
    ),
    Refusal(
        Outcome.DATABASE_MISSING,
        "heroku pg:info DATABASE --app shop",
        sql('ALTER DATABASE "{d}" RENAME TO "{d}-moving"'),
        sql('ALTER DATABASE "{d}-moving" RENAME TO "{d}"'),
    ),
    Refusal(
        Outcome.NOT_LET_IN,
        "pg_hba.conf has to allow it",
        rule('hostssl "{d}" "{u}" all reject'),
        rule(""),
    ),
    Refusal(
        Outcome.TLS_REFUSED,
        "Heroku needs `require`",
        rule('host "{d}" "{u}" all reject'),
        rule(""),
    ),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: str(refusal.outcome))
async def test_a_refusal_of_postgres_goes_by_its_advice(
    strict: Cluster, login: Login, refusal: Refusal
) -> None:
    """The step that the advice names makes the login connect, and nothing else is advised."""
    plain = refusal.outcome is Outcome.TLS_REFUSED
    tried = replace(login, sslmode="disable") if plain else login
    assert (await probe(login)).works
    await refusal.provoke(strict, login)
    try:
        proof = await probe(tried)
        error = proof.error(SHOP)
        assert proof.outcome is refusal.outcome, error
        assert refusal.advice in error.advice
        assert ("rotate" in error.advice) == (refusal.outcome is Outcome.REFUSED)
        await refusal.mend(strict, login)
        assert (await probe(login)).works
    finally:
        await rules(strict, "")


# --- tokens ------------------------------------------------------------------------------------

STORE = """\
import pathlib
from keyring.backend import KeyringBackend
class Store(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        return pathlib.Path(__file__).with_name(f"{service}-{username}").read_text()
    def set_password(self, service, username, password):
        pathlib.Path(__file__).with_name(f"{service}-{username}").write_text(password)
"""


@dataclass
class Desk:
    """A home with a Heroku, and an environment to start pgherald in."""

    home: Path
    simulator: Simulator
    env: dict[str, str] = field(default_factory=dict)

    @property
    def live(self) -> str:
        return self.simulator.world.tokens[0].value.reveal()

    def put(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.home / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def netrc(self, token: str) -> None:
        machine = HerokuHost.from_env(self.env).netrc_machine
        self.put(".netrc", f"machine {machine} login me password {token}\n")

    def cli(self, token: str) -> None:
        """A Heroku CLI that is logged in; as the real one, it minds HEROKU_API_KEY first."""
        (self.home / "bin").mkdir(exist_ok=True)
        program = self.put("bin/heroku", f'#!/bin/sh\necho "${{HEROKU_API_KEY:-{token}}}"\n', 0o755)
        self.env["PATH"] = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def keyring(self, token: str) -> None:
        self.put("store.py", STORE)
        self.put("heroku-me", token)
        self.env |= {
            "PYTHONPATH": str(self.home),
            "PYTHON_KEYRING_BACKEND": "store.Store",
            "HOME": str(self.home),
            "PATH": os.environ["PATH"],
        }

    def api(self, spec: str) -> HerokuApi:
        kind, _, argument = spec.partition(":")
        argument = argument.replace("~", str(self.home))
        host = HerokuHost.from_env(self.env)
        source = token_source(TokenSpec(TokenKind(kind), argument), host, self.env, self.home)
        return HerokuApi(host, source, clock=FakeClock())


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FakeClock()
    world = await seed_world(
        FakePostgres(), apps=("shop",), clock=clock, source=dice(1), mark="CANARY",
        token=Secret("HRKU-CANARY-live"), open_door=FakeDoor.opener(),
    )  # fmt: skip
    async with Simulator.running(world) as simulator:
        yield Desk(tmp_path, simulator, {"HEROKU_HOST": simulator.url, "PATH": "/nowhere"})


DEAD = "HRKU-CANARY-dead"
Deed = Callable[[Desk], object]


def unset(desk: Desk) -> None:
    """As a shell does it, before pgherald is started again."""
    del desk.env["HEROKU_API_KEY"]


def keyring_set(desk: Desk) -> None:
    desk.put("heroku-me", desk.live)


TOKENS: Mapping[str, tuple[str, list[Deed], str, Deed]] = {
    "the variable, beside a CLI that is logged in": (
        "auto",
        [lambda d: d.env.update(HEROKU_API_KEY=DEAD), lambda d: d.cli(d.live)],
        "`unset HEROKU_API_KEY`",
        unset,
    ),
    "the variable, beside a netrc": (
        "auto",
        [lambda d: d.env.update(HEROKU_API_KEY=DEAD), lambda d: d.netrc(d.live)],
        "`unset HEROKU_API_KEY`",
        unset,
    ),
    "a variable that holds no token, beside a CLI that is logged in": (
        "auto",
        [lambda d: d.env.update(HEROKU_API_KEY=f"Bearer {DEAD}"), lambda d: d.cli(d.live)],
        "`unset HEROKU_API_KEY`",
        unset,
    ),
    "the CLI": ("auto", [lambda d: d.cli(DEAD)], "Run: heroku login", lambda d: d.cli(d.live)),
    "the CLI, beside a dead netrc": (
        "auto",
        [lambda d: d.cli(DEAD), lambda d: d.netrc(DEAD)],
        "Run: heroku login",
        lambda d: d.cli(d.live),
    ),
    "netrc, beside a CLI that is logged in": (
        "netrc",
        [lambda d: d.netrc(DEAD), lambda d: d.cli(d.live)],
        "`HEROKU_NETRC_WRITE=true heroku login`",
        lambda d: d.netrc(d.live),
    ),
    "a file": (
        "file:~/token",
        [lambda d: d.put("token", DEAD)],
        "Put a token into ",
        lambda d: d.put("token", d.live),
    ),
    "an empty file": (
        "file:~/token",
        [lambda d: d.put("token", "\n")],
        "Put a token into ",
        lambda d: d.put("token", d.live),
    ),
    "a command": (
        "command:cat ~/token",
        [lambda d: d.put("token", DEAD), lambda d: d.env.update(PATH=os.environ["PATH"])],
        "it has to print a token that works",
        lambda d: d.put("token", d.live),
    ),
    "another variable": (
        "env:MINE",
        [lambda d: d.env.update(MINE=DEAD)],
        "Set MINE to a token and start pgherald again",
        lambda d: d.env.update(MINE=d.live),
    ),
    "the keyring": (
        "keyring:heroku/me", [lambda d: d.keyring(DEAD)], "`keyring set heroku me`", keyring_set
    ),
    "nothing at all": (
        "auto",
        [],
        "Make `heroku` found on PATH and run `heroku login`",
        lambda d: d.cli(d.live),
    ),
    "a CLI that is not logged in": (
        "auto",
        [lambda d: d.cli(d.live), lambda d: d.put("bin/heroku", "#!/bin/sh\nexit 2\n", 0o755)],
        "Run `heroku login`",
        lambda d: d.cli(d.live),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TOKENS)
async def test_a_refused_token_goes_by_its_advice(desk: Desk, case: str) -> None:
    """The step that the advice names is enough, wherever the token came from."""
    spec, provoke, advice, mend = TOKENS[case]
    for deed in provoke:
        deed(desk)
    api = desk.api(spec)
    with pytest.raises(LoginRequired) as caught:
        await api.apps()
    await api.aclose()
    assert advice in caught.value.advice
    mend(desk)
    again = desk.api(spec)
    assert [app.name for app in await again.apps()] == ["shop"]
    await again.aclose()


async def test_an_app_that_is_closed_to_us(desk: Desk) -> None:
    """Its owner is the one to ask; another token would not help."""
    desk.put("token", desk.live)
    api = desk.api("file:~/token")
    faults = desk.simulator.app.front.faults
    faults.add(Fault("403", "GET /apps/shop/config-vars"))
    with pytest.raises(Forbidden) as caught:
        await api.config_vars("shop", ["DATABASE"])
    assert caught.value.advice == (
        "Ask the app's owner for `deploy` or `operate` permission; `heroku access --app shop` "
        "shows who has which."
    )
    faults.clear()
    assert (await api.config_vars("shop", ["DATABASE"])).logins
    await api.aclose()


# --- the commands that are named ------------------------------------------------------------------

_COMMAND = re.compile(r"(?:[A-Z_]+=\w+ )?(pgherald|heroku) ([a-z][\w:-]*(?: [^`'\"()]*)?)")


def named() -> Iterator[tuple[str, str, str]]:
    """Each command that a text of the program names: where, whose, and the rest of its line."""
    for path in sorted((REPOSITORY / "daemon" / "pgherald").rglob("*.py")):
        if "simulator" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            text = _text(node)
            for quoted in re.findall(r"`([^`]+)`|Run: (.+)", text):
                line = "".join(quoted).strip().rstrip(".")
                if found := _COMMAND.match(line):
                    yield f"{path.name}:{getattr(node, 'lineno', 0)}", found[1], found[2].strip()


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return ""


def test_each_command_of_ours_that_is_named_exists() -> None:
    """With its options, as the command line knows them."""
    seen = 0
    for where, program, line in named():
        if program != "pgherald":
            continue
        words = line.split()
        assert words[0] in COMMANDS, (where, line)
        command: click.Command | None = group.get_command(click.Context(group), words[0])
        if isinstance(command, click.Group) and len(words) > 1:
            command = command.get_command(click.Context(command), words[1])
        assert command is not None, (where, line)
        known = {option for each in command.params for option in each.opts + each.secondary_opts}
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, (
            where,
            line,
        )
        seen += 1
    assert seen > 20, "the texts are found"


def test_each_command_of_the_heroku_cli_that_is_named_exists() -> None:
    """With its options, as the real one knows them."""
    manifest = json.loads((HerokuCli.find().script.parents[1] / "oclif.manifest.json").read_text())
    known = {
        name: each
        for command, each in manifest["commands"].items()
        for name in (command, *each.get("aliases", ()))
    }
    seen = set()
    for where, program, line in named():
        if program == "heroku":
            words = shlex.split(line.replace("{at}", "DATABASE --app shop"))
            assert words[0] in known, (where, line)
            options = {word[2:] for word in words if word.startswith("--")}
            assert options <= set(known[words[0]]["flags"]), (where, line)
            seen.add(words[0])
    assert {"login", "authorizations:create", "pg:credentials:rotate", "access"} <= seen
