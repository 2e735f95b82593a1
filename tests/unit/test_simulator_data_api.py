"""The Data API of a simulated Heroku: credentials and `pg:info`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from pgherald.simulator.data_plane import Manner
from pgherald.simulator.seed import READER
from pgherald.simulator.state import url_of
from support.simulator import SimulatedHeroku


@pytest_asyncio.fixture
async def heroku() -> AsyncIterator[SimulatedHeroku]:
    async with SimulatedHeroku.running() as made:
        yield made


def base(heroku: SimulatedHeroku) -> str:
    return f"/postgres/v0/databases/{heroku.world.addons[0].name}"


async def credential(heroku: SimulatedHeroku, name: str = "default") -> Any:
    return (await heroku.browser.data.get(f"{base(heroku)}/credentials/{name}")).json()


async def test_list_and_get_agree_with_the_config_var(heroku: SimulatedHeroku) -> None:
    """The credentials shown here are those in the config vars, by name and by id of the add-on."""
    by_id = f"/postgres/v0/databases/{heroku.world.addons[0].id}/credentials"
    rows = (await heroku.browser.data.get(by_id)).json()
    assert [row["name"] for row in rows] == ["default", READER]
    login = heroku.world.login(heroku.world.addons[0])
    [role] = rows[0]["credentials"]
    assert (role["user"], role["password"]) == (login.user, login.password.reveal())
    assert (rows[0]["host"], rows[0]["port"], rows[0]["database"]) == (
        login.host,
        login.port,
        login.dbname,
    )
    assert await credential(heroku) == rows[0]
    assert rows[0]["state"] == role["state"] == "active"


async def test_readers_may_not_rotate(heroku: SimulatedHeroku) -> None:
    """A token that may only read sees credentials and changes none."""
    token = heroku.world.add_token(heroku.world.accounts[0], scopes=["read-protected"])
    headers = {"Authorization": f"Bearer {token.value.reveal()}"}
    read = await heroku.browser.data.get(f"{base(heroku)}/credentials", headers=headers)
    assert read.status_code == 200
    rotate = await heroku.browser.data.post(f"{base(heroku)}/credentials_rotation", headers=headers)
    assert rotate.status_code == 403


async def test_rotate_all_and_force(heroku: SimulatedHeroku) -> None:
    """`--all` reaches the named credential too; forced, it is through at once."""
    heroku.world.data.manner = Manner(step=30)
    before = await credential(heroku, READER)
    reply = await heroku.browser.data.post(
        f"{base(heroku)}/credentials_rotation", json={"forced": True}
    )
    assert "all credentials" in reply.json()["message"]
    after = await credential(heroku, READER)
    assert after["state"] == "active"
    assert after["credentials"][0]["password"] != before["credentials"][0]["password"]


async def test_rotation_in_progress(heroku: SimulatedHeroku) -> None:
    """While a named rotation is in its middle, both roles are shown, with their connections."""
    heroku.world.data.manner = Manner(step=30)
    await heroku.browser.data.post(f"{base(heroku)}/credentials/{READER}/credentials_rotation")
    shown = await credential(heroku, READER)
    assert shown["state"] == "rotating"
    assert [(r["user"], r["state"], r["connections"]) for r in shown["credentials"]] == [
        (READER, "revoking", 3),
        (f"{READER}-rotating", "active", 3),
    ]
    await heroku.clock.advance(31)
    assert (await credential(heroku, READER))["state"] == "active"


async def test_create_and_destroy(heroku: SimulatedHeroku) -> None:
    """Named credentials come and go; what cannot be is told with a message."""
    made = await heroku.browser.data.post(f"{base(heroku)}/credentials", json={"name": "report"})
    assert made.status_code == 200
    assert (await credential(heroku, "report"))["credentials"][0]["user"] == "report"
    gone = await heroku.browser.data.delete(f"{base(heroku)}/credentials/report")
    assert gone.status_code == 200
    refused = await heroku.browser.data.delete(f"{base(heroku)}/credentials/{READER}")
    assert (refused.status_code, "detached" in refused.json()["message"]) == (422, True)


async def test_repair_default(heroku: SimulatedHeroku) -> None:
    """Repairing makes the default role own the database again."""
    await heroku.browser.data.post(f"{base(heroku)}/repair-default")
    user = heroku.world.login(heroku.world.addons[0]).user
    assert heroku.postgres.statements[-1][1].endswith(f'OWNER TO "{user}"')


async def test_info(heroku: SimulatedHeroku) -> None:
    """`pg:info` holds the login in full, and a follower names its leader."""
    login = heroku.world.login(heroku.world.addons[0])
    info = (
        await heroku.browser.data.get(f"/client/v11/databases/{heroku.world.addons[0].id}")
    ).json()
    assert info["resource_url"] == url_of(login)
    assert info["following"] is None
    values = {entry["name"]: entry["values"] for entry in info["info"]}
    assert values["PG Version"] == ["17.2"]
    assert values["Connections"] == ["3/120"]
    follower = next(a for a in heroku.world.addons if a.postgres and a.postgres.leader)
    info = (await heroku.browser.data.get(f"/client/v11/databases/{follower.id}")).json()
    assert info["following"] == url_of(login)
    wait = await heroku.browser.data.get(
        f"/client/v11/databases/{heroku.world.addons[0].id}/wait_status"
    )
    assert wait.json()["waiting?"] is False


async def test_odd_not_found(heroku: SimulatedHeroku) -> None:
    """An unknown path or database is HTML that calls itself JSON, as recorded from Heroku."""
    redis = next(a for a in heroku.world.addons if a.service == "heroku-redis")
    for path in (
        "/postgres/v0/nothing",
        "/client/v11/databases/x",
        f"/client/v11/databases/{redis.id}",
    ):
        reply = await heroku.browser.data.get(path)
        assert (reply.status_code, reply.text) == (404, "<h1>Not Found</h1>")
        assert reply.headers["Content-Type"] == "application/json"
