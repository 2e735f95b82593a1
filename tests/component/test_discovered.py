"""Databases that rules find, and that `init` offers, whatever else does not work."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgherald.simulator.faults import Fault
from pgherald.simulator.state import Account, url_of
from support.commands import CLIENTS, Desk
from support.workplace import HOUR, MINUTE, Workplace

INIT = ("init", "--yes", "--no-service", "--clients", "service_file")

DISCOVER = '[[discover]]\ninclude = ["*"]\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PGSYSCONFDIR", str(tmp_path / "etc"))
    return Desk.laid(tmp_path, monkeypatch)


def pasted(desk: Desk, app: str, **config: str) -> None:
    """An app without an add-on, to which the URL of blog's database was given by hand."""
    url = url_of(desk.login("blog"))
    vars_of = {name: value.format(url=url) for name, value in config.items()}
    desk.world.add_app(app, desk.world.accounts[0], config=vars_of)


@pytest.mark.parametrize(
    ("var", "attachment", "section"),
    [
        ("DATABASE_URL", "", "pasted"),
        ("CRUNCHY_URL", "CRUNCHY", "pasted-crunchy"),
        ("POSTGRES_URI", "POSTGRES_URI", "pasted-postgres-uri"),
        ("databaseUrl", "databaseUrl", "pasted-databaseurl"),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_init_keeps_a_config_var_of_any_name(
    desk: Desk, var: str, attachment: str, section: str, *, named: bool
) -> None:
    """It is known by its URL, is named as it is called, and holds a login like any other."""
    pasted(desk, "pasted", **{var: " {url}\n", "OTHER": "text"})
    flags = ("--attachment", var) if named else ()
    result = desk.run(*INIT, "--app", "pasted", *flags)
    assert (result.code, result.err) == (0, "")
    text = desk.file.read_text()
    assert ("attachment" in text, f'attachment = "{attachment}"' in text) == (bool(attachment),) * 2
    assert f"[{section}]" in (Path.home() / ".pg_service.conf").read_text()
    assert desk.run("check").code == 0


def test_an_app_whose_config_vars_are_refused(desk: Desk) -> None:
    """What hinders reading the app that was named is said; any other app hinders nothing."""
    pasted(desk, "pasted", DATABASE_URL="{url}")
    desk.app.faults.add(Fault("403", "GET /apps/pasted/config-vars"))
    result = desk.run(*INIT, "--app", "pasted")
    assert (result.code, "pasted: Heroku does not let" in result.err) == (1, True)
    assert desk.run(*INIT, "--app", "blog").code == 0


@pytest.mark.parametrize("app", ["pasted", "shpo"])
def test_a_rule_that_names_an_app_in_full(desk: Desk, app: str) -> None:
    """That it is closed, or not there, is said, and hinders no other; a pattern may fit nothing."""
    pasted(desk, "pasted", DATABASE_URL="{url}")
    desk.app.faults.add(Fault("403", "GET /apps/pasted/config-vars"))
    rules = f'[[discover]]\ninclude = ["blog", "{app}*"]\n'
    desk.configure(rules + CLIENTS)
    assert desk.run("check").code == 0
    desk.configure(rules.replace("*", "") + CLIENTS)
    for command in ("check", "status"):
        result = desk.run(command)
        assert (result.code, result.err.startswith(f"{app}: ")) == (1, True)
    assert "[blog]" in desk.read("pg_service.conf")


def test_a_masked_var_is_called_so(desk: Desk) -> None:
    """A value that Heroku hides is no missing database: nothing is gone."""
    desk.configure('[[databases]]\napp = "blog"\n' + CLIENTS)
    assert desk.run("check").code == 0
    hidden = {"DATABASE_URL": None, "LANG": "en"}
    desk.app.faults.add(Fault("body", "GET /apps/blog/config-vars", body=hidden))
    result = desk.run("check")
    assert (result.code, "DATABASE_URL of blog is masked" in result.err) == (1, True)
    assert desk.login("blog").user in desk.read("pgpass")


def test_rules_find_what_was_pasted(desk: Desk) -> None:
    """A rule keeps each app's DATABASE_URL, by hand or by an add-on, and follows a new value."""
    pasted(desk, "pasted", DATABASE_URL="{url}", COPY_URL="{url}")
    desk.configure(DISCOVER + CLIENTS)
    assert desk.run("check").code == 0
    assert desk.read("pg_service.conf").count("[pasted") == 1
    desk.rotate("blog")
    app, url = desk.world.app("pasted"), url_of(desk.login("blog"))
    desk.world.set_config(app, {"DATABASE_URL": url}, by="dev@example.com")
    assert desk.run("check").code == 0
    assert desk.read("pg_service.conf").count(desk.login("blog").user) == 2


@pytest.mark.parametrize("fault", ["404", "403", "503", "account"])
def test_a_team_that_fails_holds_up_no_other(desk: Desk, fault: str) -> None:
    """Also at a start, the others' rotations are written, and what was kept of it is kept."""
    rules = '[[discover]]\nteam = "acme"\n[[discover]]\ninclude = ["blog"]\n'
    if fault == "account":
        account = '[[accounts]]\nname = "{}"\ntoken = "env:{}"\n'
        rules = account.format("work", "HEROKU_API_KEY") + account.format("home", "HOME_KEY")
        rules += '[[discover]]\naccount = "work"\n[[discover]]\naccount = "home"\n'
        desk.patch.setenv("HOME_KEY", "HRKU-CANARY-of-nobody")
    app = desk.world.app("shop-staging")
    app.team, app.owner.teams = "acme", frozenset({"acme"})
    desk.configure(rules + CLIENTS)
    before = desk.run("check")
    assert (before.code, "does not accept" in before.err) == (
        (1, True) if fault == "account" else (0, False)
    )
    if fault != "account":
        desk.app.faults.add(Fault(fault, "GET /teams/acme/apps"))
    for name in ("blog", "shop-staging"):
        desk.rotate(name)
    result = desk.run("check")
    assert result.code == 1
    for name in ("blog", "shop-staging"):
        assert desk.login(name).user in desk.read("pg_service.conf")


@pytest.mark.parametrize("rules", [DISCOVER, '[[discover]]\nteam = "acme"\n'])
@pytest.mark.parametrize("has", [True, False])
def test_rules_follow_nobody_else(desk: Desk, rules: str, *, has: bool) -> None:
    """Where somebody else is logged in at a start that is said, once: ours stay, theirs stay out."""
    for app in desk.world.apps:
        app.team, app.owner.teams = "acme", frozenset({"acme"})
    desk.configure(rules + CLIENTS)
    assert desk.run("check").code == 0
    theirs = Account("else@example.com", "else@example.com")
    if has:
        config = {"DATABASE_URL": url_of(desk.login("blog"))}
        desk.world.add_app("theirs", theirs, config=config)
    before = desk.read("pg_service.conf")
    desk.patch.setenv("HEROKU_API_KEY", desk.world.add_token(theirs).value.reveal())
    result = desk.run("check")
    titles = [line for line in result.err.splitlines() if not line.startswith(" ")]
    assert titles == ["Heroku: logged in as else@example.com, no longer as dev@example.com"]
    assert (result.code, desk.read("pg_service.conf")) == (1, before)
    assert "--prune" not in result.out + desk.run("status").err
    desk.patch.setenv("HEROKU_API_KEY", desk.world.tokens[0].value.reveal())
    result = desk.run("check")
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("order", [("work", "home"), ("home", "work")])
def test_two_logins_that_see_the_same(desk: Desk, order: tuple[str, str]) -> None:
    """What both find is kept once, by the one that found it first, also after a start."""
    account = '[[accounts]]\nname = "{0}"\ntoken = "env:HEROKU_API_KEY"\n'
    rule = '[[discover]]\naccount = "{0}"\n'
    text = CLIENTS
    for number, name in enumerate(order):
        text = (account + rule).format(name) + text
        desk.configure(text)
        result = desk.run("check")
        assert (result.code, result.err) == (0, "")
        assert ("now keeps" in result.out) == (number == 0)
    assert f"pgherald: {order[0]}:blog/DATABASE" in desk.read("pg_service.conf")


@pytest.mark.parametrize("fault", ["401", "403-scope", "402", "429", "503", "html", "no token"])
@pytest.mark.parametrize("named", [(), ("blog",), ("blog", "shop-production")])
def test_an_accounts_trouble_is_one(desk: Desk, fault: str, named: tuple[str, ...]) -> None:
    """It is named once, for whatever Heroku was asked; nothing that it holds is a stranger."""
    entries = "".join(f'[[databases]]\napp = "{app}"\n' for app in named)
    desk.configure(entries + DISCOVER + CLIENTS)
    assert desk.run("check").code == 0
    if fault == "no token":
        desk.patch.delenv("HEROKU_API_KEY")
        desk.patch.setenv("PATH", "/nowhere")
    else:
        desk.app.faults.add(Fault(fault))
    for command in ("check", "status"):
        result = desk.run(command)
        titles = [line for line in result.err.splitlines() if line and not line.startswith(" ")]
        # A payment may be waited for from an app's owner alone, where there is no list of apps.
        assert (result.code, len(titles)) == (1, 1) or (fault == "402" and len(named) < 2)
    assert "--prune" not in desk.run("check").out


async def test_closed_pull_requests_are_no_news(tmp_path: Path) -> None:
    """A review app that is gone is shown as gone, without a notice; the others are kept."""
    rule = '[[discover]]\ninclude = ["*-pr-*"]'
    apps = ["shop-pr-1", "shop-pr-2", "shop"]
    async with Workplace.standing(tmp_path, apps=apps, watched=[], top=rule) as place:
        await place.passes(5 * MINUTE)
        assert place.is_current("shop-pr-1")
        world = place.simulator.world
        for name in ("shop-pr-1", "shop-pr-2"):
            world.apps.remove(world.app(name))
            gone = [each for each in world.attachments if each.app.name == name]
            for each in gone:
                world.attachments.remove(each)
            place.news.clear()
            await place.passes(HOUR)
            assert place.told() == []
            states = {str(each.key): each.phase for each in place.state.store.recalled()}
            assert states[f"{name}/DATABASE"] == "gone"
