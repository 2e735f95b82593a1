"""The editor of servers.json in corners: what exactly is refused, hidden and said."""

from __future__ import annotations

import json

import pytest

from pgherald.clients.base import Held
from pgherald.clients.servers_json import ServersJson
from pgherald.errors import Inexpressible, Unparsable
from pgherald.model import Entry
from pgherald.secret import MASK
from support.pictures import entry

SERVICE, HOST = ServersJson(), ServersJson("host")
SHOP = entry()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "the file holds no JSON object"),
        ('{"Servers": 1}', '"Servers" is not an object'),
        ('{"a": 1, "a": 2}', "a key stands twice in one object"),
        ("?", "a value is missing or is not JSON"),
        (" ? ", "a value is missing or is not JSON"),
    ],
)
def test_why_a_file_is_refused(text: str, reason: str) -> None:
    """Each refusal says what is the matter, and what helps."""
    with pytest.raises(Unparsable) as caught:
        SERVICE.plan(text.encode(), [SHOP])
    assert caught.value.reason == reason
    assert caught.value.advice == "Mend the file, or move it away; then pgherald writes a new one."


@pytest.mark.parametrize(
    ("client", "wanted", "reason"),
    [
        (SERVICE, entry(name="a\0"), "Name of shop/DATABASE is empty or holds a NUL"),
        (HOST, entry(host=""), "Host of shop/DATABASE is empty or holds a NUL"),
        (
            HOST, entry(host="a,b"), "Host of shop/DATABASE holds a comma, which would part it",
        ),
    ],
)  # fmt: skip
def test_why_a_login_is_refused(client: ServersJson, wanted: Entry, reason: str) -> None:
    """A refusal names the field as pgAdmin does, and what helps."""
    with pytest.raises(Inexpressible) as caught:
        client.plan(None, [wanted])
    assert caught.value.reason == reason
    assert caught.value.advice == "Enter this server in pgAdmin by hand."


def test_what_is_warned_of() -> None:
    """Each sentence, whole."""
    foreign = {"Servers": {"7": {"Name": "Shop", "Group": "Heroku"}}}
    assert SERVICE.plan(b"\xef\xbb\xbf" + json.dumps(foreign).encode(), [SHOP]).warnings == (
        "The file begins with a byte order mark, at which pgAdmin's import gives up.",
        (
            'Server "7" is not pgherald\'s and has the name and group of one that is; pgAdmin '
            "will show both."
        ),
    )


def test_a_server_without_parameters_is_read() -> None:
    """What a person has taken out of our server is not held, and hinders nothing."""
    servers = json.loads(SERVICE.plan(None, [SHOP]).new)
    del servers["Servers"]["1"]["ConnectionParameters"]
    assert SERVICE.read(json.dumps(servers).encode()) == {
        SHOP.key: Held(dbname=SHOP.login.dbname, service="shop")
    }


def test_a_text_that_no_program_can_hold_is_not_held() -> None:
    """Wherever in it the odd letter stands."""
    servers = json.loads(HOST.plan(None, [SHOP]).new)
    servers["Servers"]["1"] |= {"Host": "h\0", "Username": "\ud800u"}
    held = HOST.read(json.dumps(servers).encode())[SHOP.key]
    assert (held.host, held.user) == (None, None)


def test_of_a_server_that_is_not_ours_only_the_brackets_are_shown() -> None:
    """Keys, texts and numbers are masked; what can only be yes, no or nothing is not."""
    members = {"Name": "a", "Port": 1, "x": ["a", {"y": None}], "SavePassword": True}
    text = json.dumps({"Servers": {"1": members, "odd": {}}, "Note": "x"}).encode()
    mask = f'"{MASK}"'
    foreign = f"{mask}: {mask}, {mask}: {mask}, {mask}: [{mask}, {{{mask}: null}}], {mask}: true"
    assert SERVICE.redact(text) == [
        f'{{"Servers": {{"1": {{{foreign}}}, {mask}: {{}}}}, {mask}: {mask}}}'
    ]
    assert SERVICE.redact(b'["a"]') == [f"[{mask}]"]


def test_of_our_server_what_we_write_is_shown() -> None:
    """What a person has added to it is not, nor one of our values that they have made odd."""
    ours = json.loads(SERVICE.plan(None, [SHOP]).new)
    assert json.loads("\n".join(SERVICE.redact(json.dumps(ours).encode()))) == ours
    server = ours["Servers"]["1"]
    server |= {"Comment": "CANARY", "Name": "x://u:CANARY@h", "Group": ["CANARY"]}
    server["ConnectionParameters"]["application_name"] = "CANARY"
    (line,) = SERVICE.redact(json.dumps(ours).encode())
    assert "CANARY" not in line
    assert "application_name" not in line
    assert '"sslmode": "require"' in line


def test_of_a_broken_file_nothing_is_shown() -> None:
    """Nobody knows whose is what in it."""
    assert SERVICE.redact(b'{\n"Password": "a\n') == [MASK, MASK]
