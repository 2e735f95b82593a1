"""The back ends that run a program, with a stand-in for the program on PATH."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

from pgherald.notify.desktop import Notice, Urgency
from pgherald.notify.programs import (
    APPLESCRIPT,
    MacDesktop,
    NotifySend,
    WindowsDesktop,
    script_for,
)

NASTY = Notice('-e "it\'s" $(id) `id` \\', "two\nlines & <b>; 'quoted' \u2018smart\u2019 %PATH%")

RECORDER = """\
#!{python}
import json, os, sys
json.dump(
    {{"argv": sys.argv[1:], "stdin": sys.stdin.read(), "environ": dict(os.environ)}},
    open({out!r}, "w"),
)
sys.exit({code})
"""


def stand_in(folder: Path, name: str, *, code: int = 0) -> dict[str, str]:
    """Put a program there that notes how it was called; return an environment that finds it."""
    program = folder / name
    program.write_text(
        RECORDER.format(python=sys.executable, out=str(folder / "called.json"), code=code)
    )
    program.chmod(0o755)
    return {
        "PATH": f"{folder}:/usr/bin:/bin",
        "HOME": str(folder),
        "HEROKU_API_KEY": "CANARY-token-1",
        "NOTIFY_SOCKET": "/run/CANARY",
    }


def called(folder: Path) -> dict[str, object]:
    call: dict[str, object] = json.loads((folder / "called.json").read_text())
    return call


async def test_macos(tmp_path: Path) -> None:
    """Texts reach `osascript` as arguments after the script, unchanged, whatever is in them."""
    environ = stand_in(tmp_path, "osascript")
    receipt = await MacDesktop(environ=environ).show(NASTY)
    assert (receipt.shown, receipt.backend, receipt.why) == (True, "osascript", "")
    call = called(tmp_path)
    assert call["argv"] == ["-", NASTY.title, NASTY.body]
    assert call["stdin"] == APPLESCRIPT


async def test_windows(tmp_path: Path) -> None:
    """PowerShell gets one encoded script, and no text of ours outside it."""
    environ = stand_in(tmp_path, "powershell.exe")
    receipt = await WindowsDesktop(environ=environ).show(NASTY)
    assert (receipt.shown, receipt.backend) == (True, "powershell")
    argv = called(tmp_path)["argv"]
    assert isinstance(argv, list)
    assert argv[:-1] == ["-NoProfile", "-NonInteractive", "-EncodedCommand"]
    assert base64.b64decode(argv[-1]).decode("utf-16-le") == script_for(NASTY)


def test_a_toast_holds_the_text_and_nothing_else() -> None:
    """The texts come back out of the script letter for letter, and never leave their quotes."""
    script = script_for(NASTY)
    (encoded,) = re.findall(r"FromBase64String\('([A-Za-z0-9+/=]+)'\)", script)
    toast = ET.fromstring(base64.b64decode(encoded).decode())  # noqa: S314 – our own text
    assert [text.text for text in toast.iter("text")] == [NASTY.title, NASTY.body]
    assert script.isascii()


async def test_notify_send(tmp_path: Path) -> None:
    """Libnotify's program gets urgency and texts, and no text of ours is taken for an option."""
    desktop = NotifySend(environ=stand_in(tmp_path, "notify-send"))
    assert (await desktop.show(Notice("--x", "-y", Urgency.CRITICAL))).shown
    options = ["--app-name=pgherald", "--urgency=critical", "--"]
    assert called(tmp_path)["argv"] == [*options, "--x", "-y"]
    assert not (await desktop.show(Notice("x", passing=True))).shown


async def test_programs_get_no_secret(tmp_path: Path) -> None:
    """Of our environment a child sees what it needs, the way to the screen included; no token."""
    environ = stand_in(tmp_path, "osascript") | {"DISPLAY": ":7"}
    await MacDesktop(environ=environ).show(Notice("x"))
    seen = called(tmp_path)["environ"]
    assert isinstance(seen, dict)
    assert (seen["HOME"], seen["DISPLAY"]) == (str(tmp_path), ":7")
    assert "CANARY" not in json.dumps(seen)


async def test_a_program_that_hangs(tmp_path: Path) -> None:
    """When the time is up, the program is given up."""
    (tmp_path / "osascript").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "osascript").chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    receipt = await MacDesktop(environ=environ, limit=0.2).show(Notice("x"))
    assert (receipt.shown, receipt.why) == (False, "osascript does not answer")
