"""pgAdmin's own HTTP interface: the calls that its pages make, and what their answers mean.

    async with Session.of(pgadmin) as session:           # in server mode: Session.of(pgadmin, ADA)
        server = await session.register(login)           # by hand, as guides say: password saved
        answer = await session.connect(server)
        answer.outcome is Outcome.PROMPT                 # and `answer.text` says why
        tool = await session.query_tool(server)
        answer = await tool.run("SELECT 1")              # LOST: the dialog with Continue is open
        answer = await tool.press_continue()

Everything is async, so that proxies and simulators of the same test keep running meanwhile.
Sources: pgAdmin 9.18, `utils/ajax.py`, `utils/exception.py`, `browser/server_groups/servers/__init__.py`, `tools/sqleditor/__init__.py`,
`dashboard/__init__.py`, and what its pages were seen to ask for.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

from pgherald.model import Login
from support.pgadmin_run import LOGIN_PASSWORD, Mode, RunningPgAdmin

#: Seconds. pgAdmin waits for a server that does not answer as long as `connect_timeout` says.
LIMIT: Final = 60

#: Tells which login a tool is connected by.
WHO: Final = "SELECT current_user, current_database(), inet_server_port()"

#: What the dashboard's charts ask for.
CHARTS: Final = "session_stats,tps_stats,ti_stats,to_stats,bio_stats"

_TOKEN: Final = re.compile(r"pgAdmin\['csrf_token'\] = '([^']+)'")
_LOGIN_TOKEN: Final = re.compile(r'"csrfToken": ?"([^"]+)"')


class Outcome(enum.Enum):
    """What came of one call, in the words of the person who made it."""

    WORKS = "works"
    LOST = "the connection to the server has been lost"
    PROMPT = "it asks for a password"
    FAILED = "it failed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What pgAdmin answered: what it means, the text that is read, and what was asked for."""

    outcome: Outcome
    text: str = ""
    data: Any = None

    @property
    def works(self) -> bool:
        return self.outcome is Outcome.WORKS

    def must(self) -> Any:
        """The data of an answer that has to work."""
        assert self.works, self
        return self.data

    @classmethod
    def of(cls, response: httpx.Response) -> Self:
        """Read a response as pgAdmin's pages read it."""
        try:
            said = response.json()
        except ValueError:
            said = response.text
        if not isinstance(said, dict) or "success" not in said:
            # A page, or plain rows: only the status tells.
            text = "" if response.is_success else str(said)[:500]
            outcome = Outcome.WORKS if response.is_success else Outcome.FAILED
            return cls(outcome, text, said)
        text = str(said.get("errormsg") or said.get("info") or "")
        wanted = said.get("result")
        if isinstance(wanted, dict):
            text = str(wanted.get("errmsg") or text)
        # Which of the two it is differs from call to call.
        return cls(_outcome(response, said), text, said.get("data") or wanted)


def _outcome(response: httpx.Response, said: dict[str, Any]) -> Outcome:
    """What an answer in pgAdmin's usual form means."""
    wanted = said.get("result")
    if isinstance(wanted, dict) and wanted.get("prompt_password"):
        return Outcome.PROMPT
    if said.get("info") == "CRYPTKEY_MISSING":
        # The page answers with the dialog for the master password.
        return Outcome.PROMPT
    if said.get("info") == "CONNECTION_LOST":
        return Outcome.LOST
    if response.status_code == httpx.codes.PRECONDITION_REQUIRED:
        # A page about a server that is not open: it has to be opened again.
        return Outcome.LOST
    return Outcome.WORKS if response.is_success and said["success"] else Outcome.FAILED


@dataclass(frozen=True, slots=True)
class Server:
    """A server in pgAdmin's tree."""

    id: int
    group: int
    name: str

    @property
    def place(self) -> str:
        """The end of every address that is about it."""
        return f"{self.group}/{self.id}"


@dataclass
class Session:
    """One person at one browser."""

    pgadmin: RunningPgAdmin
    http: httpx.AsyncClient
    _tools: list[QueryTool] = field(default_factory=list)
    _roles: dict[int, str] = field(default_factory=dict)
    _databases: dict[int, dict[str, int]] = field(default_factory=dict)

    @classmethod
    @contextlib.asynccontextmanager
    async def of(
        cls, pgadmin: RunningPgAdmin, user: str = "", password: str = LOGIN_PASSWORD
    ) -> AsyncIterator[Self]:
        """A session for as long as the block lasts; its connections to Postgres end with it."""
        http = httpx.AsyncClient(base_url=pgadmin.url, timeout=LIMIT, trust_env=False)
        async with http:
            session = cls(pgadmin, http)
            await session._enter(user, password)
            try:
                yield session
            finally:
                # pgAdmin may have been stopped or restarted meanwhile.
                with contextlib.suppress(httpx.TransportError):
                    await session.leave()

    async def _enter(self, user: str, password: str) -> None:
        if self.pgadmin.mode is Mode.SERVER:
            page = (await self.http.get("/login")).text
            token = _LOGIN_TOKEN.search(page)
            assert token, page[:2000]
            form = {"email": user, "password": password, "csrf_token": token[1]}
            await self.http.post("/authenticate/login", data=form | {"internal_button": "Login"})
        else:
            await self.http.get("/", params={"key": self.pgadmin.key})
        # The page itself allows passwords to be saved in this session.
        page = (await self.http.get("/browser/")).text
        found = _TOKEN.search((await self.http.get("/browser/js/utils.js")).text)
        assert found, f"pgAdmin does not let {user or 'the person'} in: {page[:500]}"
        self.http.headers["X-pgA-CSRFToken"] = found[1]

    async def leave(self) -> None:
        """Close everything that was opened, as closing the window does."""
        for tool in list(self._tools):
            await tool.close()
        await self.ask("POST", "/misc/cleanup")

    async def ask(self, method: str, path: str, **given: Any) -> Answer:
        """Make one call; `given` is httpx's."""
        return Answer.of(await self.http.request(method, path, **given))

    # The tree's upper part, which is read from the configuration database

    async def groups(self) -> dict[str, int]:
        """Ids of the groups, by name."""
        nodes = (await self.ask("GET", "/browser/server_group/nodes/")).must()
        return {node["label"]: int(node["_id"]) for node in nodes}

    async def servers(self) -> dict[str, Server]:
        """All servers by name, as refreshing every group shows them."""
        found = {}
        for group in (await self.groups()).values():
            for server in await self.servers_of(group):
                found[server.name] = server
        return found

    async def servers_of(self, group: int) -> list[Server]:
        """The servers of a group, as refreshing it shows them."""
        # A group without servers has no children, not even an empty list of them.
        nodes = (await self.ask("GET", f"/browser/server_group/children/{group}")).must() or []
        for node in nodes:
            self._remember(int(node["_id"]), node)
        return [Server(int(node["_id"]), group, node["label"]) for node in nodes]

    def _remember(self, server: int, node: Mapping[str, Any]) -> None:
        """Keep what the tree keeps of an open server: by which role it is connected."""
        if node.get("user"):
            self._roles[server] = node["user"]["name"]

    # What a person does to servers

    async def register(
        self, login: Login, name: str = "By hand", group: int | None = None
    ) -> Server:
        """Register a server as guides for Heroku say: host, saved password, ssl, one database."""
        group = group or next(iter((await self.groups()).values()))
        answer = await self.ask(
            "POST",
            f"/browser/server/obj/{group}/",
            json={
                "name": name,
                "gid": group,
                "host": login.host,
                "port": login.port,
                "db": login.dbname,
                "username": login.user,
                "password": login.password.reveal(),
                "save_password": True,
                "connect_now": True,
                "db_res": [login.dbname],
                "db_res_type": "databases",
                "connection_params": [
                    {"name": "sslmode", "keyword": "sslmode", "value": login.sslmode},
                    {"name": "connect_timeout", "keyword": "connect_timeout", "value": 10},
                ],
                "connection_string": "",
                "kerberos_conn": False,
                "use_ssh_tunnel": False,
            },
        )
        assert answer.works, answer
        node = answer.data["node"]
        self._remember(int(node["_id"]), node)
        return Server(int(node["_id"]), group, name)

    async def change(self, server: Server, **columns: object) -> Server:
        """Change a server in its dialog: `name`, `bgcolor`, `fgcolor`, `gid`, `comment`, `tags`."""
        answer = await self.ask("PUT", f"/browser/server/obj/{server.place}", json=columns)
        assert answer.works, answer
        group = columns.get("gid", server.group)
        assert isinstance(group, int)
        return Server(server.id, group, str(columns.get("name", server.name)))

    async def delete(self, server: Server) -> None:
        (await self.ask("DELETE", f"/browser/server/obj/{server.place}")).must()

    # Connections

    async def connect(
        self, server: Server, password: str | None = None, *, save: bool = False
    ) -> Answer:
        """Open a server; with a password: what was typed at the prompt, and saved or not."""
        typed = {} if password is None else {"password": password, "save_password": save}
        answer = await self.ask("POST", f"/browser/server/connect/{server.place}", json=typed)
        if answer.works:
            self._remember(server.id, answer.data)
        return answer

    async def disconnect(self, server: Server) -> Answer:
        return await self.ask("DELETE", f"/browser/server/connect/{server.place}")

    async def reopen(self, server: Server) -> Answer:
        """Open a server again whose connection has been lost; nothing is typed."""
        await self.disconnect(server)
        return await self.connect(server)

    # What goes through the server's connection

    async def refresh(self, server: Server) -> Answer:
        """Refresh a server in the tree: itself, its databases, the schemas of the first one.

        Gives ids of the databases, by name.
        """
        answer = await self.ask("GET", f"/browser/server/nodes/{server.place}")
        if answer.works:
            self._remember(server.id, answer.data)
            answer = await self.ask("GET", f"/browser/server/children/{server.place}")
        if answer.works:
            answer = await self.ask("GET", f"/browser/database/nodes/{server.place}/")
        if not answer.works:
            return answer
        found = {node["label"]: int(node["_id"]) for node in answer.data}
        for database in list(found.values())[:1]:
            schemas = await self.ask("GET", f"/browser/schema/nodes/{server.place}/{database}/")
            if not schemas.works:
                return schemas
        self._databases[server.id] = found
        return Answer(Outcome.WORKS, data=found)

    async def dashboard(self, server: Server) -> Answer:
        """Look at a server's dashboard: one round of its charts and its sessions."""
        charts = await self.ask(
            "GET", f"/dashboard/dashboard_stats/{server.id}", params={"chart_names": CHARTS}
        )
        return await self.ask("GET", f"/dashboard/activity/{server.id}") if charts.works else charts

    async def query_tool(self, server: Server) -> QueryTool:
        tool, answer = await self.try_query_tool(server)
        assert answer.works, answer
        return tool

    async def try_query_tool(self, server: Server) -> tuple[QueryTool, Answer]:
        """Open a query tool on the first database that the tree shows; says what came of it.

        The page asks with the role by which the tree saw the server connected, even if that was
        long ago: `server/nodes` and `server/connect` tell it, other calls do not.
        """
        if server.id not in self._databases:
            looked = await self.refresh(server)
            if not looked.works:
                return QueryTool(self, server, 0), looked
        name, database = next(iter(self._databases[server.id].items()))
        number = random.randrange(1, 9_999_999)  # the page's own way to number its tabs
        answer = await self.ask(
            "POST",
            f"/sqleditor/initialize/sqleditor/{number}/{server.place}/{database}",
            json={"user": self._roles.get(server.id), "role": "", "dbname": name},
        )
        tool = QueryTool(self, server, number)
        if answer.works:
            self._tools.append(tool)
        return tool, answer


@dataclass(eq=False)
class QueryTool:
    """An open query tool."""

    session: Session
    server: Server
    number: int
    rows: list[list[Any]] = field(default_factory=list)
    sql: str = WHO

    async def run(self, sql: str | None = None) -> Answer:
        """Run what stands in the editor, or another query; gives rows."""
        self.sql = sql or self.sql
        return await self._execute(connect=False)

    async def press_continue(self) -> Answer:
        """Answer the "connection lost" dialog with Continue: connect, and run it again."""
        return await self._execute(connect=True)

    async def _execute(self, *, connect: bool) -> Answer:
        answer = await self.session.ask(
            "POST",
            f"/sqleditor/query_tool/start/{self.number}",
            params={"connect": "1"} if connect else {},
            json={"sql": self.sql},
        )
        if answer.works and not answer.data["status"]:
            return Answer(Outcome.FAILED, str(answer.data["result"]))
        deadline = time.monotonic() + LIMIT
        while answer.works and time.monotonic() < deadline:
            answer = await self.session.ask("GET", f"/sqleditor/poll/{self.number}")
            if answer.works and answer.data["status"] == "Success":
                self.rows = answer.data["result"]
                return Answer(Outcome.WORKS, data=self.rows)
            if answer.works and answer.data["status"] != "Busy":
                return Answer(Outcome.FAILED, str(answer.data["result"]))
            await asyncio.sleep(0.02)
        return answer

    async def close(self) -> None:
        self.session._tools.remove(self)
        await self.session.ask("DELETE", f"/sqleditor/close/{self.number}")
