"""A month in a few minutes: 200 databases, random rotations and faults, real files and sockets.

    make soak          # thirty days
    make test          # a day of it

Heroku is asked every hour. What is measured is printed with `-s`.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pgherald.model import NewsKind
from support import canaries
from support.simulator import dice
from support.workplace import DAY, MINUTE, Workplace

APPS = tuple(f"app-{number:02}" for number in range(20))

#: Attachments of each app, DATABASE included: 200 databases.
EACH = 10

POLL = 60 * MINUTE
SWEEPS_A_DAY = round(DAY / POLL)

#: What goes wrong at random, mostly for an hour or less.
FAULTS = ("503", "500", "429", "html", "cut", "close", "garbage")


@dataclass
class Month:
    """What happened, and what was measured at the end of each piece.

    Attributes:
        rotations: how many there were.
        faults: how many outages.
        sweeps: how many times Heroku was looked at.
        requests: how many were sent.
        memory: resident, in KiB.
        descriptors: open files and sockets.
    """

    rotations: int = 0
    faults: int = 0
    sweeps: int = 0
    requests: int = 0
    memory: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)


@pytest.mark.skipif(sys.platform != "linux", reason="memory and descriptors are read from /proc")
@pytest.mark.timeout(3600)
async def test_a_month(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """No rotation is missed, no notice comes twice, memory and descriptors stay as they are."""
    whole = bool(request.config.getoption("--soak"))
    # The short form: a day in four pieces.
    pieces, sweeps = (30, SWEEPS_A_DAY) if whole else (4, SWEEPS_A_DAY // 4)
    chance = dice(7)
    month = Month()
    began = time.monotonic()
    async with Workplace.standing(
        tmp_path, apps=APPS, watched=(), top=f'poll_interval = "1h"\n{TABLES}'
    ) as place:
        await furnish(place)
        # As outside, nearly: sightings of one sweep are compared together.
        place.machine.reconciler._window._quiet = 0.1
        await place.sweep()
        assert len(place.machine.poller.databases) == EACH * len(APPS)
        for _ in range(pieces):
            await a_piece(place, month, chance, sweeps)
            measure(place, month)
        place.goes_well()
        await place.passes(2 * POLL)
        assert behind(place) == []
        assert place.status() == []
        assert told_twice(place) == []
        rotated = [n for n in place.news if n.kind is NewsKind.ROTATED]
        assert len(rotated) == month.rotations
        place.nothing_is_lost()
        month.requests = place.requests
    print(report(month, time.monotonic() - began))  # noqa: T201 – for `make soak`
    # The first piece fills caches; from then on nothing grows.
    first, last = month.memory[0], month.memory[-1]
    assert last - first < 24 * 1024, month.memory
    assert max(month.descriptors) - min(month.descriptors) <= 8, month.descriptors
    if whole:
        half = len(month.memory) // 2
        assert month.memory[-1] - month.memory[half] < 6 * 1024, month.memory


NAMES = ("DATABASE", *(f"DB{number}" for number in range(1, EACH)))

TABLES = "".join(
    f'[[databases]]\napp = "{app}"\nattachment = "{name}"\nservice = "{app}-{name.lower()}"\n'
    for app in APPS
    for name in NAMES
)


async def furnish(place: Workplace) -> None:
    """Give each app its other databases."""
    world = place.simulator.world
    for app in map(world.app, APPS):
        for name in NAMES[1:]:
            addon = await world.data.add_postgres(app, "essential-0")
            world.attach(addon, app, name)


async def a_piece(place: Workplace, month: Month, chance: Random, sweeps: int) -> None:
    """Some sweeps with outages and rotations, and a night with the lid closed."""
    world, faults = place.simulator.world, place.simulator.app.front.faults
    waiting: set[tuple[str, str]] = set()
    calm = 0
    for _ in range(sweeps):
        if faults.active and chance.random() < 0.4:
            place.goes_well()
        elif not faults.active and chance.random() < 0.05:
            month.faults += 1
            place.goes_wrong(chance.choice(FAULTS))
        calm = 0 if faults.active else calm + 1
        if calm > 2:  # longer than any pause
            waiting.clear()
        which = chance.choice(APPS), chance.choice(NAMES)
        # Twice before the clients follow would be one rotation to be told, not two.
        if chance.random() < 0.5 and which not in waiting:
            waiting.add(which)
            addon: Any = world.attachment(world.app(which[0]), which[1]).addon
            await world.data.rotate(addon.postgres.data)
            month.rotations += 1
        await place.passes(POLL)
        month.sweeps += 1
    place.goes_well()
    await place.passes(2 * POLL)
    place.clock.suspend(8 * 60 * MINUTE)
    await place.clock.advance(30)
    await place.done()


def behind(place: Workplace) -> list[str]:
    """Databases whose login the clients do not hold."""
    world = place.simulator.world
    found = []
    for watched in place.machine.poller.databases:
        shown = world.attachment(world.app(watched.key.app), watched.key.attachment).shown
        assert shown is not None
        if not place.holds(shown, watched.service):
            found.append(str(watched.key))
    return found


def told_twice(place: Workplace) -> list[str]:
    """Subjects whose troubles and recoveries do not take turns."""
    down: Counter[str] = Counter()
    found = []
    for item in place.news:
        if item.kind is NewsKind.TROUBLE:
            down[item.subject] += 1
        elif item.kind is NewsKind.RECOVERED:
            down[item.subject] -= 1
        if down[item.subject] not in (0, 1):
            found.append(f"{item.at:%d %H:%M} {item.subject}: {item.title}")
    return found


def measure(place: Workplace, month: Month) -> None:
    """Note memory and descriptors; what the stand-ins remember for tests is let go first."""
    place.simulator.app.front.visits.clear()
    place.postgres.statements.clear()
    place.probes.tried.clear()
    place.clock.slept.clear()
    canaries.forget_harmless()
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    month.memory.append(pages * resource.getpagesize() // 1024)
    month.descriptors.append(len(os.listdir("/proc/self/fd")))  # of this moment


def report(month: Month, seconds: float) -> str:
    """The figures of docs/reliability.md."""
    return (
        f"\n{month.sweeps // SWEEPS_A_DAY} days in {seconds:.0f} s: {EACH * len(APPS)} databases, {month.sweeps} sweeps, "
        f"{month.requests} requests, {month.rotations} rotations, {month.faults} outages; "
        f"memory {month.memory[0] // 1024} to {month.memory[-1] // 1024} MiB, "
        f"descriptors {min(month.descriptors)} to {max(month.descriptors)}"
    )
