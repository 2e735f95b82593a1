"""A person's stricter setting stays: in each client, for every pair of modes, and verified that way."""

from __future__ import annotations

import dataclasses
import json
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pgherald.clients.base import Held, TextClient
from pgherald.clients.servers_json import ServersJson
from pgherald.clients.service_file import ServiceFile
from pgherald.model import SSLMODES, Entry, NewsKind, Phase, ProbePolicy, strictest
from pgherald.sync.outcomes import Outcome
from pgherald.sync.verification import trials
from support.household import Household, database, household, login

SHOP = database("shop")


@dataclass(frozen=True)
class Form:
    """A client's format.

    Attributes:
        editor: knows it.
        edited: the file after a person has changed our entry's options: sslmode and others.
        options: the options of our entry.
    """

    editor: TextClient
    edited: Callable[[bytes, dict[str, str]], bytes]
    options: Callable[[bytes], dict[str, str]]


def section_edited(text: bytes, options: dict[str, str]) -> bytes:
    rows = [row for row in text.decode().splitlines() if row.partition("=")[0] not in options]
    at = next(i for i, row in enumerate(rows) if row.startswith("user="))
    rows[at + 1 : at + 1] = [f"{name}={value}" for name, value in options.items()]
    return "\n".join([*rows, ""]).encode()


def section_options(text: bytes) -> dict[str, str]:
    return dict(row.split("=", 1) for row in text.decode().splitlines() if "=" in row)


def server_edited(text: bytes, options: dict[str, str]) -> bytes:
    file = json.loads(text)
    for server in file["Servers"].values():
        server["ConnectionParameters"] |= options
    return json.dumps(file, indent=4).encode()


def server_options(text: bytes) -> dict[str, str]:
    (server,) = json.loads(text)["Servers"].values()
    found: dict[str, str] = server["ConnectionParameters"]
    return found


FORMS = {
    "section": Form(ServiceFile(), section_edited, section_options),
    "servers.json": Form(ServersJson(), server_edited, server_options),
    "servers.json by host": Form(ServersJson("host"), server_edited, server_options),
}

in_each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def entry(sslmode: str = "require", number: int = 1) -> Entry:
    return Entry(SHOP, login(number, sslmode=sslmode))


@in_each_form
@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("verify-full", "require"),
        ("require", "verify-full"),
        ("verify-ca", "verify-full"),
        ("disable", "require"),
        ("prefer", "allow"),
    ],
)
def test_the_stricter_of_two_modes_stays(form: Form, theirs: str, ours: str) -> None:
    """Of the person's mode and the configuration's the stricter is written, through a rotation, and then nothing is left to do."""
    first = form.editor.plan(None, [entry(ours)]).new
    file = form.edited(first, {"sslmode": theirs})
    for number in (1, 2):
        file = form.editor.plan(file, [entry(ours, number)]).new
        assert form.options(file)["sslmode"] == strictest(ours, theirs)
        assert form.editor.plan(file, [entry(ours, number)]).changes == ()
    held = form.editor.read(file)[SHOP.key]
    assert held.sslmode == strictest(ours, theirs)


@in_each_form
@pytest.mark.parametrize("theirs", SSLMODES)
def test_a_stricter_mode_alone_is_nothing_to_do(form: Form, theirs: str) -> None:
    """A file in which only the mode is stricter than the configuration's is current; a weaker one is mended."""
    file = form.edited(form.editor.plan(None, [entry()]).new, {"sslmode": theirs})
    changes = form.editor.plan(file, [entry()]).changes
    assert bool(changes) == (strictest("require", theirs) != theirs)
    assert all(change.fields == ("sslmode",) for change in changes)


@in_each_form
@pytest.mark.parametrize("theirs", ["Verify-Full", "verify-full "])
def test_a_misspelt_mode_is_no_weaker_one(form: Form, theirs: str) -> None:
    """Such a mode is refused by libpq, so it is put right; and what it means is kept."""
    file = form.edited(form.editor.plan(None, [entry()]).new, {"sslmode": theirs})
    assert form.editor.read(file)[SHOP.key].demands in (theirs, "verify-full")
    assert form.options(form.editor.plan(file, [entry()]).new)["sslmode"].strip() == "verify-full"


@in_each_form
@pytest.mark.parametrize(("ours", "number"), [("require", 1), ("disable", 2)])
def test_system_certificates_go_with_verify_full_alone(form: Form, ours: str, number: int) -> None:
    """Beside `sslrootcert=system` libpq takes no mode but verify-full, so no other is written there."""
    file = form.edited(form.editor.plan(None, [entry()]).new, {"sslrootcert": "system"})
    new = form.editor.plan(file, [entry(ours, number)]).new
    assert form.options(new)["sslmode"] == "verify-full"
    assert form.options(new)["sslrootcert"] == "system"
    assert form.editor.read(new)[SHOP.key].demands == "verify-full"


@pytest.mark.parametrize(
    ("name", "written"),
    [("section", True), ("servers.json", False), ("servers.json by host", True)],
)
def test_the_configurations_root_certificate(name: str, *, written: bool) -> None:
    """It is in each client but a row that names the section, where libpq reads it; with "system" goes verify-full."""
    shop = dataclasses.replace(SHOP, sslmode="verify-full", sslrootcert="system")
    new = FORMS[name].editor.plan(None, [Entry(shop, login(1, sslmode="verify-full"))]).new
    options = FORMS[name].options(new)
    assert (options["sslmode"], "sslrootcert" in options) == ("verify-full", written)


@pytest.mark.parametrize("row", ["sslmode=verify-full", "SSLMode = verify-full"])
def test_a_second_line_counts_too(row: str) -> None:
    """What a person appended below our line is what they want, though libpq reads the first line."""
    first = ServiceFile().plan(None, [entry()]).new
    file = first.replace(b"sslmode=require\n", f"sslmode=require\n{row}\n".encode())
    assert ServiceFile().read(file)[SHOP.key].sslmode == "verify-full"
    new = ServiceFile().plan(file, [entry()]).new
    assert new == first.replace(b"sslmode=require", b"sslmode=verify-full")


@pytest.mark.parametrize("parameters", [{}, {"ConnectionParameters": {}}])
def test_the_older_fields_of_a_server_count(parameters: dict[str, object]) -> None:
    """A server from before there were parameters keeps its stricter mode, its certificate and its key once it has some."""
    older = {"SSLMode": "verify-full", "SSLRootCert": "/ca.crt", "SSLKey": "/key"}
    file = json.loads(ServersJson().plan(None, [entry()]).new)
    del file["Servers"]["1"]["ConnectionParameters"]
    file["Servers"]["1"] |= older | parameters
    text = json.dumps(file).encode()
    held = ServersJson().read(text)[SHOP.key]
    assert (held.sslmode, held.sslrootcert) == ("verify-full", "/ca.crt")
    new = ServersJson().plan(text, [entry()]).new
    assert server_options(new) == {
        "sslmode": "verify-full",
        "sslrootcert": "/ca.crt",
        "sslkey": "/key",
        "connect_timeout": 10,
    }


def test_each_copy_keeps_its_own_mode() -> None:
    """A copy of our server is kept as strict as the person made it, and the strictest is what counts for the proof."""
    file = json.loads(ServersJson().plan(None, [entry()]).new)
    file["Servers"]["2"] = json.loads(json.dumps(file["Servers"]["1"]))
    file["Servers"]["2"]["ConnectionParameters"] = {"sslmode": "verify-ca", "sslrootcert": "/ca"}
    text = json.dumps(file).encode()
    held = ServersJson().read(text)[SHOP.key]
    assert (held.sslmode, held.sslrootcert) == ("verify-ca", "/ca")
    new = json.loads(ServersJson().plan(text, [entry(number=2)]).new or text)
    modes = [server["ConnectionParameters"]["sslmode"] for server in new["Servers"].values()]
    assert modes == ["require", "verify-ca"]


# --- what has to be proven


def ways(ours: str, *held: Held) -> list[tuple[str, str | None]]:
    found = trials(entry(ours), [(f"client {n}", each) for n, each in enumerate(held)])
    return [(trial.login.sslmode, trial.sslrootcert) for trial in found]


def test_one_proof_for_each_way_that_none_covers() -> None:
    """A login is tried as every client will connect, the strictest first, and not twice the same way."""
    strict = Held(sslmode="verify-full", sslrootcert="/ca")
    assert ways("require") == [("require", None)]
    assert ways("require", Held(), Held(sslmode="require")) == [("require", None)]
    assert ways("require", Held(sslmode="prefer")) == [("require", None)]
    assert ways("require", Held(sslmode="verify-full")) == [("verify-full", None)]
    assert ways("require", Held(sslmode=" Verify-Full ")) == [("verify-full", None)]
    assert ways("require", Held(sslmode="nonsense")) == [("require", None)]
    assert ways("require", strict) == [("verify-full", "/ca")]
    assert ways("verify-ca", strict) == [("verify-full", "/ca")]
    assert ways("verify-ca", strict, Held(sslmode="verify-ca")) == [
        ("verify-full", "/ca"),
        ("verify-ca", None),
    ]
    assert ways("verify-ca", Held(sslmode="verify-full")) == [("verify-full", None)]
    assert ways("require", strict, Held(sslmode="verify-ca", sslrootcert="/other")) == [
        ("verify-full", "/ca"),
        ("verify-ca", "/other"),
    ]
    assert ways("disable", Held(sslmode="require")) == [("require", None)]
    assert ways("require", Held(sslrootcert="system")) == [("verify-full", "system")]
    # With a file of certificates libpq verifies by `require` too.
    assert ways("require", Held(sslmode="require", sslrootcert="/ca")) == [("require", "/ca")]


def demand(house: Household, **options: str) -> None:
    """The person makes our section stricter."""
    text = house.service_file.read_bytes()
    house.service_file.write_bytes(section_edited(text, options))


async def test_a_rotation_is_proven_as_the_client_demands(tmp_path: Path) -> None:
    """With the section's mode and root certificate; then it is written, and the section stays as strict."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        demand(house, sslmode="verify-full", sslrootcert="/ca.crt")
        await house.sees((SHOP, login(2)))
        tried = house.prober.tried[-1]
        assert (tried.user, tried.sslmode, house.prober.ways[-1][1]) == (
            "u2",
            "verify-full",
            "/ca.crt",
        )
        assert house.held(SHOP) == {"u2"}
        assert section_options(house.service_file.read_bytes())["sslmode"] == "verify-full"


async def test_what_cannot_be_verified_is_not_written(tmp_path: Path) -> None:
    """Nothing is written, in no client; the person hears which client demands which mode, once, and its end when the demand is met."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        demand(house, sslmode="verify-full")
        house.prober.strict = Outcome.TLS_REFUSED
        before = house.texts()
        for _ in range(3):
            await house.sees((SHOP, login(2)))
            await house.reconciler.settled()
        assert house.texts() == before
        assert house.phase(SHOP) is Phase.UNVERIFIED
        (trouble,) = (news for news in house.news if news.kind is NewsKind.TROUBLE)
        assert trouble.title == "Shop cannot be verified as a client demands"
        assert f"[shop] in {house.service_file} demands sslmode=verify-full" in trouble.advice
        house.prober.strict = Outcome.WORKS
        await house.sees((SHOP, login(2)))
        await house.reconciler.settled()
        assert house.held(SHOP) == {"u2"}
        assert house.kinds()[-2:] == [NewsKind.ROTATED, NewsKind.RECOVERED]


async def test_a_stricter_mode_is_no_rotation_and_no_trouble(tmp_path: Path) -> None:
    """A person who makes a client stricter is current once that is verified, and hears nothing of it.

    It is verified once, and so also where the store was lost.
    """
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        for mode in ("verify-ca", "verify-full"):
            demand(house, sslmode=mode)
            for _ in range(3):
                await house.sees((SHOP, login(1)))
                await house.reconciler.settled()
                assert house.phase(SHOP) is Phase.CURRENT
        tried = [login.sslmode for login in house.prober.tried]
        assert tried == ["require", "verify-ca", "verify-full"]
        house.store.close()
        house.pgpass.write_bytes(b"")
        await house.sees((SHOP, login(1)))
        await house.reconciler.settled()
        assert house.kinds() == [NewsKind.ADDED, NewsKind.MENDED]
        assert house.news[-1].changed == ()


async def test_a_demand_that_cannot_be_met_is_named_at_once(tmp_path: Path) -> None:
    """A client that holds the login and demands more than can be verified is not current.

    Nothing has to be written, no rotation has to come, and the demand stays as it is.
    """
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        house.prober.strict = Outcome.TLS_REFUSED
        demand(house, sslmode="verify-full")
        for _ in range(2):
            await house.sees((SHOP, login(1)))
            await house.reconciler.settled()
            assert house.phase(SHOP) is Phase.UNVERIFIED
        problem = house.error(SHOP)
        assert problem is not None
        assert "as a client demands" in problem.title
        assert section_options(house.service_file.read_bytes())["sslmode"] == "verify-full"
        demand(house, sslmode="require")
        await house.sees((SHOP, login(1)))
        await house.reconciler.settled()
        assert house.phase(SHOP) is Phase.CURRENT
        assert house.error(SHOP) is None


@pytest.mark.parametrize("policy", [ProbePolicy.PREFER, ProbePolicy.OFF])
async def test_unproven_is_not_weaker(tmp_path: Path, policy: ProbePolicy) -> None:
    """Where the person wants logins written unproven, the stricter mode stays all the same."""
    shop = dataclasses.replace(SHOP, probe=policy)
    async with household(tmp_path) as house:
        await house.sees((shop, login(1)))
        demand(house, sslmode="verify-full")
        house.prober.strict = Outcome.TLS_REFUSED
        await house.sees((shop, login(2)))
        await house.reconciler.settled()
        assert house.held(shop) == {"u2"}
        assert section_options(house.service_file.read_bytes())["sslmode"] == "verify-full"


async def test_the_databases_own_methods_are_allowed(tmp_path: Path) -> None:
    """What the configuration says about `require_auth` reaches the prober."""
    shop = dataclasses.replace(SHOP, require_auth="password")
    async with household(tmp_path) as house:
        await house.sees((shop, login(1)))
        assert house.prober.ways == [("password", None)]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes there")
async def test_a_stricter_file_mode_stays(tmp_path: Path) -> None:
    """A file that its owner may only read stays so through a rotation."""
    async with household(tmp_path) as house:
        await house.sees((SHOP, login(1)))
        for path in (house.pgpass, house.service_file):
            path.chmod(0o400)
        await house.sees((SHOP, login(2)))
        assert house.held(SHOP) == {"u2"}
        for path in (house.pgpass, house.service_file):
            assert stat.S_IMODE(path.stat().st_mode) == 0o400
