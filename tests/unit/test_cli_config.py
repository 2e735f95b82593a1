"""`pgherald config`: where it is, what it comes to, and that no secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgherald.config.generate import describe
from support.commands import CLIENTS, Result
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


def test_show_hides_secrets(desk: StoredDesk) -> None:
    """A token command's words and chat addresses may be secret, so neither is shown."""
    desk.configure(
        '[[accounts]]\nname = "work"\ntoken = "command:fetch --key CANARY-key"\n'
        '[[databases]]\napp = "shop"\naccount = "work"\n[[discover]]\naccount = "work"\n'
        f'{CLIENTS}[notifications]\nurls = ["slack://CANARY/token"]\n'
    )
    shown, shape = desk.run("config", "show").out, desk.run("config", "show", "--json")
    assert "CANARY" not in shown + shape.out
    assert "command:…" in shown
    assert "poll_interval = 60\n" in shown
    assert "desktop_notifications = yes\n" in shown
    assert "discover: account = work, include = *, attachments = DATABASE\n" in shown
    assert shape.json["notification_urls"] == 1
    assert shape.json["accounts"] == [{"name": "work", "token": "command:…"}]
    assert shape.json["databases"] == [
        {
            "key": "work:shop/DATABASE",
            "name": "shop (DATABASE)",
            "group": "Heroku",
            "service": "shop",
            "probe": "require",
            "sslmode": "require",
            "sslrootcert": None,
            "require_auth": "scram-sha-256,md5",
            "host": None,
            "port": None,
        }
    ]
    assert shape.json["clients"][0] == {
        "kind": "service_file",
        "path": str(desk.folder / "pg_service.conf"),
        "rows": None,
        "passfile": None,
    }


@pytest.mark.parametrize("columns", [40, 200])
def test_keys_fit_the_terminal(desk: StoredDesk, columns: int) -> None:
    """Every key with its default, wrapped to the terminal, without marks made for documents."""
    desk.patch.setenv("COLUMNS", str(columns))
    text = desk.run("config", "keys").out
    lines = text.splitlines()
    assert [line for line in lines if line and line[0] != " "] == [key.path for key in describe()]
    assert "`" not in text
    assert not [line for line in lines if len(line) > min(columns, 96) and " " in line.strip()]
