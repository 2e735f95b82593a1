"""Who else may change a file, by its mode and owner and by those of every folder on the way."""

from __future__ import annotations

import grp
import os
import pwd
import subprocess
from pathlib import Path
from typing import Final

import pytest

from pgherald.config.load import refuse
from pgherald.errors import ConfigError, FileTrouble
from pgherald.files import Disk, trusted
from pgherald.files.own import OwnFiles
from pgherald.files.trusted import strangers
from support.disks import NOBODY

pytestmark = pytest.mark.skipif(os.name != "posix", reason="files have no modes here")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")

#: An account that nobody has.
ME: Final = 4321


class Mine(Disk):
    """A disk of an account that has no name and owns what this process owns."""

    def euid(self) -> int | None:
        return ME

    def lstat(self, path: Path) -> os.stat_result:
        return owned(super().lstat(path), os.geteuid(), ME)


def owned(about: os.stat_result, was: int, uid: int) -> os.stat_result:
    """What is there, as if one owner were another."""
    return os.stat_result((*about[:4], uid if about.st_uid == was else about.st_uid, *about[5:]))


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever these tests run in, it is no container to the code."""
    monkeypatch.setattr(trusted, "_CONTAINER_FILES", ())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file two folders deep."""
    file = tmp_path / "outer" / "inner" / "file"
    file.parent.mkdir(parents=True)
    file.write_text("")
    return file


def found(path: Path, disk: Disk | None = None) -> list[tuple[Path, str]]:
    """Each place with the reason."""
    return [(each.place, each.why) for each in strangers(path, disk)]


def mend(command: str) -> None:
    """Run a command as the person would."""
    subprocess.run(["/bin/sh", "-ec", command], check=True)


def to_another_group(path: Path) -> None:
    """Give it to a group that is not this account's alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another group")
    os.chown(path, -1, NOBODY)


def test_what_is_ours_alone(file: Path) -> None:
    """A file that only we may write, in such folders, is nobody else's to change; nor is root's."""
    file.chmod(0o644)
    file.parent.chmod(0o755)
    assert found(file) == []
    assert found(Path("/etc/passwd")) == []


@pytest.mark.parametrize("name", ["outer", "outer/inner", "outer/inner/file"])
@pytest.mark.parametrize("bits", [0o702, 0o720, 0o777])
def test_whoever_may_write_a_folder_above_may_change_the_file(
    file: Path, tmp_path: Path, name: str, bits: int
) -> None:
    """The file itself and each folder above it count, and the place is named with its command."""
    place = tmp_path / name
    if bits == 0o720:
        to_another_group(place)
    place.chmod(bits)
    (other,) = strangers(file)
    assert (other.place, other.command) == (place, f"chmod go-w {place}")
    assert other.why.startswith("may be written by other users")
    mend(other.command)
    assert found(file) == []


@needs_root
def test_another_owner(file: Path) -> None:
    """Whoever owns a folder or the file may change its mode; the command takes it from them."""
    for place in (file, file.parent):
        os.chown(place, NOBODY, -1)
        (other,) = strangers(file)
        assert other.place == place
        assert other.why == f"belongs to user {NOBODY}, and pgherald runs as user 0"
        mend(other.command)
        assert found(file) == []


def test_the_sticky_bit_keeps_others_off_what_is_ours(file: Path, tmp_path: Path) -> None:
    """A folder as /tmp is may be passed, but it may not hold our state itself."""
    outer = tmp_path / "outer"
    outer.chmod(0o1777)
    assert found(file) == []
    assert found(outer / "not there yet") == []
    assert found(outer) == [(outer, "may be written by other users")]
    if os.geteuid() == 0:
        os.chown(outer / "inner", NOBODY, -1)
        assert [place for place, _ in found(file)] == [outer / "inner"]


def test_both_ways_of_a_link_count(file: Path, tmp_path: Path) -> None:
    """The folder that a link is in, and every folder on the way to where it leads."""
    link = tmp_path / "links" / "link"
    link.parent.mkdir()
    link.symlink_to(file.parent)
    assert found(link / "file") == []
    for place in (link.parent, tmp_path / "outer"):
        place.chmod(0o777)
        assert found(link / "file") == [(place, "may be written by other users")]
        place.chmod(0o755)


def test_a_link_with_dots_in_it(file: Path, tmp_path: Path) -> None:
    """`..` leads out of the folder that the link is in, as for the system."""
    link = tmp_path / "links" / "deep" / "link"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../outer/./inner")
    assert found(link / "file") == []
    (tmp_path / "outer").chmod(0o777)
    assert [place for place, _ in found(link / ".." / "inner" / "file")] == [tmp_path / "outer"] * 2


@needs_root
def test_somebody_elses_link(file: Path, tmp_path: Path) -> None:
    """A link that another account has made may be made anew by it, where it may write."""
    link = tmp_path / "link"
    link.symlink_to(file)
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    (other,) = strangers(link)
    assert other.place == link
    mend(other.command)
    assert found(link) == []


@pytest.mark.parametrize("marked", ["KUBERNETES_SERVICE_HOST", "a file"])
def test_a_mount_in_a_container_is_as_it_was_put_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, marked: str
) -> None:
    """There a mount may be anybody's and open to all, as Kubernetes makes them; no file in it may."""

    class Mounted(Mine):
        def lstat(self, path: Path) -> os.stat_result:
            about = super().lstat(path)
            inside = path.is_relative_to(file.parent)
            return os.stat_result((*about[:2], 77 if inside else about.st_dev, *about[3:]))

    file.parent.chmod(0o777)
    assert [place for place, _ in found(file, Mounted())] == [file.parent]
    if marked == "a file":
        (tmp_path / "mark").touch()
        monkeypatch.setattr(trusted, "_CONTAINER_FILES", (tmp_path / "mark",))
    else:
        monkeypatch.setenv(marked, "10.0.0.1")
    assert found(file, Mounted()) == []
    assert found(file.parent, Mounted()) == []
    file.chmod(0o666)
    assert [place for place, _ in found(file, Mounted())] == [file]
    file.chmod(0o600)
    assert [place for place, _ in found(file, Mine())] == [file.parent]  # no mount


@pytest.mark.parametrize(("bits", "container"), [(0o2775, False), (0o2775, True), (0o2777, True)])
def test_the_state_folder_of_a_pod(
    file: Path, monkeypatch: pytest.MonkeyPatch, bits: int, *, container: bool
) -> None:
    """Kubernetes gives a volume, and a `subPath` in it, to root and to the group of `fsGroup`."""

    class Pod(Disk):
        def euid(self) -> int | None:
            return 5050

        def lstat(self, path: Path) -> os.stat_result:
            about = super().lstat(path)
            mounted = path == file.parent
            return os.stat_result((about[0], 1, 77 if mounted else 1, 1, 0, 0, *about[6:]))

    if container:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    file.parent.chmod(bits)
    assert found(file.parent, Pod()) == []
    OwnFiles(Pod()).private_folder(file.parent)
    file.parent.chmod(0o2777)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(FileTrouble, match="may be written by other users"):
        OwnFiles(Pod()).private_folder(file.parent)


# --- groups --------------------------------------------------------------------------------


GROUP: Final = 60_001


@pytest.mark.parametrize(
    ("group", "members", "alone"),
    [("me", [], True), ("me", ["me"], True), ("me", ["root"], True),
     ("me", ["me", "eve"], False), ("staff", [], False), ("staff", ["me"], False)],
)  # fmt: skip
def test_a_group_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, group: str, members: list[str], *, alone: bool
) -> None:
    """The group of the account's own name, with nobody else in it, as a umask of 002 goes with.

    Of any other group nobody can say whose first group it is.
    """
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: _account("me", uid))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, members)))
    assert trusted._is_ours_alone(GROUP, ME) == alone


def _account(name: str, uid: int) -> pwd.struct_passwd:
    return pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))


# --- a sandbox with users of its own ---------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "trusted_too"), [("0 0 4294967295\n", False), ("4321 4321 1\n", True), ("", True)]
)
def test_where_root_has_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, users: str, *, trusted_too: bool
) -> None:
    """In the sandbox of pgherald's unit root's folders belong to nobody, and are root's all the same."""

    class Sandbox(Mine):
        def lstat(self, path: Path) -> os.stat_result:
            about = Disk.lstat(self, path)
            return owned(owned(about, 0, NOBODY), os.geteuid(), ME)

    for name, text in (("_USERS", users), ("_NOBODY", f"{NOBODY}\n")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(trusted, name, tmp_path / name)
    assert (found(Path("/etc/passwd"), Sandbox()) == []) == trusted_too


# --- refusing ------------------------------------------------------------------------------


def test_all_places_are_named_at_once(file: Path, tmp_path: Path) -> None:
    """One line of commands mends them all, so that nobody has to come again for the next."""
    for place in (tmp_path / "outer", file):
        place.chmod(0o777)
    with pytest.raises(ConfigError) as refusal:
        refuse([("the configuration", file), ("the state folder", file.parent)])
    assert refusal.value.problems == tuple(
        f"{place}: may be written by other users (the configuration)"
        for place in (tmp_path / "outer", file)
    )
    mend(refusal.value.advice.removeprefix("Run: "))
    refuse([("the configuration", file), ("the state folder", file.parent)])


def test_a_group_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container neither may have one: then it is for those who were started with its number."""
    monkeypatch.setattr(os, "getgroups", lambda: [GROUP])
    assert trusted._is_ours_alone(GROUP, ME)
    assert not trusted._is_ours_alone(GROUP + 1, ME)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: _account("me", uid))
    assert not trusted._is_ours_alone(GROUP, ME)


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    """As they do for the system; whoever opens it says so."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert found(tmp_path / "a") == []
