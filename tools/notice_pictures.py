"""Make docs/pictures/notice-*.png: what a real notification server shows of real notices.

python tools/notice_pictures.py

Needs, on Debian: xvfb xfce4-notifyd imagemagick dbus adwaita-icon-theme fonts-dejavu-core. The
screen, the bus and the server are private to this run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pgherald.model import News, NewsKind, Subject
from pgherald.notify.desktop import Action, Notice
from pgherald.notify.linux import LinuxDesktop
from pgherald.notify.opening import Opener
from pgherald.notify.texts import notice_for

ROOT: Final = Path(__file__).resolve().parent.parent
PICTURES: Final = ROOT / "docs" / "pictures"

SERVER: Final = next(iter(sorted(Path("/usr/lib").glob("*/xfce4/notifyd/xfce4-notifyd"))), None)

#: Seconds that a server may take to appear, and to draw.
_PATIENCE: Final = 20.0
_DRAWN: Final = 1.0

NOW: Final = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

BUS: Final = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


def news(kind: NewsKind, name: str, **fields: object) -> News:
    """One piece of news about a database."""
    return News(kind, Subject.read(f"database:{name}"), NOW, name, **fields)  # type: ignore[arg-type]  # names are this file's


CLIENTS: Final = ("pgAdmin", "psql", "service file")
REFUSED: Final = "Postgres refuses the login of shop-staging"
ADVICE: Final = "The clients keep the old one. `heroku pg:credentials:rotate` makes another."

#: What each picture shows: news of one moment.
STORIES: Final[Mapping[str, Sequence[News]]] = {
    "rotating": [news(NewsKind.ROTATING, "shop-production")],
    "rotated": [news(NewsKind.ROTATED, "shop-production", changed=("password",), clients=(*CLIENTS, "servers.json"))],
    "many": [news(NewsKind.ROTATED, f"shop-{n:02}", changed=("password",), clients=CLIENTS) for n in range(1, 41)],
    "trouble": [news(NewsKind.TROUBLE, "shop-staging", title=REFUSED, advice=ADVICE)],
    "recovered": [news(NewsKind.RECOVERED, "shop-staging", title=REFUSED, since=NOW - timedelta(hours=2, minutes=5))],
}  # fmt: skip


class Everything(Opener):
    """A desktop on which there is something to open for each button."""

    def knows(self, action: Action) -> bool:  # whatever it is
        """See the class."""
        return True


@contextlib.contextmanager
def running(argv: Sequence[str | Path], **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program that ends with the block."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL} | more
    with subprocess.Popen([str(word) for word in argv], **quiet) as process:  # type: ignore[call-overload]  # handed on as they come
        try:
            yield process
        finally:
            process.terminate()


@contextlib.contextmanager
def screen(folder: Path) -> Iterator[dict[str, str]]:
    """A virtual screen with a bus of its own; what leads to them."""
    ours, theirs = os.pipe()
    argv = ["Xvfb", "-displayfd", str(theirs), "-noreset", "-nolisten", "tcp"]
    with running([*argv, "-screen", "0", "640x400x24"], pass_fds=[theirs]):
        os.close(theirs)
        with os.fdopen(ours) as said:
            display = said.readline().strip()
        socket = folder / "bus"
        (folder / "bus.conf").write_text(BUS.format(socket=socket), encoding="utf-8")
        with running(["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--nofork"]):
            yield {
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LANG": "C.UTF-8",
                "DISPLAY": f":{display}",
                "DBUS_SESSION_BUS_ADDRESS": f"unix:path={socket}",
                "GSETTINGS_BACKEND": "memory",
            }


async def show(notice: Notice, env: Mapping[str, str], folder: Path) -> None:
    """Show a notice as the daemon does, as soon as there is a server.

    Raises:
        TimeoutError: nothing could be shown.
    """
    desktop = LinuxDesktop(environ=env, opener=Everything(env, folder, folder))
    async with asyncio.timeout(_PATIENCE):
        while not (await desktop.show(notice)).shown:  # a bus sets no event
            await asyncio.sleep(0.2)
    await desktop.close()


def take(name: str, story: Sequence[News], folder: Path) -> None:
    """Show one story to a server that has shown none before, and keep the picture."""
    folder.mkdir()
    picture = PICTURES / f"notice-{name}.png"
    shot = ["import", "-window", "root", "-trim", "+repage", "-strip"]
    exact = ["-define", "png:exclude-chunks=date,time"]
    with screen(folder) as env:
        time.sleep(_DRAWN)
        with running([str(SERVER)], env=env):
            (notice,) = notice_for(story)
            asyncio.run(show(notice, env, folder))
            time.sleep(_DRAWN)
            subprocess.run([*shot, *exact, picture], env=env, check=True)
    print(f"written: {picture.relative_to(ROOT)}")


def main() -> int:
    """Take all pictures."""
    missing = [name for name in ("Xvfb", "dbus-daemon", "import") if shutil.which(name) is None]
    if missing or SERVER is None:
        print(f"not there: {', '.join([*missing, *([] if SERVER else ['xfce4-notifyd'])])}")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        for name, story in STORIES.items():
            take(name, story, Path(folder, name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
