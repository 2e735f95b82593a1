"""`status` and `password` answered at once: the same words, or none at all."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pgherald.cli import shortcut
from pgherald.cli.columns import COLOURS, Column, drawn, fitting, painted
from pgherald.config import load
from pgherald.daemon.publish import leave_status
from pgherald.daemon.standing import as_json, standing_of
from pgherald.errors import ProbeFailed
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry, Rotation
from pgherald.quick import memo
from pgherald.quick.shape import STATUS_FILE, text_of
from pgherald.store import Store, Trouble, requests
from pgherald.store.requests import Requests
from support.commands import CLIENTS, SHOP, Result, run
from support.household import database, login
from support.terminal import Terminal

KEY = DatabaseKey("default", "shop-production", "DATABASE")
PRODUCTION = dataclasses.replace(database("shop-production"), name="Shop")
PGPASS = r"""localhost:5432:*:me:CANARY-mine
db:5433:orders:Odd "name":CANARY-odd
db:5432:*:u1:CANARY\:u1
"""
SERVICES = "[shop]\nhost=db\nuser=u1\npassword=CANARY-shop\n[bare]\nhost=h\n"

#: What is loaded by no command that is answered at once.
SLOW = ("attrs", "cattrs", "click", "dataclasses", "httpx", "inspect", "psycopg", "rich", "sqlite3")


class Desk:
    """A home with a configuration, both of libpq's files, and a state."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.file = folder / "config.toml"
        self.configure()
        self.env = {"HOME": str(folder), "PGHERALD_CONFIG": str(self.file)}
        self.env |= {"PGHERALD_STATE_DIR": str(folder / "state")}
        self.files = Files(folder / "state" / "locks")
        self.files.private_folder(folder / "state")
        (folder / "pgpass").write_text(PGPASS)
        (folder / "pg_service.conf").write_text(SERVICES)

    @property
    def status(self) -> Path:
        return self.folder / "state" / STATUS_FILE

    def configure(self, more: str = "") -> None:
        self.file.write_text(f"{SHOP}{CLIENTS}{more}")

    def store(self) -> Store:
        return Store.open(self.folder / "state" / "state.db", self.files)

    def healthy(self, *, proven: bool = True) -> None:
        at = datetime.now(UTC) - timedelta(minutes=5, seconds=30)
        with self.store() as store:
            store.looked([PRODUCTION], at)
            store.current([Entry(PRODUCTION, login())], at, {KEY: at} if proven else {})
            store.add_rotation(Rotation(KEY, ("password",), at, at, at, 42), "Shop", ("psql",))
            requests.keep(store, Requests("default", 64, 1125, 4431, at))

    def leave(self, *, running: bool = False) -> None:
        """What the daemon leaves, or a check."""
        config = load(None, self.env)
        with self.store() as store:
            leave_status(config, store, self.files)
            if running:
                shown = as_json(config, standing_of(config, store), running=True)
                origin = memo.made_from(config.origin, config.state_dir)
                self.status.write_text(text_of({**shown, memo.MADE_FROM: origin}))

    def answer(self, *argv: str) -> str | None:
        """What is answered at once."""
        return shortcut.answer(argv, self.env)

    def whole(self, *argv: str) -> Result:
        """What the whole program says."""
        for name, value in self.env.items():
            self.patch.setenv(name, value)
        return run(*argv, patch=self.patch)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, monkeypatch)
    made.healthy()
    made.leave()
    return made


# --- the same words ----------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["status"], ["status", "--json"]])
def test_status_in_the_same_words(desk: Desk, argv: list[str]) -> None:
    """What is answered at once is what the whole program prints, letter for letter."""
    assert desk.whole(*argv) == Result(0, desk.answer(*argv) or "none", "")
    with desk.store() as store:
        store.note("notifications", "there is no session bus")
    desk.leave()
    assert desk.whole(*argv) == Result(0, desk.answer(*argv) or "none", "")


@pytest.mark.parametrize("argv", [["status"], ["status", "--json"]])
def test_status_of_a_running_daemon(desk: Desk, argv: list[str]) -> None:
    """While the daemon runs, and says so, its costs and its next look are in the answer too."""
    desk.leave(running=True)
    assert desk.answer(*argv) is None, "it has died since"
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        assert desk.whole(*argv) == Result(0, desk.answer(*argv) or "none", "")
    desk.leave()
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        assert desk.answer(*argv) is None, "it has just begun"


def test_a_state_without_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first look it is said in the same words what to do."""
    desk = Desk(tmp_path, monkeypatch)
    desk.leave()
    assert desk.whole("status") == Result(0, desk.answer("status") or "none", "")


@pytest.mark.parametrize(
    "argv",
    [
        ["--service", "shop"],
        ["--service=shop"],
        ["--host", "db", "--user", "u1"],
        ["--user=u1", "--host=db", "--port=5432"],
        ["--host", "db", "--user", '"u1"'],
        ["--host", "localhost", "--user", "me", "--dbname", "any"],
        ["--host", "db", "--port", "5433", "--dbname", "orders", "--user", '"Odd ""name"""'],
    ],
)
def test_password_in_the_same_words(desk: Desk, argv: list[str]) -> None:
    """A password that is there is found as the whole program finds it."""
    found = desk.answer("password", *argv)
    assert found is not None
    assert found.startswith("CANARY")
    assert desk.whole("password", *argv) == Result(0, found, "")


def test_password_while_the_state_moves_on(desk: Desk) -> None:
    """Where the clients' files are does not hang on the state, so a sweep makes nobody wait."""
    desk.healthy()
    assert desk.answer("status") is None
    assert desk.answer("password", "--service", "shop") == "CANARY-shop\n"


def test_the_second_of_two_files(desk: Desk) -> None:
    """Several files of one kind are read in the configuration's order."""
    (desk.folder / "other").write_text("db:5432:*:u2:CANARY-other\n")
    text = CLIENTS.replace("[clients.pgpass]", "[[clients.pgpass]]")
    desk.file.write_text(f'{SHOP}{text}[[clients.pgpass]]\npath = "other"\n')
    desk.leave()
    assert desk.answer("password", "--host", "db", "--user", "u2") == "CANARY-other\n"
    assert desk.answer("password", "--host", "db", "--user", "u1") == "CANARY:u1\n"


# --- none at all -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["history"],
        ["--config", "other.toml", "status"],
        ["status", "--watch"],
        ["status", "--json", "--json"],
        ["status", "--help"],
        ["password"],
        ["password", "--service", "nothing"],
        ["password", "--service", "bare"],
        ["password", "--service", "shop", "--service", "shop"],
        ["password", "--service", "shop", "--host", "db"],
        ["password", "--service"],
        ["password", "service", "shop"],
        ["password", "--service", "--host"],
        ["password", "--host", "db"],
        ["password", "--user", "u1"],
        ["password", "--host", "db", "--user", "u2"],
        ["password", "--host", "db", "--user", "u1", "--port", "0"],
        ["password", "--host", "db", "--user", "u1", "--port", "65536"],
        ["password", "--host", "db", "--user", "u1", "--port", "٥٤٣٢"],
        ["password", "--host", "db", "--user", "u1", "--port", " 5432"],
        ["password", "--host", "db", "--user", "u1", "--colour", "red"],
        ["password", "--help"],
    ],
    ids=" ".join,
)
def test_what_is_not_plain_is_left_to_the_whole_program(desk: Desk, argv: list[str]) -> None:
    """An odd command line, and what is not there, take the whole program's words."""
    assert desk.answer(*argv) is None


def _edited(desk: Desk) -> None:
    desk.file.write_text(desk.file.read_text().replace("Shop", "Shoq"))


def _other_home(desk: Desk) -> None:
    desk.env["HOME"] = str(desk.folder.parent)


def _other_heroku(desk: Desk) -> None:
    desk.env["HEROKU_HOST"] = "http://127.0.0.1:5000"


def _gone(desk: Desk) -> None:
    desk.file.unlink()


def _other_version(desk: Desk) -> None:
    desk.patch.setattr(memo, "__version__", "0.0.9")


def _never_kept(desk: Desk) -> None:
    desk.status.unlink()


def _older(desk: Desk) -> None:
    shown = json.loads(desk.status.read_text())
    del shown["made_from"]
    desk.status.write_text(json.dumps(shown))


def _no_object(desk: Desk) -> None:
    desk.status.write_text("[]")


def _cut_off(desk: Desk) -> None:
    desk.status.write_text(desk.status.read_text()[:100])


def _open_to_others(desk: Desk) -> None:
    desk.status.chmod(0o622)


def _a_pipe(desk: Desk) -> None:
    desk.status.unlink()
    os.mkfifo(desk.status)


@pytest.mark.parametrize(
    "deed",
    [_edited, _other_home, _other_heroku, _gone, _other_version, _never_kept, _older, _no_object,
     _cut_off, _open_to_others, _a_pipe],
)  # fmt: skip
@pytest.mark.parametrize("argv", [["status"], ["password", "--service", "shop"]], ids=" ".join)
def test_what_is_not_certain_is_left_to_the_whole_program(
    desk: Desk, deed: Callable[[Desk], None], argv: list[str]
) -> None:
    """A status.json of which it is not known that it is true is relied on for nothing."""
    assert desk.answer(*argv) is not None
    deed(desk)
    assert desk.answer(*argv) is None


def _troubled(desk: Desk) -> None:
    error = ProbeFailed("Postgres refuses Shop", "Look.")
    told = (error.kind, error.title, error.advice)
    with desk.store() as store:
        store.put_trouble(Trouble("account:default", "x", *told, datetime.now(UTC), told=True))
    desk.leave()


def _half_written(desk: Desk) -> None:
    (desk.folder / "state" / "state.db-journal").touch()


def _other_state(desk: Desk) -> None:
    path = desk.folder / "state" / "state.db"
    path.rename(path.with_suffix(".damaged"))
    desk.store().close()


def _in_wal_mode(desk: Desk) -> None:
    with desk.store() as store:
        store._connection.execute("PRAGMA journal_mode = WAL")
    desk.leave()


@pytest.mark.parametrize(
    "deed", [_troubled, _half_written, _other_state, _in_wal_mode, Desk.healthy]
)
def test_a_state_that_has_changed(desk: Desk, deed: Callable[[Desk], None]) -> None:
    """A trouble, and a state that somebody is writing or has written, are not answered at once."""
    assert desk.answer("status") is not None
    deed(desk)
    assert desk.answer("status") is None


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.note("x", "1"),
        lambda store: store.looked([PRODUCTION], datetime.now(UTC)),
        lambda store: store.forget(KEY),
        lambda store: store.clear_trouble("account:default"),
        lambda store: store.keep_rows(Path("/x"), "{}"),
    ],
    ids=["note", "look", "forget", "trouble", "rows"],
)
def test_each_change_of_the_state_is_noticed(desk: Desk, write: Callable[[Store], None]) -> None:
    """SQLite counts its transactions, so one within the same tick of the clock is noticed too."""
    with desk.store() as store:
        store.note("x", "0")
        store.put_trouble(Trouble("account:default", "", "", "", "", datetime.now(UTC), told=True))
        before = memo.made_from({}, desk.folder / "state")
        assert memo.same_state(before, desk.folder / "state")
        write(store)
    assert not memo.same_state(before, desk.folder / "state")


def test_no_state_is_never_the_same(tmp_path: Path) -> None:
    """Where there is no state, there is nothing to rely on."""
    assert not memo.same_state(memo.made_from({}, tmp_path), tmp_path)
    (tmp_path / "state.db").write_bytes(b"SQLite")
    assert not memo.same_state(memo.made_from({}, tmp_path), tmp_path)


def test_a_pgadmin_that_came_later(desk: Desk, tmp_path: Path) -> None:
    """Where any pgAdmin is to be kept, one that is there now and was not before counts."""
    desk.configure("[clients.pgadmin]\n")
    desk.leave()
    assert desk.answer("status") is not None
    place = tmp_path / ".pgadmin" / "pgadmin4.db"
    place.parent.mkdir()
    place.touch()
    assert desk.answer("status") is None


def test_a_client_that_is_no_file(desk: Desk) -> None:
    """A pipe in a client's place is not opened, and neither is a file that is not there."""
    services = desk.folder / "pg_service.conf"
    services.unlink()
    assert desk.answer("password", "--service", "shop") is None
    os.mkfifo(services)
    assert desk.answer("password", "--service", "shop") is None


def test_an_encoding_that_cannot_show_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stdout cannot show is left to the whole program, before half of it is out."""
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert "✓" not in (desk.answer("status") or "✓")
    (desk.folder / "pg_service.conf").write_text("[shop]\npassword=CANARY-ü\n")
    assert desk.answer("password", "--service", "shop") is None


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["run"], (None, None)),
        (["--config", "c.toml", "run"], (Path("c.toml"), None)),
        (["run", "--log-file", "x.log"], (None, Path("x.log"))),
        (["--config", "c", "run", "--log-file", "l"], (Path("c"), Path("l"))),
        (["run", "--help"], None),
        (["run", "--log-file"], None),
        (["run", "--log-file", "--help"], None),
        (["run", "now"], None),
        (["--config", "run"], None),
        (["--config=c", "run"], None),
        (["status"], None),
        ([], None),
    ],
    ids=str,
)
def test_what_asks_plainly_for_the_daemon(argv: list[str], asked: object) -> None:
    """A service manager's command line goes straight to the daemon; any other one is read whole."""
    assert shortcut.daemon(argv) == asked


# --- how light, and on a terminal ------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["status"], ["password", "--service", "shop"]], ids=" ".join)
@pytest.mark.parametrize("state_dir", ["", 'state_dir = "state"\n'], ids=["default", "named"])
def test_answered_at_once(desk: Desk, argv: list[str], state_dir: str) -> None:
    """Nothing is loaded that the answer does not need, wherever the state is."""
    desk.file.write_text(f"{state_dir}{desk.file.read_text()}")
    if state_dir:
        del desk.env["PGHERALD_STATE_DIR"]
    desk.leave()
    program = (
        "import sys\n"
        "from pgherald.cli.entry import main\n"
        f"sys.argv = ['pgherald', *{argv!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    print(ended.code, *sys.modules, sep='\\n', file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], env=desk.env | {"LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    code, *loaded = ended.stderr.split()
    assert (code, ended.stdout) == ("0", desk.answer(*argv))
    assert set(loaded).isdisjoint(SLOW)


def test_nobody_reads_on(desk: Desk) -> None:
    """A reader that has seen enough (`| head`) is no error."""
    argv = [sys.executable, "-c", "from pgherald.cli.entry import main; input(); main()", "status"]
    with subprocess.Popen(
        argv, env=desk.env | {"LC_ALL": "C.UTF-8"}, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        child.stdout.close()
        child.stdout = None
        _, err = child.communicate(b"\n", timeout=30)
    assert (child.returncode, err) == (0, b"")


_CELLS = st.one_of(st.sampled_from(list(COLOURS)), st.text("abz[]{}\\:/ -.", max_size=12))


@given(
    cells=st.lists(st.lists(_CELLS, min_size=3, max_size=3), min_size=1, max_size=5),
    width=st.integers(20, 90),
)
def test_a_table_is_drawn_as_rich_draws_it(cells: list[list[str]], width: int) -> None:
    """On a terminal the table looks the same, whoever has drawn it."""
    heads = ["DATABASE", "psql", "LAST LOOK"]
    columns = [Column(h, [row[n] for row in cells], n) for n, h in enumerate(heads)]
    ours = painted(columns, width)
    if ours is None:
        assert sum(column.width + 2 for column in fitting(columns, width)) > width
        return
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system="standard")
    console.print(drawn(fitting(columns, width)))
    assert [_looks(line) for line in ours] == [_looks(line) for line in out.getvalue().splitlines()]


def test_wide_letters_take_rich() -> None:
    """Letters that take two columns, or none, are left to a library that knows them."""
    assert painted([Column("DATABASE", ["日本"])], 80) is None
    assert painted([Column("DATABASE", ["Shop"]), Column("psql", ["·"])], 80) is not None


_PROGRAM = """
import sys
from pgherald.cli.{module} import main
try:
    main()
finally:
    open("loaded", "w").write(" ".join(sys.modules))
"""


@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}, {"FORCE_COLOR": "1"}])
@pytest.mark.parametrize("width", [50, 80, 120])
def test_a_terminal_shows_the_same(desk: Desk, width: int, more: dict[str, str]) -> None:
    """Wide or narrow, with or without colours: a terminal shows what the whole program shows."""
    env = desk.env | {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"} | more
    shown = {}
    for module in ("entry", "main"):
        argv = [sys.executable, "-c", _PROGRAM.format(module=module), "status"]
        with Terminal(argv, env=env, columns=width, cwd=desk.folder) as terminal:
            assert terminal.end() == 0
            shown[module] = [_looks(line) for line in terminal.raw.splitlines()]
        loaded = (desk.folder / "loaded").read_text().split()
        assert ("rich" in loaded) is (width >= 60 and (module == "main" or bool(more)))
    assert shown["entry"] == shown["main"]


def _looks(line: str) -> list[tuple[str, str]]:
    """Each character that can be seen, with its colour; blanks have none."""
    found, style = [], ""
    for part in re.split(r"(\x1b\[\d*m)", line):
        if part.startswith("\x1b"):
            style = "" if part == "\x1b[0m" else part
        else:
            found += [(c, "" if c == " " else style) for c in part]
    return found
