"""`pgherald config`: where it is, what it comes to, and that no secret is shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pgherald.config import Config
from pgherald.config.generate import describe
from support.commands import Result
from support.stored import StoredDesk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoredDesk:
    return StoredDesk(tmp_path, monkeypatch)


def test_path_and_check_name_the_file_in_use(desk: StoredDesk) -> None:
    """A good file is called fine, and the example that `config example` prints is one."""
    file = desk.folder / "config.toml"
    assert desk.run("config", "path").out == f"{file}\n"
    file.write_text(desk.run("config", "example").out)
    assert desk.run("config", "check") == Result(0, f"{file} is fine.\n", "")


FULL = """
poll_interval = "5m"
[[accounts]]
name = "work"
token = "command:fetch --key CANARY-key"
request_share = "10%"
events = false
[[databases]]
app = "shop"
account = "work"
[[discover]]
account = "work"
team = "acme"
[clients.pgadmin]
path = "/p/pgadmin4.db"
user = "me@example.com"
[notifications]
desktop = false
urls = ["slack://CANARY/token"]
quiet = "22:00 - 7:30"
terminals = false
[metrics]
textfile = "/m/x.prom"
[[hooks]]
on = "rotation"
command = ["tell", "CANARY-word"]
"""


def test_show_has_every_setting_in_force_and_no_secret(desk: StoredDesk) -> None:
    """Defaults and what is switched off are shown too; words that may be secret are not."""
    desk.configure(FULL)
    shown, shape = desk.run("config", "show").out, desk.run("config", "show", "--json")
    assert "CANARY" not in shown + shape.out
    group = "group = Heroku"
    settings = "probe = require, sslmode = require, require_auth = scram-sha-256,md5"
    database = "key = work:shop/DATABASE, name = shop (DATABASE)"
    rule = "include = *, team = acme, attachments = DATABASE, account = work"
    passfile = "/p/storage/me_example.com/.pgpass"
    pgadmin = "path = /p/pgadmin4.db, rows = host, passfile = /.pgpass, user = me@example.com"
    assert shown.splitlines() == [
        f"path = {desk.folder / 'config.toml'}",
        "poll_interval = 300",
        f"state_dir = {desk.folder / 'state'}",
        "log_level = info",
        "accounts: name = work, token = command:…, request_share = 0.1, events = 0",
        f"databases: {database}, {group}, service = shop, {settings}",
        f"discover: {rule}, {group}, {settings}",
        f"clients: kind = pgpass, path = {passfile}, label = pgAdmin's passfile",
        f"clients: kind = pgadmin, {pgadmin}",
        "notifications: desktop = no, level = all, quiet = 22:00-07:30, terminals = no, urls = 1",
        "metrics_file = /m/x.prom",
        "full_sweep = 900",
        "hooks: on = rotation, command = tell …, time_limit = 30",
    ]
    assert set(shape.json) >= {field.name for field in dataclasses.fields(Config)}
    assert shape.json["accounts"][0]["events"] == 0
    assert shape.json["clients"][1]["user"] == "me@example.com"
    # As the first version called them.
    first = ("desktop_notifications", "notification_urls", "notification_level")
    assert [shape.json[name] for name in first] == [False, 1, "all"]


@pytest.mark.parametrize("columns", [40, 200])
def test_keys_fit_the_terminal(desk: StoredDesk, columns: int) -> None:
    """Every key with its default, wrapped to the terminal, without marks made for documents."""
    desk.patch.setenv("COLUMNS", str(columns))
    text = desk.run("config", "keys").out
    lines = text.splitlines()
    assert [line for line in lines if line and line[0] != " "] == [key.path for key in describe()]
    assert "`" not in text
    assert not [line for line in lines if len(line) > min(columns, 96) and " " in line.strip()]
