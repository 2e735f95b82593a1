"""`pgherald doctor`: with real files, a real SQLite, and a simulated Heroku."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgherald.cli import doctor as command
from pgherald.doctor import bundle, files
from pgherald.doctor.checks import Check, Finding, good
from pgherald.files import Files
from pgherald.secret import Secret
from pgherald.sync.probe import Outcome
from support.commands import CLIENTS, SHOP, Desk, Result
from support.pgadmin_database import Database
from support.stand_ins import Answer, StandIns

PGADMIN = '[clients.pgadmin]\npath = "pgadmin4.db"\n'
QUIET = "[notifications]\ndesktop = false\n"
ACTIVE = "ActiveState=active\nSubState=running\nUnitFileState=enabled\n"
LOG = (
    "Nov 25 10:00:00 host pgherald[1]: shop-production/DATABASE: rotated (user, password)\n"
    "Nov 25 10:00:01 host pgherald[1]: eve@example.com read /srv/acme/x at db.acme.example\n"
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    """The service manager's programs."""
    programs = StandIns(tmp_path / "bin")
    programs.put("systemctl", {"--user show pgherald": Answer(out=ACTIVE)})
    programs.put("loginctl", {"show-user": Answer(out="Linger=yes\n")})
    programs.put("journalctl", {"--user": Answer(out=LOG)})
    monkeypatch.setenv("PATH", f"{programs.folder}:{os.environ['PATH']}")
    monkeypatch.setattr("sys.platform", "linux")
    return programs


@pytest.fixture
def desk(tmp_path: Path, programs: StandIns, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A household in which all is well: written clients, a service that is installed and runs."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + CLIENTS + PGADMIN + QUIET)
    Database.made(tmp_path / "pgadmin4.db")
    for name in ("PGSERVICEFILE", "PGPASSFILE"):
        monkeypatch.delenv(name)
    assert desk.run("check").code == 0
    assert desk.run("service", "install").code == 0
    return desk


def doctor(desk: Desk, *words: str, runs: bool = True) -> Result:
    """Run the doctor while the daemon runs, or does not."""
    if not runs:
        return desk.run("doctor", *words)
    locks = Files(desk.folder / "state" / "locks")
    with locks.exclusive(desk.folder / "state" / "daemon.lock", "pgherald run"):
        return desk.run("doctor", *words)


def bad(desk: Desk, *words: str, runs: bool = True) -> dict[str, str]:
    """What is bad: title and advice."""
    result = doctor(desk, "--json", *words, runs=runs)
    found = {
        item["title"]: item["advice"]
        for item in result.json["findings"]
        if item["verdict"] == "bad"
    }
    assert result.json["ok"] is not bool(found)
    assert result.code == bool(found)
    assert "CANARY" not in result.out + result.err
    assert all(found.values()), "each comes with what to do"
    return found


# --- as it should be -----------------------------------------------------------------------


def test_all_is_well(desk: Desk) -> None:
    """In a healthy household nothing is bad: exit code 0, nothing on stderr, one line for each."""
    result = doctor(desk)
    assert (result.code, result.err) == (0, "")
    for line in (
        "Heroku answers, and knows the token from HEROKU_API_KEY",
        "Shop: Heroku shows its login, and it connects",
        "psql holds what Heroku shows",
        "pgAdmin has 1 server of pgherald's",
        "The state folder is private",
        "No variable of the environment contradicts the clients",
        "The daemon runs",
        "No trouble is known",
    ):
        assert line in result.out
    assert "CANARY" not in result.out


def test_offline(desk: Desk) -> None:
    """With --offline neither Heroku nor Postgres is asked, and the rest is still looked at."""
    desk.patch.setattr("pgherald.heroku.getter.Getter.get", None)
    desk.prober.outcome = Outcome.REFUSED
    assert bad(desk, "--offline") == {}
    result = doctor(desk, "--offline", "--json")
    areas = [item["area"] for item in result.json["findings"]]
    assert list(dict.fromkeys(areas)) == ["Files", "pgAdmin", "Daemon", "Notices"]


def test_nothing_is_changed(desk: Desk) -> None:
    """The doctor looks, and writes nothing: not into a client, not into the state."""

    def seen() -> dict[str, tuple[int, int]]:
        return {
            str(path): (path.stat().st_mtime_ns, path.stat().st_mode)
            for path in desk.folder.rglob("*")
            if path.is_file() and path.parent.name not in ("bin", "locks")
        }

    before = seen()
    desk.run("doctor")
    assert seen() == before


def test_a_wrong_configuration(desk: Desk) -> None:
    """A configuration that cannot be read is named with its lines, and nothing else is told: 2."""
    desk.configure("[[databases]]\nap = 1\n")
    result = desk.run("doctor")
    assert (result.code, result.out) == (2, "")
    assert "config.toml:" in result.err


# --- one thing is wrong --------------------------------------------------------------------


def test_bad_comes_first_with_what_mends_it(desk: Desk) -> None:
    """What is bad is on stderr with the command that mends it, and exit code 1."""
    (desk.folder / "pgpass").chmod(0o644)
    result = doctor(desk)
    assert result.code == 1
    assert result.err == (
        f"psql: others can read its passwords: {desk.folder}/pgpass\n"
        f"  Run: chmod 600 '{desk.folder}/pgpass'\n\n"
    )


def test_a_login_that_does_not_connect(desk: Desk) -> None:
    """A login that Postgres refuses is named, with what can be done."""
    desk.prober.outcome = Outcome.REFUSED
    assert "pg:credentials:rotate" in bad(desk)["Postgres refuses the login of Shop"]


def test_clients_that_are_behind(desk: Desk) -> None:
    """After a rotation that nobody wrote yet, each client is named with the command that writes it."""
    desk.rotate()
    found = bad(desk)
    assert found["psql is behind: update shop-production/DATABASE (user, password)"] == (
        "Run: pgherald check"
    )
    assert len(found) == 2


def test_a_refused_token(desk: Desk) -> None:
    """A revoked token is bad, its source is named, and all else is still looked at."""
    desk.world.tokens[0].revoked = True
    found = bad(desk)
    assert "HEROKU_API_KEY" in found["Heroku does not accept the token"]
    assert "The daemon runs" in doctor(desk).out


@pytest.mark.parametrize("scopes", [{"identity"}, {"read"}])
def test_a_scope_that_is_too_narrow(desk: Desk, scopes: set[str]) -> None:
    """A token that may not read config vars is named with its scope, and how to get another."""
    desk.world.tokens[0].scopes = frozenset(scopes)
    title = f"The Heroku token may not read config vars (scope: {', '.join(scopes)})"
    assert "heroku authorizations:create -s read-protected" in bad(desk)[title]


def test_a_token_that_only_reads(desk: Desk) -> None:
    """The least token that does is good, although Heroku refuses it its own account."""
    desk.world.tokens[0].scopes = frozenset({"read-protected"})
    assert bad(desk) == {}
    assert "The token may read, and no more" in doctor(desk).out


@pytest.mark.parametrize(("days", "wrong"), [(3, True), (300, False)])
def test_a_token_that_ends(desk: Desk, days: int, *, wrong: bool) -> None:
    """A token that ends within a week is bad; one that ends later is told, with the day."""
    desk.world.tokens[0].expires_in = days * 86400
    found = bad(desk)
    assert bool(found) is wrong
    assert all("The Heroku token ends on" in title for title in found)
    assert "The Heroku token ends on" in "".join(found) + doctor(desk).out


def test_a_stranger_as_heroku(desk: Desk) -> None:
    """A host that no token may go to is refused, and told."""
    desk.patch.setenv("HEROKU_HOST", "https://heroku.example.com")
    assert any("Refused: HEROKU_HOST" in title for title in bad(desk))


def test_files(desk: Desk) -> None:
    """A file that is missing, cannot be understood, or lies where nothing may be written."""
    (desk.folder / "pgpass").unlink()
    (desk.folder / "servers.json").write_text("{")
    found = bad(desk, "--offline")
    assert found[f"psql is not written yet: {desk.folder}/pgpass"] == "Run: pgherald check"
    assert any("servers.json:1" in title for title in found)


def test_the_state_folder(desk: Desk) -> None:
    """Others may not read a backup; what is interrupted is settled."""
    state = desk.folder / "state"
    (journal,) = (state / "commits").iterdir()
    (journal / "0.before").write_bytes(b"")
    (journal / "0.before").chmod(0o644)
    journal.rename(journal.with_name(f"{journal.name}.open"))
    found = bad(desk, "--offline", runs=False)
    assert f"Others can read backups of passwords in {state}" in found
    assert "A commit was interrupted, and is not settled yet" in found


def test_a_full_disk(desk: Desk) -> None:
    """Too little room is told before a commit fails for it."""
    desk.patch.setattr(files, "_ROOM", 1 << 62)
    (title,) = bad(desk, "--offline")
    assert title.startswith("Only ")


@pytest.mark.parametrize(
    ("name", "value"),
    [("PGPASSWORD", "CANARY-shell"), ("PGHOST", "x"), ("PGHOSTADDR", "::1"),
     ("PGSERVICEFILE", "/elsewhere"), ("PGPASSFILE", "/elsewhere")],
)  # fmt: skip
def test_the_environment(desk: Desk, name: str, value: str) -> None:
    """A variable by which programs read something else is named, with how to be rid of it."""
    desk.patch.setenv(name, value)
    ((title, advice),) = bad(desk, "--offline").items()
    assert title.startswith(name)
    assert f"unset {name}" in advice


def test_variables_that_agree(desk: Desk) -> None:
    """A variable that names the very file that is kept is right, by whatever way it names it."""
    (desk.folder / "link").symlink_to(desk.folder / "pgpass")
    desk.patch.setenv("PGPASSFILE", str(desk.folder / "link"))
    desk.patch.setenv("PGSERVICEFILE", str(desk.folder / "pg_service.conf"))
    assert bad(desk, "--offline") == {}


def test_pgadmin(desk: Desk) -> None:
    """Servers by hand and deleted ones are notes with the command; a strange database is bad."""
    login = desk.login()
    pgadmin = Database(desk.folder / "pgadmin4.db")
    pgadmin.ask(
        "INSERT INTO server (user_id, servergroup_id, name, host, port, maintenance_db, username)"
        " VALUES (1, 1, 'By hand', ?, ?, ?, ?)",
        login.host, login.port, login.dbname, login.user,
    )  # fmt: skip
    pgadmin.ask("DELETE FROM server WHERE service IS NOT NULL")
    result = doctor(desk)
    assert result.code == 0
    assert "`pgherald check --adopt` keeps it working as well." in result.out
    assert "To have it back: pgherald check --recreate" in result.out
    pgadmin.ask("DELETE FROM version")
    assert any("is not a configuration database" in title for title in bad(desk, "--offline"))


def test_pgadmin_astray(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A running pgAdmin that its environment leads elsewhere is bad."""
    from pgherald.watch.pgadmin_process import Astray

    astray = Astray("PGHOST", "pgAdmin runs with PGHOST", "Unset it.")
    monkeypatch.setattr("pgherald.doctor.pgadmin.look", lambda _: [astray])
    assert bad(desk, "--offline") == {"pgAdmin runs with PGHOST": "Unset it."}


def test_pgadmin_never_started(desk: Desk) -> None:
    """A pgAdmin that was never started is worth a note, and no more."""
    (desk.folder / "pgadmin4.db").unlink()
    assert bad(desk, "--offline") == {}
    assert "has not been started yet" in doctor(desk, "--offline").out


def test_the_daemon(desk: Desk) -> None:
    """A daemon that does not run is bad; where it is installed, the log says why."""
    assert "pgherald service logs" in bad(desk, runs=False)["The daemon does not run"]
    assert desk.run("service", "uninstall").code == 0
    assert bad(desk, runs=False)["The daemon does not run"] == "Run: pgherald service install"
    assert "so nobody starts it at login" in doctor(desk).out


def test_a_machine_without_a_service_manager(desk: Desk) -> None:
    """Where nobody can be asked about services, a running daemon is still a running daemon."""
    desk.patch.setenv("PATH", "/nowhere")
    assert bad(desk, "--offline") == {}
    assert bad(desk, "--offline", runs=False) == {"The daemon does not run": "Run: pgherald run"}


def test_lingering(desk: Desk, programs: StandIns) -> None:
    """That the daemon stops when one logs out is worth a note, with how to change it."""
    programs.put("loginctl", {"show-user": Answer(out="Linger=no\n")})
    assert "pgherald service install --linger" in doctor(desk).out


def test_troubles_of_the_daemon(desk: Desk) -> None:
    """What the daemon found not to work is told as well, with since when."""
    desk.world.tokens[0].revoked = True
    assert desk.run("check").code == 1
    assert any(
        "Heroku does not accept the token (since " in title for title in bad(desk, "--offline")
    )


def test_notices(desk: Desk) -> None:
    """Nobody to show a notice, or a package that is missing, is bad."""
    desk.configure(
        SHOP + CLIENTS + '[notifications]\ndesktop = true\nurls = ["json://CANARY@localhost"]\n'
    )
    desk.patch.setattr("importlib.util.find_spec", lambda _: None)
    found = bad(desk, "--offline")
    assert "pipx inject pgherald apprise" in found["A package for [notifications] urls is missing"]
    assert "desktop = false" in found["No notice can be shown: no session bus"]
    assert any("Others can read the addresses" in title for title in found)


async def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long is told in one line that goes again; to a pipe nothing of it is written."""

    class Screen(io.StringIO):
        tty = True

        def isatty(self) -> bool:
            return self.tty

    async def slow() -> list[Finding]:
        while (
            screen.tty and "Looking at: Heroku …" not in screen.getvalue()
        ):  # nobody could set an event
            await asyncio.sleep(0)
        return [good("fine")]

    monkeypatch.setattr(command, "_PATIENCE", 0)
    for Screen.tty in (True, False):
        screen = Screen()
        monkeypatch.setattr("sys.stderr", screen)
        await command._examine([Check("Heroku", "slow", slow)])
        assert screen.getvalue().endswith("\r\x1b[K" if Screen.tty else "")
        assert bool(screen.getvalue()) is Screen.tty


# --- the report ----------------------------------------------------------------------------


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        assert all(member.uname == "" for member in tar)
        return {
            Path(member.name).name: tar.extractfile(member).read().decode()  # type: ignore[union-attr]  # only files
            for member in tar
        }


def test_the_report(desk: Desk) -> None:
    """The report says what is in it before where it is, and is its owner's alone."""
    result = doctor(desk, "--bundle", str(desk.folder / "report.tar.gz"))
    assert result.code == 0
    report = desk.folder / "report.tar.gz"
    assert result.out.index("The report holds:") < result.out.index(str(report))
    assert report.stat().st_mode & 0o777 == 0o600
    held = unpacked(report)
    assert set(held) == {
        "README.txt", "about.json", "configuration.json", "doctor.json", "status.json",
        "history.json", "files.json", "log.txt",
    }  # fmt: skip
    for name in held:
        assert name in result.out
    assert json.loads(held["doctor.json"])
    assert "app-1/DATABASE: rotated (user, password)" in held["log.txt"]
    assert json.loads(held["status.json"])["databases"][0]["key"] == "app-1/DATABASE"
    again = doctor(desk, "--bundle", str(report))
    assert again.code == 1
    assert str(report) in again.err


def test_a_report_without_a_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file's name the report gets one with the time in it, where the person is."""
    monkeypatch.chdir(desk.folder)
    assert doctor(desk, "--offline", "--bundle").code == 0
    (report,) = desk.folder.glob("pgherald-report-*.tar.gz")
    assert "about.json" in unpacked(report)


def test_the_report_tells_nothing(desk: Desk, home: Path, programs: StandIns) -> None:
    """No secret, app, host, user, database, mail address, token or path gets into the report."""
    desk.rotate()
    assert desk.run("check").code == 0
    old = desk.login()
    said = f"{old.host} {old.user} {old.dbname} {old.user}@{old.host} {home}/x {desk.folder}/y"
    programs.put("journalctl", {"--user": Answer(out=f"{LOG}{said}\n")})
    desk.rotate()
    desk.configure(
        '[[databases]]\napp = "shop-production"\nname = "Acme Shop"\ngroup = "Acme"\n'
        'service = "acme-main"\n'
        + CLIENTS
        + PGADMIN
        + '[notifications]\ndesktop = false\nurls = ["json://CANARY-url@chat.acme.example"]\n'
        + '[[discover]]\ninclude = ["acme-*"]\nteam = "acme-team"\n'
    )
    desk.world.tokens[0].value = Secret("HRKU-CANARY-other")
    (desk.folder / "pgpass").chmod(0o644)
    assert desk.run("check").code == 1
    assert doctor(desk, "--bundle", str(desk.folder / "r.tgz")).code == 1
    new = desk.login()
    everything = "\n".join(unpacked(desk.folder / "r.tgz").values()).casefold()
    for canary in (
        "CANARY", "HRKU-", "acme", "shop-production", "eve@", "example.com",
        old.host, old.user, old.dbname, new.user, new.dbname,
        str(home), home.name, str(desk.folder), str(Path.home()), os.uname().nodename,
    ):  # fmt: skip
        assert canary.casefold() not in everything, canary


def test_a_report_of_a_new_household(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything was written there is a report, too."""
    desk = Desk.laid(tmp_path, monkeypatch)
    desk.configure(SHOP + CLIENTS)
    assert desk.run("doctor", "--offline", "--bundle", str(tmp_path / "r.tgz")).code == 1
    held = unpacked(tmp_path / "r.tgz")
    assert json.loads(held["history.json"]) == []
    assert all(item["size"] is None for item in json.loads(held["files.json"]))
    assert not (tmp_path / "state").exists()


def test_a_report_of_a_damaged_state(desk: Desk) -> None:
    """When the state file cannot be read, a report is needed most: it is made, and says so."""
    (desk.folder / "state" / "state.db").write_bytes(b"no database at all, but long enough" * 9)
    result = doctor(desk, "--offline", "--bundle", str(desk.folder / "r.tgz"))
    assert result.code == 1
    held = unpacked(desk.folder / "r.tgz")
    assert '"bad"' in held["doctor.json"]
    assert json.loads(held["history.json"]) == []


def test_an_archive_can_be_made_again() -> None:
    """What is in the archive is all that decides about its names, owners and times."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    made = [bundle.Part("a.txt", "a", b"a")]
    with tarfile.open(fileobj=io.BytesIO(bundle.archive(made, at + timedelta(0)))) as tar:
        (member,) = tar.getmembers()
    assert (member.name, member.mode, member.uid) == ("pgherald-report/a.txt", 0o600, 0)
