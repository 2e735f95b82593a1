"""The Data API of a simulated Heroku: credentials and `pg:info`."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest_asyncio

from pgherald.simulator.data_plane import Manner
from pgherald.simulator.seed import READER, seed_world
from pgherald.simulator.state import Addon, url_of
from pgherald.simulator.world import World
from support.fake_clock import FakeClock
from support.simulator import Browser, FakeDoor, FakePostgres, browse, dice


@dataclass
class DataApi:
    """A seeded world, its first database, and a client of the Data API."""

    world: World
    browser: Browser
    postgres: FakePostgres
    clock: FakeClock

    @property
    def addon(self) -> Addon:
        return self.world.addons[0]

    @property
    def base(self) -> str:
        return f"/postgres/v0/databases/{self.addon.name}"

    async def credential(self, name: str = "default") -> Any:
        return (await self.browser.data.get(f"{self.base}/credentials/{name}")).json()


@pytest_asyncio.fixture
async def api() -> AsyncIterator[DataApi]:
    clock, postgres = FakeClock(), FakePostgres()
    world = await seed_world(postgres, clock=clock, source=dice(4), open_door=FakeDoor.opener())
    browser = browse(world)
    yield DataApi(world, browser, postgres, clock)
    await browser.close()
    await world.close()


async def test_list_and_get_agree_with_the_config_var(api: DataApi) -> None:
    """The credentials shown here are those in the config vars, by name and by id of the add-on."""
    by_id = f"/postgres/v0/databases/{api.addon.id}/credentials"
    rows = (await api.browser.data.get(by_id)).json()
    assert [row["name"] for row in rows] == ["default", READER]
    login = api.world.login(api.addon)
    [role] = rows[0]["credentials"]
    assert (role["user"], role["password"]) == (login.user, login.password.reveal())
    assert (rows[0]["host"], rows[0]["port"], rows[0]["database"]) == (
        login.host,
        login.port,
        login.dbname,
    )
    assert await api.credential() == rows[0]
    assert rows[0]["state"] == role["state"] == "active"


async def test_basic_and_bearer(api: DataApi) -> None:
    """The CLI sends its token in two ways; both are good, and none is not."""
    value = base64.b64encode(b":" + api.world.tokens[0].value.reveal().encode()).decode()
    path = f"{api.base}/credentials"
    basic = {"Authorization": f"Basic {value}"}
    assert (await api.browser.data.get(path, headers=basic)).status_code == 200
    nobody = {"Authorization": "Bearer nobody"}
    assert (await api.browser.data.get(path, headers=nobody)).json()["id"] == "unauthorized"


async def test_readers_may_not_rotate(api: DataApi) -> None:
    """A token that may only read sees credentials and changes none."""
    token = api.world.add_token(api.world.accounts[0], scopes=["read-protected"])
    headers = {"Authorization": f"Bearer {token.value.reveal()}"}
    read = await api.browser.data.get(f"{api.base}/credentials", headers=headers)
    assert read.status_code == 200
    rotate = await api.browser.data.post(f"{api.base}/credentials_rotation", headers=headers)
    assert rotate.status_code == 403


async def test_rotate(api: DataApi) -> None:
    """A rotation answers with Heroku's words, and the old login is refused."""
    old = api.world.login(api.addon)
    reply = await api.browser.data.post(f"{api.base}/credentials/default/credentials_rotation")
    assert reply.json() == {"message": f"Rotating credentials on {api.addon.name}"}
    assert not api.postgres.accepts(old)
    assert api.postgres.accepts(api.world.login(api.addon))


async def test_rotate_all_and_force(api: DataApi) -> None:
    """`--all` reaches the named credential too; forced, it is through at once."""
    api.world.data.manner = Manner(step=30)
    before = await api.credential(READER)
    reply = await api.browser.data.post(f"{api.base}/credentials_rotation", json={"forced": True})
    assert "all credentials" in reply.json()["message"]
    after = await api.credential(READER)
    assert after["state"] == "active"
    assert after["credentials"][0]["password"] != before["credentials"][0]["password"]


async def test_rotation_in_progress(api: DataApi) -> None:
    """While a named rotation is in its middle, both roles are shown, with their connections."""
    api.world.data.manner = Manner(step=30)
    await api.browser.data.post(f"{api.base}/credentials/{READER}/credentials_rotation")
    shown = await api.credential(READER)
    assert shown["state"] == "rotating"
    assert [(r["user"], r["state"], r["connections"]) for r in shown["credentials"]] == [
        (READER, "revoking", 3),
        (f"{READER}-rotating", "active", 3),
    ]
    await api.clock.advance(31)
    assert (await api.credential(READER))["state"] == "active"


async def test_create_and_destroy(api: DataApi) -> None:
    """Named credentials come and go; what cannot be is told with a message."""
    made = await api.browser.data.post(f"{api.base}/credentials", json={"name": "report"})
    assert made.status_code == 200
    assert (await api.credential("report"))["credentials"][0]["user"] == "report"
    gone = await api.browser.data.delete(f"{api.base}/credentials/report")
    assert gone.status_code == 200
    refused = await api.browser.data.delete(f"{api.base}/credentials/{READER}")
    assert (refused.status_code, "detached" in refused.json()["message"]) == (422, True)


async def test_repair_default(api: DataApi) -> None:
    """Repairing makes the default role own the database again."""
    await api.browser.data.post(f"{api.base}/repair-default")
    user = api.world.login(api.addon).user
    assert api.postgres.statements[-1][1].endswith(f'OWNER TO "{user}"')


async def test_info(api: DataApi) -> None:
    """`pg:info` holds the login in full, and a follower names its leader."""
    login = api.world.login(api.addon)
    info = (await api.browser.data.get(f"/client/v11/databases/{api.addon.id}")).json()
    assert info["resource_url"] == url_of(login)
    assert info["following"] is None
    values = {entry["name"]: entry["values"] for entry in info["info"]}
    assert values["PG Version"] == ["17.2"]
    assert values["Connections"] == ["3/120"]
    follower = next(a for a in api.world.addons if a.postgres and a.postgres.leader)
    info = (await api.browser.data.get(f"/client/v11/databases/{follower.id}")).json()
    assert info["following"] == url_of(login)
    wait = await api.browser.data.get(f"/client/v11/databases/{api.addon.id}/wait_status")
    assert wait.json()["waiting?"] is False


async def test_odd_not_found(api: DataApi) -> None:
    """An unknown path or database is HTML that calls itself JSON, as recorded from Heroku."""
    redis = next(a for a in api.world.addons if a.service == "heroku-redis")
    for path in (
        "/postgres/v0/nothing",
        "/client/v11/databases/x",
        f"/client/v11/databases/{redis.id}",
    ):
        reply = await api.browser.data.get(path)
        assert (reply.status_code, reply.text) == (404, "<h1>Not Found</h1>")
        assert reply.headers["Content-Type"] == "application/json"
