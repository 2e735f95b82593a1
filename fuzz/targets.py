"""What is fuzzed: the six readers of what somebody else wrote, and what each promises.

A target takes any bytes and returns; an `AssertionError`, or any error that is not of
`pgherald.errors`, is a finding. `SEEDS` are the inputs to begin with; a finding that was mended
is added to them, so `tests/unit/test_fuzz_targets.py` tries it for ever.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import answers
from pgherald.clients.base import Action, TextClient
from pgherald.clients.pgpass import Pgpass
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.config import load
from pgherald.errors import BadUrl, ConfigError, Inexpressible, Unparsable
from pgherald.heroku.url import parse_postgres_url
from pgherald.model import Database, DatabaseKey, Entry, Login
from pgherald.secret import Secret

Target = Callable[[bytes], None]

_KEY: Final = DatabaseKey("default", "shop", "DATABASE")
_OURS: Final = Entry(
    Database(_KEY, "Shop", "Heroku", "shop"),
    Login("db.example.com", 5432, "d1", "u1", Secret("FUZZ-password")),
)


def _edits(client: TextClient, data: bytes) -> None:
    """A client's file: understood or refused; ours is added, found, taken out; the rest stays."""
    client.redact(data)
    try:
        held = client.read(data)
        edit = client.plan(data, [_OURS])
    except (Unparsable, Inexpressible) as exc:
        assert "FUZZ" not in f"{exc!r} {exc}", "the error quotes a password"
        return
    assert (edit.new == data) == (not edit.changes), "a change without a change"
    assert "FUZZ" not in "".join(edit.warnings), "a warning quotes a password"
    again = client.plan(edit.new, [_OURS])
    assert again.new == edit.new, "edited twice is not edited once"
    found = client.read(edit.new)
    assert _KEY in found, "what was written is not found"
    taken = {change.key for change in edit.changes if change.action is Action.REMOVE}
    assert set(held) - taken <= set(found), "another database's entry is gone without a word"
    if b"FUZZ" not in data:
        assert "FUZZ" not in "\n".join(client.redact(edit.new)), "a password is shown"
    removed = client.plan(edit.new, [], remove=[_KEY]).new
    assert _KEY not in client.read(removed), "what was removed is still there"
    if client.kind == "servers_json":
        _same_values(data, removed)
    else:
        _only_more(data, edit.new)


def _same_values(old: bytes, bare: bytes) -> None:
    """Where the file had no server of ours: all values are there as before, in their order."""
    if b"pgherald" in old or not old.removeprefix(b"\xef\xbb\xbf").strip():
        return
    before, after = (json.loads(text.decode("utf-8-sig")) for text in (old, bare))
    before.setdefault("Servers", {})
    # Compared as text, since for Python 1 == 1.0 == True and dicts have no order.
    assert json.dumps(after) == json.dumps(before), "a value of somebody else's has changed"


def _only_more(old: bytes, new: bytes) -> None:
    """Every line that is not in our part is still there, in its order.

    Checked where the file had no part of ours: then it has to be the new one less that part.
    """
    if b">>> pgherald" in old or b"<<< pgherald" in old:
        return
    begin = new.find(b"# >>> pgherald")
    end = new.find(b"\n", new.find(b"# <<< pgherald")) + 1 or len(new)
    assert begin >= 0, "there is no part of ours"
    assert new[:begin] + new[end:] == old, "a byte of somebody else's is gone"


def pgpass(data: bytes) -> None:
    """See `_edits`."""
    _edits(Pgpass(), data)


def service_file(data: bytes) -> None:
    """See `_edits`."""
    _edits(ServiceFile(), data)


def servers_json(data: bytes) -> None:
    """See `_edits`."""
    _edits(ServersJson(), data)


def config(data: bytes) -> None:
    """A configuration: taken, or refused with the lines that are wrong."""
    file = Path(_FOLDER.name) / "config.toml"
    file.write_bytes(data)
    try:
        load(file, {"HOME": "/home/eve"}, platform="linux")
    except ConfigError as exc:
        lines = data.count(b"\n") + 1
        for problem in exc.problems:
            number = problem.removeprefix(f"{file}:").partition(":")[0]
            assert number.isdigit(), f"a problem without a line: {problem!r}"
            assert 1 <= int(number) <= lines + 1, f"no such line: {problem!r}"


def url(data: bytes) -> None:
    """A config var's value: a login, or refused without quoting it."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        login = parse_postgres_url(Secret(text))
    except BadUrl as exc:
        said = f"{exc.title} {exc.advice} {exc!r}"
        assert len(text) < _TELLING or text not in said, "the error quotes the URL"
        return
    assert 0 < login.port < 1 << 16, "no such port"
    assert login.host, "no host"
    assert login.user, "no user"
    assert login.dbname, "no database"
    other = Login(login.host, login.port, login.dbname, login.user, Secret("other"))
    assert repr(login) == repr(other), "repr depends on the password"


#: Texts shorter than this may stand in a message by chance.
_TELLING: Final = 24

_FOLDER: Final = tempfile.TemporaryDirectory(prefix="pgherald-fuzz-")

TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {t.__name__: t for t in (pgpass, service_file, servers_json, config, url, answers.heroku)}
)


def _kept(client: TextClient) -> bytes:
    """A file that we have written."""
    return client.plan(None, [_OURS]).new


#: What fuzzing begins with, by target.
SEEDS: Final[Mapping[str, tuple[bytes, ...]]] = MappingProxyType(
    {
        "pgpass": (
            b"",
            b"# mine\nlocalhost:5432:*:me:secret\n",
            b"a\\:b:1:c:d:e\\\\f\r\n",
            _kept(Pgpass()),
        ),
        "service_file": (
            b"[local]\nhost=localhost\npassword=x\n",
            b"# c\n[a]\n[a]\nport = 1\n",
            _kept(ServiceFile()),
        ),
        "servers_json": (
            b'{"Servers": {}}',
            b'{"Servers": {"1": {"Name": "a", "Port": 1, "Username": "u", "Host": "h"}}}\n',
            b'\xef\xbb\xbf{\r\n\t"x": [-0.0, 1e1, "\\ud800\xc3\xa9"],\r\n\t"Servers": {}\r\n}',
            b'{"a": -0, "b": 1e400, "c": 1.00000000000000000001, "a": NaN}',
            _kept(ServersJson()),
        ),
        "config": (
            b'[[databases]]\napp = "shop"\n[clients.pgpass]\n',
            b'poll_interval = "5m"\n[heroku]\ntoken = "netrc"\n[[discover]]\ninclude = ["*"]\n',
        ),
        "url": (
            b"postgres://u1:pw@h1.example:5432/d1",
            b"postgresql://u%40:p%2Fw@[::1]:1/d?sslmode=require",
            b"postgres://u:p:w@h/d",
        ),
        "heroku": answers.SEEDS,
    }
)
