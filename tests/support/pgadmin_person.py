"""What a person gets from pgAdmin after a rotation, in each place where they may be.

    await tree(session, server)            # Gets.AT_ONCE
    await dashboard(session, server)       # Gets.AT_ONCE
    await open_tool(tool)                  # Gets.CONTINUE: a tool that was open all the time
    await new_tool(session, server)        # Gets.AT_ONCE: a tool that is opened only now
    await fresh_start(pgadmin, "Shop")     # Gets.AT_ONCE: pgAdmin was started anew

Nobody types anything here. Whoever would have to, gets `Gets.PROMPT`; whoever is left with an
error whatever they press is `Stuck`.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable

from support.pgadmin_http import Answer, Outcome, QueryTool, Server, Session
from support.pgadmin_run import RunningPgAdmin


class Gets(enum.StrEnum):
    """What a person gets, best first."""

    AT_ONCE = "at once"
    CONTINUE = "after one Continue"
    REOPENING = "after reopening"
    """They open the server in the tree again; nothing is typed."""
    NEW_TOOL = "in a new query tool"
    """They open the server again, and the tool too, since the old one stays where it was."""
    PROMPT = "password prompt"


class Stuck(Exception):
    """Nothing that a person could press helps; holds the last answer."""


async def tree(session: Session, server: Server) -> Gets:
    """Refresh the tree below a server that is open."""
    return await _look(session, server, lambda: session.refresh(server))


async def dashboard(session: Session, server: Server) -> Gets:
    """Look at the dashboard of a server that is open."""
    return await _look(session, server, lambda: session.dashboard(server))


async def new_tool(session: Session, server: Server) -> Gets:
    """Open a query tool on a server that is open, and run a query."""
    return await _look(session, server, lambda: _run_anew(session, server))


async def open_tool(tool: QueryTool, sql: str | None = None) -> Gets:
    """Run a query in a tool that is open; by default the one it ran last.

    What it gave is in `tool.rows`, unless the person needs a new tool.
    """
    answer = await tool.run(sql)
    if answer.works:
        return Gets.AT_ONCE
    if answer.outcome is Outcome.LOST:
        answer = await tool.press_continue()
        if answer.works:
            return Gets.CONTINUE
    if answer.outcome is not Outcome.PROMPT:
        answer = await tool.session.connect(tool.server)
    if answer.works:
        answer = await tool.run()
        if answer.outcome is Outcome.LOST:
            answer = await tool.press_continue()
        if answer.works:
            return Gets.REOPENING
        answer = await _in_another(tool)
        if answer.works:
            return Gets.NEW_TOOL
    return _prompted(answer)


async def _in_another(tool: QueryTool) -> Answer:
    """Leave a tool that no button helps alone: open the server again, and another tool on it.

    The old tool has closed the server, and goes on doing so as long as it is used.
    """
    answer = await tool.session.reopen(tool.server)
    if answer.works:
        answer = await tool.session.refresh(tool.server)
    return await _run_anew(tool.session, tool.server, tool.sql) if answer.works else answer


async def fresh_start(pgadmin: RunningPgAdmin, name: str, user: str = "") -> Gets:
    """Start pgAdmin anew, open a server, and go through tree, tool and dashboard.

    Every session from before is gone.
    """
    # In a thread: a proxy of the same test may have to answer meanwhile.
    await asyncio.to_thread(pgadmin.restart)
    return await first_look(pgadmin, name, user)


async def first_look(pgadmin: RunningPgAdmin, name: str, user: str = "") -> Gets:
    """In a session that is new, open a server and go through tree, tool and dashboard."""
    async with Session.of(pgadmin, user) as session:
        server = (await session.servers())[name]
        answer = await session.connect(server)
        if not answer.works:
            return _prompted(answer)
        found = [await place(session, server) for place in (tree, new_tool, dashboard)]
        return max(found, key=list(Gets).index)


async def _look(session: Session, server: Server, look: Callable[[], Awaitable[Answer]]) -> Gets:
    """Look; if that fails, open the server again and look again."""
    answer = await look()
    if answer.works:
        return Gets.AT_ONCE
    if answer.outcome is not Outcome.PROMPT:
        answer = await session.connect(server)
        if answer.works and (answer := await look()).works:
            return Gets.REOPENING
    return _prompted(answer)


async def _run_anew(session: Session, server: Server, sql: str | None = None) -> Answer:
    """Run a query in a tool that is opened for it."""
    tool, answer = await session.try_query_tool(server)
    return await tool.run(sql) if answer.works else answer


def _prompted(answer: Answer) -> Gets:
    """What is left when nothing has worked."""
    if answer.outcome is Outcome.PROMPT:
        return Gets.PROMPT
    raise Stuck(answer)
