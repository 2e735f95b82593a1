"""Reading a configuration that is right: defaults, forms, paths."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from pgherald.config import (
    Account,
    ClientSetting,
    DiscoverRule,
    Rows,
    TokenKind,
    TokenSpec,
    database_for,
    load,
)
from pgherald.config.paths import locate
from pgherald.errors import ConfigError
from pgherald.model import ProbePolicy
from pgherald.secret import Secret
from support.configs import CLIENTS, DATABASES, SMALLEST, load_text


def test_what_may_be_secret_arrives(tmp_path: Path) -> None:
    """What no command shows is what the program gets: words, addresses; blanks around them go."""
    text = (Path(__file__).parents[1] / "golden" / "every-key.toml").read_text()
    config = load_text(tmp_path, text)
    assert config.accounts[0].token == TokenSpec(TokenKind.COMMAND, "fetch --key CANARY-key")
    assert config.notifications.urls == (Secret("slack://CANARY-a"), Secret("mailto://CANARY-b"))
    assert [hook.command for hook in config.hooks] == [("tell team", "CANARY-word"), ("x",)]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("5", 5), ("7.5", 7.5), ('"90s"', 90), ('"1.5 m"', 90), ('"24h"', 86_400)],
)
def test_poll_interval_forms(tmp_path: Path, written: str, seconds: float) -> None:
    """An interval is seconds, or a number with s, m or h."""
    config = load_text(tmp_path, f"poll_interval = {written}\n{SMALLEST}")
    assert config.poll_interval == seconds


@pytest.mark.parametrize("host", ["http://localhost", "http://[::1]:1"])
def test_a_simulator_may_be_asked_quickly(tmp_path: Path, host: str) -> None:
    """Where Heroku is on this machine, there is no allowance to spare."""
    config = load_text(tmp_path, f"poll_interval = 0.2\n{SMALLEST}", {"HEROKU_HOST": host})
    assert config.poll_interval == 0.2


@pytest.mark.parametrize(
    ("spec", "kind", "argument"),
    [
        ("command: pass show 'my heroku'", TokenKind.COMMAND, "pass show 'my heroku'"),
        # Bitwarden names its items by UUID.
        (
            "command:bw get password 99ee88d2-6046-4ea7-92c2-acac464b1412",
            TokenKind.COMMAND,
            "bw get password 99ee88d2-6046-4ea7-92c2-acac464b1412",
        ),
        ("keyring:heroku/eve", TokenKind.KEYRING, "heroku/eve"),
        ("file:/run/token", TokenKind.FILE, "/run/token"),
        ("file:~/token", TokenKind.FILE, "/home/eve/token"),
    ],
)
def test_token_forms(tmp_path: Path, spec: str, kind: TokenKind, argument: str) -> None:
    """A token's source is a word, and what stands behind its colon."""
    config = load_text(tmp_path, f'[heroku]\ntoken = "{spec}"\n{SMALLEST}')
    assert config.accounts == (Account(name="default", token=TokenSpec(kind, argument)),)
    if not spec.startswith(("file:", "command: ")):
        assert str(config.accounts[0].token) == spec


@pytest.mark.parametrize(
    ("written", "argument"),
    [
        ("token", "token"),
        ("missing", "{folder}/missing"),  # beside the configuration, wherever it is started
        ("../config.toml", "{folder}/../config.toml"),
    ],
)
def test_a_token_file_may_be_a_systemd_credential(
    tmp_path: Path, written: str, argument: str
) -> None:
    """A bare name stays as it is where systemd handed in a credential of that name."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "token").touch()
    text = f'[heroku]\ntoken = "file:{written}"\n{SMALLEST}'
    config = load_text(tmp_path, text, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert config.accounts[0].token.argument == argument.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("attachment", "name", "service"),
    [
        ("DATABASE", "shop (DATABASE)", "shop"),
        ("DATABASE_URL", "shop (DATABASE)", "shop"),
        ("HEROKU_POSTGRESQL_NAVY", "shop (HEROKU_POSTGRESQL_NAVY)", "shop-heroku-postgresql-navy"),
    ],
)
def test_names_follow_from_app_and_attachment(
    tmp_path: Path, attachment: str, name: str, service: str
) -> None:
    """Without a name of its own, a database is called after its app and attachment."""
    text = f'[[databases]]\napp = "shop"\nattachment = "{attachment}"\n{CLIENTS}'
    database = load_text(tmp_path, text).databases[0]
    assert (database.name, database.service) == (name, service)
    assert database.key.var == f"{attachment.removesuffix('_URL')}_URL"


def test_a_discovered_database_is_like_a_named_one(tmp_path: Path) -> None:
    """A database that a rule found has the defaults it would have if the file named it."""
    named = load_text(
        tmp_path, f'[[databases]]\napp = "shop"\nattachment = "A_B"\n{CLIENTS}'
    ).databases[0]
    assert database_for(DiscoverRule(account="default"), "default", "shop", "A_B") == named
    rule = DiscoverRule(
        account="work", group="G", probe=ProbePolicy.OFF, sslmode="verify-full", require_auth="md5"
    )
    found = database_for(rule, "work", "shop", "DATABASE")
    assert (found.group, found.probe, found.sslmode) == ("G", ProbePolicy.OFF, "verify-full")
    assert found.require_auth == "md5"


def test_pgadmin_is_found(tmp_path: Path) -> None:
    """Without a path, the desktop's place is meant, even where pgAdmin was never started."""
    text = f"{DATABASES}[clients.pgadmin]\n[clients.service_file]\n"
    for more, home in (("", "/home/eve"), ('path = "~/x/pgadmin4.db"\n', None)):
        with_path = text.replace("[clients.pgadmin]\n", f"[clients.pgadmin]\n{more}")
        setting = load_text(tmp_path, with_path).clients[0]
        path = Path(home or "/home/eve/x", ".pgadmin" if home else "", "pgadmin4.db")
        assert (setting.kind, setting.path, setting.rows) == ("pgadmin", path, Rows.SERVICE)


def test_one_of_several_people_gets_a_passfile(tmp_path: Path) -> None:
    """A named user's servers name a passfile, which is kept in that user's storage folder."""
    text = f'{DATABASES}[clients.pgadmin]\npath = "/var/p/pgadmin4.db"\nuser = "2me@example.com"\n'
    passfile, pgadmin = load_text(tmp_path, text).clients
    assert passfile == ClientSetting(
        "pgpass",
        Path("/var/p/storage/pga_user_2me_example.com/.pgpass"),
        label="pgAdmin's passfile",
    )
    assert (pgadmin.rows, pgadmin.user, pgadmin.passfile) == (
        Rows.HOST, "2me@example.com", "/.pgpass",
    )  # fmt: skip
    elsewhere = load_text(tmp_path, f'{text}storage = "/srv/storage"\n').clients[0]
    assert elsewhere.path == Path("/srv/storage/pga_user_2me_example.com/.pgpass")
    alone = load_text(tmp_path, f'{text}rows = "service"\n[clients.service_file]\n').clients
    assert [client.kind for client in alone] == ["pgadmin", "service_file"]


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"APPDATA": "/appdata"}, "/appdata/postgresql"),
        ({"USERPROFILE": "/users/eve"}, "/users/eve/AppData/Roaming/postgresql"),
    ],
)
def test_windows_has_other_places(tmp_path: Path, env: dict[str, str], folder: str) -> None:
    """On Windows libpq looks below %APPDATA%, and for other names."""
    text = f"{DATABASES}[clients.pgpass]\n[clients.service_file]\n"
    clients = load_text(tmp_path, text, env, platform="win32").clients
    assert {client.kind: client.path for client in clients} == {
        "pgpass": Path(folder, "pgpass.conf"),
        "service_file": Path(folder, ".pg_service.conf"),
    }


def test_the_state_folder_of_the_environment_wins(tmp_path: Path) -> None:
    """$PGHERALD_STATE_DIR goes before the file's `state_dir`."""
    text = f'state_dir = "/from/file"\n{SMALLEST}'
    env = {"HOME": "/home/eve", "PGHERALD_STATE_DIR": "~/state"}
    assert load_text(tmp_path, text, env).state_dir == Path("/home/eve/state")
    assert load_text(tmp_path, text).state_dir == Path("/from/file")


def test_where_the_file_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument comes first, then $PGHERALD_CONFIG, then the platform's folder."""
    env = {"HOME": "/home/eve", "PGHERALD_CONFIG": "~/named.toml"}
    monkeypatch.chdir(tmp_path)
    default = platformdirs.user_config_path("pgherald", appauthor=False) / "config.toml"
    assert locate(Path("given.toml"), env) == tmp_path / "given.toml"
    assert locate(None, env) == Path("/home/eve/named.toml")
    assert locate(None, {"PGHERALD_CONFIG": ""}) == default


def test_a_bom_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    """What Notepad saves is understood."""
    config = load_text(tmp_path, "\ufeff" + SMALLEST.replace("\n", "\r\n"))
    assert config.databases[0].key.app == "shop"


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """Whoever starts pgherald for the first time is told where to put what."""
    file = tmp_path / "sub" / "config.toml"
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value).splitlines() == [
        "There is no configuration file",
        f"Looked for {file}",
        (
            f'Run: pgherald init. Or start from the example, and edit it: mkdir -p "{file.parent}" && '
            f'pgherald config example > "{file}"'
        ),
    ]
    file.parent.mkdir()
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert "mkdir" not in caught.value.advice


def test_other_encodings_are_refused_with_their_line(tmp_path: Path) -> None:
    """TOML is UTF-8; the line that is not is named."""
    file = tmp_path / "config.toml"
    file.write_bytes(b'[[databases]]\napp = "shop"\nname = "K\xfcche"\n')
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert caught.value.problems == (f"{file}:3: this is not UTF-8 text",)
