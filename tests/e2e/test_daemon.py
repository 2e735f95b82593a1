"""The daemon as a process: its service manager, its files, its signals, its desktop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest

from pgherald.secret import Secret
from pgherald.simulator.data_plane import Manner
from pgherald.simulator.faults import Fault
from pgherald.simulator.postgres import Cluster
from support.dbus import Bus, notification_server
from support.leaks import MARK, leaks_in
from support.program import OWN_LINE, SHOP, House, Program, eventually
from support.proxy import Proxy

#: Seconds that the daemon may take to end, in the middle of anything. It takes a part of one;
#: what it is waiting for takes ten, or never ends.
END = 8.0


async def current(house: House, daemon: Program) -> None:
    """Wait until every client holds the login that Heroku shows."""
    await eventually(lambda: not house.behind(house.login()), log=daemon)


# --- its service manager --------------------------------------------------------------------


class Systemd(asyncio.DatagramProtocol):
    """The far side of `$NOTIFY_SOCKET`.

    Attributes:
        heard: each message's lines, with the moment of the monotonic clock.
    """

    def __init__(self, address: Path) -> None:
        self.heard: list[tuple[float, list[str]]] = []
        self.environ = {"NOTIFY_SOCKET": str(address)}

    def datagram_received(self, data: bytes, _addr: object) -> None:
        self.heard.append((time.monotonic(), data.decode().split("\n")))

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls, address: Path) -> AsyncIterator[Self]:
        wire = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        wire.bind(str(address))
        transport, systemd = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: cls(address), sock=wire
        )
        try:
            yield systemd
        finally:
            transport.close()

    def words(self) -> list[str]:
        """The first line of each message, signs of life and states left out."""
        first = [lines[0] for _, lines in self.heard]
        return [word for word in first if word != "WATCHDOG=1" and not word.startswith("STATUS=")]

    def state(self) -> str:
        """The latest line for `systemctl status`."""
        told = [line for _, lines in self.heard for line in lines if line.startswith("STATUS=")]
        return told[-1].removeprefix("STATUS=")

    def alive_at(self) -> list[float]:
        """The moments of the signs of life."""
        return [at for at, lines in self.heard if lines == ["WATCHDOG=1"]]


async def test_under_systemd(house: House, tmp_path: Path) -> None:
    """Systemd hears of start, reload and end, and signs of life in time though Heroku hangs."""
    house.configure(SHOP)
    allowed = 6.0
    async with Systemd.listening(tmp_path / "notify") as systemd:
        watchdog = {"WATCHDOG_USEC": f"{allowed * 1e6:.0f}"}
        async with house.daemon(systemd.environ | watchdog) as daemon:
            await daemon.line("Ready:")
            await eventually(lambda: systemd.words() == ["READY=1"])
            (ready,) = (lines for _, lines in systemd.heard if lines[0] == "READY=1")
            assert ready[1] == "STATUS=watching 1 database for 3 clients, every 1 s"
            watching = "watching 1 database for 3 clients, every 1 s"
            await eventually(lambda: systemd.state() == f"{watching}; all current")
            house.simulator.app.front.faults.add(Fault("hang"))
            begun = len(systemd.alive_at())
            await eventually(lambda: len(systemd.alive_at()) >= begun + 2)
            daemon.signal(signal.SIGHUP)
            await eventually(lambda: systemd.words() == ["READY=1", "RELOADING=1", "READY=1"])
            (reloading,) = (lines for _, lines in systemd.heard if lines[0] == "RELOADING=1")
            assert reloading[1].startswith("MONOTONIC_USEC=")
            await daemon.terminate()
        assert systemd.words()[-1] == "STOPPING=1"
    moments = systemd.alive_at()
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    assert max(gaps) < allowed


async def test_starts_that_back_off(house: House, tmp_path: Path) -> None:
    """After three crashes in a row it rests, and says so; whoever restarts it need not wait."""
    house.configure(SHOP)
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    async with Systemd.listening(tmp_path / "notify") as systemd:
        environ = systemd.environ | {"RUNTIME_DIRECTORY": str(runtime)}
        for count in range(1, 4):
            async with house.daemon(environ) as daemon:
                await eventually(lambda: systemd.words() == ["READY=1"] * count)  # noqa: B023 – awaited here
                await daemon.kill()
        async with house.daemon(environ) as daemon:
            await daemon.line("Ended unexpectedly 3 times in a row: begins anew in 30 s")
            await eventually(lambda: "begins anew" in systemd.state())
            daemon.signal(signal.SIGTERM)
            await eventually(lambda: not daemon.running)
        assert systemd.words() == ["READY=1"] * 3
        async with house.daemon(environ) as daemon:
            await daemon.line("Ready:")
        assert not (runtime / "starts").exists()


async def test_what_other_programs_read(house: House) -> None:
    """status.json is what `status --json` prints, metrics tell of a rotation, and both of the end."""
    metrics = house.home / "pgherald.prom"
    house.configure(SHOP, '[metrics]\ntextfile = "~/pgherald.prom"\n')
    status = house.state / "status.json"

    def shown() -> Any:
        return json.loads(status.read_text())

    async with house.daemon() as daemon:
        await current(house, daemon)
        await house.rotate()
        await current(house, daemon)
        await eventually(lambda: "pgherald_rotations_total 1.0\n" in metrics.read_text())
        await eventually(lambda: shown()["databases"][0]["last_rotation_at"] is not None)
        printed = (await house.pgherald("status", "--json")).json
        for found in (printed, shown()):
            # A look may lie between the two.
            for moment in ("looked_at", "next_look_at", "current_at"):
                found["databases"][0][moment] = None
            found["requests"] = []
            assert found == printed
        assert shown()["running"]
    assert not shown()["running"]
    assert "pgherald_up 0.0\n" in metrics.read_text()
    assert leaks_in(status.read_text(), metrics.read_text()) == []


@pytest.mark.parametrize("service", [False, True])
async def test_a_daemon_that_was_ended_is_missed_if_a_service_is_installed(
    house: House, service: bool
) -> None:
    """Whoever ends one that no service manager keeps has done so on purpose, by whatever signal."""
    house.configure(SHOP)
    if service:
        unit = house.home / ".config" / "systemd" / "user" / "pgherald.service"
        unit.parent.mkdir(parents=True)
        unit.write_text("[Service]\n")
    async with house.daemon() as daemon:
        await current(house, daemon)
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    status = await house.pgherald("status", "--json")
    kinds = [trouble["kind"] for trouble in status.json["troubles"]]
    assert (status.code, kinds) == ((1, ["DaemonStopped"]) if service else (0, []))


async def test_a_daemon_that_was_killed_is_missed(house: House) -> None:
    """Also where the state had to be begun anew while it ran; `check` tells other programs."""
    house.configure(SHOP, '[metrics]\ntextfile = "~/pgherald.prom"\n')
    async with house.daemon() as daemon:
        await current(house, daemon)
        (house.state / "state.db").write_bytes(b"nonsense" * 200)

        def is_noted() -> bool:
            with contextlib.closing(sqlite3.connect(house.state / "state.db")) as db:
                sql = "SELECT value FROM about WHERE name = 'note:daemon'"
                with contextlib.suppress(sqlite3.Error):
                    return db.execute(sql).fetchone() is not None
            return False

        await eventually(is_noted, log=daemon)
        await eventually(lambda: "pgherald_up 1.0\n" in (house.home / "pgherald.prom").read_text())
        await daemon.kill()
    status = await house.pgherald("status", "--json")
    assert status.code == 1
    assert "DaemonStopped" in [trouble["kind"] for trouble in status.json["troubles"]]
    await house.pgherald("check")
    assert "pgherald_up 0.0\n" in (house.home / "pgherald.prom").read_text()
    assert json.loads((house.state / "status.json").read_text())["ok"] is False


async def test_a_state_folder_that_is_removed_is_made_anew(house: House) -> None:
    """The daemon is still the only one, and found by `status` and `refresh`."""
    house.configure(SHOP)
    async with house.daemon() as daemon:
        await current(house, daemon)
        house.state.rename(house.home / "elsewhere")
        await daemon.line(f"{house.state} was removed while pgherald ran; it is made anew.")
        await house.rotate()
        await current(house, daemon)
        await eventually(house.state.joinpath("daemon.lock").exists)
        refreshed = await house.pgherald("refresh")
        assert refreshed.code == 0, refreshed.err
        assert "The daemon is running" in refreshed.out
        assert (await house.pgherald("run")).code == 3


# --- its configuration ----------------------------------------------------------------------


async def test_a_broken_configuration_is_not_taken_over(house: House) -> None:
    """A new configuration that is wrong is named, the old one stays, a mended one is taken."""
    house.configure(SHOP)
    good = house.home / "good.toml"
    house.put(good, house.config.read_text())
    async with house.daemon() as daemon:
        await current(house, daemon)
        house.put(house.config, house.config.read_text() + "colour = 1\n[clients.pgpas]\n")
        await daemon.line("The new configuration is wrong; the old one stays.")
        lines = house.config.read_text().splitlines()
        for wrong in ("colour = 1", "[clients.pgpas]"):
            await daemon.line(f"{house.config}:{lines.index(wrong) + 1}: ")
        await house.rotate()
        await current(house, daemon)
        status = await house.pgherald("--config", str(good), "status", "--json")
        assert status.code == 1
        assert [trouble["subject"] for trouble in status.json["troubles"]] == ["config"]
        assert "pgherald config check" in status.json["troubles"][0]["advice"]
        broken = await house.pgherald("status")
        assert (broken.code, str(house.config) in broken.err) == (2, True)
        house.configure(SHOP.replace("Shop", "Store"))
        await eventually(lambda: "Store" in house.servers_json.read_text(), log=daemon)
        assert (await house.pgherald("status")).code == 0


@pytest.mark.skipif(os.name != "posix", reason="files have no modes here")
async def test_a_configuration_that_others_may_write_is_not_taken_over(house: House) -> None:
    """A hook that anybody may have added is never run: the old configuration stays."""
    house.configure(SHOP)
    said = house.home / "said"
    good = house.home / "good.toml"
    house.put(good, house.config.read_text())
    hook = f'[[hooks]]\non = "rotation"\ncommand = ["touch", "{said}"]\n'
    async with house.daemon() as daemon:
        await current(house, daemon)
        for number in range(3):
            house.put(house.config, f"{good.read_text()}{hook}# {number}\n", 0o666)
            await daemon.line("The new configuration is wrong")
            await house.rotate()
            await current(house, daemon)
        assert not said.exists()
        assert f"Run: chmod go-w {house.config}" in daemon.log
        status = await house.pgherald("--config", str(good), "status", "--json")
        (trouble,) = status.json["troubles"]
        assert trouble["subject"] == "config"
        assert trouble["title"] == "Somebody else may change what pgherald does"
        house.config.chmod(0o600)
        house.put(house.config, good.read_text() + hook)
        await daemon.line("The configuration has changed.")
        await house.rotate()
        await eventually(said.exists, log=daemon)


# --- its end --------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["hang", "never-ending", "refused"])
async def test_ended_in_the_middle(house: House, what: str) -> None:
    """SIGTERM ends the daemon at once, whatever it is waiting for."""
    house.configure(SHOP)
    if what == "refused":
        await house.world.data.rotate(house.data(), manner=Manner(early=600))
    else:
        house.simulator.app.front.faults.add(Fault(what))
    async with house.daemon() as daemon:
        await daemon.line("Ready:")
        refused = what == "refused"
        await eventually(
            lambda: daemon.count("trying again") > 0 if refused else house.requests() > 0
        )
        assert await daemon.terminate() < END, daemon.log
        assert daemon.code == 0


async def test_ended_in_the_middle_of_a_probe(house: House, cluster: Cluster) -> None:
    """SIGTERM ends the daemon at once though a probe gets no answer."""
    house.configure(SHOP)
    async with Proxy.to(cluster.host, cluster.port) as proxy, house.daemon() as daemon:
        await current(house, daemon)
        proxy.swallow()
        url = f"postgres://u:{MARK}-hidden@127.0.0.1:{proxy.port}/d"
        house.world.attachment(house.app(), "DATABASE").fixed = {"DATABASE_URL": url}
        await eventually(lambda: proxy.accepted > 0, log=daemon)
        assert await daemon.terminate() < END, daemon.log
        assert daemon.code == 0


async def test_ended_while_it_starts(house: House) -> None:
    """SIGTERM at any moment of the start ends it at once and spoils nothing."""
    house.configure(SHOP)
    for pause in (0.0, 0.1, 0.2, 0.25, 0.3, 0.4, 0.6):
        daemon = await Program.start(house, "run")
        try:
            await asyncio.sleep(pause)
            assert await daemon.terminate() < END, daemon.log
        finally:
            await daemon.kill()
        # Before Python has a handler, the signal itself ends the process.
        assert daemon.code in (0, -signal.SIGTERM), daemon.log
        assert "Traceback" not in daemon.log
    done = await house.pgherald("check")
    assert (done.code, done.err, house.behind(house.login())) == (0, "", [])


async def test_commands_beside_the_daemon(house: House) -> None:
    """A second daemon ends with code 3 and names the first, which goes on; a check does no harm.

    The doctor sees a real login that connects over TLS, and by Heroku's own time that ours is right.
    """
    house.configure(SHOP)
    async with house.daemon() as daemon:
        await current(house, daemon)
        second = await house.pgherald("run")
        assert (second.code, f"process {daemon.pid}" in second.err) == (3, True)
        await house.rotate()
        await current(house, daemon)
        assert (await house.pgherald("check")).code == 0
        done = await house.pgherald("doctor")
    for said in ("Shop: Heroku shows its login, and it connects", "The clock is right",
                 "psql holds what Heroku shows", "The daemon runs"):  # fmt: skip
        assert said in done.out
    assert leaks_in(done.out, done.err) == []


# --- its token ------------------------------------------------------------------------------


async def test_a_dead_token_stops_the_polling(house: House) -> None:
    """After a 401 Heroku is left alone until there is another token; then all is well again."""
    house.configure(SHOP)
    async with house.daemon() as daemon:
        await current(house, daemon)
        (token,) = house.world.tokens
        token.revoked = True
        await daemon.line("WARNING")
        asked = house.requests()
        await asyncio.sleep(2.5)  # two sweeps and a half
        assert house.requests() == asked
        status = await house.pgherald("status", "--json")
        assert status.code == 1
        assert [trouble["kind"] for trouble in status.json["troubles"]] == ["LoginRequired"]
        new = house.world.add_token(token.account, Secret(f"HRKU-{MARK}-second"))
        await house.rotate()
        house.put(house.token, new.value.reveal())
        await current(house, daemon)
        await daemon.line("again")
        assert (await house.pgherald("status")).code == 0


# --- its clients ----------------------------------------------------------------------------


async def test_a_client_that_lost_its_entry_is_mended(house: House) -> None:
    """What another program takes out of a client comes back at once; what it put in stays."""
    house.configure(SHOP, poll="10m")
    theirs = "example.com:5432:*:them:CANARY-theirs\n"
    async with house.daemon() as daemon:
        await current(house, daemon)
        house.put(house.pgpass, OWN_LINE + theirs)
        await current(house, daemon)
        assert house.pgpass.read_text().endswith(OWN_LINE + theirs)
        await daemon.line("mended")
        # What a person sees is right again, so nobody is told.
        assert daemon.count("WARNING") == 0, daemon.log


async def test_a_program_that_keeps_writing_makes_no_storm(house: House) -> None:
    """A program that spoils a client over and over does not make Heroku be asked each time."""
    house.configure(SHOP, poll="10m")
    async with house.daemon() as daemon:
        await current(house, daemon)
        asked, begun = house.requests(), time.monotonic()
        for number in range(8):
            house.put(house.pgpass, f"{OWN_LINE}# {number}\n")
            await asyncio.sleep(0.3)
        await current(house, daemon)
        # One sweep at once, and then one in five seconds; each asks for one app.
        assert house.requests() - asked <= 1 + (time.monotonic() - begun) / 5 + 1
        assert house.pgpass.read_text().endswith(f"{OWN_LINE}# 7\n")


# --- its desktop ----------------------------------------------------------------------------


async def test_the_desktop_comes_and_goes(house: House, tmp_path: Path) -> None:
    """A notice that cannot be shown is told once in the log and in `status`, until one is.

    That one says what rotated and what is up to date.
    """
    house.configure(SHOP, desktop=True)
    bus = Bus(tmp_path)
    async with house.daemon(bus.environ) as daemon:
        for _ in range(2):
            await current(house, daemon)
            await house.rotate()
            await daemon.line("Heroku rotated Shop")
        await eventually(lambda: daemon.count("could not be shown") > 0, log=daemon)
        why = (await house.pgherald("status", "--json")).json["notifications"]
        assert why
        assert f"Notifications: {why}" in (await house.pgherald("status")).out
        await bus.start()
        try:
            async with notification_server(bus) as server:
                await house.rotate()
                await daemon.line("Notices are shown again.")
                notice = server.shown[-1]
                assert (notice.app, notice.title) == ("pgherald", "Heroku rotated Shop")
                assert notice.body == "psql, service file and servers.json are up to date."
                status = await house.pgherald("status", "--json")
                assert status.json["notifications"] is None
        finally:
            await bus.stop()
        # While the bus is starting, another way may do.
        assert daemon.count("could not be shown") == 1, daemon.log


# --- its hooks ------------------------------------------------------------------------------


async def test_a_hook_asks_for_the_password(house: House) -> None:
    """A hook runs after a rotation, and gets the new password by asking pgherald for it."""
    script = house.home / "hook"
    said = house.home / "said"
    house.put(
        script,
        "#!/bin/sh\n"
        f'{sys.executable} -m pgherald password --service "$PGHERALD_SERVICE" > {said}.part 2>&1\n'
        f"env >> {house.home}/env; cat >> {house.home}/facts; mv {said}.part {said}\n",
        0o700,
    )
    house.configure(SHOP, f'[[hooks]]\non = "rotation"\ncommand = ["{script}"]\n')
    async with house.daemon() as daemon:
        await current(house, daemon)
        await house.rotate()
        await eventually(said.exists, log=daemon)
        assert said.read_text().strip() == house.login().password.reveal()
    for name in ("env", "facts"):
        assert MARK not in (house.home / name).read_text()
