"""`pgherald status`: how every database and client stands, for people and for scripts."""

from __future__ import annotations

import contextlib
import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from pgherald.daemon.status import Heartbeat
from pgherald.errors import (
    FileTrouble,
    LoginRequired,
    ProbeFailed,
    RolledBack,
    Unparsable,
)
from pgherald.model import Entry, Phase
from pgherald.store import Requests
from support.commands import CLIENTS, SHOP
from support.household import login
from support.stored import KEY, PRODUCTION, StoredDesk

GOLDEN = Path(__file__).parents[1] / "golden"

#: The clients' files.
FILES = ("pgpass", "pg_service.conf", "servers.json")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredDesk:
    return StoredDesk(tmp_path, monkeypatch)


def test_before_anything_it_says_what_to_do(desk: StoredDesk) -> None:
    """Before the first look, status says what to do, and lists what is going to be kept."""
    result = desk.run("status")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Nothing has been looked at yet. Run: pgherald check\n")
    row = ["Shop", "shop-production/DATABASE", "new", "·", "·", "·", "never", "-", "never", "never"]
    assert row in [line.split() for line in result.out.splitlines()]
    assert not (desk.folder / "state").exists()


def test_when_all_is_well_it_is_a_table_and_one_line(desk: StoredDesk) -> None:
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


def test_a_database_that_one_client_never_got_is_behind(desk: StoredDesk) -> None:
    """It is not new, for the others hold it, and not current: it is behind, in that client."""
    at = desk.now - timedelta(minutes=5)
    error = FileTrouble("belongs to user 0", path=desk.folder / "pgpass")
    with desk.store() as store:
        store.looked([PRODUCTION], at)
        store.record([Entry(PRODUCTION, login())], None, {KEY: at})
    desk.trouble(f"client:{error.path}", "psql", error, at)
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


def test_an_unproven_login_is_called_unproven(desk: StoredDesk) -> None:
    """A login in the clients that nobody could prove is told from one that is still to come."""
    desk.healthy(proven=False)
    assert "unproven" in desk.run("status").out


@pytest.mark.parametrize(
    ("phase", "words", "row", "told"),
    [
        (Phase.CURRENT, {}, "current ✓ ✓ ✓", ""),
        (Phase.BEHIND, {"pgpass": "failed"}, "behind ✗ ✓ ✓", "✗ could not be written"),
        (Phase.UNVERIFIED, dict.fromkeys(FILES, "old"), "behind ○ ○ ○", "○ holds the old login"),
        (Phase.BEHIND, {"servers.json": "missing"}, "behind ✓ ✓ ?", "? is not there"),
        (Phase.CURRENT, {"servers.json": "missing"}, "current ✓ ✓ ?", "? is not there"),
    ],
)
def test_a_mark_shows_each_clients_login(
    desk: StoredDesk, phase: Phase, words: dict[str, str], row: str, told: str
) -> None:
    """A mark says of each client what it holds; where one is amiss, the marks are explained."""
    desk.healthy()
    with desk.store() as store:
        clients = {str(desk.folder / name): word for name, word in words.items()}
        store.keep(KEY, str(phase), clients)
    out = desk.run("status").out
    assert f" {row} " in " ".join(out.split())
    assert told in out
    assert ("there\n" in out or "written\n" in out or "holds" in out) is bool(told)


def test_a_word_that_nobody_knows_counts_for_nothing(desk: StoredDesk) -> None:
    """What a newer pgherald, or damage, has left of a client is as if it were not there."""
    desk.healthy()
    with desk.store() as store:
        store.keep(KEY, str(Phase.CURRENT), {str(desk.folder / "pgpass"): "paused"})
    for command in ("status", "check", "rollback"):
        assert "mistake" not in desk.run(command).err
    assert " current ✓ ✓ ✓ " in " ".join(desk.run("status").out.split())


def test_a_database_that_is_gone_is_no_longer_current(desk: StoredDesk) -> None:
    """A database that Heroku no longer shows is trouble, with the way to remove its logins."""
    desk.healthy()
    with desk.store() as store:
        store.keep(KEY, str(Phase.GONE), {})
    result = desk.run("status", "--json")
    assert (result.code, result.json["ok"]) == (1, False)
    assert result.json["databases"][0]["current"] is False
    (trouble,) = result.json["troubles"]
    assert (trouble["subject"], trouble["kind"]) == (f"database:{KEY}", "Gone")
    assert "check --prune" in trouble["advice"]


def test_a_rollback_is_the_first_thing_that_is_shown(desk: StoredDesk) -> None:
    """The old login that a rollback left in the clients is named before older trouble."""
    desk.healthy()
    desk.trouble("account:work", "work", LoginRequired("odd"), desk.now - timedelta(days=1))
    desk.trouble(f"database:{KEY}", "Shop", RolledBack("The login from before is back"))
    first, advice, *_ = desk.run("status").err.splitlines()
    assert "The login from before is back" in first
    assert "pgherald check" in advice


@pytest.mark.parametrize(
    ("expected", "running", "swept", "kind"),
    [
        (True, False, timedelta(days=3), "DaemonStopped"),
        (False, False, timedelta(days=3), None),
        (True, True, timedelta(minutes=2), None),
        (True, True, timedelta(minutes=4), "SweepOverdue"),
        (True, True, timedelta(days=-10), "SweepOverdue"),  # the clock was set back
        (True, True, None, "SweepOverdue"),  # not one since it started
    ],
)
def test_a_daemon_that_does_not_do_its_work_is_trouble(
    desk: StoredDesk, expected: bool, running: bool, swept: timedelta | None, kind: str | None
) -> None:
    """A daemon that should run and does not, or asked nothing for three intervals, is not ok."""
    desk.healthy()
    with desk.store() as store:
        swept_at = None if swept is None else desk.now - swept
        Heartbeat(desk.now - timedelta(days=4), swept_at, expected).keep(store)
    lock = desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run")
    with lock if running else contextlib.nullcontext():
        result = desk.run("status", "--json")
    assert [trouble["kind"] for trouble in result.json["troubles"]] == ([kind] if kind else [])
    assert (result.code, result.json["ok"]) == ((1, False) if kind else (0, True))


def test_a_configuration_that_was_mended_is_no_trouble_without_a_daemon(desk: StoredDesk) -> None:
    """Only a daemon goes by an older one; without one, the configuration at hand counts."""
    desk.healthy()
    desk.trouble("config", "The configuration", FileTrouble("odd"))
    assert desk.run("status").code == 0
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        assert desk.run("status").code == 1


def test_the_next_look_is_a_poll_interval_after_the_last(desk: StoredDesk) -> None:
    """The next look is a poll_interval after the last, and unknown while the account must wait."""
    desk.configure(f'poll_interval = "10m"\n{SHOP}{CLIENTS}')
    desk.healthy()
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        assert re.search(r"  in [45] min", desk.run("status").out)
        (database,) = desk.run("status", "--json").json["databases"]
        assert datetime.fromisoformat(database["next_look_at"]) == desk.now + timedelta(minutes=5)
        desk.trouble("account:default", "default", LoginRequired("No token"))
        assert "  later  " in desk.run("status").out
        assert desk.run("status", "--json").json["databases"][0]["next_look_at"] is None


@pytest.mark.parametrize("also", [[], ["--json"]])
def test_watch_wants_a_terminal(desk: StoredDesk, also: list[str]) -> None:
    """Without a terminal, --watch is refused with a sentence and exit code 2."""
    result = desk.run("status", "--watch", *also)
    assert (result.code, result.out) == (2, "")
    assert "--watch draws on a terminal" in result.err


def test_troubles_come_first(desk: StoredDesk) -> None:
    """What is wrong, for whom, since when and what to do: on stderr, the oldest first; exit 1."""
    desk.healthy()
    refused = ProbeFailed("Postgres refuses the login of Shop", "Make another.")
    desk.trouble(f"database:{KEY}", "Shop", refused, desk.now - timedelta(minutes=3))
    token = LoginRequired("Heroku does not accept the token", "Log in.")
    desk.trouble("account:work", "work", token, desk.now - timedelta(hours=2))
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


def test_requests_are_shown_while_the_daemon_runs(desk: StoredDesk) -> None:
    """While the daemon runs its requests are shown; those of an account that is gone are not."""
    desk.healthy()
    with desk.store() as store:
        for account in ("default", "gone"):
            store.keep_requests(Requests(account, 64, 1125, 4431, desk.now, 18_432))
        store.note("requests:broken", "nonsense")
    line = "Requests in the last hour: 64 of 1125 allowed, 19 kB; 4431 left to all programs."
    assert line not in desk.run("status").out
    with desk.files.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        result = desk.run("status")
        assert desk.run("status", "--json").json["running"]
    # A killed daemon leaves the file, and no lock.
    assert not desk.run("status", "--json").json["running"]
    assert "The daemon is running." in result.out
    assert line in result.out.splitlines()
    assert result.out.count("Requests") == 1
    assert desk.run("status", "--json").json["requests"] == [
        {
            "account": "default",
            "last_hour": 64,
            "bytes_last_hour": 18_432,
            "allowance": 1125,
            "remaining": 4431,
            "at": desk.now.isoformat(timespec="milliseconds"),
        }
    ]


def test_the_json_has_the_documented_shape(desk: StoredDesk) -> None:
    """The JSON has the documented shape."""
    desk.healthy()
    desk.rotated()
    error = Unparsable("not JSON", path=desk.folder / "servers.json", line=3)
    desk.trouble(f"client:{desk.folder / 'servers.json'}", "servers.json", error)
    result = desk.run("status", "--json")
    assert result.code == 1
    text = (GOLDEN / "status.json").read_text().replace("FOLDER", str(desk.folder))
    for name, before in {
        "DAY": timedelta(days=1),
        "MINUTES": timedelta(minutes=5),
        "NOW": timedelta(),
    }.items():
        text = text.replace(name, (desk.now - before).isoformat(timespec="milliseconds"))
    assert result.json == json.loads(text)


def test_a_damaged_state_file_is_named_and_left(desk: StoredDesk) -> None:
    """Status never repairs: a damaged state file is named, with exit code 1."""
    (desk.folder / "state").mkdir(mode=0o700)
    (desk.folder / "state" / "state.db").write_bytes(b"nonsense" * 200)
    result = desk.run("status")
    assert (result.code, result.out) == (1, "")
    assert str(desk.folder / "state" / "state.db") in result.err
