"""Somebody else on the machine, a stranger on the network, a link in the way: none gets a secret."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgherald.errors import FileTrouble, UnsafeHost
from pgherald.files.disk import Disk
from pgherald.files.snapshot import temp_path, write_temp
from support.http_server import answer, serve
from support.onlooker import looking
from support.workplace import MINUTE, OWN, SHOP, Workplace

CALM = 'poll_interval = "5m"'


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, and a umask that takes nothing away."""
    folder = Path(tempfile.mkdtemp(prefix="pgherald-test-"))
    folder.chmod(0o755)
    umask = os.umask(0)
    yield folder
    os.umask(umask)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
async def test_nobody_else_can_read_a_file_at_any_moment(open_folder: Path) -> None:
    """In a home that all may enter, with a umask of 0, no file of ours can ever be read by others.

    Through 40 rotations somebody else tries to open each file the moment it appears.
    """
    (open_folder / "home").mkdir()
    (open_folder / "home").chmod(0o755)  # where others may write, nothing would be begun
    async with Workplace.standing(open_folder, top=CALM, watched=(SHOP,)) as place:
        place.file("servers.json").chmod(0o600)
        await place.sweep()
        state = place.config.state_dir
        with looking(place.home, state, state / "commits", state / "locks") as onlooker:
            for _ in range(40):
                await place.rotate()
                await place.sweep()
                assert place.is_current()
        assert onlooker.events > 1000
        assert onlooker.read == set()
        assert onlooker.open_modes == set()


def test_the_onlooker_sees(open_folder: Path) -> None:
    """A file that is open to others for a moment is found, so the test above can fail."""
    with looking(open_folder) as onlooker:
        for number in range(50):
            path = open_folder / f"file-{number}"
            path.write_text("CANARY")  # with the umask of 0, for all to read
            path.chmod(0o600)
            path.unlink()
            (open_folder / "stays").write_text("CANARY")
    assert "stays" in onlooker.open_modes
    assert ("stays" in onlooker.read) == (os.geteuid() == 0)


# --- the token goes to Heroku alone ------------------------------------------------------------


STRANGERS = (
    "https://api.heroku.com.example.org",
    "https://heroku.com.example.org",
    "https://example.org/heroku.com",
    "https://api.heroku.com@example.org",
    "https://notheroku.com",
    "http://api.heroku.com",
    "http://127.0.0.1.example.org:5000",
    "http://0.0.0.0:5000",
    "http://192.168.1.20:5000",
    "http://localhost.example.org",
)


@pytest.mark.parametrize("stranger", STRANGERS)
async def test_a_strangers_heroku_host_hears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    """Where HEROKU_HOST names a stranger, nothing is even looked up: the person reads why."""
    asked: list[str] = []

    def listen(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.getaddrinfo", "socket.connect") and "127.0.0.1" not in str(args):
            asked.append(f"{event} {args}")

    with _heard(listen), pytest.raises(UnsafeHost) as refusal:
        async with Workplace.standing(tmp_path, env=lambda _: {"HEROKU_HOST": stranger}) as place:
            await place.sweep()
    assert asked == []
    assert refusal.value.title.startswith("Refused: HEROKU_HOST names ")
    assert refusal.value.advice


async def test_a_redirect_takes_nothing_along(tmp_path: Path) -> None:
    """A redirect to somebody else is an odd answer, and that somebody is never asked."""
    async with serve(answer(200, "{}")) as stranger:
        async with Workplace.standing(tmp_path, top=CALM) as place:
            await place.sweep()
            place.goes_wrong("redirect", location=f"{stranger.url}/apps")
            await place.passes(20 * MINUTE)
            assert place.told() == ["What answers is not Heroku: it redirects elsewhere"]
        assert stranger.connections == 0


class _heard:  # noqa: N801 – reads as a verb where it is used
    """Meanwhile, a function hears Python's audit events; an audit hook itself stays for good."""

    _listener: Any = None
    _hooked = False

    def __init__(self, listener: Any) -> None:
        self._mine = listener

    def __enter__(self) -> None:
        cls = type(self)
        cls._listener = staticmethod(self._mine)
        if not cls._hooked:
            cls._hooked = True
            sys.addaudithook(lambda *event: cls._listener and cls._listener(*event))

    def __exit__(self, *_: object) -> None:
        type(self)._listener = None


# --- links in the way --------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".", "commits", "locks"])
async def test_a_link_in_the_state_folders_place(tmp_path: Path, name: str) -> None:
    """A state folder, or one of its folders, that is a link is refused: nothing goes elsewhere."""
    async with Workplace.standing(tmp_path, top=CALM) as place:
        await place.sweep()
    state, elsewhere = tmp_path / "state" / name, tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(state)
    state.symlink_to(elsewhere)
    clients = [tmp_path / "home" / name for name in OWN]
    before = [path.read_bytes() for path in clients]

    async def tries() -> None:
        async with Workplace.standing(tmp_path, top=CALM, own=False) as place:
            await place.rotate()
            await place.sweep()
            raise place.machine.reconciler.broken or AssertionError("it was written all the same")

    with pytest.raises(FileTrouble) as refusal:
        await tries()
    assert "a link does not count" in str(refusal.value)
    assert list(elsewhere.iterdir()) == []
    assert [path.read_bytes() for path in clients] == before


def test_a_link_in_the_temporary_files_place(tmp_path: Path) -> None:
    """A link under the very name that a temporary file is to get is never written through."""
    victim, target = tmp_path / "victim", tmp_path / ".pgpass"
    victim.write_text("CANARY: somebody's own\n")
    guessed, other = "0" * 16, "1" * 16
    temp_path(target, guessed).symlink_to(victim)
    tokens = iter([guessed, guessed, other])
    written = write_temp(Disk(), target, b"new", lambda _: None, lambda: next(tokens))
    assert written == temp_path(target, other)
    assert victim.read_text() == "CANARY: somebody's own\n"
    assert temp_path(target, guessed).is_symlink()
