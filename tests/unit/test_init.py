"""`pgherald init` in this process: its choices, and moments that a test has to choose."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest

from pgherald.cli.check import reconcile
from pgherald.cli.setup.apply import show_configuration
from pgherald.cli.setup.ask import Offer, added, by_flags, dropped, marked, numbers, offers
from pgherald.cli.setup.preflight import moved_by_environment, token_of
from pgherald.config import Config, DiscoverRule
from pgherald.config.edit import NewDatabase
from pgherald.errors import FileTrouble, PgheraldError
from pgherald.heroku.discovery import Found
from support.commands import Desk
from support.configs import CLIENTS, load_text
from support.pgadmin_database import Database
from support.stand_ins import StandIns

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
def test_what_was_committed_is_taken_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """What stops it just after the commit takes the commit and the configuration back."""
    written = []

    async def stopped(*arguments: Any) -> Any:
        await reconcile(*arguments)
        written.append((Path.home() / ".pg_service.conf").read_text())
        raise error

    monkeypatch.setattr("pgherald.cli.setup.apply.reconcile", stopped)
    result = desk.run(*BLOG)
    assert result.code == code
    assert "[blog]" in written[0]
    assert not desk.file.exists()
    assert not (Path.home() / ".pg_service.conf").exists()
    assert (Path.home() / ".pgpass").read_text() == "mine:5432:*:me:CANARY-mine\n"
    assert Database(Path.home() / ".pgadmin" / "pgadmin4.db").servers() == {}


def test_a_configuration_that_changes_meanwhile_stays(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration that somebody else writes while a person reads the plan stays theirs."""
    monkeypatch.setattr(
        "pgherald.cli.init.show_plan", lambda *_: desk.file.write_text("# theirs\n")
    )
    result = desk.run(*BLOG)
    assert result.code == 1
    assert "was changed by another program" in result.err
    assert desk.file.read_text() == "# theirs\n"
    assert not (Path.home() / ".pg_service.conf").exists()


def test_one_of_several_accounts_has_to_be_named(desk: Desk) -> None:
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


def test_beside_rules_nothing_has_to_be_chosen(desk: Desk) -> None:
    """Databases that rules find are not named; another one gets an entry of its own."""
    rules = '[[discover]]\ninclude = ["shop-*"]\n[clients.service_file]\n'
    desk.file.write_text(rules)
    result = desk.run("init", "--yes", "--no-service")
    assert (result.code, result.err) == (0, "")
    assert "Kept by [[discover]] without being named: 2." in result.out
    assert desk.file.read_text() == rules
    assert "[shop-staging]" in (Path.home() / ".pg_service.conf").read_text()


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


def test_flags_choose_clients_and_notifications(desk: Desk) -> None:
    """With --no-notify the configuration says so; with chosen clients only those are written."""
    assert desk.run(*BLOG, "--no-notify", "--clients", "service_file").code == 0
    text = desk.file.read_text()
    assert "desktop = false" in text
    assert "pgpass" not in text
    assert (Path.home() / ".pgpass").read_text() == "mine:5432:*:me:CANARY-mine\n"


def test_a_dry_run_writes_nothing(desk: Desk) -> None:
    """It shows the configuration and the clients' changes."""
    result = desk.run(*BLOG, "--dry-run")
    assert (result.code, result.err) == (0, "")
    assert '+app = "blog"\n' in result.out
    assert "add blog/DATABASE" in result.out
    assert not desk.file.exists()
    assert not (Path.home() / ".pg_service.conf").exists()


def test_whoever_says_no_has_everything_as_it_was(desk: Desk) -> None:
    """The question comes before anything is written."""
    desk.patch.setattr("sys.stdin", io.StringIO("n\n"))
    result = desk.run("init", "--app", "blog", "--no-adopt", "--no-service")
    assert (result.code, result.out.splitlines()[-1]) == (1, "Do it? [Y/n]: Nothing was written.")
    assert not desk.file.exists()
    assert not (Path.home() / ".pg_service.conf").exists()


def test_run_again_it_adds_to_the_configuration(desk: Desk) -> None:
    """Comments, order, other keys and the mode stay; a client that is not named is not added."""
    mine = (
        '# mine\npoll_interval = "90s"  # rarely\n\n[[databases]]\napp = "shop-production"\n'
        'name = "Shop"  # short\n\n# the clients\n[clients.service_file]\n[clients.pgpass]\n'
    )
    desk.file.write_text(mine)
    desk.file.chmod(0o640)
    result = desk.run(*BLOG)
    assert (result.code, result.err) == (0, "")
    new = '\n[[databases]]\napp = "blog"\n'
    assert desk.file.read_text() == mine.replace("\n\n# the", f"\n{new}\n# the")
    assert desk.file.stat().st_mode & 0o777 == 0o640
    assert Database(Path.home() / ".pgadmin" / "pgadmin4.db").servers() == {}
    assert "Nothing to do. The 2 databases are current" in desk.run(*BLOG).out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--app", "nope", "--yes"), 1, "It shows blog, shop-production, shop-staging."),
        (("--yes",), 2, "Name them with --app, or take --all."),
        (("--token", "HRKU-CANARY-0123456789012345", "--yes"), 2, "must not be the token itself"),
        (("--clients", "pgadmin,dbeaver"), 2, "there is no 'dbeaver'"),
        (("--clients", "pgadmin", *BLOG[1:]), 2, "add [clients.service_file]"),
        (("--account", "work"), 2, "There is no account 'work'"),
    ],
)
def test_a_wish_that_cannot_be_is_refused(
    desk: Desk, words: tuple[str, ...], code: int, said: str
) -> None:
    """It is named with what there is, and nothing is written."""
    result = desk.run("init", *words)
    assert (result.code, said in result.err) == (code, True), result
    assert "CANARY" not in result.err
    assert not desk.file.exists()
    assert not (Path.home() / ".pg_service.conf").exists()


def test_a_login_that_a_service_cannot_see(desk: Desk) -> None:
    """Where the token is in the shell's environment, that is said, and no service installed unasked."""
    stand_ins = StandIns(desk.folder / "bin")
    stand_ins.put("systemctl")
    desk.patch.setenv("PATH", f"{stand_ins.folder}:{os.environ['PATH']}")
    result = desk.run(*BLOG)
    assert "$HEROKU_API_KEY, which a service does not see" in result.out, "without a manager, too"
    result = desk.run(*BLOG[:-1])
    assert result.code == 0
    assert "$HEROKU_API_KEY, which a service does not see" in result.out
    assert [call[-1] for call in stand_ins.calls] == ["--property=Version"]
    assert not (Path.home() / ".config" / "systemd").exists()


# --- which databases ------------------------------------------------------------------------


def found(app: str, attachment: str = "DATABASE") -> Found:
    return Found(app, attachment, "heroku-postgresql:mini", DiscoverRule())


FOUND = (found("blog"), found("shop", "READER"), found("shop"), found("wiki", "BLUE"))
ALL = [
    Offer("blog", "DATABASE", "mini"),
    Offer("shop", "DATABASE", "mini"),
    Offer("shop", "READER", "mini"),
    Offer("wiki", "BLUE", "mini"),
]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """One database that Heroku shows and one that it does not, and a rule."""
    return load_text(
        tmp_path,
        '[[databases]]\napp = "gone"\n[[databases]]\napp = "shop"\n'
        f'[[discover]]\ninclude = ["b*"]\n{CLIENTS}',
    )


def test_again_the_configured_ones_are_marked(config: Config) -> None:
    """They are offered, shown or not; a database that a rule finds is not offered."""
    offered, ruled = offers(FOUND, config, "default", {})
    assert [(str(each), each.place) for each in offered] == [
        ("gone/DATABASE", 0),
        ("shop/DATABASE", 1),
        ("shop/READER", None),
        ("wiki/BLUE", None),
    ]
    assert ruled == 1
    assert offered[0].about == "not shown by Heroku now"
    assert marked(offered) == {0, 1}
    assert dropped(offered, offered[1:3]) == {0}
    assert added(offered[1:3], config, None) == (NewDatabase("shop", "READER"),)
    # Flags add, and never drop.
    assert dropped(offered, by_flags(offered, ["wiki"], [])) == frozenset()


@pytest.mark.parametrize(
    ("apps", "attachments", "chosen"),
    [
        (["shop"], [], [1]),
        (["*"], ["*"], [0, 1, 2, 3]),
        ([], ["READ*"], [2]),
        (["wiki"], [], [3]),
    ],
)
def test_flags_are_patterns(apps: list[str], attachments: list[str], chosen: list[int]) -> None:
    """Patterns choose; without one for attachments it is DATABASE, or an app's only one."""
    assert by_flags(ALL, apps, attachments) == [ALL[number] for number in chosen]


@pytest.mark.parametrize(
    ("apps", "attachments", "title", "advice"),
    [
        (["nope"], [], "Heroku shows no database of nope", "It shows blog, shop, wiki."),
        (["shop"], ["BLUE"], "Heroku shows no BLUE of shop", "shop/DATABASE, shop/READER."),
    ],
)
def test_a_flag_that_fits_nothing_is_an_error(
    apps: list[str], attachments: list[str], title: str, advice: str
) -> None:
    """A pattern that fits nothing is an error that says what there is."""
    with pytest.raises(PgheraldError) as caught:
        by_flags(ALL, apps, attachments)
    assert caught.value.title == title
    assert advice in caught.value.advice


def test_no_two_databases_share_a_service(config: Config) -> None:
    """Two databases never share a section of the service file."""
    chosen = [Offer("a", "B_C"), Offer("a-b-c", "DATABASE"), Offer("shop-database", "DATABASE")]
    assert [new.service for new in added(chosen, config, None)] == [None, "a-b-c-database", None]


# --- before it begins -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written", "asked"),
    [
        ("auto", "auto", "auto"),
        ("file:t", "file:~/here/t", "file:/home/eve/here/t"),
        ("file:../../t", "file:/home/t", "file:/home/t"),
    ],
)
def test_a_tokens_file_is_found_from_anywhere(text: str, written: str, asked: str) -> None:
    """It is meant from the person's folder, and written below the home folder or absolute."""
    told, spec = token_of(text, {"HOME": "/home/eve"}, Path("/home/eve/here"))
    assert (told, str(spec)) == (written, asked)


def test_files_that_the_environment_moved_are_written_there() -> None:
    """A file that $PGSERVICEFILE or $PGPASSFILE names gets a path; a usual place does not."""
    env = {"HOME": "/home/eve", "PGSERVICEFILE": "/home/eve/.pg_service.conf", "PGPASSFILE": "/p/x"}
    kinds = ("pgadmin", "service_file", "pgpass")
    assert moved_by_environment(kinds, env, Path("/home/eve/config.toml")) == {
        "pgadmin": None,
        "service_file": None,
        "pgpass": "/p/x",
    }


def test_a_configuration_is_shown_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines that stay are not shown, and of a command only that it is one."""
    old = 'urls = ["slack://CANARY"]\ntoken = "command:x CANARY"\n# a\n'
    show_configuration(Path("c"), old, old.replace("x CANARY", "y 'CANARY' z") + "# b\n")
    shown = capsys.readouterr().out
    assert shown.splitlines()[1:4] == ['-token = "command:…', '+token = "command:…', "+# b"]
    assert "CANARY" not in shown


@pytest.mark.parametrize(
    ("answer", "picked"),
    [("1,3", [0, 2]), ("2-4 1", [0, 1, 2, 3]), ("ALL", [0, 1, 2, 3]),
     ("", []), ("0", []), ("5", []), ("3-2", []), ("1,x", []), ("1-", [])],
)  # fmt: skip
def test_numbers_choose(answer: str, picked: list[int]) -> None:
    """Numbers, ranges and `all` are understood, and half an answer is none."""
    assert numbers(answer, 4) == picked


def test_a_pgadmin_that_is_not_there_is_not_configured(
    desk: Desk,
) -> None:
    """Where no pgAdmin has run, `init` leaves it out, says how to add it, and all is well."""
    (Path.home() / ".pgadmin" / "pgadmin4.db").unlink()
    result = desk.run(*BLOG)
    assert result.code == 0, result.err
    assert "pgherald init --clients pgadmin" in result.out
    assert "pgadmin" not in desk.file.read_text()
    assert desk.run("status").code == 0
    Database.made(Path.home() / ".pgadmin" / "pgadmin4.db")
    assert desk.run(*BLOG, "--clients", "pgadmin").code == 0
    rows = Database(Path.home() / ".pgadmin" / "pgadmin4.db").servers().values()
    assert [row["service"] for row in rows] == ["blog"]
