"""From Heroku's release to the last client: by the app's log, by polling, and by a script.

The moments are the simulator's record of the release and of the first question after it, and
the time stamps of the clients' files. The daemon is the whole program, Postgres a real one.
"""

from __future__ import annotations

import asyncio
import stat
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.table import Row, median, ratio
from pgherald.simulator.postgres import Cluster
from pgherald.simulator.seed import APPS
from support.children import run_to_its_end
from support.heroku_cli import HerokuCli
from support.program import SHOP, House, Program, eventually

#: Seconds at the median from the release to every client: the promise.
PROMISE: Final = 1.5

#: Seconds between two looks, by default and here; the rest of the way is the same.
USUAL_POLL: Final = 60.0
_POLL: Final = 2.0

_ROTATIONS: Final = 9

#: Seconds between two rotations: an app whose log is busy all the time is read ever less often.
_APART: Final = 10.0

#: As many apps as are followed by default.
_TOGETHER: Final = 20
_SCRIPTED: Final = 5
#: No more: the account's share for events would be used up.
_ROUNDS: Final = 3

#: What a person would have cron run each minute.
SCRIPT: Final = """\
#!/bin/sh
set -e
url=$("$NODE" "$HEROKU" config:get DATABASE_URL -a {app})
rest=${{url#postgres://}}; login=${{rest%%@*}}; place=${{rest#*@}}
umask 077
echo "${{place%%:*}}:$(echo "${{place#*:}}" | cut -d/ -f1):*:${{login%%:*}}:${{login#*:}}" > .pgpass.new
mv .pgpass.new .pgpass
"""


@dataclass(frozen=True, slots=True)
class Way:
    """Seconds of some rotations: until Heroku was asked, and from then to the last client."""

    noticed: Sequence[float]
    written: Sequence[float]

    @property
    def whole(self) -> float:
        """The median of both together."""
        return statistics.median(a + b for a, b in zip(self.noticed, self.written, strict=True))

    def __str__(self) -> str:
        """The whole, and its parts."""
        noticed, written = statistics.median(self.noticed), statistics.median(self.written)
        return f"{self.whole:.2f} s (noticed {noticed:.2f}, proven and written {written:.2f})"


async def rows(folder: Path) -> list[Row]:
    """One row for the log, one for many at once, one for polling."""
    with await asyncio.to_thread(Cluster.start, folder) as cluster:
        async with House.standing(cluster, folder) as house:
            house.configure(SHOP, poll="1h")
            async with house.daemon() as daemon:
                pushed = await _rotations(house, daemon)
            house.configure(SHOP, poll=f"{_POLL:g}s", events=False)
            async with house.daemon() as daemon:
                polled = await _rotations(house, daemon)
            script = await _script(house)
        many, commits = await _together(cluster, folder / "many")
    waiting = USUAL_POLL / 2
    once_a_minute = waiting + script
    other = (
        f"{once_a_minute:.1f} s: cron each minute ({waiting:.0f}) and a script around "
        f"`heroku config:get` ({script:.1f}), pgpass alone, nothing proven"
    )
    beyond = polled.whole - statistics.median(polled.noticed)
    by_poll = waiting + beyond
    return [
        Row(
            "release to every client, by the app's log, median",
            str(pushed),
            other,
            ratio(pushed.whole, once_a_minute),
            good=pushed.whole < PROMISE,
        ),
        Row(
            f"{_TOGETHER} apps rotated at once, by their logs: to the last client, median",
            f"{many:.1f} s, {commits:g} commit",
            f"{waiting + _TOGETHER * script:.0f} s: cron each minute and the script for each",
            ratio(many, waiting + _TOGETHER * script),
            good=many < PROMISE and commits == 1,
        ),
        Row(
            "the same of one by polling alone, each minute",
            f"{by_poll:.1f} s (half a minute, and {beyond:.2f})",
            other,
            ratio(by_poll, once_a_minute),
        ),
    ]


async def _rotations(house: House, daemon: Program) -> Way:
    await eventually(lambda: not house.behind(house.login()), log=daemon)
    if "events = true" in house.config.read_text():
        await eventually(lambda: house.requests("GET /sessions/*") > 0, log=daemon)
    noticed, written = [], []
    for number in range(_ROTATIONS):
        # Away from the follow-ups of the rotation before, and at no fixed part of the interval.
        await asyncio.sleep(_APART + 0.13 * number % _POLL)
        await house.rotate()
        released = house.released_at()
        await eventually(lambda: not house.behind(house.login()), log=daemon)
        path, visits = f"/apps/{APPS[0]}/config-vars", house.simulator.app.front.visits
        times = [visit.at.timestamp() for visit in visits if visit.path == path]
        asked = next(at for at in times if at >= released)
        noticed.append(asked - released)
        written.append(house.changed_at() - asked)
    return Way(noticed, written)


async def _together(cluster: Cluster, folder: Path) -> tuple[float, float]:
    """Seconds from the first app's release to the last client's write, and commits; the medians."""
    folder.mkdir()
    apps = [f"shop-{number}" for number in range(_TOGETHER)]
    async with House.standing(cluster, folder, apps=apps) as house:
        house.configure(*(f'[[databases]]\napp = "{app}"\n' for app in apps), poll="1h")

        def current() -> bool:
            return not any(house.behind(house.login(app), app) for app in apps)

        async with house.daemon() as daemon:
            await eventually(current, log=daemon)
            await eventually(lambda: house.requests("GET /sessions/*") == len(apps), log=daemon)
            took, commits = [], []
            for _ in range(_ROUNDS):
                await asyncio.sleep(_APART)
                before = set(house.commits())
                await asyncio.gather(*(house.rotate(app) for app in apps))
                await eventually(current, log=daemon)
                first = min(house.released_at(app) for app in apps)
                took.append(house.changed_at() - first)
                commits.append(len(set(house.commits()) - before))
    return statistics.median(took), statistics.median(commits)


async def _script(house: House) -> float:
    """Seconds that the script takes, at the median."""
    path = house.home / "cron-script"
    path.write_text(SCRIPT.format(app=APPS[0]))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    cli = HerokuCli.find()
    env = cli.environment(house.simulator, house.home) | {
        "NODE": cli.node,
        "HEROKU": str(cli.script),
    }

    async def once() -> None:
        assert (await run_to_its_end([path], env, house.home)).ok

    took = await median(_SCRIPTED, once)
    assert house.login().password.reveal() in (house.home / ".pgpass").read_text()
    return took
