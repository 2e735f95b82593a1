"""`pgherald doctor`: with real files, a real SQLite, and a simulated Heroku."""

from __future__ import annotations

import json
import os
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgherald.daemon.status import Heartbeat
from pgherald.doctor import machine
from pgherald.files import Files
from pgherald.secret import Secret
from pgherald.store import Store
from pgherald.sync.probe import Outcome
from support.commands import CLIENTS, SHOP, Desk, Result, run
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
    findings = result.json["findings"]
    found = {item["title"]: item["advice"] for item in findings if item["verdict"] == "bad"}
    assert result.json["ok"] is not bool(found)
    assert result.code == bool(found)
    assert "CANARY" not in result.out + result.err
    assert all(found.values()), "each comes with what to do"
    return found


# --- as it should be -----------------------------------------------------------------------


def test_all_is_well(desk: Desk) -> None:
    """In a healthy household nothing is bad: exit code 0, one line for each; nothing is written."""

    def seen() -> dict[str, tuple[int, int]]:
        files = [path for path in desk.folder.rglob("*") if path.is_file()]
        kept = [f for f in files if f.parent.name not in ("bin", "locks") and f.suffix != ".lock"]
        return {str(f): (f.stat().st_mtime_ns, f.stat().st_mode) for f in kept}

    before = seen()
    result = doctor(desk)
    assert (result.code, result.err) == (0, "")
    for line in (
        "Heroku answers, and knows the token from HEROKU_API_KEY",
        "Shop: Heroku shows its login, and it connects",
        "psql holds what Heroku shows",
        "pgAdmin has 1 server of pgherald's",
        "The state folder is private",
        "No variable of the environment leads the clients elsewhere",
        "The daemon runs",
        "No trouble is known",
    ):
        assert line in result.out
    assert "CANARY" not in result.out
    assert seen() == before


def test_offline(desk: Desk) -> None:
    """With --offline neither Heroku nor Postgres is asked, and the rest is still looked at."""
    desk.patch.setattr("pgherald.heroku.http.HttpClient.get", None)
    desk.prober.outcome = Outcome.REFUSED
    assert bad(desk, "--offline") == {}
    result = doctor(desk, "--offline", "--json")
    areas = [item["area"] for item in result.json["findings"]]
    assert list(dict.fromkeys(areas)) == ["Files", "pgAdmin", "Daemon", "Notices"]


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


def test_logins_and_clients(desk: Desk) -> None:
    """After a rotation, each client that is behind is named, and so is a login that is refused."""
    desk.rotate()
    desk.prober.outcome = Outcome.REFUSED
    found = bad(desk)
    assert "pg:credentials:rotate" in found["Postgres refuses the login of Shop"]
    assert found["psql is behind: update shop-production/DATABASE (user, password)"] == (
        "Run: pgherald check"
    )
    assert len(found) == 3


def test_a_refused_token(desk: Desk) -> None:
    """A revoked token is bad, its source is named, and all else is still checked.

    What the daemon found not to work is shown as well, with since when.
    """
    desk.world.tokens[0].revoked = True
    assert desk.run("check").code == 1
    found = bad(desk)
    assert "HEROKU_API_KEY" in found["Heroku does not accept the token"]
    assert any("Heroku does not accept the token (since " in title for title in found)
    assert "The daemon runs" in doctor(desk).out


def test_tokens(desk: Desk) -> None:
    """A token is judged by what it may do and when it ends; how to get a better one is shown."""
    token = desk.world.tokens[0]
    token.scopes = frozenset({"identity"})
    title = "The Heroku token may not read config vars (scope: identity)"
    assert "heroku authorizations:create -s read-protected" in bad(desk)[title]
    # The least token that does is good, although Heroku refuses it its own account.
    token.scopes = frozenset({"read-protected"})
    assert bad(desk) == {}
    assert "The token may read, and no more" in doctor(desk).out
    token.scopes, token.expires_in = frozenset({"global"}), 3 * 86400
    (title,) = bad(desk)
    assert title.startswith("The Heroku token ends on")
    token.expires_in = 300 * 86400
    assert bad(desk) == {}
    assert "The Heroku token ends on" in doctor(desk).out


def test_files(desk: Desk) -> None:
    """A file that is missing, cannot be understood, or lies where nothing may be written."""
    (desk.folder / "pgpass").unlink()
    (desk.folder / "servers.json").write_text("{")
    found = bad(desk, "--offline")
    assert found[f"psql is not written yet: {desk.folder}/pgpass"] == "Run: pgherald check"
    assert any("servers.json:1" in title for title in found)


def test_the_state_folder(desk: Desk) -> None:
    """Others may not read a backup; what is interrupted is settled; a commit needs room."""
    state = desk.folder / "state"
    (journal,) = (state / "commits").iterdir()
    (journal / "0.before").write_bytes(b"")
    (journal / "0.before").chmod(0o644)
    journal.rename(journal.with_name(f"{journal.name}.open"))
    desk.patch.setattr(machine, "_ROOM", 1 << 62)
    found = bad(desk, "--offline", runs=False)
    assert f"Others can read backups of passwords in {state}" in found
    assert "A commit was interrupted, and is not settled yet" in found
    assert any(title.startswith("Only ") for title in found)


def test_the_environment(desk: Desk) -> None:
    """A variable by which programs read something else is named, with how to be rid of it.

    One that names the very file that is kept is right, by whatever way it names it.
    """
    (desk.folder / "link").symlink_to(desk.folder / "pgpass")
    desk.patch.setenv("PGPASSFILE", str(desk.folder / "link"))
    assert bad(desk, "--offline") == {}
    wrong = {"PGPASSWORD": "CANARY-shell", "PGHOSTADDR": "::1", "PGSERVICEFILE": "/elsewhere"}
    for name, value in wrong.items():
        desk.patch.setenv(name, value)
    found = bad(desk, "--offline")
    assert {title.partition(" ")[0] for title in found} == set(wrong)
    assert all(f"unset {title.partition(' ')[0]}" in advice for title, advice in found.items())


def test_pgadmin(desk: Desk) -> None:
    """Servers by hand and deleted ones are notes with the command; a strange database is bad."""
    pgadmin = Database(desk.folder / "pgadmin4.db")
    pgadmin.by_hand(desk.login())
    pgadmin.ask("DELETE FROM server WHERE service IS NOT NULL")
    result = doctor(desk)
    assert result.code == 0
    assert "`pgherald check --adopt` keeps it working as well." in result.out
    assert "To have it back: pgherald check --recreate" in result.out
    pgadmin.ask("DELETE FROM version")
    assert any("is not a configuration database" in title for title in bad(desk, "--offline"))


def test_the_daemon(desk: Desk, programs: StandIns) -> None:
    """A daemon that does not run is bad; where it is installed, the log says why."""
    programs.put("loginctl", {"show-user": Answer(out="Linger=no\n")})
    assert "pgherald service install --linger" in doctor(desk).out
    assert "pgherald service logs" in bad(desk, runs=False)["The daemon does not run"]
    assert desk.run("service", "uninstall").code == 0
    assert bad(desk, runs=False)["The daemon does not run"] == "Run: pgherald service install"
    assert "so nobody starts it at login" in doctor(desk).out


def test_a_daemon_that_does_no_work(desk: Desk) -> None:
    """It runs, and has swept for days no more: that is bad, as in `status`."""
    store = Store.open(desk.folder / "state" / "state.db", Files(desk.folder / "state" / "locks"))
    with store:
        Heartbeat(datetime.now(UTC) - timedelta(days=3)).keep(store)
    (title,) = bad(desk, "--offline")
    assert title.startswith("The pgherald daemon has not asked Heroku for a while (since ")


def test_a_state_folder_of_another_configuration(desk: Desk) -> None:
    """Whoever looks with another configuration hears whose state that is."""
    other = desk.folder / "other.toml"
    other.write_text(desk.file.read_text())
    result = run("--config", str(other), "doctor", "--offline", patch=desk.patch)
    assert result.code == 1
    assert f"{other} uses the state folder of another configuration, {desk.file}" in result.err


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


# --- the report ----------------------------------------------------------------------------


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        assert all((member.uname, member.mode, member.uid) == ("", 0o600, 0) for member in tar)
        return {Path(m.name).name: tar.extractfile(m).read().decode() for m in tar}  # type: ignore[union-attr]  # only files


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


def test_a_report_of_a_damaged_state(desk: Desk) -> None:
    """When the state file cannot be read, a report is needed most: it is made, and says so.

    Without a file's name it gets one with the time in it, where the person is.
    """
    desk.patch.chdir(desk.folder)
    (desk.folder / "state" / "state.db").write_bytes(b"no database at all, but long enough" * 9)
    assert doctor(desk, "--offline", "--bundle").code == 1
    (report,) = desk.folder.glob("pgherald-report-*.tar.gz")
    held = unpacked(report)
    assert '"bad"' in held["doctor.json"]
    assert json.loads(held["history.json"]) == []
