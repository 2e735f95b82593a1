"""Other programs that write our clients' files slowly, while rotations come in.

Real programs, real files, a real watch and the machine's own clock. Whatever they do and
whenever a rotation comes, at the end every line of theirs is there, in its order, and ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pgherald.clock import SystemClock
from pgherald.heroku.backoff import COMPARED, ThrottledCall
from pgherald.sync.restless import Stillness
from pgherald.watch.paths import PathWatch
from support.disks import QuickDisk
from support.household import Household, database, household, login

SHOP = database("shop")

#: Programs that write at one time, and how often each of them does.
DESKS, TURNS = 5, 9

#: Far longer than anything takes here, in seconds.
END = 90

#: Shell scripts: the file, the pause after each line, and the lines. The first ones begin anew.
ANEW = {
    "redirect": 'for l; do echo "$l"; sleep $p; done > "$f"',
    "rm, then line by line": 'rm -f "$f"; for l; do echo "$l" >> "$f"; sleep $p; done',
}
SHELL = ANEW | {
    "append, held open": 'for l; do echo "$l"; sleep $p; done >> "$f"',
    "dd": 'for l; do echo "$l"; sleep $p; done'
    ' | dd of="$f" conv=notrunc oflag=append bs=1 status=none',
    "sed -i": 'for l; do sed -i "\\$a $l" "$f"; sleep $p; done',
    "ed": 'for l; do printf "\\$a\\n%s\\n.\\nw\\nq\\n" "$l" | ed -s "$f"; sleep $p; done',
    "mv": 'for l; do cat "$f" > "$f.n"; echo "$l" >> "$f.n"; sleep $p; mv "$f.n" "$f"; done',
    "ln -f": 'for l; do cat "$f" > "$f.n"; echo "$l" >> "$f.n"; sleep $p; ln -f "$f.n" "$f";'
    ' rm "$f.n"; done',
}

#: Python: `f`, `p` and `lines` likewise, and `say` waits after each line.
PYTHON = {
    "open w, flushed": "t = open(f).read(); o = open(f, 'w'); o.write(t); say(o)",
    "truncate, then write": "o = open(f, 'r+'); t = o.read(); o.truncate(0); o.seek(0);"
    " time.sleep(p); o.write(t); say(o)",
    "editor with backup": "t = open(f).read(); os.rename(f, f + '~'); o = open(f, 'w');"
    " o.write(t); say(o); o.close(); os.unlink(f + '~')",
    "editor with temporary": "t = open(f).read(); o = open(f + '.s', 'w'); o.write(t); say(o);"
    " o.close(); os.replace(f + '.s', f)",
    "memory map": "o = open(f, 'r+b'); t = o.read(); a = '\\n'.join([*lines, '']).encode();"
    " o.truncate(len(t) + len(a)); m = mmap.mmap(o.fileno(), 0); o.close();"
    " m[len(t):] = b'#' * (len(a) - 1) + b'\\n'; time.sleep(3 * p); m[len(t):] = a; m.close()",
    "hard link": "os.link(os.path.realpath(f), f + '.l'); o = open(f + '.l', 'a');"
    " os.unlink(f + '.l'); say(o)",
}
JSON = {
    "open w": "d = json.load(open(f)); add(d); o = open(f, 'w'); say(o)",
    "rename": "d = json.load(open(f)); add(d); o = open(f + '.n', 'w'); say(o); o.close();"
    " os.replace(f + '.n', f)",
}
PRELUDE = """
import json, mmap, os, sys, time
f, p, lines = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
"""
SAY_LINES = """
def say(o):
    for line in lines:
        o.write(line + chr(10)); o.flush(); time.sleep(p)
"""
SAY_JSON = """
def add(d):
    for line in lines:
        d["Servers"][line] = dict(Name=line, Group="Mine", Host="localhost", Port=5432,
                                  Username="me", MaintenanceDB="postgres", SSLMode="prefer")
def say(o):
    t = json.dumps(d, indent=2)
    for at in range(0, len(t), len(t) // 3 + 1):
        o.write(t[at:at + len(t) // 3 + 1]); o.flush(); time.sleep(p)
"""


@dataclass
class Desk:
    """One person's files, and what they wrote into them."""

    house: Household
    chance: random.Random
    number: int = 0
    lines: dict[Path, list[str]] = field(default_factory=dict)

    def rotate(self) -> None:
        """Heroku shows a new login."""
        self.number += 1
        self.house.show((SHOP, login(self.number)))

    async def turn(self, kind: str, path: Path) -> None:
        """A program writes a file, and rotations come meanwhile."""
        lines = [f"# CANARY-{self.chance.getrandbits(32)}-{number}" for number in range(3)]
        pause = self.chance.choice([0.01, 0.05, 0.2, 0.4])
        program = await asyncio.create_subprocess_exec(*_argv(kind, path, pause, lines))
        begun = [] if kind in ANEW and path.suffix != ".json" else self.lines.get(path, [])
        self.lines[path] = [*begun, *lines]
        ended = asyncio.create_task(program.wait())
        while not ended.done():
            await asyncio.wait({ended}, timeout=self.chance.random() * 4 * pause)
            if self.chance.random() < 0.5:
                self.rotate()
        assert await ended == 0, kind
        await self.comes_right(kind, path)

    async def comes_right(self, kind: str, path: Path) -> None:
        """In the end all clients hold the latest login, and nothing of the person's is lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END):
                while not self._right():  # nobody could set an event
                    await asyncio.sleep(0.02)
        assert self.house.held(SHOP) == {f"u{self.number}"}, kind
        for place, lines in self.lines.items():
            assert theirs(place) == lines, f"{kind} wrote {path.name}"
        beside = [name.name for name in self.house.folder.rglob("*.pgherald-*")]
        assert beside == [], kind

    def _right(self) -> bool:
        try:
            held = self.house.held(SHOP) == {f"u{self.number}"}
        except Exception:  # noqa: BLE001 – half a file
            return False
        return held and not self.house.reconciler._is_busy(verifying=True)


def theirs(path: Path) -> list[str]:
    """Lines, or servers, of the person's own."""
    text = path.read_text()
    if path.suffix == ".json":
        names = [server["Name"] for server in json.loads(text)["Servers"].values()]
        return [name for name in names if "# CANARY" in name]
    return [line for line in text.splitlines() if line.startswith("# CANARY")]


def _argv(kind: str, path: Path, pause: float, lines: Sequence[str]) -> list[str]:
    arguments = [str(path), str(pause), *lines]
    if path.suffix != ".json" and kind in SHELL:
        script = f"f=$1 p=$2; shift 2; {SHELL[kind]}"
        return ["sh", "-c", script, "sh", *arguments]
    is_json = path.suffix == ".json"
    code = PRELUDE + (SAY_JSON if is_json else SAY_LINES) + (JSON if is_json else PYTHON)[kind]
    return [sys.executable, "-S", "-E", "-c", code, *arguments]


@contextlib.asynccontextmanager
async def desk(folder: Path, seed: int) -> AsyncIterator[Desk]:
    """A home whose files are watched and kept, as the daemon does it."""
    folder.mkdir()  # noqa: ASYNC240 – nothing else runs yet
    clock = SystemClock()
    async with household(folder, disk=QuickDisk(), real=clock, stillness=Stillness(clock)) as house:
        mend = ThrottledCall(house.reconciler.again, COMPARED)

        def changed(path: Path) -> None:
            house.applier.restless.stillness.touched(path)
            mend.soon()

        def wrote(path: Path) -> None:
            watch.seen(path)
            asyncio.get_running_loop().call_soon(house.reconciler.again)

        watch = PathWatch(changed, clock)
        house.applier._wrote = wrote
        if seed % 2:  # a file behind a link
            (house.folder / "dotfiles").mkdir()
            house.pgpass.symlink_to(house.folder / "dotfiles" / "pgpass")
        for path in (house.pgpass, house.service_file):
            path.write_text("# mine\n")
        house.servers_json.write_text('{"Servers": {}}\n')
        watch.watch(client.path for client in house.clients)
        here = Desk(house, random.Random(seed))  # no secret
        here.rotate()
        try:
            await here.comes_right("nobody", house.pgpass)
            yield here
        finally:
            mend.cancel()
            watch.stop()


def turns() -> list[tuple[str, str]]:
    """Every kind of writer with every file that it can write, several times."""
    missing = {name for name in ("ed", "rsync") if shutil.which(name) is None}
    texts = [*(SHELL.keys() - missing), *PYTHON]
    kinds = [(kind, name) for kind in sorted(texts) for name in (".pgpass", ".pg_service.conf")]
    kinds += [(kind, "servers.json") for kind in JSON]
    found = [kinds[number % len(kinds)] for number in range(DESKS * TURNS)]
    random.Random(1).shuffle(found)
    return found


@pytest.mark.timeout(300)
async def test_whoever_writes_a_file_slowly_loses_nothing(tmp_path: Path) -> None:
    """A file that is being written is left alone; what is written at any moment is kept."""
    todo = turns()

    async def work(number: int) -> None:
        async with desk(tmp_path / str(number), number) as here:
            for kind, name in todo[number::DESKS]:
                await here.turn(kind, here.house.folder / name)

    async with asyncio.TaskGroup() as group:
        for number in range(DESKS):
            group.create_task(work(number))
