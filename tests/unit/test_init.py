"""`pgherald init` in this process, at moments that a test has to choose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgherald.cli.check import reconcile
from pgherald.errors import FileTrouble
from support.commands import Desk
from support.pgadmin_database import Database

BLOG = ("init", "--app", "blog", "--yes", "--no-service")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose clients are in the test's home, beside a pgAdmin and a pgpass."""
    (Path.home() / ".pgpass").write_text("mine:5432:*:me:CANARY-mine\n")
    (Path.home() / ".pgpass").chmod(0o600)
    Database.made(Path.home() / ".pgadmin" / "pgadmin4.db")
    return Desk.laid(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (FileTrouble("is full", "Make room."), 1)]
)
def test_a_commit_is_taken_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """What stops it just after the commit takes the commit and the configuration back."""
    written = []

    async def stopped(*arguments: Any) -> Any:
        await reconcile(*arguments)
        written.append((Path.home() / ".pg_service.conf").read_text())
        raise error

    monkeypatch.setattr("pgherald.cli.setup.deed.reconcile", stopped)
    result = desk.run(*BLOG)
    assert result.code == code
    assert "[blog]" in written[0]
    assert not desk.file.exists()
    assert not (Path.home() / ".pg_service.conf").exists()
    assert (Path.home() / ".pgpass").read_text() == "mine:5432:*:me:CANARY-mine\n"
    assert Database(Path.home() / ".pgadmin" / "pgadmin4.db").servers() == {}


def test_a_configuration_that_changes_meanwhile(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that somebody else writes while a person reads the plan stays theirs."""
    monkeypatch.setattr(
        "pgherald.cli.setup.walk.show_plan", lambda *_: desk.file.write_text("# theirs\n")
    )
    result = desk.run(*BLOG)
    assert result.code == 1
    assert "was changed by another program" in result.err
    assert desk.file.read_text() == "# theirs\n"
    assert not (Path.home() / ".pg_service.conf").exists()


def test_no_database_at_all(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that shows no database is told so, with what to look at."""
    monkeypatch.setattr("pgherald.heroku.discovery._SERVICE", "other")
    result = desk.run(*BLOG)
    assert result.code == 1
    assert "Heroku shows no Postgres database to this login" in result.err
    assert "heroku addons --all" in result.err


def test_several_accounts(desk: Desk) -> None:
    """With several accounts one has to be named, its databases name it, and its token is left."""
    desk.file.write_text(
        'state_dir = "state"\n[[accounts]]\nname = "work"\ntoken = "auto"\n'
        '[[accounts]]\nname = "home"\ntoken = "env:NOTHING"\n'
        '[[databases]]\napp = "shop-production"\naccount = "work"\n[clients.pgpass]\n'
    )
    assert "Add --account: work, home." in desk.run(*BLOG).err
    refused = desk.run(*BLOG, "--account", "work", "--token", "netrc")
    assert (refused.code, "change the file by hand" in refused.err) == (2, True)
    result = desk.run(*BLOG, "--account", "work")
    assert '[[databases]]\napp = "blog"\naccount = "work"\n' in desk.file.read_text()
    assert "psql is up to date" in result.out


def test_beside_rules(desk: Desk) -> None:
    """Where rules find the databases nothing has to be chosen, and what they find is not named."""
    rules = '[[discover]]\ninclude = ["shop-*"]\n[clients.service_file]\n'
    desk.file.write_text(rules)
    result = desk.run("init", "--yes", "--no-service")
    assert (result.code, result.err) == (0, "")
    assert "Kept by [[discover]] without being named: 2." in result.out
    assert desk.file.read_text() == rules
    assert "[shop-staging]" in (Path.home() / ".pg_service.conf").read_text()
    assert desk.run(*BLOG).code == 0
    assert desk.file.read_text().count("[[databases]]") == 1


@pytest.mark.parametrize("team", ["acme", "unheard-of"])
def test_beside_a_rule_for_a_team(desk: Desk, team: str) -> None:
    """What a rule finds by its team is not named; a team that is not shown finds nothing."""
    app = desk.world.app("shop-staging")
    app.team = "acme"
    app.owner.teams = frozenset({"acme"})
    desk.file.write_text(f'[[discover]]\nteam = "{team}"\n[clients.service_file]\n')
    result = desk.run("init", "--all", "--yes", "--no-service")
    ruled = team == "acme"
    assert ("Kept by [[discover]] without being named: 1." in result.out) is ruled
    assert ("Team unheard-of" in result.err) is not ruled
    assert ('app = "shop-staging"' in desk.file.read_text()) is not ruled
    assert 'app = "blog"' in desk.file.read_text()
    assert "[shop-staging]" in (Path.home() / ".pg_service.conf").read_text()


def test_no_notifications(desk: Desk) -> None:
    """With --no-notify the configuration says so; with chosen clients only those are written."""
    assert desk.run(*BLOG, "--no-notify", "--clients", "service_file").code == 0
    text = desk.file.read_text()
    assert "desktop = false" in text
    assert "pgpass" not in text
    assert (Path.home() / ".pgpass").read_text() == "mine:5432:*:me:CANARY-mine\n"
