"""Any byte of pgherald's own state may be wrong: the clients are kept, and it is said once.

A folder that a real run left, in the middle of a rotation that was killed, is damaged at random
and at chosen places. Each time, one `check` brings every client to exactly what it holds without
the damage, sets at most the damaged thing aside, and invents no rotation; the next one has
nothing to say.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pgherald.files import digest
from pgherald.files.snapshot import temp_path
from pgherald.store import damage
from support.damages import DEEDS, OWN_LINE, Sufferer, overwrite, root_page

#: Random damages of one test (as many more with `--soak`), and tests.
PORTION, PORTIONS, SOAKED = 10, 2, 200

PAGE = 4096


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Sufferer:
    with pytest.MonkeyPatch.context() as patch:
        return Sufferer.made(tmp_path_factory.mktemp("damage"), patch)


@pytest.fixture
def sufferer(prepared: Sufferer, monkeypatch: pytest.MonkeyPatch) -> Sufferer:
    prepared.sits_down(monkeypatch)
    prepared.restored()
    return prepared


@pytest.mark.parametrize("portion", range(PORTIONS))
def test_any_byte_may_be_wrong(
    sufferer: Sufferer, portion: int, request: pytest.FixtureRequest
) -> None:
    """Random damages to any file of the state folder: flipped, cut, swapped, gone, a pipe."""
    size = SOAKED if request.config.getoption("--soak") else PORTION
    for seed in range(portion * size, (portion + 1) * size):
        dice = random.Random(seed)  # the same damages each time
        state = sufferer.restored()
        files = sorted(path for path in state.rglob("*") if path.is_file())
        # Half of the damages are to the state file: there is most to hit.
        path = state / "state.db" if dice.random() < 0.5 else dice.choice(files)
        deed = dice.choice(DEEDS)
        deed(path, dice)
        sufferer.outlives(f"{seed}: {getattr(deed, '__name__', deed)} {path.relative_to(state)}")


# --- the state file, at chosen places -----------------------------------------------------------


def page_zeroed(name: str) -> Callable[[Path], None]:
    def deed(state: Path) -> None:
        path = state / "state.db"
        number = 1 if name == "the schema" else root_page(path, name)
        overwrite(path, (number - 1) * PAGE, bytes(PAGE))

    return deed


def header(offset: int, content: bytes) -> Callable[[Path], None]:
    return lambda state: overwrite(state / "state.db", offset, content)


def sql(*statements: str) -> Callable[[Path], None]:
    def deed(state: Path) -> None:
        with closing(sqlite3.connect(state / "state.db")) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return deed


def beside(suffix: str, content: bytes | None) -> Callable[[Path], None]:
    def deed(state: Path) -> None:
        path = state / f"state.db{suffix}"
        path.unlink(missing_ok=True)  # a kill may have left one
        if content is None:
            path.mkdir()
            (path / "something").touch()
        else:
            path.write_bytes(content)

    return deed


TRIGGER = "CREATE TRIGGER t BEFORE {} BEGIN SELECT RAISE(ABORT, 'no'); END"

STATE: dict[str, Callable[[Path], None]] = {
    **{
        f"page of {name}": page_zeroed(name)
        for name in (
            "the schema", "about", "database", "rotation_by_key",
        )
    },
    "magic": header(0, b"X"),
    "version 0": header(60, b"\0\0\0\0"),
    "version of a newer one": header(60, b"\0\0\0\x06"),
    "version noted otherwise": sql("UPDATE about SET value = '99' WHERE name = 'schema_version'"),
    "no key": sql("DELETE FROM about WHERE name = 'fingerprint_key'"),
    "another key": sql(
        "UPDATE about SET value = replace(value, substr(value, 1, 1), 'a')"
        " WHERE name = 'fingerprint_key'"
    ),
    "no about": sql("DROP TABLE about"),
    "count at its end": sql("UPDATE sqlite_sequence SET seq = 9223372036854775807"),
    "no text": sql("UPDATE database SET label = CAST(x'ff41' AS TEXT)"),
    "a print of one letter else": sql(
        "UPDATE database SET fingerprint = replace(fingerprint, '\"host\": \"', '\"host\": \"0')"
    ),
    "prints of each other": sql(
        "UPDATE database SET fingerprint = (SELECT max(fingerprint) FROM database)"
    ),
    "moments": sql(
        "UPDATE trouble SET since = 'soon'",
        "UPDATE database SET looked_at = '2026-01-01', proven_at = 7",
        "UPDATE rotation SET seen_at = 'x'",
    ),
    "a folder for a journal": beside("-journal", None),
    "a journal of anything": beside("-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 900),
}  # fmt: skip


@pytest.mark.parametrize("what", STATE)
def test_the_state_file_may_be_wrong_anywhere(sufferer: Sufferer, what: str) -> None:
    """Each table, each field of the header, each kind of value, and all that lies beside it."""
    STATE[what](sufferer.state)
    sufferer.outlives(what)


# --- journals, at chosen places -----------------------------------------------------------------


def only_a_file(journal: Path) -> None:
    shutil.rmtree(journal)
    journal.write_text("x")


def done_as_well(journal: Path) -> None:
    shutil.copytree(journal, journal.with_suffix(""))


def image_as_pipe(journal: Path) -> None:
    (journal / "0.before").unlink()
    os.mkfifo(journal / "0.before")


def aside_already(journal: Path) -> None:
    shutil.copytree(journal, journal.with_suffix(".damaged"))
    (journal / "manifest.json").unlink()


def as_a_file(name: str) -> Callable[[Path], None]:
    def deed(journal: Path) -> None:
        place = journal.parents[1] / name
        shutil.rmtree(place)
        place.write_text("x")

    return deed


JOURNALS: dict[str, Callable[[Path], None]] = {
    "a file": only_a_file,
    "done, too": done_as_well,
    "a pipe": image_as_pipe,
    "aside already": aside_already,
    "commits": as_a_file("commits"),
}


@pytest.mark.parametrize("what", JOURNALS)
def test_a_journal_may_be_wrong_anywhere(sufferer: Sufferer, what: str) -> None:
    """Each image, its folder and its name; of its manifest `tests/unit/test_journal.py` says it."""
    JOURNALS[what](sufferer.open_journal())
    sufferer.outlives(what)


def forged(journal: Path, victim: Path, medium: str, held: bytes, wanted: bytes) -> None:
    """Make a journal say that its first client is another file, which is to be `wanted` now."""
    manifest = journal / "manifest.json"
    fields = json.loads(manifest.read_text())
    fields.pop("seal", None)
    done = journal.suffix != ".open"
    before, after = (wanted, held) if done else (held, wanted)
    fields["files"][0] |= {
        "path": str(victim), "target": str(victim), "medium": medium,
        "before": digest(before), "expand": None, "after": digest(after),
    }  # fmt: skip
    manifest.write_text(json.dumps(fields))
    (journal / "0.before").write_bytes(before)
    (journal / "0.after").write_bytes(after)


@pytest.mark.parametrize("medium", ["file", "rows"])
def test_a_forged_journal_reaches_no_file_that_is_no_client(
    sufferer: Sufferer, medium: str
) -> None:
    """However whole a journal is, recovery writes what the configuration names, and no more."""
    victim = sufferer.desk.folder / "victim"
    victim.write_text("mine\n")
    forged(sufferer.open_journal(), victim, medium, b"mine\n", b"forged")
    sufferer.outlives(f"forged, {medium}")
    assert victim.read_text() == "mine\n"


def test_a_forged_journal_is_not_rolled_back(sufferer: Sufferer) -> None:
    """Nor does a person who asks for it write anything but clients."""
    assert sufferer.desk.run("check").code == 0
    victim = sufferer.desk.folder / "victim"
    victim.write_text("mine\n")
    (done,) = (sufferer.state / "commits").glob("*-0004")
    forged(done, victim, "file", b"mine\n", b"forged")
    result = sufferer.desk.run("rollback", "4")
    assert result.code == 1, result
    assert "is no client of the configuration" in result.err
    assert victim.read_text() == "mine\n"


# --- everything else that lies there ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("status.json", "folder"), ("status.json", "link"), ("daemon.lock", "pipe"),
        ("daemon.lock", "garbage"), ("daemon.lock.pid", "link"), ("daemon.lock.pid", "folder"),
    ],
)  # fmt: skip
def test_whatever_lies_in_the_place_of_a_file_of_ours(
    sufferer: Sufferer, name: str, what: str
) -> None:
    """It is set aside where it is no file, and a link is neither followed nor kept."""
    path, elsewhere = sufferer.state / name, sufferer.desk.folder / "elsewhere"
    path.unlink(missing_ok=True)
    if what == "folder":
        path.mkdir()
        (path / "something").touch()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        elsewhere.write_text("mine")
        path.symlink_to(elsewhere)
    else:
        path.write_bytes(b"\xff\0" * 9000)
    sufferer.outlives(f"{what} {name}")
    assert sufferer.desk.run("status").code == 0
    assert not elsewhere.exists() or elsewhere.read_text() == "mine"


def test_leftovers_of_every_file_go_at_the_start(sufferer: Sufferer) -> None:
    """Whatever was being written when a kill came; and other people's temporary files stay."""
    folder, state = sufferer.desk.folder, sufferer.state
    ours = [temp_path(state / name, "0123456789abcdef") for name in (
        "state.db", "status.json", "daemon.lock.pid", "pgherald-task.xml",
    )]  # fmt: skip
    ours += [temp_path(folder / name, "0123456789abcdef") for name in (
        "config.toml", "pgpass", "pg_service.conf", "servers.json",
    )]  # fmt: skip
    ours += [temp_path(record, "0123456789abcdef") for record in (state / "ownership").iterdir()]
    theirs = [folder / ".pgpass.swp", folder / ".pgpass.pgherald-0123.tmp", state / "notes.txt"]
    for path in (*ours, *theirs):
        path.write_text("CANARY-half-a-password")
    assert sufferer.desk.run("check").code == 0
    assert [path for path in ours if path.exists()] == []
    assert all(path.exists() for path in theirs)
    for path in theirs[1:2]:
        path.unlink()
    sufferer.outlives("leftovers")


def test_uninstall_knows_all_that_is_its_own(sufferer: Sufferer) -> None:
    """Nothing of pgherald's is left or called another's, whatever was set aside or left half done."""
    state = sufferer.state
    for name in ("state.db.damaged", "state.db.damaged-journal", "pgherald.log", "pgherald.log.old",
                 "status.json.damaged", "daemon.lock.damaged", "commits.damaged"):  # fmt: skip
        (state / name).write_text("x")
    for name in ("state.db", "status.json", "daemon.lock.pid"):
        temp_path(state / name, "0123456789abcdef").write_text("x")
    overwrite(
        state / "state.db", (root_page(state / "state.db", "pgadmin") - 1) * PAGE, bytes(PAGE)
    )
    result = sufferer.desk.run("uninstall", "--yes")
    assert result.code == 0, result
    assert "not pgherald's" not in result.out
    assert not state.exists()
    assert (sufferer.desk.folder / "pgpass").read_text() == OWN_LINE


# --- who may only read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "table"),
    [
        ("status", "database"), ("status", "about"), ("history", "rotation"), ("plan", "pgadmin"),
    ],
)  # fmt: skip
def test_who_only_reads_says_what_mends_it(sufferer: Sufferer, command: str, table: str) -> None:
    """It sets nothing aside; it works where it can do without, else it names the way out."""
    state = sufferer.state
    page_zeroed(table)(state)
    before = (state / "state.db").read_bytes()
    result = sufferer.desk.run(command)
    assert result.code in (0, 1), result
    assert "mistake of its own" not in result.err
    if result.code == 1:
        assert "state file is damaged" in result.err
        assert "Run: pgherald check" in result.err
    assert (state / "state.db").read_bytes() == before
    assert sufferer.desk.run("check").code == 0
    assert sufferer.desk.run(command).err.count("state file is damaged") == 0


@pytest.mark.parametrize("code", ["SQLITE_BUSY", "SQLITE_FULL", "SQLITE_READONLY", "SQLITE_IOERR"])
def test_a_hindrance_is_no_damage(sufferer: Sufferer, code: str) -> None:
    """A state file that is locked, full, not to be written or on a failing disk stays where it is."""
    error = sqlite3.OperationalError("the test's")
    error.sqlite_errorcode = getattr(sqlite3, code)
    assert not damage.proven(sufferer.state / "state.db", error)
