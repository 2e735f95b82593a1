"""`pgherald password`: one password, and nothing else, on stdout."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.commands import Result, run

PGPASS = """\
# my own
localhost:5432:*:me:CANARY-mine
db.example.com:5433:orders:Odd "name":CANARY-odd
db.example.com:5432:*:u1:CANARY-u1
"""
SERVICES = "[shop]\nhost=db.example.com\nuser=u1\npassword=CANARY-shop\n[bare]\nhost=h\n"


class Desk:
    """Both files, kept by a configuration."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.patch = patch
        self.configure("[clients.pgpass]\npath = 'pgpass'\n"
                       "[clients.service_file]\npath = 'services'\n")  # fmt: skip
        (folder / "pgpass").write_text(PGPASS)
        (folder / "services").write_text(SERVICES)

    def configure(self, clients: str) -> None:
        (self.folder / "config.toml").write_text(
            f'state_dir = "state"\n[[databases]]\napp = "shop"\n{clients}'
        )

    def ask(self, *args: str) -> Result:
        file = str(self.folder / "config.toml")
        return run("--config", file, "password", *args, patch=self.patch)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("args", "password"),
    [
        (["--service", "shop"], "CANARY-shop"),
        (["--host", "db.example.com", "--user", "u1"], "CANARY-u1"),
        (["--host", "db.example.com", "--port", "5432", "--user", '"u1"'], "CANARY-u1"),
        (
            ["--host", "db.example.com", "--port", "5433", "--dbname", "orders",
             "--user", '"Odd ""name"""'],
            "CANARY-odd",
        ),
    ],
)  # fmt: skip
def test_the_password_alone(desk: Desk, args: list[str], password: str) -> None:
    """By service or by login, also from foreign lines and by pgAdmin's quoted user names."""
    result = desk.ask(*args)
    assert (result.code, result.out, result.err) == (0, f"{password}\n", "")


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["--service", "nothing"], "No service file has a section [nothing]"),
        (["--service", "bare"], "section [bare] holds no password"),
        (["--host", "db.example.com", "--user", "u2"],
         "No line of pgpass fits host db.example.com, port 5432 and user u2"),
        (["--host", "db.example.com", "--port", "5433", "--user", "u1"], "port 5433"),
    ],
)  # fmt: skip
def test_no_such_password(desk: Desk, args: list[str], reason: str) -> None:
    """Exit code 1, the reason on stderr, and nothing on stdout that could pass for a password."""
    result = desk.ask(*args)
    assert (result.code, result.out) == (1, "")
    assert reason in result.err
    assert "CANARY" not in result.err


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ([], "Give either --service, or --host and --user."),
        (["--host", "h"], "--user is missing."),
        (["--user", "u"], "--host is missing."),
        (["--host", "h", "--user", "u", "--port", "0"], "--port"),
    ],
)
def test_a_combination_without_meaning(desk: Desk, args: list[str], reason: str) -> None:
    """A command line that asks for nothing, or for two things, ends with exit code 2."""
    result = desk.ask(*args)
    assert (result.code, result.out) == (2, "")
    assert reason in result.err


def test_a_client_that_is_not_configured(desk: Desk) -> None:
    """Without the client's section the advice names it, and the other way to ask."""
    desk.configure("[clients.pgpass]\npath = 'pgpass'\n")
    result = desk.ask("--service", "shop")
    assert (result.code, result.out) == (1, "")
    assert "The configuration has no [clients.service_file]" in result.err
    assert "or ask by --host and --user" in result.err


@pytest.mark.parametrize(
    ("name", "text", "args"),
    [
        ("services", b"[shop]\nno keyword\n", ["--service", "shop"]),
        ("pgpass", b"\x00", ["--host", "h", "--user", "u"]),
    ],
)
def test_a_file_that_cannot_be_read(desk: Desk, name: str, text: bytes, args: list[str]) -> None:
    """A file that is none of its kind is named by its path."""
    (desk.folder / name).write_bytes(text)
    result = desk.ask(*args)
    assert (result.code, result.out) == (1, "")
    assert str(desk.folder / name) in result.err
