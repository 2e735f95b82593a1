"""A login counts as working when the client connects: what on this machine keeps libpq from it.

A real Postgres, the real probe, the files of a home, and two real libpqs as judges: the one that
psycopg brings, and that of the machine's psql, if there is one.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from pgherald import libpq
from pgherald.clients.base import Held
from pgherald.clients.service_file import ServiceFile
from pgherald.clock import SystemClock
from pgherald.doctor import heroku
from pgherald.doctor.checks import Verdict
from pgherald.model import Database, Entry, Login, Phase
from pgherald.secret import Secret
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.tls import Certificate, make_certificate
from pgherald.sync.outcomes import Outcome
from pgherald.sync.plan import Plan
from pgherald.sync.probe import PostgresProber, Proof
from pgherald.sync.verification import trials, verify
from support.cluster import new_login
from support.household import Household, database, household
from support.proxy import Proxy

SHOP = database("shop")
PSQL = shutil.which("psql")

#: Seconds that a probe may take where none should need them.
LIMIT = 10.0


def certificate(user: str = "shop") -> Certificate:
    return make_certificate(datetime.now(UTC), user)


@pytest.fixture
def postgresql(home: Path) -> Path:
    """The folder of libpq's certificates."""
    folder = home / ".postgresql"
    folder.mkdir()
    return folder


@pytest.fixture
async def login(cluster: Cluster) -> Login:
    return await new_login(cluster)


@pytest.fixture(scope="module")
def signed() -> Certificate:
    return certificate()


@pytest.fixture(scope="module")
def demanding(tmp_path_factory: pytest.TempPathFactory, signed: Certificate) -> Iterator[Cluster]:
    """A Postgres that lets the role `shop` in by this certificate alone."""
    with Cluster.start(tmp_path_factory.mktemp("demanding"), client_ca=signed.pem) as running:
        yield running


@pytest.fixture
async def mutual(demanding: Cluster) -> Login:
    login = Login("localhost", demanding.port, "shop", "shop", Secret("CANARY-mutual"))
    if not await demanding.execute("SELECT 1 FROM pg_roles WHERE rolname = 'shop'"):
        await demanding.create_role(login.user, login.password)
        await demanding.create_database(login.dbname, login.user)
    return login


def put(folder: Path, certificate: Certificate, mode: int = 0o600) -> None:
    """A client certificate, where libpq looks for it."""
    (folder / "postgresql.crt").write_text(certificate.pem)
    (folder / "postgresql.key").write_text(certificate.key.reveal())
    (folder / "postgresql.key").chmod(mode)


async def connects(service_file: Path, service: str = "shop") -> bool:
    """Whether real libpqs connect by a section: psycopg's, and psql's, which agree."""
    os.environ["PGSERVICEFILE"] = str(service_file)

    def connect() -> bool:
        try:
            psycopg.connect(f"service={service}", connect_timeout=5).close()
        except psycopg.Error:
            return False
        return True

    found = await asyncio.to_thread(connect)
    if PSQL is not None:
        psql = await asyncio.create_subprocess_exec(
            *(PSQL, "-X", "-w", "-c", "SELECT 1", f"service={service}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert (await psql.wait() == 0) is found
    return found


def house(tmp_path: Path, limit: float = LIMIT) -> AbstractAsyncContextManager[Household]:
    return household(tmp_path, real_prober=PostgresProber(SystemClock(), limit))


async def sees(house: Household, login: Login, database: Database = SHOP) -> None:
    """Heroku shows a login, and all that follows is done; the clock stands, so nothing is retried."""
    await house.sees((database, login))
    async with asyncio.timeout(60):
        await house.reconciler.settled()


def advice(house: Household, database: Database = SHOP) -> str:
    problem = house.error(database)
    assert problem is not None
    return f"{problem.title} | {problem.advice}"


# --- certificates ----------------------------------------------------------------------------


#: What stands in libpq's folder: files, the key's mode, and what the message names.
SPOILT: dict[str, tuple[dict[str, str], int, str]] = {
    "another server's root": ({"root.crt": certificate().pem}, 0o600, "~/.postgresql/root.crt"),
    "a broken root": ({"root.crt": "garbage"}, 0o600, "~/.postgresql/root.crt"),
    "a root by variable": ({"other.crt": certificate().pem}, 0o600, "unset PGSSLROOTCERT"),
    "a key for all to read": ({}, 0o644, "~/.postgresql/postgresql.crt"),
    "another's key": (
        {"postgresql.key": certificate().key.reveal()}, 0o600, "~/.postgresql/postgresql.crt"
    ),
    "no key": ({"postgresql.key": ""}, 0o600, "~/.postgresql/postgresql.crt"),
    "a link in a circle": ({}, 0o600, "~/.postgresql/postgresql.crt"),
    "a broken certificate": (
        {"postgresql.crt": "garbage"}, 0o600, "~/.postgresql/postgresql.crt"
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def variables() -> Iterator[None]:
    """Tests here set variables, as a person's shell would; they are taken back."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PGSSLROOTCERT", "PGSERVICEFILE", "SSL_CERT_FILE"):
            patch.setenv(name, "")
            patch.delenv(name)
        yield


@pytest.mark.parametrize("how", SPOILT)
async def test_a_file_that_keeps_every_client_away_is_named(
    tmp_path: Path, postgresql: Path, login: Login, how: str
) -> None:
    """The login is right, so it is written; the file is named for as long as libpq fails by it."""
    files, mode, named = SPOILT[how]
    if "postgresql.crt" in named:
        put(postgresql, certificate(), mode)
    for name, text in files.items():
        (postgresql / name).write_text(text)
    if "circle" in how:  # libpq can tell neither that it is there nor that it is not
        (postgresql / "postgresql.crt").unlink()
        (postgresql / "postgresql.crt").symlink_to("postgresql.crt")
    if "other.crt" in files:
        os.environ["PGSSLROOTCERT"] = str(postgresql / "other.crt")
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        assert at_home.held(SHOP) == {login.user}
        assert named in advice(at_home)
        assert not await connects(at_home.service_file)
        shutil.rmtree(postgresql)
        os.environ.pop("PGSSLROOTCERT", None)
        await sees(at_home, login)
        assert at_home.error(SHOP) is None
        assert await connects(at_home.service_file)


async def test_the_advice_about_a_root_certificate_works(
    tmp_path: Path, postgresql: Path, login: Login
) -> None:
    """With `sslrootcert = "none"` libpq connects, however foreign the file, which stays as it is."""
    (postgresql / "root.crt").write_text(certificate().pem)
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        assert 'sslrootcert = "none"' in advice(at_home)
        await sees(at_home, login, dataclasses.replace(SHOP, sslrootcert=libpq.NOWHERE))
        assert at_home.phase(SHOP) is Phase.WRITTEN
        assert at_home.error(SHOP) is None
        assert await connects(at_home.service_file)


async def test_the_advice_about_a_client_certificate_works(
    tmp_path: Path, postgresql: Path, login: Login
) -> None:
    """The line that the advice names keeps another server's certificate out of our section."""
    put(postgresql, certificate(), 0o644)
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        line = f"sslcert={libpq.NOWHERE}"
        assert f"`{line}`" in advice(at_home)
        add(at_home, line)
        await sees(at_home, login)
        assert at_home.error(SHOP) is None
        assert await connects(at_home.service_file)


async def test_a_root_certificate_that_fits_is_used(
    tmp_path: Path, postgresql: Path, cluster: Cluster, login: Login
) -> None:
    """It makes `require` verify, and that is no trouble."""
    (postgresql / "root.crt").write_text(cluster.ca_file.read_text())
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        assert at_home.phase(SHOP) is Phase.WRITTEN
        assert at_home.error(SHOP) is None


async def test_a_server_that_demands_a_certificate(
    tmp_path: Path, postgresql: Path, mutual: Login, signed: Certificate
) -> None:
    """It is named at the first refusal, with the place of the files; with these the login is written.

    Shown another server's, or a key that others may read, the message names that file.
    """
    async with house(tmp_path) as at_home:
        await sees(at_home, mutual)
        assert "wants a client certificate" in advice(at_home)
        assert "~/.postgresql/postgresql.key" in advice(at_home)
        assert "rotate" not in advice(at_home)
        for wrong, mode in ((certificate(), 0o600), (signed, 0o644)):
            put(postgresql, wrong, mode)
            await sees(at_home, mutual)
            assert "~/.postgresql/postgresql.crt does not do" in advice(at_home)
            assert at_home.held(SHOP) == {"none"}
        put(postgresql, signed)
        await sees(at_home, mutual)
        assert at_home.held(SHOP) == {"shop"}
        assert at_home.error(SHOP) is None
        assert await connects(at_home.service_file)
        wrong_password = dataclasses.replace(mutual, password=Secret("CANARY-wrong"))
        proof = await tried(wrong_password)
        assert proof.outcome is Outcome.REFUSED
        assert "another user's" in proof.detail


# --- the person's own lines ------------------------------------------------------------------


def add(house: Household, line: str) -> None:
    """The person adds a line to our section."""
    text = house.service_file.read_text()
    house.service_file.write_text(text.replace("sslmode=", f"{line}\nsslmode=", 1))


@pytest.mark.parametrize(
    "line",
    [
        "gssencmode=require",
        "target_session_attrs=read-only",
        "require_auth=none",
        "sslcertmode=require",
        "sslnegotiation=direct",
        "options=-c no_such_setting=1",
        "channel_binding=nonsense",
        "hostaddr=127.0.0.9",
        "hostaddr=localhost",
    ],
)
async def test_a_line_that_libpq_refuses_is_named(
    tmp_path: Path, login: Login, cluster: Cluster, line: str
) -> None:
    """The line stays, the login is written, and the message names the line until it is gone."""
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        add(at_home, line)
        assert not await connects(at_home.service_file)
        renewed = dataclasses.replace(login, password=Secret("CANARY-renewed"))
        await cluster.set_password(login.user, renewed.password)
        await sees(at_home, renewed)
        assert line in at_home.service_file.read_text()
        assert "CANARY-renewed" in at_home.service_file.read_text()
        assert f"line `{line.partition('=')[0]}=` in [shop]" in advice(at_home)
        text = at_home.service_file.read_text()
        at_home.service_file.write_text(text.replace(f"{line}\n", ""))
        await sees(at_home, renewed)
        assert at_home.error(SHOP) is None
        assert await connects(at_home.service_file)


@pytest.mark.parametrize("line", ["servicefile=/x", "service=other", "requiressl=1"])
async def test_a_line_that_no_section_may_hold_moves_out(
    tmp_path: Path, login: Login, line: str
) -> None:
    """It would spoil the section for every libpq."""
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        add(at_home, line)
        assert not await connects(at_home.service_file)
        await sees(at_home, login)
        assert line in at_home.service_file.read_text()
        assert await connects(at_home.service_file)


@pytest.mark.parametrize(
    "line", ["application_name=mine", "require_auth=scram-sha-256", "sslsni=0"]
)
async def test_a_line_that_does_no_harm_is_no_trouble(login: Login, line: str) -> None:
    """Whatever a person adds is tried with the login, and judged by the server alone."""
    name, _, value = line.partition("=")
    held = Held(host="h", service="shop", sslmode="require", options=((name, value),))
    assert (await tried(login, held)).works


async def tried(login: Login, *held: Held, around: list[libpq.Extra] | None = None) -> Proof:
    needed = trials(Entry(SHOP, login), [("it", each) for each in held])
    return await verify(PostgresProber(SystemClock()), needed, "shop", around)


# --- verifying the server --------------------------------------------------------------------


async def test_verify_full_by_the_configuration(
    tmp_path: Path, cluster: Cluster, login: Login
) -> None:
    """A path that the configuration names is in the section, and in the place of a line of the person's."""
    strict = dataclasses.replace(login, sslmode="verify-full")
    shop = dataclasses.replace(SHOP, sslmode="verify-full", sslrootcert=str(cluster.ca_file))
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        add(at_home, "sslrootcert=/nowhere.crt")
        await sees(at_home, strict, shop)
        assert at_home.error(SHOP) is None
        assert "/nowhere.crt" not in at_home.service_file.read_text()
        assert await connects(at_home.service_file)
        assert (
            ServiceFile().plan(at_home.service_file.read_bytes(), [Entry(shop, strict)]).changes
            == ()
        )


async def test_a_service_row_verifies_by_its_section(cluster: Cluster, login: Login) -> None:
    """A row that names a section is tried with what libpq reads there, and nothing else is demanded."""
    os.environ["SSL_CERT_FILE"] = str(cluster.ca_file)
    strict = dataclasses.replace(login, sslmode="verify-full")
    section = Held(host="h", service="shop", sslmode="verify-full", sslrootcert="system")
    row = Held(service="shop", sslmode="verify-full")
    assert (await tried(strict, section, row)).works
    del os.environ["SSL_CERT_FILE"]
    problem = (await tried(strict, section, row)).error(SHOP)
    assert "sslrootcert=system" in problem.advice


# --- variables -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGREQUIREAUTH", "gss"),
        ("PGGSSENCMODE", "require"),
        ("PGTARGETSESSIONATTRS", "read-only"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGSSLROOTCERT", "system"),
        ("PGOPTIONS", "-c no_such_setting=1"),
        ("PGTZ", "nonsense"),
    ],
)
async def test_the_doctor_names_a_variable(login: Login, name: str, value: str) -> None:
    """One by which clients cannot connect is named with what takes it away; others are not."""
    env = {"PGAPPNAME": "mine", "PGCONNECT_TIMEOUT": "5", name: value}
    around = [*libpq.files(env), *libpq.variables(env)]
    entry, prober = Entry(SHOP, login), PostgresProber(SystemClock())
    found = await heroku._connects(entry, Plan(), prober, around)
    assert (found.verdict, found.advice.endswith(f"Run: unset {name}")) == (Verdict.BAD, True)
    assert f"{name} keeps" in found.advice
    fine = [extra for extra in around if extra.source != name]
    assert (await heroku._connects(entry, Plan(), prober, fine)).verdict is Verdict.GOOD


def test_a_service_that_is_not_defined(tmp_path: Path) -> None:
    """Whether a service is there, libpq itself says."""
    (tmp_path / "services").write_text("[mine]\nuser=me\n")
    os.environ["PGSERVICEFILE"] = str(tmp_path / "services")
    assert libpq.defines("mine")
    assert not libpq.defines("gone")


# --- after the password ----------------------------------------------------------------------


@asynccontextmanager
async def changed(
    cluster: Cluster, what: str, name: str, to: str, back: str
) -> AsyncIterator[None]:
    await cluster.execute(f'ALTER {what} "{name}" {to}')
    try:
        yield
    finally:
        await cluster.execute(f'ALTER {what} "{name}" {back}')


LIMITS = ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1")


@pytest.mark.parametrize(
    ("what", "there_and_back", "outcome"),
    [
        ("ROLE", LIMITS, Outcome.TOO_MANY_CONNECTIONS),
        ("DATABASE", LIMITS, Outcome.TOO_MANY_CONNECTIONS),
        ("DATABASE", ("ALLOW_CONNECTIONS 0", "ALLOW_CONNECTIONS 1"), Outcome.STARTING_UP),
        ("ROLE", ("NOLOGIN", "LOGIN"), Outcome.NO_LOGIN),
    ],
)
async def test_each_refusal_is_recognised(
    cluster: Cluster, login: Login, what: str, there_and_back: tuple[str, str], outcome: Outcome
) -> None:
    """It is none of a wrong password; where the password was taken first, that is proven.

    A role that may not log in at all is nothing to write, although Postgres took its password.
    """
    name = login.user if what == "ROLE" else login.dbname
    async with changed(cluster, what, name, *there_and_back):
        proof = await tried(login)
        wrong = await tried(dataclasses.replace(login, password=Secret("CANARY-wrong")))
    assert (proof.outcome, proof.works) == (outcome, False)
    assert proof.proves is (outcome is not Outcome.NO_LOGIN)
    assert (wrong.outcome, wrong.proves) == (Outcome.REFUSED, False)


async def test_a_database_that_is_gone_or_closed_to_the_user(
    cluster: Cluster, login: Login
) -> None:
    """3D000 and 42501 come after the password as well, and each has advice of its own."""
    proof = await tried(dataclasses.replace(login, dbname="gone"))
    assert (proof.outcome, proof.proves) == (Outcome.DATABASE_MISSING, True)
    stranger = dataclasses.replace(await new_login(cluster), dbname=login.dbname)
    await cluster.execute(f'REVOKE CONNECT ON DATABASE "{login.dbname}" FROM public')
    proof = await tried(stranger)
    assert (proof.outcome, proof.proves) == (Outcome.NOT_GRANTED, True)


async def test_a_login_of_a_full_role_is_written_and_told(
    tmp_path: Path, cluster: Cluster, login: Login
) -> None:
    """At once; what is wrong is alerted while it lasts, and its end is noticed by the next sweep."""
    async with house(tmp_path) as at_home:
        await sees(at_home, login)
        renewed = dataclasses.replace(login, password=Secret("CANARY-renewed"))
        await cluster.set_password(login.user, renewed.password)
        async with changed(cluster, "ROLE", login.user, *LIMITS):
            for _ in range(2):
                await sees(at_home, renewed)
                assert "CANARY-renewed" in at_home.service_file.read_text()
                assert "has no connection left" in advice(at_home)
        await sees(at_home, renewed)
        assert at_home.error(SHOP) is None
        told = [item.title for item in at_home.news if item.title]
        assert told == ["The server of Shop has no connection left"] * 2, "begun, and ended"


# --- the way there ---------------------------------------------------------------------------


async def test_a_server_that_swallows_packets_is_told_at_once(tmp_path: Path, login: Login) -> None:
    """After one attempt, with what leads to a private database; others are written meanwhile."""
    blog = database("blog")
    async with Proxy.to("127.0.0.1", login.port) as proxy, house(tmp_path, 1.0) as at_home:
        proxy.swallow()
        at_home.show((SHOP, dataclasses.replace(login, port=proxy.port)), (blog, login))
        await at_home.reconciler.settled()
        assert proxy.accepted == 1
        assert at_home.held(blog) == {login.user}
        assert at_home.phase(SHOP) is Phase.UNVERIFIED
        assert "does not answer" in advice(at_home)
        assert "tunnel, whose `host` and `port`" in advice(at_home)
