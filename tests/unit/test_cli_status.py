"""`status`, `history` and `config`: what pgherald knows, for people and for scripts."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import click
import pytest

from pgherald.cli.columns import Column, fitting
from pgherald.cli.output import emit_json
from pgherald.cli.timeline import timeline
from pgherald.cli.wording import ago, headline, lasting
from pgherald.config.generate import describe
from pgherald.errors import (
    ClientError,
    FileTrouble,
    LoginRequired,
    NotVisible,
    PgheraldError,
    ProbeFailed,
    Unparsable,
)
from pgherald.files import Files
from pgherald.model import DatabaseKey, Entry, Rotation
from pgherald.store import Record, Store, Trouble, requests
from pgherald.store.requests import Requests
from support.commands import CLIENTS, SHOP, Result, run
from support.household import database, login

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = DatabaseKey("default", "shop-production", "DATABASE")
PRODUCTION = dataclasses.replace(database("shop-production"), name="Shop")


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test's own "now": the whole run may take minutes, and status tells the minutes."""
    monkeypatch.setitem(globals(), "NOW", datetime.now(UTC).replace(microsecond=0))


class Desk:
    """A configuration and a state file."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.configure(SHOP + CLIENTS)
        self.files = Files(folder / "state" / "locks")

    def configure(self, text: str) -> None:
        (self.folder / "config.toml").write_text(f'state_dir = "state"\n{text}')

    def store(self) -> Store:
        self.files.private_folder(self.folder / "state")
        return Store.open(self.folder / "state" / "state.db", self.files)

    def healthy(self, *, proven: bool = True) -> None:
        """All was well five minutes ago."""
        at = NOW - timedelta(minutes=5)
        with self.store() as store:
            store.looked([PRODUCTION], at)
            store.current([Entry(PRODUCTION, login())], at, {KEY: at} if proven else {})

    def rotated(self, key: DatabaseKey = KEY, label: str = "Shop", days: int = 1) -> None:
        at = NOW - timedelta(days=days)
        rotation = Rotation(key, ("user", "password"), at, at, at, 42)
        with self.store() as store:
            store.add_rotation(rotation, label, ("psql", "service file"))

    def run(self, *args: str) -> Result:
        return run("--config", str(self.folder / "config.toml"), *args, patch=self.patch)


def put(store: Store, subject: str, label: str, error: PgheraldError, since: datetime) -> None:
    """Something has not worked since then."""
    trouble = Trouble(subject, label, error.kind, error.title, error.advice, since, told=True)
    store.put_trouble(trouble)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


# --- status --------------------------------------------------------------------------------


def test_status_before_anything(desk: Desk) -> None:
    """Before the first look, status says what to do, and lists what is going to be kept."""
    result = desk.run("status")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Nothing has been looked at yet. Run: pgherald check\n")
    row = ["Shop", "shop-production/DATABASE", "new", "·", "·", "·", "never", "-", "never", "never"]
    assert row in [line.split() for line in result.out.splitlines()]
    assert not (desk.folder / "state").exists()


def test_status_when_all_is_well(desk: Desk) -> None:
    """A healthy household is a table and one line about the daemon."""
    desk.healthy()
    desk.rotated()
    result = desk.run("status")
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines() == [
        (
            "DATABASE  KEY                       STATE    psql  service file  servers.json  LAST LOOK  "
            "NEXT LOOK  LAST ROTATION  PROVEN"
        ),
        (
            "Shop      shop-production/DATABASE  current  ✓     ✓             ✓             5 min ago  "
            "-          1 day ago      5 min ago"
        ),
        "",
        "The daemon is not running; start it with: pgherald run.",
    ]


def test_status_of_what_one_client_never_got(desk: Desk) -> None:
    """It is not new, for the others hold it, and not current: it is behind, in that client."""
    at = NOW - timedelta(minutes=5)
    error = FileTrouble("belongs to user 0", path=desk.folder / "pgpass")
    with desk.store() as store:
        store.looked([PRODUCTION], at)
        store.current([Entry(PRODUCTION, login())], None, {KEY: at})
        put(store, f"client:{error.path}", "psql", error, at)
    result = desk.run("status")
    assert result.code == 1
    (row,) = [line.split() for line in result.out.splitlines() if line.startswith("Shop")]
    assert row[2:6] == ["behind", "✗", "✓", "✓"]
    (shown,) = json.loads(desk.run("status", "--json").out)["databases"]
    assert shown["current"] is False
    assert shown["clients"] == {
        "psql": "failed",
        "service file": "current",
        "servers.json": "current",
    }


def test_an_unproven_login_is_called_so(desk: Desk) -> None:
    """A login in the clients that nobody could prove is told from one that is still to come."""
    desk.healthy(proven=False)
    assert "unproven" in desk.run("status").out


@pytest.mark.parametrize(
    ("subject", "error", "marks", "told"),
    [
        ("client:{folder}/pgpass", FileTrouble("x"), "✗ ✓ ✓", "✓ holds the login  ✗ could not"),
        (f"fit:{KEY}", ClientError("psql cannot hold the login of x"), "✗ ✓ ✓", "✗ could not be"),
        (f"database:{KEY}", ProbeFailed("Postgres refuses x"), "○ ○ ○", "○ holds the old login"),
        (f"database:{KEY}", NotVisible("x is gone"), "✓ ✓ ✓", ""),
        ("commit", FileTrouble("no undo"), "✗ ✗ ✗", "✗ could not be written"),
    ],
)
def test_marks(desk: Desk, subject: str, error: PgheraldError, marks: str, told: str) -> None:
    """A mark tells of each client what it holds; where one is amiss, the marks are explained."""
    desk.healthy()
    with desk.store() as store:
        put(store, subject.format(folder=desk.folder), "x", error, NOW)
    out = desk.run("status").out
    assert f" {marks} " in " ".join(out.split())
    assert told in out
    assert ("written\n" in out or "holds" in out) is bool(told)


def test_the_next_look(desk: Desk) -> None:
    """The next look is a poll_interval after the last, and unknown while the account must wait."""
    desk.configure(f'poll_interval = "10m"\n{SHOP}{CLIENTS}')
    desk.healthy()
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        assert re.search(r"  in [45] min", desk.run("status").out)
        (database,) = desk.run("status", "--json").json["databases"]
        assert datetime.fromisoformat(database["next_look_at"]) == NOW + timedelta(minutes=5)
        with desk.store() as store:
            put(store, "account:default", "default", LoginRequired("No token"), NOW)
        assert "  later  " in desk.run("status").out
        assert desk.run("status", "--json").json["databases"][0]["next_look_at"] is None


def test_narrow_terminals_do_without() -> None:
    """What can be spared goes first, the most dispensable first of all; the rest stays."""
    table = [Column("A", ["aaaa"]), Column("B", ["bbbb"], 2), Column("C", ["cccc"], 1)]
    assert [c.heading for c in fitting(table, 18)] == ["A", "B", "C"]
    assert [c.heading for c in fitting(table, 17)] == ["A", "C"]
    assert [c.heading for c in fitting(table, 1)] == ["A"]


@pytest.mark.parametrize("also", [[], ["--json"]])
def test_watch_wants_a_terminal(desk: Desk, also: list[str]) -> None:
    """Without a terminal, --watch is refused with a sentence and exit code 2."""
    result = desk.run("status", "--watch", *also)
    assert (result.code, result.out) == (2, "")
    assert "--watch draws on a terminal" in result.err


def test_status_while_the_daemon_runs(desk: Desk) -> None:
    """Whether the daemon runs is read from its lock, which a killed one does not hold."""
    desk.healthy()
    lock = desk.folder / "state" / "daemon.lock"
    with desk.files.exclusive(lock, "pgherald run"):
        assert desk.run("status").out.endswith("The daemon is running.\n")
        assert desk.run("status", "--json").json["running"]
    assert lock.exists()
    assert not desk.run("status", "--json").json["running"]


def test_troubles_come_first(desk: Desk) -> None:
    """What is wrong, for whom, since when and what to do: on stderr, the oldest first; exit 1."""
    desk.healthy()
    with desk.store() as store:
        refused = ProbeFailed("Postgres refuses the login of Shop", "Make another.")
        put(store, f"database:{KEY}", "Shop", refused, NOW - timedelta(minutes=3))
        token = LoginRequired("Heroku does not accept the token", "Log in.")
        put(store, "account:work", "work", token, NOW - timedelta(hours=2))
    result = desk.run("status")
    assert result.code == 1
    assert result.err.splitlines() == [
        "Heroku account work: Heroku does not accept the token (began 2 h ago)",
        "  Log in.",
        "Postgres refuses the login of Shop (began 3 min ago)",
        "  Make another.",
        "",
    ]
    assert " trouble " in result.out


def test_a_note_about_notifications(desk: Desk) -> None:
    """Why the latest notification could not be shown is said at the end."""
    desk.healthy()
    with desk.store() as store:
        store.note("notifications", "no desktop here")
    assert desk.run("status").out.endswith("\nNotifications: no desktop here\n")


def test_the_cost_is_shown(desk: Desk) -> None:
    """While the daemon runs its requests are shown; those of an account that is gone are not."""
    desk.healthy()
    with desk.store() as store:
        for account in ("default", "gone"):
            requests.keep(store, Requests(account, 64, 1125, 4431, NOW))
        store.note("requests:broken", "nonsense")
    line = "Requests in the last hour: 64 of 1125 allowed; 4431 left to all programs."
    assert line not in desk.run("status").out
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        result = desk.run("status")
    assert line in result.out.splitlines()
    assert result.out.count("Requests") == 1
    assert desk.run("status", "--json").json["requests"] == [
        {
            "account": "default",
            "last_hour": 64,
            "allowance": 1125,
            "remaining": 4431,
            "at": NOW.isoformat(timespec="milliseconds"),
        }
    ]


def test_status_as_json(desk: Desk) -> None:
    """The JSON has the documented shape."""
    desk.healthy()
    desk.rotated()
    with desk.store() as store:
        error = Unparsable("not JSON", path=desk.folder / "servers.json", line=3)
        put(store, f"client:{desk.folder / 'servers.json'}", "servers.json", error, NOW)
    result = desk.run("status", "--json")
    assert result.code == 1
    at = (NOW - timedelta(minutes=5)).isoformat(timespec="milliseconds")
    assert result.json == {
        "ok": False,
        "running": False,
        "databases": [
            {
                "key": "shop-production/DATABASE",
                "name": "Shop",
                "current": True,
                "looked_at": at,
                "next_look_at": None,
                "current_at": at,
                "proven": True,
                "proven_at": at,
                "last_rotation_at": (NOW - timedelta(days=1)).isoformat(timespec="milliseconds"),
                "clients": {"psql": "current", "service file": "current", "servers.json": "failed"},
            }
        ],
        "clients": [
            {"kind": "service_file", "path": str(desk.folder / "pg_service.conf"), "ok": True},
            {"kind": "pgpass", "path": str(desk.folder / "pgpass"), "ok": True},
            {"kind": "servers_json", "path": str(desk.folder / "servers.json"), "ok": False},
        ],
        "troubles": [
            {
                "subject": f"client:{desk.folder / 'servers.json'}",
                "name": "servers.json",
                "kind": "Unparsable",
                "title": f"{desk.folder / 'servers.json'}:3: not JSON",
                "advice": "",
                "since": NOW.isoformat(timespec="milliseconds"),
            }
        ],
        "requests": [],
        "notifications": None,
        "warnings": [],
    }


def test_a_state_file_that_is_none(desk: Desk) -> None:
    """Status never repairs: a damaged state file is named, with exit code 1."""
    (desk.folder / "state").mkdir(mode=0o700)
    (desk.folder / "state" / "state.db").write_bytes(b"nonsense" * 200)
    result = desk.run("status")
    assert (result.code, result.out) == (1, "")
    assert str(desk.folder / "state" / "state.db") in result.err


# --- history -------------------------------------------------------------------------------


def test_no_history(desk: Desk) -> None:
    """No rotation is no trouble."""
    assert desk.run("history") == Result(0, "No rotation has been seen yet.\n", "")
    assert desk.run("history", "--json") == Result(0, "[]\n", "")


def test_history(desk: Desk) -> None:
    """A rotation is one line: when, which, by which release, what changed, where it went."""
    desk.rotated()
    result = desk.run("history")
    assert result.code == 0
    heading, row = result.out.splitlines()
    assert heading.split() == ["WHEN", "DATABASE", "CHANGED", "PROVEN", "WRITTEN", "TO"]
    assert row.endswith("  Shop (v42)  user, password  yes     psql, service file")


def records(*days: float, **changes: object) -> list[Record]:
    """Rotations of one database, so many days ago."""
    made = []
    for number, day in enumerate(days):
        at = NOW - timedelta(days=day)
        rotation = dataclasses.replace(Rotation(KEY, ("user",), at, at, at), **changes)  # type: ignore[arg-type]  # names are the test's
        made.append(Record(number, "Shop (production)", rotation, ("psql",)))
    return made


def test_the_time_line() -> None:
    """The oldest is at the left, now at the right; several in one place are counted."""
    shop = records(10, 5, 5, 0)
    blog = records(7.5, key=DatabaseKey("default", "blog", "DATABASE"))
    lines = [click.unstyle(line) for line in timeline([*shop, *blog], NOW, 40)]
    assert lines == [
        "Shop (produc…  ──────●──────────────────",
        "Shop (produc…  ●───────────2───────────●",
        "               10 days ago           now",
    ]
    assert click.unstyle(timeline(shop, NOW, 40, marks=False)[0]).startswith("Shop (produc~  o---")
    for width in (1, 20, 40, 80, 300):
        assert len({len(click.unstyle(line)) for line in timeline(shop, NOW, width)}) == 1


def test_the_time_line_shows_what_is_amiss() -> None:
    """A rotation that was not proven, or is not everywhere, has another colour."""
    assert "\x1b[32m●" in timeline(records(1), NOW, 40)[0]
    assert "\x1b[33m●" in timeline(records(1, proven_at=None), NOW, 40)[0]
    assert "\x1b[33m●" in timeline(records(1, written_at=None), NOW, 40)[0]


def test_the_time_line_is_for_terminals(desk: Desk) -> None:
    """Piped, history is a plain list, unless the line is asked for; then it has no colours."""
    desk.rotated()
    assert "●" not in desk.run("history").out
    asked = desk.run("history", "--timeline", "--wait").out
    assert "●──" in asked
    assert "\x1b" not in asked


def test_history_as_json(desk: Desk) -> None:
    """The JSON has the documented shape, the latest first."""
    desk.rotated(days=2)
    desk.rotated(days=1)
    (later, earlier) = desk.run("history", "--json").json
    assert later["id"] > earlier["id"]
    at = (NOW - timedelta(days=1)).isoformat(timespec="milliseconds")
    assert later == {
        "id": later["id"],
        "key": "shop-production/DATABASE",
        "name": "Shop",
        "changed": ["user", "password"],
        "release": 42,
        "seen_at": at,
        "proven_at": at,
        "written_at": at,
        "clients": ["psql", "service file"],
    }
    assert len(desk.run("history", "--json", "-n", "1").json) == 1


@pytest.mark.parametrize("text", ["shop-production/DATABASE", "shop-production", "Shop"])
def test_history_of_one(desk: Desk, text: str) -> None:
    """One database's history by its key, its app or its name, also when it is kept no more."""
    desk.rotated()
    desk.rotated(DatabaseKey("default", "blog", "DATABASE"), "Blog")
    (record,) = desk.run("history", text, "--json").json
    assert record["key"] == "shop-production/DATABASE"


def test_history_of_several(desk: Desk) -> None:
    """An app with several databases is not guessed at: exit code 1, and all of them."""
    desk.rotated()
    desk.rotated(dataclasses.replace(KEY, attachment="READER"), "Reader")
    result = desk.run("history", "shop-production")
    assert (result.code, result.out) == (1, "")
    assert "shop-production/DATABASE, shop-production/READER" in result.err


@pytest.mark.parametrize("stored", [False, True])
def test_history_of_a_stranger(desk: Desk, stored: bool) -> None:  # a parameter of the test
    """A database nobody knows is exit code 1, with a suggestion where one is near."""
    if stored:
        desk.rotated()
    result = desk.run("history", "shop-productoin")
    assert (result.code, result.out) == (1, "")
    assert "has not looked at any database 'shop-productoin'" in result.err
    assert ("Did you mean 'shop-production'?" in result.err) is stored


# --- config --------------------------------------------------------------------------------


def test_config_path_and_check(desk: Desk) -> None:
    """The path is the file in use; a good file is called fine."""
    file = desk.folder / "config.toml"
    assert desk.run("config", "path").out == f"{file}\n"
    assert desk.run("config", "check") == Result(0, f"{file} is fine.\n", "")


def test_the_example_loads(desk: Desk) -> None:
    """What `config example` prints is a configuration."""
    (desk.folder / "config.toml").write_text(desk.run("config", "example").out)
    assert desk.run("config", "check").code == 0


def test_config_show_hides_secrets(desk: Desk) -> None:
    """A token command's words and chat addresses may be secret, so neither is shown."""
    desk.configure(
        '[[accounts]]\nname = "work"\ntoken = "command:fetch --key CANARY-key"\n'
        '[[databases]]\napp = "shop"\naccount = "work"\n[[discover]]\naccount = "work"\n'
        f'{CLIENTS}[notifications]\nurls = ["slack://CANARY/token"]\n'
    )
    for args in (["config", "show"], ["config", "show", "--json"]):
        result = desk.run(*args)
        assert result.code == 0, result.err
        assert "CANARY" not in result.out
        assert "command:…" in result.out
    shape = desk.run("config", "show", "--json").json
    assert shape["notification_urls"] == 1
    assert shape["databases"][0]["key"] == "work:shop/DATABASE"
    shown = desk.run("config", "show").out
    assert "poll_interval = 60\n" in shown
    assert "desktop_notifications = yes\n" in shown
    assert "discover: account = work, include = *, attachments = DATABASE\n" in shown


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_config_keys_fits(desk: Desk, columns: int) -> None:
    """Every key with its default, wrapped to the terminal, without marks made for documents."""
    desk.patch.setenv("COLUMNS", str(columns))
    text = desk.run("config", "keys").out
    lines = text.splitlines()
    assert [line for line in lines if line and line[0] != " "] == [key.path for key in describe()]
    assert "`" not in text
    too_long = [line for line in lines if len(line) > columns and " " in line.strip()]
    assert not too_long
    assert max(map(len, lines)) <= 96


class OnTerminal:
    """A command on a terminal of 100 columns."""

    def __init__(self, desk: Desk, *args: str, **environ: str) -> None:
        self.near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.child = subprocess.Popen(
            [sys.executable, "-m", "pgherald", "--config", "config.toml", *args],
            cwd=desk.folder,
            stdin=far,
            stdout=far,
            stderr=far,
            env={**os.environ, "TERM": "xterm", **environ},
        )
        os.close(far)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.near)

    def read(self, until: bytes | None = None) -> str:
        """What it shows, to its end, or until it shows that."""
        shown = b""
        while until is None or until not in shown:
            try:
                chunk = os.read(self.near, 4096)
            except OSError:  # Linux: the other end is closed
                break
            if not chunk:
                break
            shown += chunk
        return shown.decode()

    def end(self) -> int:
        """Its exit code."""
        self.read()
        return self.child.wait(20)


def test_tables_on_a_terminal(desk: Desk) -> None:
    """On a terminal a table fits its width, and a name's square brackets stay."""
    desk.configure('[[databases]]\napp = "shop"\nname = "[bold]Shop"\n' + CLIENTS)
    with OnTerminal(desk, "status") as terminal:
        shown = terminal.read()
        assert terminal.end() == 0
    assert "[bold]Shop" in shown
    assert "shop/DATABASE" not in shown  # dispensable, and there is no room for it
    assert max(len(click.unstyle(line)) for line in shown.splitlines()) <= 100


def test_no_colours_are_wanted(desk: Desk) -> None:
    """NO_COLOR keeps colours away, from headlines and time lines too."""
    desk.healthy()
    desk.rotated()
    with desk.store() as store:
        put(store, f"database:{KEY}", "Shop", ProbeFailed("Postgres refuses Shop"), NOW)
    for command in ("status", "history"):
        for no_color in ("", "1"):
            with OnTerminal(desk, command, NO_COLOR=no_color) as terminal:
                shown = terminal.read()
            assert ("\x1b[3" in shown) is not bool(no_color), shown


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_watch(desk: Desk, way: signal.Signals) -> None:
    """--watch shows a change as it comes, and gives the terminal back in the end."""
    desk.healthy()
    with OnTerminal(desk, "status", "--watch") as terminal:
        assert "current" in terminal.read(b"Ctrl-C ends this.")
        with desk.store() as store:
            put(store, f"database:{KEY}", "Shop", ProbeFailed("Postgres refuses Shop"), NOW)
        assert "Postgres refuses Shop" in terminal.read(b"Ctrl-C ends this.")
        terminal.child.send_signal(way)
        last = terminal.read()
        assert terminal.end() == 0
    assert "\x1b[?1049l" in last  # the terminal's own screen …
    assert "\x1b[?25h" in last  # … and its cursor
    assert "Traceback" not in last


def test_watch_draws_only_what_changed(desk: Desk) -> None:
    """While nothing changes, nothing is drawn."""
    desk.healthy()
    with OnTerminal(desk, "status", "--watch") as terminal:
        terminal.read(b"Ctrl-C ends this.")
        time.sleep(1.3)  # a real terminal, so real time: one look at the state falls into this
        terminal.child.send_signal(signal.SIGINT)
        assert "Shop" not in terminal.read()


# --- words ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(seconds=45), "45 s"),
        (timedelta(minutes=5, seconds=59), "5 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=2, minutes=5), "2 h 5 min"),
        (timedelta(days=1, hours=23), "1 day"),
        (timedelta(days=3), "3 days"),
    ],
)
def test_spans(span: timedelta, text: str) -> None:
    """A span is said in the units a person would use."""
    assert lasting(span) == text
    assert ago(NOW - span, NOW) == f"{text} ago"


def test_moments() -> None:
    """Never, and now, have words of their own; so has a moment that a clock set back makes."""
    assert ago(None) == "never"
    assert ago(NOW, NOW) == "just now"
    assert ago(NOW + timedelta(hours=1), NOW) == "just now"


@pytest.mark.parametrize(
    ("subject", "label", "title", "told"),
    [
        ("account:default", "default", "No token", "No token"),
        ("account:work", "work", "No token", "Heroku account work: No token"),
        ("expiry:default", "default", "The token ends", "The token ends"),
        ("expiry:work", "work", "The token ends", "Heroku account work: The token ends"),
        ("database:shop/DATABASE", "Shop", "Shop is gone", "Shop is gone"),
        ("database:shop/DATABASE", "Shop", "It is gone", "Shop: It is gone"),
        ("client:/p", "psql", "/p:3: odd", "/p:3: odd"),
        ("client:/p", "psql", "odd", "psql: odd"),
        ("commit", "commit", "No undo could be written", "No undo could be written"),
    ],
)
def test_headlines(subject: str, label: str, title: str, told: str) -> None:
    """A headline names whom it concerns, once."""
    assert headline(subject, label, title) == told


def test_json_shows_nothing_unforeseen() -> None:
    """Whatever is neither JSON nor a moment is refused, a secret above all."""
    with pytest.raises(TypeError, match="Secret is not for showing"):
        emit_json({"password": login().password})
