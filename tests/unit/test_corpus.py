"""Files as people really have them: each folder of `tests/corpus` is one case.

The README.md there says how to add one.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from itertools import dropwhile
from pathlib import Path
from typing import Any, Final

import pgserviceparser
import pgtoolkit.service
import pytest
from configobj import ConfigObj, ConfigObjError

from pgherald.model import Login
from support.commands import Desk

REPOSITORY: Final = Path(__file__).resolve().parents[2]
CORPUS: Final = REPOSITORY / "tests" / "corpus"
CASES: Final = sorted(file.parent for file in CORPUS.glob("*/*/case.toml"))

#: The clients of the default configuration: those whose file is in the case.
CLIENTS: Final = {
    "pgpass": "pgpass",
    "pg_service.conf": "service_file",
    "servers.json": "servers_json",
}

SHOP: Final = '[[databases]]\napp = "shop-production"\nname = "Shop"\nservice = "shop"\n'


class Case:
    """One folder, laid out on a desk."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self.folder = folder
        self.desk = desk
        self.about: dict[str, Any] = tomllib.loads((folder / "case.toml").read_text())
        self.first = desk.login()

    def files(self, part: str) -> dict[str, bytes]:
        """The files of one of the case's folders, with what Heroku shows in the place of @WORDS@."""
        root = self.folder / part
        found = {str(f.relative_to(root)): f.read_bytes() for f in root.rglob("*") if f.is_file()}
        words = {f"@{k}@": v for k, v in self.words().items()}
        return {name: _filled(text, words) for name, text in found.items()}

    def words(self) -> dict[str, str]:
        """What stands for the logins, first and now, and the home."""
        old = {f"OLD-{name}": value for name, value in _fields(self.first).items()}
        return {"HOME": str(self.desk.folder), **old, **_fields(self.desk.login())}

    def lay(self, part: str) -> None:
        """Put the files of a folder into the home, private ones as they should be."""
        for name, text in self.files(part).items():
            path = self.desk.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text)
            path.chmod(0o600)

    def configure(self) -> None:
        """Write the case's configuration, or one of the clients whose files it has."""
        own = self.folder / "config.toml"
        parts = ("before", "home", "after")
        names = {name for part in parts for name in self.files(part)}
        if "servers.json" in names:
            names.add("pg_service.conf")  # its servers name a section there
        clients = (
            f'[clients.{kind}]\npath = "{name}"\n'
            for name, kind in CLIENTS.items()
            if name in names
        )
        self.desk.configure(own.read_text() if own.is_file() else SHOP + "".join(clients))

    def held(self) -> dict[str, bytes]:
        """The files of the case as they are in the home."""
        names = {*self.files("home"), *self.files("after")}
        paths = {name: self.desk.folder / name for name in names}
        return {name: path.read_bytes() for name, path in paths.items() if path.is_file()}


def _fields(login: Login) -> dict[str, str]:
    fields = {"HOST": login.host, "PORT": str(login.port), "DBNAME": login.dbname}
    return fields | {"USER": login.user, "PASSWORD": login.password.reveal()}


def _filled(text: bytes, words: dict[str, str]) -> bytes:
    return re.sub(rb"@[A-Z-]+@", lambda m: words.get(m[0].decode(), m[0].decode()).encode(), text)


def _pgcli(path: Path) -> object:
    """As pgcli's `parse_service_info` does, which passes over the comments at the top."""
    rows = path.read_text("utf-8-sig").splitlines()
    return ConfigObj(list(dropwhile(lambda row: row.startswith("#"), rows)))


#: Programs that read a service file by a library for INI files: QGIS' plugin, temBoard, pgcli.
READERS: Final[dict[str, Callable[[Path], object]]] = {
    "pgserviceparser": pgserviceparser.full_config,
    "pgtoolkit": lambda path: pgtoolkit.service.parse(path.read_text("utf-8-sig").splitlines()),
    "pgcli": _pgcli,
}


def _readers(path: Path) -> set[str]:
    """Those of the programs that can read a file."""
    found = set()
    for name, read in READERS.items():
        with contextlib.suppress(configparser.Error, ConfigObjError, UnicodeDecodeError):
            read(path)
            found.add(name)
    return found


@pytest.mark.parametrize("folder", CASES, ids=lambda f: f"{f.parent.name}/{f.name}")
def test_a_case_of_the_corpus(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the files as they are, pgherald makes what the case says, and shows the case's notes."""
    desk = Desk.laid(tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    case = Case(folder, desk)
    case.configure()
    if (folder / "before").is_dir():
        case.lay("before")
        assert desk.run("check").code == 0
    case.lay("home")
    if script := case.about.get("setup"):
        env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(("sh", "-ec", script), cwd=tmp_path, env=env, check=True)
    if case.about.get("rotated"):
        desk.rotate()
    before = case.held()
    readers = _readers(tmp_path / "pg_service.conf") if "pg_service.conf" in before else set()

    notes = [
        _filled(n.encode(), {f"@{k}@": v for k, v in case.words().items()}).decode()
        for n in case.about.get("notes", ())
    ]
    trouble = case.about.get("trouble")
    planned = desk.run("plan", "--json").json
    warned = [note for file in planned["files"] for note in file["warnings"]]
    assert warned == [*case.about.get("planned", ()), *notes]
    result = desk.run("check")
    assert result.code == (1 if trouble else 0), result.err
    assert (trouble or "") in result.err
    shown = result.out + desk.run("status").out
    assert all(shown.count(note) == 2 for note in notes)
    if notes:
        doctor = desk.run("doctor")
        assert all(note in doctor.out + doctor.err for note in notes)

    after = case.held()
    if case.about.get("uninstalled"):
        assert desk.run("uninstall", "--yes").code == 0
        after = case.held()
    assert after == {**before, **case.files("after")}
    if "pg_service.conf" in after:
        assert _readers(tmp_path / "pg_service.conf") >= readers
    if not case.about.get("uninstalled"):
        assert desk.run("check").code == result.code
        assert case.held() == after, "a second run changes nothing"


def test_a_section_that_stands_twice_costs_other_programs_the_file(tmp_path: Path) -> None:
    """That is why ours gives way to the person's; read by the programs themselves."""
    file = tmp_path / "pg_service.conf"
    file.write_text("# a comment\n[shop]\nhost=a\n[blog]\nhost=b\n")
    assert _readers(file) == READERS.keys()
    file.write_text(f"{file.read_text()}[shop]\nhost=c\n")
    assert not _readers(file)


def test_what_an_earlier_version_wrote_is_known_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that finds nothing to write records what is there: older versions did not."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + '[clients.service_file]\npath = "pg_service.conf"\n')
    assert desk.run("check").code == 0
    shutil.rmtree(tmp_path / "state" / "ownership")
    assert desk.run("check").code == 0
    file = tmp_path / "pg_service.conf"
    ours = file.read_text()
    file.write_text("".join(row for row in ours.splitlines(keepends=True) if row[0] != "#"))
    assert desk.run("check").code == 0
    assert file.read_text() == ours


def test_a_line_that_is_made_by_hand_after_ours_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the very line that pgherald had written once: it is the person's all the same."""
    desk = Desk.laid(tmp_path, monkeypatch)
    rest = '[[databases]]\napp = "blog"\n[clients.pgpass]\npath = "pgpass"\n'
    desk.configure(SHOP + rest)
    assert desk.run("check").code == 0
    file = tmp_path / "pgpass"
    user = desk.login().user
    line = next(row for row in file.read_text().splitlines(keepends=True) if user in row)
    desk.configure(rest)
    assert desk.run("check", "--prune").code == 0
    assert line not in file.read_text()
    file.write_text(file.read_text() + line)
    for command in (["check"], ["uninstall", "--yes"]):
        assert desk.run(*command).code == 0
        assert file.read_text().endswith(line)


def test_the_documents_count_the_cases() -> None:
    """docs/reliability.md says how many cases there are of each kind."""
    text = (REPOSITORY / "docs" / "reliability.md").read_text()
    told = {
        m[1]: int(m[2]) for m in re.finditer(r"^\| `([a-z-]+)` \| (\d+) \|", text, re.MULTILINE)
    }
    kinds = [folder.parent.name for folder in CASES]
    assert told == {kind: kinds.count(kind) for kind in kinds}
