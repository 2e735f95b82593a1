"""Which databases there are to choose from, and what a choice means."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pgherald.cli.main import Invocation
from pgherald.cli.setup.ask import numbers
from pgherald.cli.setup.choice import Offer, added, by_flags, by_rules, dropped, marked, offers
from pgherald.cli.setup.deed import show_configuration
from pgherald.cli.setup.ground import Ground, clients, token_of
from pgherald.config import Config
from pgherald.config.edit import NewDatabase
from pgherald.errors import PgheraldError
from pgherald.heroku.discovery import Found, Rule
from support.configs import CLIENTS, load_text


def found(app: str, attachment: str = "DATABASE") -> Found:
    return Found(app, attachment, "", "heroku-postgresql:mini", Rule())


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


def test_the_first_time() -> None:
    """Everything that Heroku shows is offered, each app's main database first; nothing is marked."""
    assert offers(FOUND, None, "default", {}) == ALL
    assert marked(ALL) == set()
    assert marked(ALL[:1]) == {0}


def test_again(config: Config) -> None:
    """What is configured is offered and marked, shown or not; what a rule finds is not offered."""
    offered = offers(FOUND, config, "default", {})
    assert [(str(each), each.place) for each in offered] == [
        ("gone/DATABASE", 0),
        ("shop/DATABASE", 1),
        ("shop/READER", None),
        ("wiki/BLUE", None),
    ]
    assert offered[0].about == "not shown by Heroku now"
    assert marked(offered) == {0, 1}
    assert by_rules(FOUND, config, "default", {}) == [found("blog")]
    assert dropped(offered, offered[1:3]) == {0}
    assert added(offered[1:3], config, None) == (NewDatabase("shop", "READER"),)


def test_another_account(config: Config) -> None:
    """Another account's databases are neither offered nor dropped."""
    offered = offers(FOUND, config, "work", {})
    assert [str(each) for each in offered] == [str(each) for each in ALL]
    assert dropped(offered, []) == frozenset()


@pytest.mark.parametrize(
    ("apps", "attachments", "chosen"),
    [
        (["shop"], [], [1]),
        (["*"], ["*"], [0, 1, 2, 3]),
        ([], ["READ*"], [2]),
        (["b*", "shop"], [], [0, 1]),
        (["wiki"], [], [3]),
        (["shop"], ["READER", "DATABASE"], [1, 2]),
    ],
)
def test_flags(apps: list[str], attachments: list[str], chosen: list[int]) -> None:
    """Patterns choose; without one for attachments it is DATABASE, or an app's only one."""
    assert by_flags(ALL, apps, attachments) == [ALL[number] for number in chosen]


@pytest.mark.parametrize(
    ("apps", "attachments", "title", "advice"),
    [
        (["nope"], [], "Heroku shows no database of nope", "It shows blog, shop, wiki."),
        (["shop"], ["BLUE"], "Heroku shows no BLUE of shop", "shop/DATABASE, shop/READER."),
    ],
)
def test_flags_in_vain(apps: list[str], attachments: list[str], title: str, advice: str) -> None:
    """A pattern that fits nothing is an error that says what there is."""
    with pytest.raises(PgheraldError) as caught:
        by_flags(ALL, apps, attachments)
    assert caught.value.title == title
    assert advice in caught.value.advice


def test_flags_drop_nothing(config: Config) -> None:
    """What is configured stays chosen, whatever the flags choose."""
    offered = offers(FOUND, config, "default", {})
    assert dropped(offered, by_flags(offered, ["wiki"], [])) == frozenset()


def test_services_of_their_own(config: Config) -> None:
    """Two databases never share a section of the service file."""
    chosen = [Offer("a", "B_C"), Offer("a-b-c", "DATABASE"), Offer("shop-database", "DATABASE")]
    assert [new.service for new in added(chosen, config, None)] == [None, "a-b-c-database", None]


# --- the ground ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "written", "asked"),
    [
        ("auto", "auto", "auto"),
        ("file:~/t", "file:~/t", "file:/home/eve/t"),
        ("file:t", "file:~/here/t", "file:/home/eve/here/t"),
        ("file:../../t", "file:/home/t", "file:/home/t"),
        ("file:/run/t", "file:/run/t", "file:/run/t"),
        ("env:TOKEN", "env:TOKEN", "env:TOKEN"),
    ],
)
def test_a_token_source(text: str, written: str, asked: str) -> None:
    """A file is meant from where the person is, and written so that it is found from anywhere."""
    told, spec = token_of(text, {"HOME": "/home/eve"}, Path("/home/eve/here"))
    assert (told, str(spec)) == (written, asked)


def test_a_token_is_no_source() -> None:
    """The token itself is refused, and not repeated."""
    with pytest.raises(click.BadParameter) as caught:
        token_of("HRKU-CANARY-0123456789012345", {}, Path("/"))
    assert "CANARY" not in str(caught.value)


def test_files_that_the_environment_moved() -> None:
    """A file that $PGSERVICEFILE or $PGPASSFILE names is written there; a usual place is not."""
    env = {"HOME": "/home/eve", "PGSERVICEFILE": "/home/eve/.pg_service.conf", "PGPASSFILE": "/p/x"}
    kinds = ("pgadmin", "service_file", "pgpass")
    assert clients(kinds, Invocation(None, env), Path("/home/eve/config.toml")) == {
        "pgadmin": None,
        "service_file": None,
        "pgpass": "/p/x",
    }


def test_a_configuration_is_shown_without_secrets(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines that stay are not shown, and of a command only that it is one."""
    old = 'urls = ["slack://CANARY"]\ntoken = "command:x CANARY"\n# a\n'
    there = Ground(config.path, old.encode(), config, "default", None)
    show_configuration(there, old.replace("x CANARY", "y 'CANARY' z") + "# b\n")
    shown = capsys.readouterr().out
    assert shown.splitlines()[1:4] == ['-token = "command:…', '+token = "command:…', "+# b"]
    assert "CANARY" not in shown


@pytest.mark.parametrize(
    ("answer", "picked"),
    [
        ("1", [0]), ("1,3", [0, 2]), ("2-4 1", [0, 1, 2, 3]), ("all", [0, 1, 2, 3]), ("ALL", [0, 1, 2, 3]),
        ("", []), ("0", []), ("5", []), ("3-2", []), ("x", []), ("1,x", []), ("-1", []), ("1-", []),
    ],
)  # fmt: skip
def test_numbers_choose(answer: str, picked: list[int]) -> None:
    """Numbers, ranges and `all` are understood, and half an answer is none."""
    assert numbers(answer, 4) == picked
